//! bpf(2) on descriptors, as safe calls: maps by key, links, pins. No state, no policy.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytemuck::Pod;
use libbpf_sys as sys;

use crate::error::{Error, Result};

/// What the kernel says of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// BPF_MAP_TYPE_…
    pub map_type: u32,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Elements.
    pub entries: u32,
    /// BPF_F_…
    pub flags: u32,
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Of the link.
    pub id: u32,
    /// Of its program.
    pub program_id: u32,
    /// 0: the port is gone.
    pub ifindex: u32,
}

/// libbpf's convention: a negative errno, or what was asked for.
fn answer(returned: i32) -> io::Result<i32> {
    if returned < 0 {
        return Err(io::Error::from_raw_os_error(-returned));
    }
    Ok(returned)
}

fn owned(returned: i32) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that the kernel has just made for us.
    answer(returned).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::pins(path, "a path with a null byte"))
}

/// A descriptor of one's own for the same thing, closed at exec.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned().map_err(|error| Error::kernel("duplicate a descriptor", error))
}

/// Duplicates a descriptor that a caller named by its number.
pub fn duplicate_number(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::Misuse(format!("{fd} is no descriptor")));
    }
    // SAFETY: borrowed for the length of the call; a closed one is answered with EBADF.
    duplicate(unsafe { BorrowedFd::borrow_raw(fd) })
}

// ---- maps ----

/// Asks the kernel what a map is.
pub fn map_shape(map: BorrowedFd<'_>) -> Result<MapShape> {
    let mut info = sys::bpf_map_info::default();
    let mut length = size_u32::<sys::bpf_map_info>();
    // SAFETY: `info` has the length that is passed.
    let returned = unsafe { sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &mut info, &mut length) };
    answer(returned).map_err(|error| Error::kernel("describe a map", error))?;
    Ok(MapShape {
        map_type: info.type_,
        key_bytes: info.key_size,
        value_bytes: info.value_size,
        entries: info.max_entries,
        flags: info.map_flags,
    })
}

/// A typed view on a map whose key and value sizes were checked.
#[derive(Debug)]
pub struct Keyed<K, V> {
    fd: OwnedFd,
    name: String,
    entries: u32,
    types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K: Pod, V: Pod> Keyed<K, V> {
    /// `name` is for messages.
    pub fn new(fd: OwnedFd, name: &str) -> Result<Self> {
        use std::os::fd::AsFd;
        let shape = map_shape(fd.as_fd())?;
        if shape.key_bytes != size_u32::<K>() || shape.value_bytes != size_u32::<V>() {
            return Err(Error::Misuse(format!("the map {name} has another key or value: {shape:?}")));
        }
        Ok(Keyed { fd, name: name.to_owned(), entries: shape.entries, types: std::marker::PhantomData })
    }

    /// Writes one entry, new or not.
    pub fn put(&self, key: &K, value: &V) -> Result<()> {
        self.try_put(key, value)
            .map_err(|error| Error::kernel(format!("write to the map {}", self.name), error))
    }

    fn try_put(&self, key: &K, value: &V) -> io::Result<()> {
        let (key, value): (*const K, *const V) = (key, value);
        // SAFETY: sizes of key and value were compared with the map's.
        answer(unsafe { sys::bpf_map_update_elem(self.fd.as_raw_fd(), key.cast(), value.cast(), 0) })
            .map(|_| ())
    }

    /// Removes one entry; false: it was not there.
    pub fn remove(&self, key: &K) -> Result<bool> {
        let key: *const K = key;
        // SAFETY: as put().
        match answer(unsafe { sys::bpf_map_delete_elem(self.fd.as_raw_fd(), key.cast()) }) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(Error::kernel(format!("remove from the map {}", self.name), error)),
        }
    }

    /// One value.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        let mut value = V::zeroed();
        let (key, into): (*const K, *mut V) = (key, &mut value);
        // SAFETY: as put(); the value is written into memory of its size.
        match answer(unsafe { sys::bpf_map_lookup_elem(self.fd.as_raw_fd(), key.cast(), into.cast()) }) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(Error::kernel(format!("read the map {}", self.name), error)),
        }
    }

    /// Every entry of a hash or trie. What others write meanwhile may be missed or seen.
    pub fn read_all(&self) -> Result<Vec<(K, V)>> {
        let mut found = Vec::new();
        let mut batch = 1024_usize;
        // Where the kernel stopped: a bucket number for a hash, a key for a trie
        let (mut position, mut begun) = ([0u8; 64], false);
        loop {
            let mut keys = vec![K::zeroed(); batch];
            let mut values = vec![V::zeroed(); batch];
            let mut count = batch as u32;
            let mut next = [0u8; 64];
            // SAFETY: keys and values have room for `count` of the map's size each; 64 bytes hold every position.
            let returned = answer(unsafe {
                sys::bpf_map_lookup_batch(
                    self.fd.as_raw_fd(),
                    if begun { position.as_mut_ptr().cast() } else { std::ptr::null_mut() },
                    next.as_mut_ptr().cast(),
                    keys.as_mut_ptr().cast(),
                    values.as_mut_ptr().cast(),
                    &mut count,
                    std::ptr::null(),
                )
            });
            let last = match returned {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // A bucket holds more than the batch
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && batch < 1 << 20 => {
                    batch *= 4;
                    continue;
                }
                Err(error) => return Err(Error::kernel(format!("read the map {}", self.name), error)),
            };
            found.extend(keys.into_iter().zip(values).take(count as usize));
            if last || found.len() > 2 * self.entries as usize {
                return Ok(found);
            }
            (position, begun) = (next, true);
        }
    }
}

/// Values of one element of a per-CPU map, a possible CPU each.
pub fn per_cpu<V: Pod>(map: BorrowedFd<'_>, key: u32, cpus: usize) -> Result<Vec<V>> {
    const { assert!(size_of::<V>() % 8 == 0, "the kernel rounds each CPU's value up to 8 bytes") };
    let mut values = vec![V::zeroed(); cpus];
    let key: *const u32 = &key;
    // SAFETY: one value a possible CPU, as the kernel writes them.
    answer(unsafe { sys::bpf_map_lookup_elem(map.as_raw_fd(), key.cast(), values.as_mut_ptr().cast()) })
        .map_err(|error| Error::kernel("read a counter", error))?;
    Ok(values)
}

/// CPUs that may ever come: what per-CPU maps have values for.
pub fn possible_cpus() -> Result<usize> {
    // SAFETY: no arguments.
    let cpus = answer(unsafe { sys::libbpf_num_possible_cpus() })
        .map_err(|error| Error::kernel("count the CPUs", error))?;
    Ok(cpus.unsigned_abs() as usize)
}

/// Does this kernel bound a program's loops by itself (may_goto, Linux 6.9)?
pub fn may_loop() -> bool {
    let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") else { return false };
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map(|digits| digits.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 9),
        _ => false,
    }
}

// ---- pins ----

/// Opens what is pinned there; None: nothing is.
pub fn open_pin(path: &Path) -> Result<Option<OwnedFd>> {
    let c = c_path(path)?;
    // SAFETY: a C string.
    match owned(unsafe { sys::bpf_obj_get(c.as_ptr()) }) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(Error::pins(path, format!("cannot be opened: {error}"))),
    }
}

/// Pins, in the place of what was pinned there before; at every moment one of the two is.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("-new");
    let fresh = path.with_file_name(name);
    // Left by a process that was killed here
    let _ = std::fs::remove_file(&fresh);
    let c = c_path(&fresh)?;
    // SAFETY: a C string.
    answer(unsafe { sys::bpf_obj_pin(fd.as_raw_fd(), c.as_ptr()) })
        .map_err(|error| Error::pins(path, format!("cannot be pinned: {error}")))?;
    std::fs::rename(&fresh, path).map_err(|error| Error::pins(path, format!("cannot be renamed: {error}")))
}

// ---- links ----

/// A new link. `hook`: BPF_TCX_INGRESS or BPF_XDP.
pub fn link_create(program: BorrowedFd<'_>, ifindex: u32, hook: u32) -> Result<OwnedFd> {
    let options =
        sys::bpf_link_create_opts { sz: size_of::<sys::bpf_link_create_opts>() as u64, ..Default::default() };
    // SAFETY: the options live through the call.
    owned(unsafe { sys::bpf_link_create(program.as_raw_fd(), ifindex as i32, hook, &options) })
        .map_err(|error| Error::kernel(format!("attach a program to the port with ifindex {ifindex}"), error))
}

/// Puts another program behind a link, in one step.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no options.
    answer(unsafe { sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) })
        .map(|_| ())
        .map_err(|error| Error::kernel("put the new program behind a link", error))
}

/// What a TCX or XDP link is on.
pub fn link_info(link: BorrowedFd<'_>) -> Result<LinkInfo> {
    let mut info = sys::bpf_link_info::default();
    let mut length = size_u32::<sys::bpf_link_info>();
    // SAFETY: `info` has the length that is passed.
    let returned = unsafe { sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut length) };
    answer(returned).map_err(|error| Error::kernel("describe a link", error))?;
    let ifindex = match info.type_ {
        // SAFETY: the type says which member was written.
        sys::BPF_LINK_TYPE_TCX => unsafe { info.__bindgen_anon_1.tcx.ifindex },
        // SAFETY: as above.
        sys::BPF_LINK_TYPE_XDP => unsafe { info.__bindgen_anon_1.xdp.ifindex },
        other => return Err(Error::Misuse(format!("a link of type {other} is neither TCX nor XDP"))),
    };
    Ok(LinkInfo { id: info.id, program_id: info.prog_id, ifindex })
}

/// Takes a link off its port, whoever else holds it.
pub fn link_detach(link: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: a descriptor.
    answer(unsafe { sys::bpf_link_detach(link.as_raw_fd()) })
        .map(|_| ())
        .map_err(|error| Error::kernel("take a program off its port", error))
}

/// Ids of the TCX ingress links on a port of this network namespace.
pub fn tcx_link_ids(ifindex: u32) -> Result<Vec<u32>> {
    let (mut ids, mut programs) = ([0u32; 64], [0u32; 64]); // BPF_MPROG_MAX
    let mut options = sys::bpf_prog_query_opts {
        sz: size_of::<sys::bpf_prog_query_opts>() as u64,
        prog_ids: programs.as_mut_ptr(), // without them the kernel only counts
        link_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    options.__bindgen_anon_1.count = ids.len() as u32;
    // SAFETY: `ids` has room for the count that is passed.
    answer(unsafe { sys::bpf_prog_query_opts(ifindex as i32, sys::BPF_TCX_INGRESS, &mut options) }).map_err(
        |error| Error::kernel(format!("list the programs of the port with ifindex {ifindex}"), error),
    )?;
    // SAFETY: both members of the union are the same u32.
    let count = unsafe { options.__bindgen_anon_1.count } as usize;
    Ok(ids.iter().copied().take(count).filter(|id| *id != 0).collect())
}

/// Id of the XDP program on a port of this network namespace; 0: none.
pub fn xdp_program_id(ifindex: u32) -> Result<u32> {
    let mut id = 0;
    // SAFETY: writes one integer of ours.
    answer(unsafe { sys::bpf_xdp_query_id(ifindex as i32, 0, &mut id) }).map_err(|error| {
        Error::kernel(format!("name the XDP program of the port with ifindex {ifindex}"), error)
    })?;
    Ok(id)
}

/// One BPF_PROG_TEST_RUN.
pub fn test_run(program: BorrowedFd<'_>, options: &mut sys::bpf_test_run_opts) -> io::Result<()> {
    options.sz = size_of::<sys::bpf_test_run_opts>() as u64;
    // SAFETY: callers fill in pointers and lengths of buffers that live through the call.
    answer(unsafe { sys::bpf_prog_test_run_opts(program.as_raw_fd(), options) }).map(|_| ())
}

const fn size_u32<T>() -> u32 {
    size_of::<T>() as u32
}
