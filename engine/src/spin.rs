//! For measurements: request and response over a connected socket, both ends spinning. A core that sleeps takes tens of
//! microseconds to wake in a virtual machine; what is measured here is the way, not the waking.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Bytes of a request, and of its response.
const MESSAGE_BYTES: usize = 64;
/// Empty looks at the socket between two looks at the clock.
const LOOKS: u32 = 4096;

/// Sends `count` requests, each after the response to the one before. Nanoseconds of each.
pub fn ping(socket: &OwnedFd, count: usize, patience: Duration) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        send(socket)?;
        receive(socket, patience)?;
        times.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

/// Responds to `count` requests.
pub fn pong(socket: &OwnedFd, count: usize, patience: Duration) -> Result<()> {
    for _ in 0..count {
        receive(socket, patience)?;
        send(socket)?;
    }
    Ok(())
}

fn send(socket: &OwnedFd) -> Result<()> {
    let message = [0u8; MESSAGE_BYTES];
    // SAFETY: a buffer of the length that is passed.
    let sent =
        unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL) };
    if sent != MESSAGE_BYTES as isize {
        return Err(Error::kernel("send a request", io::Error::last_os_error()));
    }
    Ok(())
}

/// A whole message; a stream may give it in pieces.
fn receive(socket: &OwnedFd, patience: Duration) -> Result<()> {
    let mut message = [0u8; MESSAGE_BYTES];
    let mut missing = MESSAGE_BYTES;
    let mut deadline = None;
    let mut looks = 0u32;
    while missing > 0 {
        // SAFETY: a buffer of at least the length that is passed.
        let got = unsafe {
            libc::recv(socket.as_raw_fd(), message.as_mut_ptr().cast(), missing, libc::MSG_DONTWAIT)
        };
        match got {
            1.. => missing -= got.unsigned_abs().min(missing),
            0 => return Err(Error::kernel("receive a response", io::ErrorKind::UnexpectedEof.into())),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(Error::kernel("receive a response", error));
                }
                looks += 1;
                if looks % LOOKS == 0 {
                    let now = Instant::now();
                    if now > *deadline.get_or_insert(now + patience) {
                        return Err(Error::kernel("receive a response", io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        }
    }
    Ok(())
}
