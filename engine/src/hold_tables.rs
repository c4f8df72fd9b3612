//! What programs and inspector share, as the inspector writes it: the heartbeat, a slot a held flow, which flow has
//! which slot, what is free, what is counted. By descriptors; needs no capability. One inspector at a time.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libbpf_sys as sys;

use crate::abi::{self, hold_state, limit, FlowKey, HeldFlow};
use crate::error::{Error, Result};
use crate::kernel::{self, Keyed};
use crate::mapped::{of_fds, Mapped};

/// An element of held_marks has 4 bytes, and takes 8.
const HALF_WORDS_A_MARK: usize = 2;

/// See the file's head.
#[derive(Debug)]
pub struct HoldTables {
    control: Mapped,
    slots: Mapped,
    marks: Mapped,
    counts: Mapped,
    flows: Keyed<FlowKey, HeldFlow>,
    free: OwnedFd,
}

/// One flow's slot. Every field is read and written whole, by itself.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    words: &'a [AtomicU32],
}

impl HoldTables {
    /// Of a gateway's descriptors.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<Self> {
        let of = |name: &str| fds.get(name).ok_or_else(|| Error::Misuse(format!("no map {name} was given")));
        Ok(HoldTables {
            control: of_fds(fds, "hold_control", size_of::<abi::HoldControl>(), 1)?,
            slots: of_fds(fds, "hold_slots", size_of::<abi::HoldSlot>(), limit::HELD_FLOWS_MAX as usize)?,
            marks: of_fds(fds, "held_marks", size_of::<u32>(), limit::HELD_MARKS as usize)?,
            counts: of_fds(fds, "inspector_counts", 8, limit::INSPECTOR_COUNTS as usize)?,
            flows: Keyed::new(kernel::duplicate(of("held_flows")?.as_fd())?, "held_flows")?,
            free: kernel::duplicate(of("free_slots")?.as_fd())?,
        })
    }

    /// The programs hold nothing unless this was called within the last HEARTBEAT_STALE_MS. 0: the inspector ends.
    pub fn beat(&self, boot_ns: u64) {
        self.control_word(offset_of!(abi::HoldControl, heartbeat_ns)).store(boot_ns, Ordering::Release);
    }

    /// When it was last called.
    pub fn heartbeat_ns(&self) -> u64 {
        self.control_word(offset_of!(abi::HoldControl, heartbeat_ns)).load(Ordering::Acquire)
    }

    /// Packets that the programs put into the TAPs.
    pub fn held_total(&self) -> u64 {
        self.control_word(offset_of!(abi::HoldControl, held_total)).load(Ordering::Acquire)
    }

    /// Packets that have left them.
    pub fn released_total(&self) -> &AtomicU64 {
        self.control_word(offset_of!(abi::HoldControl, released_total))
    }

    /// Flows with an entry, for whoever looks.
    pub fn tell_live(&self, flows: usize) {
        self.control_half(offset_of!(abi::HoldControl, live)).store(flows as u32, Ordering::Relaxed);
    }

    /// See tell_live().
    pub fn live(&self) -> u32 {
        self.control_half(offset_of!(abi::HoldControl, live)).load(Ordering::Relaxed)
    }

    fn control_half(&self, offset: usize) -> &AtomicU32 {
        &self.control.half_words()[offset / 4]
    }

    fn control_word(&self, offset: usize) -> &AtomicU64 {
        &self.control.words()[offset / 8]
    }

    /// The slot of that number; None: there is none.
    pub fn slot(&self, number: u32) -> Option<Slot<'_>> {
        const WORDS: usize = size_of::<abi::HoldSlot>() / 4;
        let first = number as usize * WORDS;
        self.slots.half_words().get(first..first + WORDS).map(|words| Slot { words })
    }

    /// The entry of a flow.
    pub fn find(&self, key: &FlowKey) -> Result<Option<HeldFlow>> {
        self.flows.get(key)
    }

    /// Every entry there is.
    pub fn all(&self) -> Result<Vec<(FlowKey, HeldFlow)>> {
        self.flows.read_all()
    }

    /// Takes a flow's entry away: from here on its packets are those of a flow that is not held.
    pub fn forget(&self, key: &FlowKey, slot: Slot<'_>) -> Result<()> {
        if self.flows.remove(key)? {
            if let Some(mark) = self.marks.half_words().get(HALF_WORDS_A_MARK * slot.mark() as usize) {
                mark.fetch_sub(1, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Gives a slot back, a grace period after its entry was taken away and when nothing of it is in a TAP.
    pub fn give_back(&self, number: u32) -> Result<()> {
        if let Some(slot) = self.slot(number) {
            slot.set_state(hold_state::FREE);
        }
        let value: *const u32 = &number;
        // SAFETY: a queue has no key, and values of four bytes, which open() has checked.
        let refused =
            unsafe { sys::bpf_map_update_elem(self.free.as_raw_fd(), std::ptr::null(), value.cast(), 0) };
        // Of a full queue: it is in there already
        if refused != 0 && refused != -libc::E2BIG {
            let error = std::io::Error::from_raw_os_error(-refused);
            return Err(Error::kernel("give a slot back to the map free_slots", error));
        }
        Ok(())
    }

    /// Slots that nobody owns although they are not free: their inspector died between an entry's end and its return.
    pub fn abandoned(&self, owned: &std::collections::HashSet<u32>) -> Vec<u32> {
        let all = (0..limit::HELD_FLOWS_MAX).filter(|number| !owned.contains(number));
        all.filter(|number| self.slot(*number).is_some_and(|slot| slot.state() != hold_state::FREE)).collect()
    }

    /// A counter as it stands.
    pub fn counted(&self, index: u32) -> u64 {
        self.counts.words().get(index as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Raises a counter (enum inspector_count, or protocol and class).
    pub fn count(&self, index: u32, by: u64) {
        if let Some(counter) = self.counts.words().get(index as usize) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        }
    }
}

impl Slot<'_> {
    fn half_word(&self, offset: usize) -> &AtomicU32 {
        &self.words[offset / 4]
    }

    /// enum hold_state
    pub fn state(&self) -> u32 {
        self.half_word(offset_of!(abi::HoldSlot, state)).load(Ordering::Acquire)
    }

    /// What was written to the slot before is seen by who sees this.
    pub fn set_state(&self, state: u32) {
        self.half_word(offset_of!(abi::HoldSlot, state)).store(state, Ordering::Release);
    }

    /// Raised by the program each time it takes the slot.
    pub fn generation(&self) -> u32 {
        self.half_word(offset_of!(abi::HoldSlot, generation)).load(Ordering::Acquire)
    }

    /// Packets of a direction that went into its TAP.
    pub fn held(&self, direction: usize) -> u32 {
        self.half_word(offset_of!(abi::HoldSlot, held) + 4 * direction).load(Ordering::Acquire)
    }

    /// Packets of a direction that left it.
    pub fn released(&self, direction: usize) -> &AtomicU32 {
        self.half_word(offset_of!(abi::HoldSlot, released) + 4 * direction)
    }

    /// Is nothing of it in a TAP?
    pub fn is_equal(&self) -> bool {
        (0..2).all(|direction| self.held(direction) == self.released(direction).load(Ordering::Acquire))
    }

    /// Boot clock, of a refused flow. Before its state is set.
    pub fn set_refused_until(&self, boot_ns: u64, reason: u32) {
        let at = offset_of!(abi::HoldSlot, until_ns);
        // Two halves: nobody compares before the state says so
        self.half_word(at).store(boot_ns as u32, Ordering::Relaxed);
        self.half_word(at + 4).store((boot_ns >> 32) as u32, Ordering::Relaxed);
        self.half_word(offset_of!(abi::HoldSlot, reason)).store(reason, Ordering::Relaxed);
    }

    /// See set_refused_until().
    pub fn refused_until_ns(&self) -> u64 {
        self.long(offset_of!(abi::HoldSlot, until_ns))
    }

    /// Boot clock of the first packet that was held.
    pub fn born_ns(&self) -> u64 {
        self.long(offset_of!(abi::HoldSlot, born_ns))
    }

    /// Sequence number of the client's first byte, where its SYN was seen.
    pub fn start(&self) -> Option<u32> {
        let read = |offset| self.half_word(offset).load(Ordering::Relaxed);
        (read(offset_of!(abi::HoldSlot, start_known)) != 0).then(|| read(offset_of!(abi::HoldSlot, start)))
    }

    /// Its counter in held_marks.
    fn mark(&self) -> u32 {
        self.half_word(offset_of!(abi::HoldSlot, mark)).load(Ordering::Relaxed)
    }

    fn long(&self, offset: usize) -> u64 {
        let half = |offset| u64::from(self.half_word(offset).load(Ordering::Relaxed));
        half(offset) | half(offset + 4) << 32
    }
}
