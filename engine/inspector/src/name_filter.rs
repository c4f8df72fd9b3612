//! The filter of names that the kernel asks: a binary fuse filter with 16-bit fingerprints over 64-bit keys
//! (name_hash.rs says which). Never misses a key that is in it; of others it finds one in 65,536.
//!
//! In the map and in a snapshot it is an array of u64 words, four fingerprints a word, lowest bits first. To ask:
//! h = murmur64(key + seed); three places from h; the XOR of the fingerprints there is that of h, (h ^ h >> 32) as u16.

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

impl NameFilter {
    /// Of these keys, in any order; duplicates count once.
    pub fn build(_keys: Vec<u64>) -> NameFilter {
        NameFilter::default()
    }

    /// Is the key in it? True for every key it was built of, and for one in 65,536 others.
    pub fn contains(&self, key: u64) -> bool {
        contains(&self.descriptor, |word| self.words.get(word).copied(), key)
    }
}

/// As NameFilter::contains, of words that are elsewhere. False where the words are fewer than the descriptor says.
pub fn contains(_descriptor: &Descriptor, _word: impl Fn(usize) -> Option<u64>, _key: u64) -> bool {
    false
}
