//! For measurements: how long the first data of a flow takes from the client's send() until the server has all of it.
//! Both ends look again and again, and give way to whoever wants their core between two looks: a sleeping core takes
//! tens of microseconds to wake in a virtual machine, and what is measured is the way, not the waking.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::epoll::{self, Kind};
use crate::error::{Error, Result};

/// The server has accepted: the client may send.
const READY: [u8; 1] = [1];
const MESSAGE_BYTES_MAX: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOKS: u32 = 1024;

/// Client: one flow after another. When each sent, in nanoseconds of the monotonic clock.
pub fn dial(
    source: Ipv4Addr,
    destination: SocketAddrV4,
    payloads: &[&[u8]],
    count: usize,
) -> Result<Vec<u64>> {
    dial_all(source, destination, payloads, count).map_err(|error| Error::kernel("begin a flow", error))
}

fn dial_all(
    source: Ipv4Addr,
    destination: SocketAddrV4,
    payloads: &[&[u8]],
    count: usize,
) -> io::Result<Vec<u64>> {
    let mut sent = Vec::with_capacity(count);
    let mut into = [0; 8];
    for payload in payloads.iter().cycle().take(count) {
        let socket = epoll::connect(Kind::Tcp, SocketAddrV4::new(source, 0), destination)?;
        epoll::reset_at_close(&socket)?;
        epoll::no_delay(&socket)?;
        until(|| match epoll::receive(socket.as_raw_fd(), &mut into) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(None),
            answer => answer,
        })?;
        sent.push(now_ns());
        epoll::send(socket.as_raw_fd(), payload)?;
        until(|| epoll::receive(socket.as_raw_fd(), &mut into))?;
    }
    Ok(sent)
}

/// Server: takes `count` flows of a listener. When each had its `request_bytes`, on the same clock.
pub fn serve(listener: &OwnedFd, count: usize, request_bytes: usize) -> Result<Vec<u64>> {
    serve_all(listener, count, request_bytes).map_err(|error| Error::kernel("serve a flow", error))
}

fn serve_all(listener: &OwnedFd, count: usize, request_bytes: usize) -> io::Result<Vec<u64>> {
    let mut taken = Vec::with_capacity(count);
    let mut into = [0; MESSAGE_BYTES_MAX];
    for _ in 0..count {
        let socket = until(|| epoll::accept(listener))?;
        epoll::no_delay(&socket)?;
        epoll::send(socket.as_raw_fd(), &READY)?;
        let mut missing = request_bytes;
        while missing > 0 {
            match until(|| epoll::receive(socket.as_raw_fd(), &mut into))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => missing = missing.saturating_sub(bytes),
            }
        }
        taken.push(now_ns());
        epoll::send(socket.as_raw_fd(), &READY)?;
    }
    Ok(taken)
}

/// Looks until there is something; TimedOut after a while.
fn until<T>(mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let mut deadline = None;
    let mut looks = 0u32;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        std::thread::yield_now();
        looks += 1;
        if looks % LOOKS == 0 {
            let now = Instant::now();
            if now > *deadline.get_or_insert(now + PATIENCE) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
