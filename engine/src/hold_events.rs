//! What the hold loop tells of refusals: a queue that never makes it wait. What does not fit is counted and gone.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use clearway_inspector::name_set::Scope;
use clearway_inspector::observation::Protocol;

use crate::abi::FlowKey;
use crate::hold_rules::Told;

/// Refusals that wait for their reader: about 300 bytes each.
const WAITING_MAX: usize = 1024;

/// Address as IPv6 (IPv4 mapped), and port.
pub type End = ([u8; 16], u16);

/// A flow or query that was refused. Holds the name that matched, never one that did not.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When.
    pub boot_ns: u64,
    /// Where the name was read.
    pub protocol: Protocol,
    /// The name.
    pub name: String,
    /// The entry's name.
    pub entry: String,
    /// What the entry covers.
    pub scope: Scope,
    /// Number of the list in the snapshot; None: by a person.
    pub list: Option<u16>,
    /// The rule.
    pub told: Told,
    /// Client's end.
    pub client: End,
    /// Server's end.
    pub server: End,
    /// IP protocol.
    pub transport: u8,
    /// enum direction of the client's packets.
    pub direction: u32,
    /// What the client was answered with; empty: nothing.
    pub answered: &'static str,
    /// Only would have been refused.
    pub observed: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Refusals {
    waiting: Mutex<VecDeque<Refused>>,
    some: Condvar,
}

impl Refusals {
    /// Adds one; false: there is no room.
    pub fn put(&self, refused: Refused) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX {
            return false;
        }
        waiting.push_back(refused);
        drop(waiting);
        self.some.notify_one();
        true
    }

    /// All that wait; for the first of them at most that long.
    pub fn take(&self, patience: Duration) -> Vec<Refused> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.some.wait_timeout_while(waiting, patience, |waiting| waiting.is_empty());
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).collect()
    }
}

/// The key that the programs have for a flow: the lower end first.
pub fn key_of(one: End, other: End, transport: u8) -> FlowKey {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    FlowKey {
        low: crate::abi::Address { octet: low.0 },
        high: crate::abi::Address { octet: high.0 },
        low_port: low.1,
        high_port: high.1,
        protocol: transport,
        unused: [0; 3],
    }
}
