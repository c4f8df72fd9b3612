//! struct hold_control as the daemon writes it: what is done where nobody can look, and the key of what the programs
//! hash. Whether names are read at all stands in struct control. The inspector's half is in hold_tables.rs. Each field
//! is written whole, by itself, while programs read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use clearway_inspector::name_hash::Keys;
use libbpf_sys as sys;

use crate::abi::{self, limit};
use crate::error::{Error, Result};
use crate::mapped::{of_fds, Mapped};

/// The map of that name.
#[derive(Debug)]
pub struct HoldControl(Mapped);

/// What stands there, for whoever looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldState {
    /// What can't be held is dropped.
    pub closed: bool,
    /// Names blocked one by one: keys.
    pub overlay_names: u32,
    /// Packets that went to the TAPs.
    pub held_total: u64,
    /// Packets that left them.
    pub released_total: u64,
    /// Flows that the inspector has.
    pub live: u32,
    /// Boot clock.
    pub heartbeat_ns: u64,
    /// By enum direction; 0: none.
    pub tap_ifindex: [u32; 2],
}

impl HoldControl {
    /// From a gateway's descriptors.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<Self> {
        let control = HoldControl(of_fds(fds, "hold_control", size_of::<abi::HoldControl>(), 1)?);
        // The accessors below index what is known to be there from here on
        if control.0.words().len() * 8 < size_of::<abi::HoldControl>() {
            return Err(Error::Misuse("the map hold_control is too small".to_owned()));
        }
        Ok(control)
    }

    fn half_word(&self, offset: usize) -> &AtomicU32 {
        &self.0.half_words()[offset / 4]
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.0.words()[offset / 8]
    }

    /// The failure policy.
    pub fn set_closed(&self, closed: bool) {
        self.half_word(offset_of!(abi::HoldControl, closed)).store(closed.into(), Ordering::SeqCst);
    }

    /// 0: overlay_names is not asked.
    pub fn set_overlay_names(&self, keys: u32) {
        self.half_word(offset_of!(abi::HoldControl, overlay_names)).store(keys, Ordering::SeqCst);
    }

    /// Where packets of each direction wait.
    pub fn set_taps(&self, ifindex: [u32; 2]) {
        let first = offset_of!(abi::HoldControl, tap_ifindex);
        for (n, ifindex) in ifindex.into_iter().enumerate() {
            self.half_word(first + 4 * n).store(ifindex, Ordering::SeqCst);
        }
    }

    /// Of overlay_names.
    pub fn keys(&self) -> Keys {
        let of = |offset| self.word(offset).load(Ordering::Relaxed);
        Keys {
            k0: of(offset_of!(abi::HoldControl, flow_key0)),
            k1: of(offset_of!(abi::HoldControl, flow_key1)),
        }
    }

    /// All of it.
    pub fn state(&self) -> HoldState {
        let half = |offset| self.half_word(offset).load(Ordering::Relaxed);
        let whole = |offset| self.word(offset).load(Ordering::Relaxed);
        let taps = offset_of!(abi::HoldControl, tap_ifindex);
        HoldState {
            closed: half(offset_of!(abi::HoldControl, closed)) != 0,
            overlay_names: half(offset_of!(abi::HoldControl, overlay_names)),
            held_total: whole(offset_of!(abi::HoldControl, held_total)),
            released_total: whole(offset_of!(abi::HoldControl, released_total)),
            live: half(offset_of!(abi::HoldControl, live)),
            heartbeat_ns: whole(offset_of!(abi::HoldControl, heartbeat_ns)),
            tap_ifindex: [half(taps), half(taps + 4)],
        }
    }
}

/// What maps of held flows that were made anew begin with: a key that nobody knows, and every slot free.
pub fn begin(maps: &BTreeMap<String, OwnedFd>) -> Result<()> {
    let control = HoldControl::open(maps)?;
    let mut random = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.map_err(|error| Error::kernel("give a random number", error))?;
    let [first, second] = bytemuck::cast::<[u8; 16], [u64; 2]>(random);
    control.word(offset_of!(abi::HoldControl, flow_key0)).store(first, Ordering::Relaxed);
    control.word(offset_of!(abi::HoldControl, flow_key1)).store(second, Ordering::Relaxed);
    let free = maps
        .get("free_slots")
        .ok_or_else(|| Error::Misuse("the programs have no map free_slots".to_owned()))?;
    (0..limit::HELD_FLOWS_MAX).try_for_each(|slot| push(free, slot))
}

fn push(queue: &OwnedFd, slot: u32) -> Result<()> {
    let value: *const u32 = &slot;
    // SAFETY: a queue has no key, and its values have four bytes: abi.h says so of free_slots.
    let returned = unsafe { sys::bpf_map_update_elem(queue.as_raw_fd(), std::ptr::null(), value.cast(), 0) };
    if returned < 0 {
        return Err(Error::kernel("fill the map free_slots", io::Error::from_raw_os_error(-returned)));
    }
    Ok(())
}
