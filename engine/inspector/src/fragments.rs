//! IP packets put together from their fragments.
//!
//! The first copy of a byte wins. Bounded in packets, bytes and age; whoever is oldest makes room. Time is the caller's
//! (a capture's own), so nothing here waits. Called by `inspect`; the gateway itself never holds fragments.

use std::net::IpAddr;

use crate::frame::Fragment;

/// Packets of which some fragments have come. Each holds up to 64 KiB and 1 KiB of bits.
pub const PARTIAL_PACKETS_MAX: usize = 64;
/// Age at which a partial packet is given up, as Linux does (net.ipv4.ipfrag_time).
pub const PARTIAL_AGE_NS_MAX: u64 = 30_000_000_000;
/// IP's own bound on a packet's payload.
const PACKET_BYTES_MAX: usize = 65_535;

/// Partial packets, oldest first.
#[derive(Debug, Default)]
pub struct Fragments {
    partial: Vec<Partial>,
}

/// What identifies a packet: ends, protocol, identification.
type Key = (IpAddr, IpAddr, u8, u32);

#[derive(Debug)]
struct Partial {
    key: Key,
    born_ns: u64,
    bytes: Vec<u8>,
    /// A bit for each 8 bytes; fragments begin at multiples of 8 and all but the last end there.
    known: Vec<u64>,
    known_units: usize,
    total_bytes: Option<usize>,
}

impl Fragments {
    /// Adds a fragment; the packet's payload if that made it whole.
    pub fn push(&mut self, fragment: &Fragment<'_>, now_ns: u64) -> Option<Vec<u8>> {
        let end = fragment.offset + fragment.payload.len();
        let ragged = fragment.more && fragment.payload.len() % 8 != 0;
        if end > PACKET_BYTES_MAX || ragged || fragment.payload.is_empty() {
            return None; // no packet can hold it
        }
        self.partial.retain(|one| now_ns.saturating_sub(one.born_ns) <= PARTIAL_AGE_NS_MAX);
        let key = (fragment.source, fragment.destination, fragment.protocol, fragment.identification);
        let at = self.partial.iter().position(|one| one.key == key).unwrap_or_else(|| {
            if self.partial.len() == PARTIAL_PACKETS_MAX {
                self.partial.remove(0);
            }
            self.partial.push(Partial::new(key, now_ns));
            self.partial.len() - 1
        });
        let partial = self.partial.get_mut(at)?;
        partial.place(fragment);
        match partial.is_whole() {
            true => Some(self.partial.remove(at).whole()),
            false => None,
        }
    }
}

impl Partial {
    fn new(key: Key, born_ns: u64) -> Partial {
        Partial { key, born_ns, bytes: Vec::new(), known: Vec::new(), known_units: 0, total_bytes: None }
    }

    fn place(&mut self, fragment: &Fragment<'_>) {
        let end = fragment.offset + fragment.payload.len();
        if !fragment.more {
            self.total_bytes = self.total_bytes.or(Some(end));
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.known.resize(end.div_ceil(8).div_ceil(64), 0);
        }
        for (unit, part) in (fragment.offset / 8..).zip(fragment.payload.chunks(8)) {
            let Some(word) = self.known.get_mut(unit / 64) else { return };
            if *word >> (unit % 64) & 1 != 0 {
                continue;
            }
            *word |= 1 << (unit % 64);
            self.known_units += 1;
            if let Some(room) = self.bytes.get_mut(unit * 8..unit * 8 + part.len()) {
                room.copy_from_slice(part);
            }
        }
    }

    /// Every unit before the end is known. One beyond the end (fragments that contradict each other) keeps it from
    /// being whole by count alone, so the units are counted up to there.
    fn is_whole(&self) -> bool {
        let Some(total_bytes) = self.total_bytes else { return false };
        let units = total_bytes.div_ceil(8);
        self.known_units >= units
            && (0..units)
                .all(|unit| self.known.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 != 0))
    }

    fn whole(mut self) -> Vec<u8> {
        self.bytes.truncate(self.total_bytes.unwrap_or(0));
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(offset: usize, more: bool, payload: &[u8]) -> Fragment<'_> {
        let end = IpAddr::from([192, 0, 2, 1]);
        Fragment { source: end, destination: end, protocol: 17, identification: 7, offset, more, payload }
    }

    #[test]
    fn puts_a_packet_together_in_any_order_and_believes_the_first_copy() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.push(&fragment(16, false, b"xyz"), 0), None);
        assert_eq!(fragments.push(&fragment(8, true, b"BBBBBBBB"), 0), None);
        assert_eq!(fragments.push(&fragment(8, true, b"bbbbbbbb"), 0), None);
        let whole = fragments.push(&fragment(0, true, b"AAAAAAAA"), 0);
        assert_eq!(whole.as_deref(), Some(&b"AAAAAAAABBBBBBBBxyz"[..]));
        assert!(fragments.partial.is_empty());
    }

    #[test]
    fn gives_up_what_is_old_and_keeps_no_more_than_the_bound() {
        let mut fragments = Fragments::default();
        fragments.push(&fragment(0, true, b"AAAAAAAA"), 0);
        assert_eq!(fragments.push(&fragment(8, false, b"x"), PARTIAL_AGE_NS_MAX + 1), None);
        for identification in 0..1000 {
            fragments.push(&Fragment { identification, ..fragment(0, true, b"AAAAAAAA") }, 0);
        }
        assert_eq!(fragments.partial.len(), PARTIAL_PACKETS_MAX);
    }

    #[test]
    fn a_fragment_beyond_the_largest_packet_is_left_out() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.push(&fragment(65_528, false, b"12345678"), 0), None);
        assert!(fragments.partial.is_empty());
    }
}
