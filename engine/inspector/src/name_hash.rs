//! The keyed hash of a name and of each of its suffixes: what the filter of names is asked in the kernel (bpf/names.h
//! has the same steps, held together by a test), and where an entry stands in the exact set.
//!
//! It runs over the bytes from the last to the first, so that one pass gives every suffix: at each label border the
//! state is mixed into a key. Keyed by a secret pair, so that nobody outside can choose names that the filter mistakes
//! for listed ones. A name's *plain* key says "what is below it", its *tagged* key "itself".

/// The secret pair; another for each snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// What the state begins with.
    pub k0: u64,
    /// What it is multiplied by; used as an odd number.
    pub k1: u64,
}

/// What tells the tagged key of a name from its plain one.
pub const TAG: u64 = 0x9e37_79b9_7f4a_7c15;

/// The key under which a name itself is asked for, from its plain one.
pub const fn tagged(plain: u64) -> u64 {
    plain ^ TAG
}

/// Plain keys of all suffixes that begin at a label, shortest first: where the suffix begins, its key. The last one is
/// the name itself, beginning at 0. Nothing for an empty name.
pub fn suffix_hashes<'a>(name: &'a str, keys: &Keys) -> impl Iterator<Item = (usize, u64)> + 'a {
    SuffixHashes { rest: name.as_bytes(), state: keys.k0, multiplier: keys.k1 | 1 }
}

/// Plain key of the whole name.
pub fn hash(name: &[u8], keys: &Keys) -> u64 {
    let multiplier = keys.k1 | 1;
    mix(name.iter().rev().fold(keys.k0, |state, byte| step(state, *byte, multiplier)))
}

/// What the filter is asked about a name: plain keys of its proper suffixes of two labels or more, and the tagged key
/// of the whole name, in that order.
pub fn questions<'a>(name: &'a str, keys: &Keys) -> impl Iterator<Item = u64> + 'a {
    let hashes = suffix_hashes(name, keys);
    hashes.filter_map(move |(start, plain)| match start {
        0 => Some(tagged(plain)),
        _ => name.get(start..).is_some_and(|suffix| suffix.contains('.')).then_some(plain),
    })
}

#[derive(Clone, Debug)]
struct SuffixHashes<'a> {
    /// What is before the suffixes that were given out.
    rest: &'a [u8],
    state: u64,
    multiplier: u64,
}

impl Iterator for SuffixHashes<'_> {
    type Item = (usize, u64);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((byte, before)) = self.rest.split_last() {
            self.state = step(self.state, *byte, self.multiplier);
            self.rest = before;
            if before.is_empty() || before.last() == Some(&b'.') {
                return Some((before.len(), mix(self.state)));
            }
        }
        None
    }
}

const fn step(state: u64, byte: u8, multiplier: u64) -> u64 {
    (state.rotate_left(5) ^ byte as u64).wrapping_mul(multiplier)
}

/// The finalizer of splitmix64; v6_mix of bpf/tables.h.
const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a panic is how a test fails
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: Keys = Keys { k0: 0x0123_4567_89ab_cdef, k1: 0xfedc_ba98_7654_3210 };

    fn suffixes(name: &str) -> Vec<&str> {
        suffix_hashes(name, &KEYS).map(|(start, _)| name.get(start..).unwrap()).collect()
    }

    #[test]
    fn gives_each_suffix_at_a_label_shortest_first() {
        assert_eq!(suffixes("a.b.example"), ["example", "b.example", "a.b.example"]);
        assert_eq!(suffixes("example"), ["example"]);
        assert!(suffixes("").is_empty());
    }

    #[test]
    fn text_that_is_no_name_ends_too() {
        for odd in [".", "..", ".a", "a.", "a..b"] {
            assert!(suffix_hashes(odd, &KEYS).count() <= odd.len(), "{odd}");
        }
    }

    #[test]
    fn asks_the_name_itself_by_its_tagged_key_and_skips_what_has_one_label() {
        let asked: Vec<u64> = questions("a.b.example", &KEYS).collect();
        assert_eq!(asked, [hash(b"b.example", &KEYS), tagged(hash(b"a.b.example", &KEYS))]);
        assert_eq!(questions("example", &KEYS).collect::<Vec<_>>(), [tagged(hash(b"example", &KEYS))]);
    }

    #[test]
    fn the_steps_are_those_written_down_in_bpf_names_h() {
        // From the definition, worked with other means: a change here is a change of every snapshot and of the kernel
        let keys = Keys { k0: 1, k1: 2 };
        assert_eq!(hash(b"", &keys), mix(1));
        assert_eq!(hash(b"a", &keys), mix((32 ^ 97) * 3));
        assert_eq!(hash(b"ba", &keys), mix((((32 ^ 97) * 3) << 5 ^ 98) * 3));
    }

    proptest! {
        #[test]
        fn the_hash_of_a_suffix_is_that_of_the_suffix_alone(name in "[a-z0-9_-]{1,9}(\\.[a-z0-9_-]{1,9}){0,6}") {
            for (start, plain) in suffix_hashes(&name, &KEYS) {
                prop_assert_eq!(plain, hash(name.get(start..).unwrap().as_bytes(), &KEYS));
            }
        }

        #[test]
        fn other_keys_give_other_hashes(name in "[a-z]{1,9}\\.[a-z]{2,9}", k0 in any::<u64>(), k1 in any::<u64>()) {
            let other = Keys { k0, k1 };
            prop_assume!(k1 | 1 != KEYS.k1 | 1);
            prop_assert_ne!(hash(name.as_bytes(), &KEYS), hash(name.as_bytes(), &other));
        }
    }
}
