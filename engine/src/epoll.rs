//! For measurements: sockets that don't block, and one epoll over them. Sockets belong to the network namespace of the
//! thread that makes them.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Events taken in at a time.
const EVENTS_MAX: usize = 256;

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A socket that doesn't block, bound to an address and connected, or about to be, to another. Port 0: any.
pub fn connect(kind: Kind, source: SocketAddrV4, destination: SocketAddrV4) -> io::Result<OwnedFd> {
    let kind = if kind == Kind::Tcp { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
    // SAFETY: no memory is passed.
    let made = unsafe { libc::socket(libc::AF_INET, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was made just now, and nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(made) };
    // any port is chosen when it connects, so that sockets to other ends may share it
    set(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
    let own = address(source);
    // SAFETY: an address of the length that is passed.
    if unsafe { libc::bind(made, (&raw const own).cast(), size_of_val(&own) as u32) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let other = address(destination);
    // SAFETY: as above.
    if unsafe { libc::connect(made, (&raw const other).cast(), size_of_val(&other) as u32) } != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINPROGRESS) {
            return Err(error);
        }
    }
    Ok(socket)
}

/// When it closes, it resets: nothing of the flow stays, at either end.
pub fn reset_at_close(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// Small messages leave at once.
pub fn no_delay(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)
}

/// The next connection of a listener, if one waits.
pub fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the address of the other end is not asked for.
    let made =
        unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    if made < 0 {
        return waiting(io::Error::last_os_error()).map(|()| None);
    }
    // SAFETY: a descriptor that was made just now, and nobody else has.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(made) }))
}

/// Bytes that were taken in; None: there are none yet. 0: the other end closed.
pub fn receive(socket: RawFd, into: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: a buffer of the length that is passed.
    let got = unsafe { libc::recv(socket, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
    match usize::try_from(got) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => waiting(io::Error::last_os_error()).map(|()| None),
    }
}

/// All of it, at once.
pub fn send(socket: RawFd, message: &[u8]) -> io::Result<()> {
    // SAFETY: a buffer of the length that is passed.
    let sent = unsafe { libc::send(socket, message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL) };
    match usize::try_from(sent) {
        Ok(sent) if sent == message.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

fn waiting(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock {
        Ok(())
    } else {
        Err(error)
    }
}

fn set<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let value: *const T = value;
    // SAFETY: a value of the length that is passed.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, value.cast(), size_of::<T>() as libc::socklen_t)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn address(end: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: end.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*end.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// Waits for many sockets; each is known by a number of the caller's.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Of nothing yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let made = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was made just now, and nobody else has.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(made) }))
    }

    /// `events`: EPOLLIN, EPOLLOUT. It is forgotten when it closes.
    pub fn add(&self, socket: RawFd, events: i32, number: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, events, number)
    }

    /// Other events of one that was added.
    pub fn change(&self, socket: RawFd, events: i32, number: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, events, number)
    }

    fn control(&self, operation: i32, socket: RawFd, events: i32, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: number };
        // SAFETY: the event lives through the call.
        if unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, socket, &raw mut event) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Numbers of sockets that have something to say, after `timeout_ms` at most.
    pub fn wait(&self, timeout_ms: i32, ready: &mut Vec<u64>) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let (epoll, first) = (self.0.as_raw_fd(), events.as_mut_ptr());
        // SAFETY: room for as many events as is said.
        let found = unsafe { libc::epoll_wait(epoll, first, EVENTS_MAX as i32, timeout_ms) };
        ready.clear();
        match usize::try_from(found) {
            Ok(found) => ready.extend(events.iter().take(found).map(|event| event.u64)),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
        Ok(())
    }
}
