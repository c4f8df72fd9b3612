//! For measurements: new flows one after another, a few at a time. The client connects, sends its first bytes, waits
//! for an answer and resets; the server answers once it has them all. Datagrams likewise, from a new port each or from
//! one that stays. Both ends sleep while they have nothing to do, as hosts do.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::epoll::{self, Epoll, Kind};
use crate::error::{Error, Result};

/// Bytes of an answer over TCP.
const ANSWER: [u8; 64] = [7; 64];
/// A flow without an answer for so long has failed.
const PATIENCE: Duration = Duration::from_millis(1500);
const LOOK_MS: i32 = 100;
const MESSAGE_BYTES_MAX: usize = 65536;
/// Ports that flows over UDP begin at, one after another: what the kernel chooses comes again too soon to be a new
/// flow.
const PORTS: std::ops::Range<u16> = 1024..65_500;
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub struct Dial<'a> {
    /// TCP or UDP.
    pub kind: Kind,
    /// Its own address.
    pub source: Ipv4Addr,
    /// The server's.
    pub destination: SocketAddrV4,
    /// First bytes of flows, taken in turn, beginning with this one.
    pub payloads: &'a [&'a [u8]],
    /// Which of them is sent first.
    pub first: usize,
    /// Flows at a time.
    pub concurrent: usize,
    /// UDP: the socket stays, and asks again.
    pub stays: bool,
    /// For how long flows are begun.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialled {
    /// Flows that were answered.
    pub answered: u64,
    /// Flows that were not, or broke.
    pub failed: u64,
    /// How long it took.
    pub took: Duration,
}

/// What comes next.
struct Turn {
    payload: usize,
    port: u16,
}

struct Slot {
    socket: OwnedFd,
    sent: bool,
    begun: Instant,
}

/// Begins flows from this thread's network namespace.
pub fn dial(dial: &Dial<'_>) -> Result<Dialled> {
    if dial.payloads.is_empty() || dial.concurrent == 0 {
        return Err(Error::Misuse("no flows to begin".to_owned()));
    }
    dial_all(dial).map_err(|error| Error::kernel("begin flows", error))
}

fn dial_all(dial: &Dial<'_>) -> io::Result<Dialled> {
    let epoll = Epoll::new()?;
    let began = Instant::now();
    let first_port = PORTS.start + (dial.first * 61 % PORTS.len()) as u16;
    let mut next = Turn { payload: dial.first, port: first_port };
    let mut found = Dialled::default();
    let mut slots = Vec::with_capacity(dial.concurrent);
    for number in 0..dial.concurrent {
        slots.push(begin(dial, &epoll, number, &mut next)?);
    }
    let mut ready = Vec::new();
    let mut into = vec![0; MESSAGE_BYTES_MAX];
    let mut looked = began;
    while began.elapsed() < dial.time {
        epoll.wait(LOOK_MS, &mut ready)?;
        for number in &ready {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            let Some(slot) = slots.get_mut(number) else { continue };
            match advance(dial, &epoll, slot, number, &mut next, &mut into) {
                Ok(false) => continue,
                Ok(true) => found.answered += 1,
                Err(_) => found.failed += 1,
            }
            renew(dial, &epoll, slot, number, &mut next)?;
        }
        if looked.elapsed() > PATIENCE / 4 {
            looked = Instant::now();
            for (number, slot) in slots.iter_mut().enumerate() {
                if slot.begun.elapsed() > PATIENCE {
                    found.failed += 1;
                    *slot = begin(dial, &epoll, number, &mut next)?;
                }
            }
        }
    }
    found.took = began.elapsed();
    Ok(found)
}

fn begin(dial: &Dial<'_>, epoll: &Epoll, number: usize, next: &mut Turn) -> io::Result<Slot> {
    let socket = match dial.kind {
        Kind::Tcp => epoll::connect(Kind::Tcp, SocketAddrV4::new(dial.source, 0), dial.destination)?,
        Kind::Udp => loop {
            next.port = if next.port + 1 < PORTS.end { next.port + 1 } else { PORTS.start };
            match epoll::connect(Kind::Udp, SocketAddrV4::new(dial.source, next.port), dial.destination) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                made => break made?,
            }
        },
    };
    let events = match dial.kind {
        Kind::Tcp => {
            epoll::reset_at_close(&socket)?;
            libc::EPOLLOUT
        }
        Kind::Udp => {
            epoll::send(socket.as_raw_fd(), payload(dial, next))?;
            libc::EPOLLIN
        }
    };
    epoll.add(socket.as_raw_fd(), events, number as u64)?;
    Ok(Slot { socket, sent: dial.kind == Kind::Udp, begun: Instant::now() })
}

fn payload<'a>(dial: &Dial<'a>, next: &mut Turn) -> &'a [u8] {
    let chosen = dial.payloads.get(next.payload % dial.payloads.len().max(1)).copied().unwrap_or_default();
    next.payload = next.payload.wrapping_add(1);
    chosen
}

/// True: this flow was answered.
fn advance(
    dial: &Dial<'_>,
    epoll: &Epoll,
    slot: &mut Slot,
    number: usize,
    next: &mut Turn,
    into: &mut [u8],
) -> io::Result<bool> {
    let socket = slot.socket.as_raw_fd();
    if !slot.sent {
        epoll::send(socket, payload(dial, next))?;
        slot.sent = true;
        epoll.change(socket, libc::EPOLLIN, number as u64)?;
        return Ok(false);
    }
    match epoll::receive(socket, into)? {
        None => Ok(false),
        Some(0) if dial.kind == Kind::Tcp => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(_) => Ok(true),
    }
}

fn renew(dial: &Dial<'_>, epoll: &Epoll, slot: &mut Slot, number: usize, next: &mut Turn) -> io::Result<()> {
    if dial.stays && dial.kind == Kind::Udp {
        slot.begun = Instant::now();
        return epoll::send(slot.socket.as_raw_fd(), payload(dial, next));
    }
    *slot = begin(dial, epoll, number, next)?;
    Ok(())
}

/// Answers each connection of a listener after `request_bytes`, until `stop` can be read. Requests that it answered.
pub fn serve_tcp(listener: &OwnedFd, stop: RawFd, request_bytes: usize) -> Result<u64> {
    serve_streams(listener, stop, request_bytes).map_err(|error| Error::kernel("serve flows", error))
}

fn serve_streams(listener: &OwnedFd, stop: RawFd, request_bytes: usize) -> io::Result<u64> {
    let epoll = Epoll::new()?;
    epoll.add(stop, libc::EPOLLIN, STOP)?;
    epoll.add(listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
    let mut open: HashMap<u64, (OwnedFd, usize)> = HashMap::new();
    let mut ready = Vec::new();
    let mut into = vec![0; MESSAGE_BYTES_MAX];
    let mut answered = 0;
    loop {
        epoll.wait(-1, &mut ready)?;
        for number in &ready {
            if *number == STOP {
                return Ok(answered);
            }
            if *number == LISTENER {
                while let Some(socket) = epoll::accept(listener)? {
                    let number = socket.as_raw_fd().unsigned_abs().into();
                    epoll.add(socket.as_raw_fd(), libc::EPOLLIN, number)?;
                    open.insert(number, (socket, 0));
                }
                continue;
            }
            let Some((socket, taken)) = open.get_mut(number) else { continue };
            match epoll::receive(socket.as_raw_fd(), &mut into) {
                Ok(None) => continue,
                Ok(Some(bytes @ 1..)) => {
                    let before = *taken;
                    *taken += bytes;
                    if before < request_bytes && *taken >= request_bytes {
                        answered += 1;
                        if epoll::send(socket.as_raw_fd(), &ANSWER).is_ok() {
                            continue;
                        }
                    } else {
                        continue;
                    }
                }
                Ok(Some(0)) | Err(_) => {}
            }
            open.remove(number);
        }
    }
}

/// Answers each datagram with `answer`, or where that is empty with itself, marked as an answer of DNS, until `stop`
/// can be read. Datagrams that it answered.
pub fn serve_udp(socket: RawFd, stop: RawFd, answer: &[u8]) -> Result<u64> {
    serve_datagrams(socket, stop, answer).map_err(|error| Error::kernel("serve datagrams", error))
}

fn serve_datagrams(socket: RawFd, stop: RawFd, answer: &[u8]) -> io::Result<u64> {
    let epoll = Epoll::new()?;
    epoll.add(stop, libc::EPOLLIN, STOP)?;
    epoll.add(socket, libc::EPOLLIN, LISTENER)?;
    let mut ready = Vec::new();
    let mut into = vec![0; MESSAGE_BYTES_MAX];
    let mut answered = 0;
    loop {
        epoll.wait(-1, &mut ready)?;
        if ready.contains(&STOP) {
            return Ok(answered);
        }
        while let Some((bytes, from)) = receive_from(socket, &mut into)? {
            let echo = into.get_mut(..bytes).unwrap_or_default();
            if let Some(flags) = echo.get_mut(2) {
                *flags |= 0x80;
            }
            let message = if answer.is_empty() { &*echo } else { answer };
            send_to(socket, message, &from)?;
            answered += 1;
        }
    }
}

fn receive_from(socket: RawFd, into: &mut [u8]) -> io::Result<Option<(usize, libc::sockaddr_in)>> {
    // SAFETY: an address of zeros is one.
    let mut from: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&from) as libc::socklen_t;
    // SAFETY: buffers of the lengths that are passed.
    let got = unsafe {
        libc::recvfrom(
            socket,
            into.as_mut_ptr().cast(),
            into.len(),
            libc::MSG_DONTWAIT,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    match usize::try_from(got) {
        Ok(bytes) => Ok(Some((bytes, from))),
        Err(_) => {
            let error = io::Error::last_os_error();
            // the answer to one that is gone already
            let passes = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused);
            if passes {
                Ok(None)
            } else {
                Err(error)
            }
        }
    }
}

fn send_to(socket: RawFd, message: &[u8], to: &libc::sockaddr_in) -> io::Result<()> {
    let to: *const libc::sockaddr_in = to;
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: buffers of the lengths that are passed.
    let sent = unsafe {
        libc::sendto(socket, message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL, to.cast(), length)
    };
    let error = io::Error::last_os_error();
    let passes = sent >= 0 || error.kind() == io::ErrorKind::ConnectionRefused;
    if passes {
        Ok(())
    } else {
        Err(error)
    }
}
