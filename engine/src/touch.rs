//! "Does any overlay or green entry touch this /24?": the bits in front of those maps, and how many entries want each.
//! Pure: overlay.rs writes them to the kernel.
//!
//! Families stand apart as the programs keep them apart: an entry inside ::ffff:0:0/96 is IPv4, any other IPv6, and one
//! of IPv6 that covers ::ffff:0:0/96 (::/0, say) touches no IPv4 address.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::abi::limit;
use crate::error::{Error, Result};
use crate::v6_bits::{self, Bits};

/// A prefix as the maps hold it: IPv4 mapped, its length 96 longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Big-endian bytes as a number; bits past the length are 0.
    pub address: u128,
    /// 0 to 128.
    pub length: u8,
}

impl Prefix {
    /// Refuses what is no prefix.
    pub fn new(address: &[u8], length: u32) -> Result<Self> {
        let octets = <[u8; 16]>::try_from(address)
            .map_err(|_| Error::Misuse(format!("an address has 16 bytes, not {}", address.len())))?;
        let address = u128::from_be_bytes(octets);
        let past = u128::MAX.checked_shr(length).unwrap_or(0);
        match u8::try_from(length) {
            Ok(length) if length <= 128 && address & past == 0 => Ok(Prefix { address, length }),
            Ok(length) if length <= 128 => {
                Err(Error::Misuse("bits past the prefix's length are not 0".to_owned()))
            }
            _ => Err(Error::Misuse(format!("a prefix is 0 to 128 bits long, not {length}"))),
        }
    }

    /// The /24s of an IPv4 prefix.
    pub fn v4_cells(self) -> Option<RangeInclusive<u32>> {
        if self.length < 96 || self.address >> 32 != 0xffff {
            return None;
        }
        let first = (self.address as u32) >> 8;
        let span = 1u32 << 24u32.saturating_sub(u32::from(self.length) - 96);
        Some(first..=first + (span - 1))
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.v4_cells() {
            Some(_) => write!(f, "{}/{}", std::net::Ipv4Addr::from(self.address as u32), self.length - 96),
            None => write!(f, "{}/{}", std::net::Ipv6Addr::from(self.address), self.length),
        }
    }
}

/// Bits that a change set or cleared, in the map that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// /24s, for touch_v4.
    V4(RangeInclusive<u32>),
    /// touch_v6.
    V6(RangeInclusive<u32>),
}

/// Words of touch_v4 that have a bit a /16. Behind them stands a bit a /24.
pub const V4_WIDE: usize = limit::V4_WIDE_WORDS as usize;
/// All words of touch_v4.
pub const V4_WORDS: usize = V4_WIDE + limit::V4_TOUCH_WORDS as usize;

/// How many entries want each bit.
#[derive(Clone, Debug, Default)]
pub struct Touches {
    /// Of prefixes of /24 and longer.
    v4_cells: HashMap<u32, u32>,
    /// Of shorter ones: up to 2^24 bits each, so they are kept as they are.
    v4_ranges: HashMap<(u32, u32), u32>,
    v6: HashMap<u32, u32>,
}

impl Touches {
    /// The bits that an entry needs; they are to be set before it is written.
    pub fn add(&mut self, prefix: Prefix) -> Touched {
        let touched = touched_by(prefix);
        match &touched {
            Touched::V4(cells) if cells.start() == cells.end() => {
                *self.v4_cells.entry(*cells.start()).or_default() += 1
            }
            Touched::V4(cells) => *self.v4_ranges.entry((*cells.start(), *cells.end())).or_default() += 1,
            Touched::V6(bits) => bits.clone().for_each(|bit| *self.v6.entry(bit).or_default() += 1),
        }
        touched
    }

    /// The bits that an entry which is gone touched. Which of them others still want, v4_word() and v6_word() say.
    pub fn remove(&mut self, prefix: Prefix) -> Touched {
        let touched = touched_by(prefix);
        match &touched {
            Touched::V4(cells) if cells.start() == cells.end() => {
                take_one(&mut self.v4_cells, *cells.start())
            }
            Touched::V4(cells) => take_one(&mut self.v4_ranges, (*cells.start(), *cells.end())),
            Touched::V6(bits) => bits.clone().for_each(|bit| take_one(&mut self.v6, bit)),
        }
        touched
    }

    /// Is this bit wanted?
    pub fn wants_v4(&self, cell: u32) -> bool {
        self.v4_cells.contains_key(&cell)
            || self.v4_ranges.keys().any(|(first, last)| (*first..=*last).contains(&cell))
    }

    /// Is this bit wanted?
    pub fn wants_v6(&self, bit: u32) -> bool {
        self.v6.contains_key(&bit)
    }

    /// All of touch_v4 as it should be.
    pub fn v4_words(&self) -> Vec<u64> {
        let mut words = vec![0; V4_WORDS];
        let (wide, fine) = words.split_at_mut(V4_WIDE);
        for (first, last) in self.v4_ranges.keys() {
            set_bits(wide, *first >> 8..=*last >> 8);
            set_bits(fine, *first..=*last);
        }
        for cell in self.v4_cells.keys() {
            set_bits(wide, *cell >> 8..=*cell >> 8);
            set_bits(fine, *cell..=*cell);
        }
        words
    }

    /// All of touch_v6 as it should be.
    pub fn v6_words(&self) -> Vec<u64> {
        let mut words = vec![0; (limit::V6_SHORT_WORDS + limit::V6_TOUCH_LONG_WORDS) as usize];
        for bit in self.v6.keys() {
            set_bits(&mut words, *bit..=*bit);
        }
        words
    }
}

fn touched_by(prefix: Prefix) -> Touched {
    if let Some(cells) = prefix.v4_cells() {
        return Touched::V4(cells);
    }
    match v6_bits::bits((prefix.address >> 64) as u64, prefix.length.into(), limit::V6_TOUCH_LONG_WORDS) {
        Bits::Short(bits) => Touched::V6(bits),
        Bits::Long(bit) => Touched::V6(v6_bits::SHORT_BITS + bit..=v6_bits::SHORT_BITS + bit),
    }
}

fn take_one<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// The bits of each word that lie in a range: word number, mask.
pub fn masks(bits: RangeInclusive<u32>) -> impl Iterator<Item = (usize, u64)> {
    let (first, last) = (*bits.start(), *bits.end());
    (first / 64..=last / 64).map(move |word| {
        let low = if word == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
        let high = if word == last / 64 { u64::MAX >> (63 - last % 64) } else { u64::MAX };
        (word as usize, low & high)
    })
}

fn set_bits(words: &mut [u64], bits: RangeInclusive<u32>) {
    for (word, mask) in masks(bits) {
        if let Some(word) = words.get_mut(word) {
            *word |= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(octets: [u8; 4], length: u8) -> Prefix {
        Prefix { address: 0xffff << 32 | u128::from(u32::from_be_bytes(octets)), length: length + 96 }
    }

    #[test]
    fn an_ipv6_prefix_that_covers_the_mapped_range_touches_no_ipv4() {
        let mut touches = Touches::default();
        assert_eq!(touches.add(Prefix { address: 0, length: 0 }), Touched::V6(0..=0xffff));
        assert_eq!(
            touches.add(Prefix { address: 0, length: 80 }),
            touched_by(Prefix { address: 0, length: 48 })
        );
        assert_eq!(touches.v4_words(), vec![0; V4_WORDS]);
        assert_eq!(touches.add(v4([0, 0, 0, 0], 0)), Touched::V4(0..=0xff_ffff));
    }

    #[test]
    fn refuses_what_is_no_prefix() {
        assert!(Prefix::new(&[0; 4], 32).is_err());
        assert!(Prefix::new(&[0; 16], 129).is_err());
        assert!(Prefix::new(&[1; 16], 127).is_err());
        assert!(Prefix::new(&[1; 16], 128).is_ok());
        assert!(Prefix::new(&[0; 16], 0).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))] // each makes the whole bitmap, without optimisation

        #[test]
        fn a_bit_is_wanted_as_long_as_an_entry_touches_it(
            entries in proptest::collection::vec((any::<u8>(), 0u8..=32), 1..20),
            removed in proptest::collection::vec(any::<bool>(), 20),
        ) {
            let prefixes: Vec<Prefix> = entries.iter().map(|(octet, length)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
                v4((u32::from_be_bytes([10, 0, *octet & 3, *octet]) & mask).to_be_bytes(), *length)
            }).collect();
            let mut touches = Touches::default();
            prefixes.iter().for_each(|prefix| { touches.add(*prefix); });
            let mut left = Touches::default();
            for (prefix, removed) in prefixes.iter().zip(&removed) {
                if *removed { touches.remove(*prefix); } else { left.add(*prefix); }
            }
            prop_assert_eq!(touches.v4_words(), left.v4_words());
            for cell in [0, 0x0a0000, 0x0a0001, 0x0a0003, 0x0a0004, 0xffffff] {
                let words = left.v4_words();
                let bit = words[V4_WIDE + cell as usize / 64] >> (cell % 64) & 1 == 1;
                prop_assert_eq!(touches.wants_v4(cell), bit);
                let network = cell as usize >> 8;
                let any = words[V4_WIDE + network * 4..][..4].iter().any(|word| *word != 0);
                prop_assert_eq!(words[network / 64] >> (network % 64) & 1 == 1, any);
            }
        }

        #[test]
        fn masks_cover_a_range_exactly(first in 0u32..500, span in 0u32..300) {
            let set: Vec<u32> = masks(first..=first + span)
                .flat_map(|(word, mask)| (0..64).filter(move |n| mask >> n & 1 == 1).map(move |n| word as u32 * 64 + n))
                .collect();
            prop_assert_eq!(set, (first..=first + span).collect::<Vec<_>>());
        }
    }
}
