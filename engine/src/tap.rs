//! The TAPs that packets wait in: made, or taken over, by whoever has CAP_NET_ADMIN; read and written by whoever holds
//! the descriptor. A frame is read and written with its offload header, as it stood in the port's buffer, so that a
//! super-packet or a partial checksum crosses untouched.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::{Error, Result};

/// struct virtio_net_hdr before each frame.
pub const VNET_HEADER_BYTES: usize = 10;
/// A super-packet with the longest headers before it, and its offload header.
pub const FRAME_BYTES_MAX: usize = VNET_HEADER_BYTES + 65_535 + 256;
/// Frames that wait in a TAP at most; beyond, it drops without a word. Above what the programs put in
/// (TAP_PACKETS_MAX). 8 bytes each.
pub const QUEUE_FRAMES: u32 = 4096;

/// _IOW('T', …, int) and _IOW('T', …, struct ifreq's pointer size) of linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;

const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04 | 0x08; // CSUM, TSO4, TSO6, TSO_ECN
/// Column of /proc/net/dev behind the name, from 0.
const TX_DROPPED: usize = 11;

/// Since Linux 6.2.
const OFFLOADS_UDP: libc::c_ulong = 0x20 | 0x40; // USO4, USO6

/// The TAP of that name in this network namespace, made where there is none: persistent, so that it outlives its
/// holders. It stays down. EBUSY (as io::Error of the kernel's refusal): another process still holds it.
pub fn open(name: &str, mtu: u32) -> Result<OwnedFd> {
    let refused = |what: &str| {
        let what = format!("{what} the TAP {name}");
        move |error| Error::kernel(what, error)
    };
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| Error::kernel("open /dev/net/tun", error))?;
    let tap = OwnedFd::from(file);
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    device_ioctl(&tap, TUNSETIFF, &mut request).map_err(refused("open"))?;
    let header_bytes = VNET_HEADER_BYTES as libc::c_int;
    // SAFETY: the kernel reads one integer through the pointer.
    answered(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETVNETHDRSZ, &header_bytes) })
        .map_err(refused("set the offload header of"))?;
    offload(&tap).map_err(refused("set the offloads of"))?;
    // SAFETY: the argument is a number.
    answered(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETPERSIST, 1 as libc::c_ulong) })
        .map_err(refused("keep"))?;
    size(name, mtu).map_err(refused("size"))?;
    nonblocking(tap.as_fd()).map_err(refused("open"))?;
    Ok(tap)
}

/// Takes a TAP of that name away, if nobody holds it. False: there is none.
pub fn remove(name: &str) -> Result<bool> {
    let c = std::ffi::CString::new(name).map_err(|_| Error::Misuse("a name with a null byte".to_owned()))?;
    // SAFETY: a C string.
    if unsafe { libc::if_nametoindex(c.as_ptr()) } == 0 {
        return Ok(false);
    }
    let tap = open(name, 1500)?;
    // SAFETY: the argument is a number.
    answered(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETPERSIST, 0 as libc::c_ulong) })
        .map_err(|error| Error::kernel(format!("take away the TAP {name}"), error))?;
    Ok(true)
}

/// The next frame with its offload header, into `buffer`; None: none waits.
pub fn read<'a>(tap: BorrowedFd<'_>, buffer: &'a mut [u8]) -> io::Result<Option<&'a mut [u8]>> {
    // SAFETY: the kernel writes at most as many bytes as there is room for.
    let length = unsafe { libc::read(tap.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    match usize::try_from(length) {
        Ok(length) => Ok(buffer.get_mut(..length)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        },
    }
}

/// Sends one frame with its offload header. When it returns, the frame is in the transmit of the port that the TAP's
/// program redirects it to.
pub fn write(tap: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as there are.
    let written = unsafe { libc::write(tap.as_raw_fd(), frame.as_ptr().cast(), frame.len()) };
    match written {
        length if length >= 0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Its name. EBADFD: somebody took the interface away, and the descriptor leads nowhere for good.
pub fn name(tap: BorrowedFd<'_>) -> io::Result<String> {
    const TUNGETIFF: libc::c_ulong = 0x8004_54d2;
    // SAFETY: all zeros are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one struct ifreq.
    answered(unsafe { libc::ioctl(tap.as_raw_fd(), TUNGETIFF, &mut request as *mut libc::ifreq) })?;
    Ok(request.ifr_name.iter().map(|byte| *byte as u8 as char).take_while(|c| *c != '\0').collect())
}

/// Frames that found a TAP full, since it was made: no program hears of them.
pub fn dropped(tap: BorrowedFd<'_>) -> io::Result<u64> {
    let name = name(tap)?;
    let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(&name)?.strip_prefix(':'));
    let dropped = line.and_then(|line| line.split_ascii_whitespace().nth(TX_DROPPED));
    dropped
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::other("no such line in /proc/thread-self/net/dev"))
}

fn offload(tap: &OwnedFd) -> io::Result<()> {
    // SAFETY: the argument is a number.
    let set = |bits: libc::c_ulong| answered(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETOFFLOAD, bits) });
    match set(OFFLOADS | OFFLOADS_UDP) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => set(OFFLOADS),
        other => other,
    }
}

fn size(name: &str, mtu: u32) -> io::Result<()> {
    // SAFETY: a socket of our own.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    answered(socket)?;
    // SAFETY: the kernel has just made it for us.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut request = request_for(name).map_err(io::Error::other)?;
    request.ifr_ifru.ifru_metric = QUEUE_FRAMES as libc::c_int; // ifr_qlen is another name of the same integer
    device_ioctl(&socket, libc::SIOCSIFTXQLEN, &mut request)?;
    request.ifr_ifru.ifru_mtu = mtu as libc::c_int;
    device_ioctl(&socket, libc::SIOCSIFMTU, &mut request)
}

fn request_for(name: &str) -> Result<libc::ifreq> {
    // SAFETY: all zeros are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || !name.is_ascii() {
        return Err(Error::Misuse(format!("{name:?} is no name of an interface")));
    }
    for (into, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *into = byte as libc::c_char;
    }
    Ok(request)
}

fn device_ioctl(fd: &OwnedFd, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: these requests read and write one struct ifreq.
    answered(unsafe { libc::ioctl(fd.as_raw_fd(), number, request as *mut libc::ifreq) })
}

fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only.
    answered(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK) })
}

fn answered(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
