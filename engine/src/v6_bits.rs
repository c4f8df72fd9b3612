//! Hash and filter of IPv6 prefixes. The same in bpf/tables.h and policy/compile.py, held together by a test.

use std::ops::RangeInclusive;

use crate::abi::limit;

/// Prefixes below this length stand in the filter's short part.
pub const LONG_FROM: u32 = 48;
/// Bits of the short part: one a /16.
pub const SHORT_BITS: u32 = limit::V6_SHORT_WORDS * 64;

/// Splitmix64's finalizer.
pub fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Of a prefix whose bits past its length are 0; the bucket is this & (buckets - 1).
pub fn hash(seed: u64, high: u64, low: u64, length: u32) -> u64 {
    mix(mix(high ^ seed).wrapping_add(low).wrapping_add(u64::from(length)))
}

/// What a prefix sets in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bits {
    /// Of the short part: one bit, or all of them that a prefix below /16 covers.
    Short(RangeInclusive<u32>),
    /// Of the long part.
    Long(u32),
}

/// Bits of a prefix in a filter whose long part has `long_words` (a power of two) 64-bit words.
pub fn bits(high: u64, length: u32, long_words: u32) -> Bits {
    if length >= LONG_FROM {
        return Bits::Long((mix(high >> 16) & (u64::from(long_words) * 64 - 1)) as u32);
    }
    let first = (high >> 48) as u32;
    let span = 1u32 << 16u32.saturating_sub(length);
    let first = first & !(span - 1);
    Bits::Short(first..=first + (span - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_shorter_than_16_sets_every_16_that_it_covers() {
        assert_eq!(bits(0x2000 << 48, 3, 64), Bits::Short(0x2000..=0x3fff));
        assert_eq!(bits(0, 0, 64), Bits::Short(0..=0xffff));
        assert_eq!(bits(0x2001_0db8 << 32, 32, 64), Bits::Short(0x2001..=0x2001));
    }

    #[test]
    fn prefixes_of_48_and_longer_share_the_bit_of_their_48() {
        let one = bits(0x2001_0db8_0001_0000, 48, 64);
        assert_eq!(one, bits(0x2001_0db8_0001_ffff, 64, 64));
        assert!(matches!(one, Bits::Long(bit) if bit < 64 * 64));
    }
}
