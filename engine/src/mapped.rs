//! An mmapable array map as memory. The kernel's programs read it at the same time: what they may be reading is written
//! only through the atomic views; plain slices are for the idle copy.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::kernel;

/// A whole map, mapped shared.
#[derive(Debug)]
pub struct Mapped {
    memory: NonNull<u8>,
    length: usize, // whole pages
    bytes: usize,  // elements × their size
    element_bytes: usize,
}

// SAFETY: plain shared memory; who may write what is settled by the users of this type.
unsafe impl Send for Mapped {}
// SAFETY: shared references give only reads and atomics.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps it. `name` is for messages; `element_bytes` and the least number of elements are compared with the map.
    pub fn open(map: BorrowedFd<'_>, name: &str, element_bytes: usize, entries_min: usize) -> Result<Self> {
        let shape = kernel::map_shape(map)?;
        let entries = shape.entries as usize;
        if shape.map_type != libbpf_sys::BPF_MAP_TYPE_ARRAY
            || shape.flags & libbpf_sys::BPF_F_MMAPABLE == 0
            || shape.value_bytes as usize != element_bytes
            || entries < entries_min
            || (element_bytes % 8 != 0 && element_bytes != 4)
        {
            return Err(Error::Misuse(format!("the map {name} is not what it should be: {shape:?}")));
        }
        // In memory each element begins at a multiple of 8
        let element_bytes = element_bytes.next_multiple_of(8);
        let bytes = entries * element_bytes;
        let length = bytes.next_multiple_of(page_bytes());
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(memory.cast::<u8>()) {
            Some(found) if memory != libc::MAP_FAILED => {
                Ok(Mapped { memory: found, length, bytes, element_bytes })
            }
            _ => Err(Error::kernel(format!("map {name} into memory"), io::Error::last_os_error())),
        }
    }

    /// Elements of it.
    pub fn entries(&self) -> usize {
        self.bytes / self.element_bytes
    }

    /// All of it. A program may write to it meanwhile only where it is documented to.
    pub fn slice<T: Pod>(&self) -> &[T] {
        // SAFETY: the mapping is page aligned, lives as long as self, and every byte pattern is a T.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<T>(), self.bytes / size_of::<T>()) }
    }

    /// All of it, to write to: the idle copy only.
    pub fn slice_mut<T: Pod>(&mut self) -> &mut [T] {
        // SAFETY: as slice(); nobody in this process has another view while self is borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_ptr().cast::<T>(), self.bytes / size_of::<T>())
        }
    }

    /// As words that are read and written whole.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: aligned, and atomics may be shared with the kernel.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), self.bytes / 8) }
    }

    /// As half words that are read and written whole.
    pub fn half_words(&self) -> &[AtomicU32] {
        // SAFETY: as words().
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU32>(), self.bytes / 4) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: our mapping, and no view outlives self.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.length) };
    }
}

/// Opens the map of that name among a gateway's descriptors.
pub fn of_fds<F: AsFd>(
    fds: &std::collections::BTreeMap<String, F>,
    name: &str,
    element_bytes: usize,
    entries_min: usize,
) -> Result<Mapped> {
    let fd =
        fds.get(name).ok_or_else(|| Error::Misuse(format!("the map {name} is not among the descriptors")))?;
    Mapped::open(fd.as_fd(), name, element_bytes, entries_min)
}

fn page_bytes() -> usize {
    // SAFETY: asks for a constant.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}
