//! What is kept of all flows that are read, in bytes, and whose is given back when that is too much: a sum and an order
//! by age, so that a packet costs no look at all flows. Pure. Called by hold_flows.rs alone.

use std::collections::BTreeSet;

use crate::abi::limit;
use crate::hold_live::{KeyBytes, Live};

/// What all flows together may keep in memory: half of the free memory that `doctor` asks for. One flow may keep
/// FLOW_BYTES_MAX and its opening, and a SYN with one byte far behind it costs its sender nothing.
pub const READING_BYTES_MAX: usize = 128 << 20;
/// Its part for each flow, if there are as many as there can be: 8 KiB. A browser's hello in pieces takes some 4 KiB.
/// Only flows above it are given up, since what the others hold always has room: a flood of large ones doesn't push them
/// out, least of all connections of DNS, which are long in use and hold next to nothing.
pub const SHARE_BYTES: usize = READING_BYTES_MAX / limit::HELD_FLOWS_MAX as usize;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Memory {
    bytes: usize,
    /// Flows above SHARE_BYTES, by the time since when they are read.
    heavy: BTreeSet<(u64, KeyBytes)>,
}

impl Memory {
    /// Looks what a flow keeps now.
    pub fn weigh(&mut self, key: &KeyBytes, live: &mut Live) {
        let (before, after) = (live.weighed_bytes, live.memory_bytes());
        live.weighed_bytes = after;
        self.change(key, live.since_ns, before, after);
    }

    /// It is known no longer.
    pub fn forget(&mut self, key: &KeyBytes, live: &Live) {
        self.change(key, live.since_ns, live.weighed_bytes, 0);
    }

    /// Of all flows.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Too much is kept: whose is to be given back, of those above their share the one that has been read for longest.
    pub fn to_give_back(&self) -> Option<KeyBytes> {
        (self.bytes > READING_BYTES_MAX).then(|| self.heavy.first().map(|(_, key)| *key)).flatten()
    }

    fn change(&mut self, key: &KeyBytes, since_ns: u64, before: usize, after: usize) {
        self.bytes = self.bytes.saturating_sub(before) + after;
        match (before > SHARE_BYTES, after > SHARE_BYTES) {
            (false, true) => self.heavy.insert((since_ns, *key)),
            (true, false) => self.heavy.remove(&(since_ns, *key)),
            _ => return,
        };
    }
}
