//! One frame through a loaded program by BPF_PROG_TEST_RUN, and what the program says of it. Nothing is sent; a probe
//! is counted as FACT_PROBE and nowhere else.

use std::io;
use std::os::fd::BorrowedFd;

use libbpf_sys as sys;

use crate::abi::{self, ProbeOutcome};
use crate::error::{Error, Result};
use crate::kernel;

/// What the kernel takes as a frame.
const FRAME_BYTES_MIN: usize = 14;
/// In front of an XDP probe's frame: struct probe_metadata of xdp.bpf.c.
const METADATA_BYTES: usize = 24;
const _: () = assert!(size_of::<ProbeOutcome>() <= METADATA_BYTES);

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tcx.bpf.c
    Tcx,
    /// xdp.bpf.c
    Xdp,
}

impl Hook {
    /// As it stands in the names of pins.
    pub fn word(self) -> &'static str {
        match self {
            Hook::Tcx => "tcx",
            Hook::Xdp => "xdp",
        }
    }
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// struct probe_outcome
    pub outcome: ProbeOutcome,
    /// What the program returned.
    pub action: u32,
}

/// Sends one marked frame. `direction`: enum direction.
pub fn probe(
    program: BorrowedFd<'_>,
    hook: Hook,
    nonce: u32,
    direction: u32,
    frame: &[u8],
) -> Result<Probed> {
    check(frame)?;
    if nonce == 0 {
        return Err(Error::Misuse("probes are off: the probe nonce is 0".to_owned()));
    }
    match hook {
        Hook::Tcx => probe_tcx(program, nonce, direction, frame),
        Hook::Xdp => probe_xdp(program, nonce, direction, frame),
    }
}

/// Mean run time in ns of an unmarked packet that comes in at a port.
pub fn cost_ns(program: BorrowedFd<'_>, hook: Hook, ifindex: u32, frame: &[u8], repeat: u32) -> Result<u32> {
    let repeat = i32::try_from(repeat.max(1)).unwrap_or(i32::MAX);
    Ok(run_unmarked(program, hook, ifindex, frame, repeat)?.duration)
}

/// One unmarked packet that comes in at a port; what the program returned.
pub fn run(program: BorrowedFd<'_>, hook: Hook, ifindex: u32, frame: &[u8]) -> Result<u32> {
    Ok(run_unmarked(program, hook, ifindex, frame, 1)?.retval)
}

/// What came of one packet, or of one many times.
struct Ran {
    duration: u32,
    retval: u32,
}

fn run_unmarked(program: BorrowedFd<'_>, hook: Hook, ifindex: u32, frame: &[u8], repeat: i32) -> Result<Ran> {
    check(frame)?;
    let mut options = input(frame);
    let skb = skb_with(abi::SK_BUFF_IFINDEX, ifindex);
    let xdp = sys::xdp_md { data_end: frame.len() as u32, ingress_ifindex: ifindex, ..Default::default() };
    match hook {
        Hook::Tcx => {
            options.ctx_in = skb.as_ptr().cast();
            options.ctx_size_in = skb.len() as u32;
        }
        Hook::Xdp => {
            let context: *const sys::xdp_md = &xdp;
            options.ctx_in = context.cast();
            options.ctx_size_in = size_of::<sys::xdp_md>() as u32;
        }
    }
    options.repeat = repeat;
    kernel::test_run(program, &mut options).map_err(refused)?;
    Ok(Ran { duration: options.duration, retval: options.retval })
}

/// Unmarked packets one by one, and the window of names after each. The thread stays on one CPU meanwhile, since each
/// has a window of its own.
pub fn read_names(
    program: BorrowedFd<'_>,
    window: BorrowedFd<'_>,
    ifindex: u32,
    frames: &[&[u8]],
) -> Result<Vec<abi::NameWindow>> {
    let cpus = kernel::possible_cpus()?;
    let here = Here::stay()?;
    let each = frames.iter().map(|frame| {
        run(program, Hook::Tcx, ifindex, frame)?;
        let windows: Vec<abi::NameWindow> = kernel::per_cpu(window, 0, cpus)?;
        let own = windows.get(here.cpu).copied();
        own.ok_or_else(|| Error::Misuse("a CPU beyond those that are possible".to_owned()))
    });
    each.collect()
}

/// This thread on the CPU that it was on, until it is dropped.
struct Here {
    cpu: usize,
    before: libc::cpu_set_t,
}

impl Here {
    fn stay() -> Result<Self> {
        let failed = || Error::kernel("stay on one CPU", io::Error::last_os_error());
        // SAFETY: a set of bits, of which 0 is one.
        let (mut before, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::cpu_set_t>();
        // SAFETY: no arguments.
        let cpu = usize::try_from(unsafe { libc::sched_getcpu() }).map_err(|_| failed())?;
        // SAFETY: a set of that size, of ours.
        if unsafe { libc::sched_getaffinity(0, size, &mut before) } != 0 {
            return Err(failed());
        }
        // SAFETY: the kernel's number of a CPU lies in the set.
        unsafe { libc::CPU_SET(cpu, &mut one) };
        // SAFETY: as above.
        if unsafe { libc::sched_setaffinity(0, size, &one) } != 0 {
            return Err(failed());
        }
        Ok(Here { cpu, before })
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // SAFETY: what sched_getaffinity() gave.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.before) };
    }
}

fn probe_tcx(program: BorrowedFd<'_>, nonce: u32, direction: u32, frame: &[u8]) -> Result<Probed> {
    let mut skb = skb_with(abi::SK_BUFF_MARK, nonce);
    put(&mut skb, abi::SK_BUFF_CB, direction);
    let mut after = [0u8; abi::SK_BUFF_SIZE];
    let mut options = input(frame);
    options.ctx_in = skb.as_ptr().cast();
    options.ctx_size_in = skb.len() as u32;
    options.ctx_out = after.as_mut_ptr().cast();
    options.ctx_size_out = after.len() as u32;
    kernel::test_run(program, &mut options).map_err(refused)?;
    let said = after.get(abi::SK_BUFF_CB..).unwrap_or_default();
    probed(said, options.retval)
}

fn probe_xdp(program: BorrowedFd<'_>, nonce: u32, direction: u32, frame: &[u8]) -> Result<Probed> {
    let mut marked = vec![0u8; METADATA_BYTES];
    put(&mut marked, 0, nonce);
    put(&mut marked, 4, direction);
    marked.extend_from_slice(frame);
    let context =
        sys::xdp_md { data: METADATA_BYTES as u32, data_end: marked.len() as u32, ..Default::default() };
    let context: *const sys::xdp_md = &context;
    let mut after = vec![0u8; marked.len()];
    let mut options = input(&marked);
    options.ctx_in = context.cast();
    options.ctx_size_in = size_of::<sys::xdp_md>() as u32;
    options.data_out = after.as_mut_ptr().cast();
    options.data_size_out = after.len() as u32;
    kernel::test_run(program, &mut options).map_err(refused)?;
    probed(&after, options.retval)
}

fn probed(said: &[u8], action: u32) -> Result<Probed> {
    let said = said.get(..size_of::<ProbeOutcome>()).unwrap_or_default();
    match bytemuck::try_pod_read_unaligned(said) {
        Ok(outcome) => Ok(Probed { outcome, action }),
        Err(_) => Err(Error::Misuse("the program's answer is too short".to_owned())),
    }
}

fn input(frame: &[u8]) -> sys::bpf_test_run_opts {
    sys::bpf_test_run_opts {
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        repeat: 1,
        ..Default::default()
    }
}

/// struct __sk_buff with one field set.
fn skb_with(offset: usize, value: u32) -> [u8; abi::SK_BUFF_SIZE] {
    let mut skb = [0; abi::SK_BUFF_SIZE];
    put(&mut skb, offset, value);
    skb
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = bytes.get_mut(offset..offset + 4) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

fn check(frame: &[u8]) -> Result<()> {
    if frame.len() < FRAME_BYTES_MIN {
        return Err(Error::Misuse(format!(
            "a frame has {FRAME_BYTES_MIN} bytes at least, not {}",
            frame.len()
        )));
    }
    Ok(())
}

fn refused(error: io::Error) -> Error {
    Error::kernel("run a probe (BPF_PROG_TEST_RUN)", error)
}
