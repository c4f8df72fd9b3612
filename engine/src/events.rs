//! Reader of the ring of sampled drops. By descriptor; needs no capability.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use libbpf_sys as sys;

use crate::abi::DropEvent;
use crate::error::{Error, Result};
use crate::kernel;

/// Events that one poll() gives at most, so that a flood cannot hold the caller.
const EVENTS_A_POLL_MAX: usize = 4096;

/// The ring, mapped.
#[derive(Debug)]
pub struct Events {
    ring: NonNull<sys::ring_buffer>,
    /// Where the callback puts what it is given. Boxed: libbpf keeps its address.
    #[allow(clippy::box_collection)] // its address is what the box is for
    found: Box<Vec<DropEvent>>,
    _map: OwnedFd,
}

// SAFETY: the ring is used by whoever holds the one mutable reference.
unsafe impl Send for Events {}

impl Events {
    /// Takes the map `events`.
    pub fn open(map: OwnedFd) -> Result<Self> {
        let shape = kernel::map_shape(map.as_fd())?;
        if shape.map_type != sys::BPF_MAP_TYPE_RINGBUF {
            return Err(Error::Misuse(format!("not a ring: {shape:?}")));
        }
        let mut found = Box::new(Vec::new());
        let context: *mut Vec<DropEvent> = &mut *found;
        // SAFETY: the context lives in a box that is dropped after the ring.
        let ring =
            unsafe { sys::ring_buffer__new(map.as_raw_fd(), Some(take), context.cast(), std::ptr::null()) };
        match NonNull::new(ring) {
            Some(ring) => Ok(Events { ring, found, _map: map }),
            None => Err(Error::kernel("map the ring of events", io::Error::last_os_error())),
        }
    }

    /// Waits for the first event, at most that long; gives all that are there, EVENTS_A_POLL_MAX at most.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<DropEvent>> {
        self.consume()?;
        if self.found.is_empty() && self.wait(timeout)? {
            self.consume()?;
        }
        Ok(std::mem::take(&mut *self.found))
    }

    fn consume(&mut self) -> Result<()> {
        // SAFETY: our ring; the callback's context is ours too.
        let consumed = unsafe { sys::ring_buffer__consume_n(self.ring.as_ptr(), EVENTS_A_POLL_MAX as u64) };
        if consumed < 0 {
            return Err(Error::kernel("read the ring of events", io::Error::from_raw_os_error(-consumed)));
        }
        Ok(())
    }

    /// Is there something? A signal ends the wait early, with nothing.
    fn wait(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        // SAFETY: our ring.
        let epoll = unsafe { sys::ring_buffer__epoll_fd(self.ring.as_ptr()) };
        let mut waiting = libc::pollfd { fd: epoll, events: libc::POLLIN, revents: 0 };
        let left = deadline.saturating_duration_since(Instant::now());
        let milliseconds = c_int::try_from(
            left.as_millis().saturating_add(u128::from(left.subsec_nanos() % 1_000_000 != 0)),
        );
        // SAFETY: one pollfd of ours.
        match unsafe { libc::poll(&mut waiting, 1, milliseconds.unwrap_or(c_int::MAX)) } {
            0 => Ok(false),
            ready if ready > 0 => Ok(true),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
                error => Err(Error::kernel("wait for events", error)),
            },
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody uses it any more.
        unsafe { sys::ring_buffer__free(self.ring.as_ptr()) };
    }
}

/// libbpf's callback. A record of another size (another ABI's) is skipped.
unsafe extern "C" fn take(context: *mut c_void, data: *mut c_void, size: sys::size_t) -> c_int {
    if size as usize == size_of::<DropEvent>() {
        // SAFETY: the context is the vector of Events; the record has the size of an event.
        unsafe { (*context.cast::<Vec<DropEvent>>()).push(data.cast::<DropEvent>().read_unaligned()) };
    }
    0
}
