//! The clock that expiries are measured by, and the wait that lets a packet in flight finish.

use std::io;

use crate::error::{Error, Result};

/// CLOCK_BOOTTIME in nanoseconds: what the programs compare expiries with. Runs on in suspend, never steps.
pub fn boot_ns() -> Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    let refused = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    if refused != 0 {
        return Err(Error::kernel("read the boot clock", io::Error::last_os_error()));
    }
    Ok(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
}

/// Waits until every program that ran at the call has ended: MEMBARRIER_CMD_GLOBAL is a synchronize_rcu().
/// A dummy BPF_PROG_TEST_RUN is no grace period.
pub fn membarrier() -> Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes three integers and touches no memory of ours.
    let refused = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if refused != 0 {
        return Err(Error::kernel("wait a grace period (membarrier)", io::Error::last_os_error()));
    }
    Ok(())
}
