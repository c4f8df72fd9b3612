//! struct control: the word that publishes a base, and what a person may turn at once. Each field is written whole, by
//! itself, while programs read it.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::abi;
use crate::error::{Error, Result};
use crate::kernel;
use crate::mapped::{of_fds, Mapped};

/// The map of that name.
#[derive(Debug)]
pub struct Control(Mapped);

impl Control {
    /// From a gateway's descriptors.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<Self> {
        let control = Control(of_fds(fds, "control", size_of::<abi::Control>(), 1)?);
        // The accessors below index what is known to be there from here on
        if control.0.words().len() * 8 < size_of::<abi::Control>() {
            return Err(Error::Misuse("the map control is too small".to_owned()));
        }
        Ok(control)
    }

    /// One that an older version pinned: fields were only ever put behind those that were there.
    pub fn open_older(fd: BorrowedFd<'_>) -> Result<Self> {
        let bytes = kernel::map_shape(fd)?.value_bytes as usize;
        if bytes < offset_of!(abi::Control, names_active) {
            return Err(Error::Misuse(format!("a map control of {bytes} bytes")));
        }
        Ok(Control(Mapped::open(fd, "control", bytes, 1)?))
    }

    fn half_word(&self, offset: usize) -> &AtomicU32 {
        &self.0.half_words()[offset / 4]
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.0.words()[offset / 8]
    }

    /// Which copy is live.
    pub fn epoch(&self) -> u32 {
        self.half_word(offset_of!(abi::Control, epoch)).load(Ordering::Acquire)
    }

    /// Publishes everything that was written before.
    pub fn next_epoch(&self) -> u32 {
        let next = self.epoch().wrapping_add(1);
        self.set_epoch(next);
        next
    }

    /// For maps made anew, before any program reads them.
    pub fn set_epoch(&self, epoch: u32) {
        self.half_word(offset_of!(abi::Control, epoch)).store(epoch, Ordering::Release);
    }

    /// What marks a probe; 0: no probes.
    pub fn probe_nonce(&self) -> u32 {
        self.half_word(offset_of!(abi::Control, probe_nonce)).load(Ordering::Relaxed)
    }

    /// See probe_nonce().
    pub fn set_probe_nonce(&self, nonce: u32) {
        self.half_word(offset_of!(abi::Control, probe_nonce)).store(nonce, Ordering::Relaxed);
    }

    /// Boot clock; 0: no bypass.
    pub fn bypass_until_ns(&self) -> u64 {
        self.word(offset_of!(abi::Control, bypass_until_ns)).load(Ordering::Relaxed)
    }

    /// See bypass_until_ns().
    pub fn set_bypass_until_ns(&self, boot_ns: u64) {
        self.word(offset_of!(abi::Control, bypass_until_ns)).store(boot_ns, Ordering::Relaxed);
    }

    /// Whether the name step is taken; not in one that is older than this switch.
    pub fn names_active(&self) -> bool {
        let switch = self.0.half_words().get(offset_of!(abi::Control, names_active) / 4);
        switch.is_some_and(|switch| switch.load(Ordering::Relaxed) != 0)
    }

    /// Names are read, or not, from the next packet on.
    pub fn set_names_active(&self, active: bool) {
        self.half_word(offset_of!(abi::Control, names_active)).store(active.into(), Ordering::SeqCst);
    }

    /// Boot clock of the daemon's last turn.
    pub fn heartbeat_ns(&self) -> u64 {
        self.word(offset_of!(abi::Control, heartbeat_ns)).load(Ordering::Relaxed)
    }

    /// See heartbeat_ns().
    pub fn beat(&self, boot_ns: u64) {
        self.word(offset_of!(abi::Control, heartbeat_ns)).store(boot_ns, Ordering::Relaxed);
    }
}
