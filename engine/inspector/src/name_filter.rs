//! The filter of names that the kernel asks: a binary fuse filter with 16-bit fingerprints over 64-bit keys
//! (name_hash.rs says which). Never misses a key that is in it; of others it finds one in 65,536.
//!
//! In the map and in a snapshot it is an array of u64 words, four fingerprints a word, lowest bits first. To ask:
//! h = murmur64(key + seed); three places from h; the XOR of the fingerprints there is that of h, (h ^ h >> 32) as u16.

use xorf::{BinaryFuse16, DmaSerializable};

/// What one needs beside the words to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Added to a key before it is mixed.
    pub seed: u64,
    /// A power of two.
    pub segment_length: u32,
    /// One less.
    pub segment_length_mask: u32,
    /// First places lie below it.
    pub segment_count_length: u32,
    /// Keys in the filter; at 0 there is nothing to ask.
    pub entries: u32,
}

impl Descriptor {
    /// Fingerprints that a place may lie among: below 2 × segment_length + segment_count_length.
    pub fn fingerprints(&self) -> u64 {
        if self.entries == 0 {
            return 0;
        }
        u64::from(self.segment_count_length) + 2 * u64::from(self.segment_length)
    }

    /// Words that hold them.
    pub fn words(&self) -> u64 {
        self.fingerprints().div_ceil(4)
    }
}

/// A filter as it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFilter {
    /// How to ask.
    pub descriptor: Descriptor,
    /// What the map holds.
    pub words: Vec<u64>,
}

/// Keys that one filter takes, at most two a name: words of 2.4 GB, and 28 GB while they are built.
pub const KEYS_MAX: usize = 1 << 30;

impl NameFilter {
    /// Of these keys, in any order; duplicates count once. The same keys give the same words. Memory while it is built,
    /// beyond the keys: 26 bytes a key. None: more than KEYS_MAX, or keys that fit no filter, which nobody has seen.
    pub fn build(mut keys: Vec<u64>) -> Option<NameFilter> {
        keys.sort_unstable();
        keys.dedup();
        NameFilter::of_sorted(keys)
    }

    /// The same of keys that ascend, each once: of others xorf would try for ever.
    pub(crate) fn of_sorted(keys: Vec<u64>) -> Option<NameFilter> {
        if keys.is_empty() {
            return Some(NameFilter::default());
        }
        if keys.len() > KEYS_MAX {
            return None;
        }
        let made = BinaryFuse16::try_from_iterator(keys.iter().copied()).ok()?;
        let mut head = [0; BinaryFuse16::DESCRIPTOR_LEN];
        made.dma_copy_descriptor_to(&mut head);
        let mut reader = head.as_slice();
        let descriptor = Descriptor {
            seed: u64::from_le_bytes(take(&mut reader)?),
            segment_length: u32::from_le_bytes(take(&mut reader)?),
            segment_length_mask: u32::from_le_bytes(take(&mut reader)?),
            segment_count_length: u32::from_le_bytes(take(&mut reader)?),
            entries: u32::try_from(keys.len()).ok()?,
        };
        let words = made
            .fingerprints
            .chunks(4)
            .map(|four| four.iter().rev().fold(0, |word, fingerprint| word << 16 | u64::from(*fingerprint)));
        Some(NameFilter { descriptor, words: words.collect() })
    }

    /// Is the key in it? True for every key it was built of, and for one in 65,536 others.
    pub fn contains(&self, key: u64) -> bool {
        contains(&self.descriptor, |word| self.words.get(word).copied(), key)
    }
}

/// As NameFilter::contains, of words that are elsewhere. False where the words are fewer than the descriptor says.
pub fn contains(descriptor: &Descriptor, word: impl Fn(usize) -> Option<u64>, key: u64) -> bool {
    if descriptor.entries == 0 {
        return false;
    }
    let hash = murmur64(key.wrapping_add(descriptor.seed));
    let at = |place: u32| Some((word(place as usize / 4)? >> (place % 4 * 16)) as u16);
    let fingerprints = places(descriptor, hash).map(at);
    let [Some(first), Some(second), Some(third)] = fingerprints else { return false };
    first ^ second ^ third == (hash ^ hash >> 32) as u16
}

/// Three places, in three neighbouring segments.
fn places(descriptor: &Descriptor, hash: u64) -> [u32; 3] {
    let first = (u128::from(hash) * u128::from(descriptor.segment_count_length) >> 64) as u32;
    let second = first.wrapping_add(descriptor.segment_length);
    let third = second.wrapping_add(descriptor.segment_length);
    let mask = descriptor.segment_length_mask;
    [first, second ^ ((hash >> 18) as u32 & mask), third ^ (hash as u32 & mask)]
}

/// The finalizer of MurmurHash3, as xorf mixes.
const fn murmur64(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a panic is how a test fails
mod tests {
    use super::*;
    use xorf::Filter;

    /// Keys that look like hashes.
    fn keys(from: u64, count: u64) -> Vec<u64> {
        (from..from + count).map(|n| murmur64(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1)).collect()
    }

    #[test]
    fn holds_every_key_it_was_built_of_whatever_their_number() {
        for count in (0..200).chain([1_000, 4_099, 50_000]) {
            let keys = keys(0, count);
            let filter = NameFilter::build(keys.clone()).unwrap();
            assert!(keys.iter().all(|key| filter.contains(*key)), "{count} keys");
            assert_eq!(filter.words.len() as u64, filter.descriptor.words());
            assert_eq!(u64::from(filter.descriptor.entries), count);
        }
    }

    #[test]
    fn answers_as_xorf_does() {
        let held = keys(0, 10_000);
        let filter = NameFilter::build(held.clone()).unwrap();
        let mut sorted = held;
        sorted.sort_unstable();
        let theirs = BinaryFuse16::try_from(&sorted).unwrap();
        assert!(keys(0, 300_000).iter().all(|key| filter.contains(*key) == theirs.contains(key)));
    }

    #[test]
    fn finds_one_in_65536_of_other_keys() {
        let filter = NameFilter::build(keys(0, 100_000)).unwrap();
        let found = keys(1 << 40, 2_000_000).iter().filter(|key| filter.contains(**key)).count();
        assert!((10..60).contains(&found), "{found} of 2,000,000: 30 are expected");
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        let filter = NameFilter::build(Vec::new()).unwrap();
        assert!(filter.words.is_empty() && keys(0, 100_000).iter().all(|key| !filter.contains(*key)));
    }

    #[test]
    fn order_and_duplicates_change_nothing() {
        let mut twice = keys(0, 5_000);
        twice.extend(keys(0, 5_000).iter().rev());
        assert_eq!(NameFilter::build(twice), NameFilter::build(keys(0, 5_000)));
    }

    #[test]
    fn missing_words_hold_nothing() {
        let filter = NameFilter::build(keys(0, 100)).unwrap();
        let few = NameFilter { words: Vec::new(), ..filter };
        assert!(!few.contains(1));
    }
}
