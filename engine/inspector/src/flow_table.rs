//! Flows by their ends, a bounded number of them; whoever has been quiet for longest makes room.
//!
//! A clock, not a list: each entry has a bit that its packets set, a hand goes round, clears bits and takes the first
//! entry without one. Hashed with keys drawn at random, since a capture may have been made to collide.

use std::collections::hash_map::{Entry as Found, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use crate::flow::Transport;
use crate::frame::Packet;

/// Both ends of a flow, in an order that does not depend on who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The end that compares lower.
    pub lower: IpAddr,
    /// The other.
    pub higher: IpAddr,
    /// Port of the lower end.
    pub lower_port: u16,
    /// Port of the higher end.
    pub higher_port: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

impl FlowKey {
    /// The flow of a packet; true if its lower end sent it.
    #[inline]
    pub fn of(packet: &Packet<'_>) -> (FlowKey, bool) {
        let source = (packet.source, packet.source_port);
        let destination = (packet.destination, packet.destination_port);
        let from_lower = source <= destination;
        let (lower, higher) = if from_lower { (source, destination) } else { (destination, source) };
        let key = FlowKey {
            lower: lower.0,
            higher: higher.0,
            lower_port: lower.1,
            higher_port: higher.1,
            transport: packet.transport,
        };
        (key, from_lower)
    }
}

/// Entries by flow.
pub struct FlowTable<T> {
    index: HashMap<FlowKey, u32, Keyed>,
    slots: Vec<Slot<T>>,
    hand: usize,
    slots_max: usize,
}

struct Slot<T> {
    key: FlowKey,
    busy: bool,
    entry: T,
}

impl<T: Default> FlowTable<T> {
    /// Empty; memory comes with the flows.
    pub fn new(slots_max: usize) -> FlowTable<T> {
        FlowTable { index: HashMap::with_hasher(Keyed::drawn()), slots: Vec::new(), hand: 0, slots_max }
    }

    /// The entry of a flow, and the one that had to make room for it.
    #[allow(clippy::indexing_slicing)] // the index names slots of this table and nothing else
    pub fn entry(&mut self, key: FlowKey) -> (&mut T, Option<(FlowKey, T)>) {
        if let Some(&at) = self.index.get(&key) {
            let slot = &mut self.slots[at as usize];
            slot.busy = true;
            return (&mut slot.entry, None);
        }
        let fresh = Slot { key, busy: false, entry: T::default() };
        if self.slots.len() < self.slots_max {
            let at = self.slots.len();
            self.slots.push(fresh);
            self.index.insert(key, at as u32);
            return (&mut self.slots[at].entry, None);
        }
        self.turn();
        let at = self.hand;
        self.hand += 1;
        let old = std::mem::replace(&mut self.slots[at], fresh);
        self.index.remove(&old.key);
        self.index.insert(key, at as u32);
        (&mut self.slots[at].entry, Some((old.key, old.entry)))
    }

    /// Takes out the entry that the hand finds quiet.
    pub fn take_quiet(&mut self) -> Option<(FlowKey, T)> {
        self.turn();
        (self.hand < self.slots.len()).then(|| self.take_at(self.hand))
    }

    /// Moves the hand on to the next entry without its bit, and clears those that it passes.
    fn turn(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let passed = self.slots.get_mut(self.hand).is_some_and(|slot| std::mem::take(&mut slot.busy));
            if !passed {
                return;
            }
            self.hand += 1;
        }
    }

    /// Takes out the entry that came last; all of them, one by one.
    pub fn take_one(&mut self) -> Option<(FlowKey, T)> {
        let slot = self.slots.pop()?;
        self.index.remove(&slot.key);
        Some((slot.key, slot.entry))
    }

    /// The last slot moves into the place that becomes free.
    fn take_at(&mut self, at: usize) -> (FlowKey, T) {
        let taken = self.slots.swap_remove(at);
        self.index.remove(&taken.key);
        if let Some(moved) = self.slots.get(at) {
            if let Found::Occupied(mut place) = self.index.entry(moved.key) {
                place.insert(at as u32);
            }
        }
        (taken.key, taken.entry)
    }
}

/// Folded multiplication under two random keys.
#[derive(Clone, Copy)]
pub struct Keyed {
    start: u64,
    factor: u64,
}

impl Keyed {
    /// With keys of its own.
    pub fn drawn() -> Keyed {
        let random = RandomState::new();
        Keyed { start: random.hash_one(1), factor: random.hash_one(2) | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { state: self.start, factor: self.factor }
    }
}

/// A hash on its way.
pub struct Folded {
    state: u64,
    factor: u64,
}

impl Folded {
    #[inline]
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Folded {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.fold(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.fold(word.into());
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.fold(word.into());
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    #[inline]
    fn write_isize(&mut self, word: isize) {
        self.fold(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> FlowKey {
        let end = IpAddr::from([192, 0, 2, 1]);
        FlowKey { lower: end, higher: end, lower_port: 1, higher_port: port, transport: Transport::Udp }
    }

    #[test]
    fn the_quiet_make_room_and_the_busy_stay() {
        let mut table: FlowTable<u32> = FlowTable::new(3);
        for port in [1, 2, 3] {
            *table.entry(key(port)).0 = port.into();
        }
        table.entry(key(1));
        let (_, evicted) = table.entry(key(4));
        assert_eq!(evicted, Some((key(2), 2)));
        assert_eq!(*table.entry(key(1)).0, 1);
        assert_eq!(*table.entry(key(3)).0, 3);
        assert_eq!(table.slots.len(), 3);
    }

    #[test]
    fn ends_all_of_them_one_by_one() {
        let mut table: FlowTable<u32> = FlowTable::new(100);
        (0..50).for_each(|port| *table.entry(key(port)).0 = port.into());
        assert_eq!(std::iter::from_fn(|| table.take_one()).count(), 50);
        assert!(table.index.is_empty());
    }
}
