//! Granted IPv4 /24s as lines that a program reads in one step: struct green_line of abi.h. They only ever say yes, and
//! only what the trie of grants would say too; everything else is asked of the trie.
//!
//! Of several /24s that share a place the lowest has it. So the lines follow from the grants alone, in whatever order
//! these came.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use crate::abi::{limit, GreenLine};
use crate::difference::Difference;
use crate::mapped::Mapped;
use crate::touch::Prefix;

const LINES: u32 = limit::GREEN_LINES;
const WORDS: usize = size_of::<GreenLine>() / 8;
/// Where struct green_line has its parts, in words.
const UNTIL: usize = std::mem::offset_of!(GreenLine, until_ns) / 8;
const BITS: usize = std::mem::offset_of!(GreenLine, word) / 8;

/// The lines, by place, that these grants give among `places`; None: all. Shorter prefixes than would fill every place
/// stay with the trie.
pub fn lines_of(grants: &HashMap<Prefix, u64>, places: Option<&[u32]>) -> BTreeMap<u32, GreenLine> {
    let mut lines: BTreeMap<u32, GreenLine> = BTreeMap::new();
    for (prefix, until_ns) in grants {
        let Some(cells) = cells_of(*prefix) else { continue };
        let mut put = |cell: u32| {
            let line = lines.entry(cell % LINES).or_insert_with(|| empty(cell));
            if cell < line.cell_number {
                *line = empty(cell);
            }
            if cell == line.cell_number {
                add(line, *prefix, *until_ns);
            }
        };
        match places {
            None => cells.for_each(put),
            Some(places) if cells.clone().count() < places.len() => {
                cells.filter(|cell| places.binary_search(&(cell % LINES)).is_ok()).for_each(put)
            }
            // At most one of its cells stands at each place
            Some(places) => places
                .iter()
                .map(|place| cells.start() + (place.wrapping_sub(*cells.start()) % LINES))
                .filter(|cell| cell <= cells.end())
                .for_each(&mut put),
        }
    }
    lines
}

/// Places of the lines that a grant may change, ascending.
pub fn places_of(prefix: Prefix) -> Vec<u32> {
    let mut places: Vec<u32> = cells_of(prefix).into_iter().flatten().map(|cell| cell % LINES).collect();
    places.sort_unstable();
    places
}

/// The /24s of a grant that has lines.
fn cells_of(prefix: Prefix) -> Option<RangeInclusive<u32>> {
    prefix.v4_cells().filter(|cells| cells.end() - cells.start() < LINES)
}

fn empty(cell_number: u32) -> GreenLine {
    GreenLine { until_ns: u64::MAX, word: [0; 4], cell_number, unused: [0; 5] }
}

fn add(line: &mut GreenLine, prefix: Prefix, until_ns: u64) {
    line.until_ns = line.until_ns.min(until_ns);
    let first = prefix.address as u32 & 0xff;
    let count = 1u32 << (128 - u32::from(prefix.length)).min(8);
    for address in first..first + count {
        line.word[address as usize / 64] |= 1 << (address % 64);
    }
}

/// Makes one place hold a line; None: nothing. The time goes first and comes last, so that a program never sees the
/// bits of one /24 under the number or the time of another.
pub fn write(map: &Mapped, place: u32, line: Option<&GreenLine>) {
    let first = place as usize * WORDS;
    let Some(held) = map.words().get(first..first + WORDS) else { return };
    let wanted = words_of(line);
    if held.iter().zip(&wanted).all(|(held, wanted)| held.load(Ordering::Relaxed) == *wanted) {
        return;
    }
    held[UNTIL].store(0, Ordering::SeqCst);
    for (held, wanted) in held.iter().zip(&wanted).skip(BITS) {
        held.store(*wanted, Ordering::SeqCst);
    }
    held[UNTIL].store(wanted[UNTIL], Ordering::SeqCst);
}

/// Places that do not hold what these grants give.
pub fn suspects(map: &Mapped, grants: &HashMap<Prefix, u64>) -> Vec<u32> {
    let wanted = lines_of(grants, None);
    let places = 0..LINES;
    places.filter(|place| held_at(map, *place) != words_of(wanted.get(place))).collect()
}

/// Compares these places, ascending.
pub fn compare(map: &Mapped, places: &[u32], grants: &HashMap<Prefix, u64>, found: &mut Difference) {
    let wanted = lines_of(grants, Some(places));
    for place in places {
        found.value(&held_at(map, *place), &words_of(wanted.get(place)), || format!("green line {place}"));
    }
}

fn held_at(map: &Mapped, place: u32) -> [u64; WORDS] {
    let first = place as usize * WORDS;
    let mut words = [0; WORDS];
    for (into, held) in words.iter_mut().zip(map.words().get(first..).unwrap_or_default()) {
        *into = held.load(Ordering::Relaxed);
    }
    words
}

fn words_of(line: Option<&GreenLine>) -> [u64; WORDS] {
    line.map_or([0; WORDS], |line| bytemuck::cast(*line))
}

const _: () =
    assert!(UNTIL == 0 && BITS == 1 && WORDS == 8 && std::mem::offset_of!(GreenLine, cell_number) == 5 * 8);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(address: u32, length: u8) -> Prefix {
        Prefix { address: 0xffff << 32 | u128::from(address), length: length + 96 }
    }

    fn says_yes(lines: &BTreeMap<u32, GreenLine>, address: u32, now_ns: u64) -> bool {
        lines.get(&(address >> 8 & (LINES - 1))).is_some_and(|line| {
            line.cell_number == address >> 8
                && line.word[address as usize >> 6 & 3] >> (address & 63) & 1 == 1
                && now_ns < line.until_ns
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_line_says_yes_only_where_a_live_grant_covers(
            grants in proptest::collection::vec((0u32..3, any::<u16>(), 8u8..=32, 1u64..5), 1..12),
            offset in any::<u16>(), now_ns in 0u64..6,
        ) {
            let mut given = HashMap::new();
            for (high, low, length, until_ns) in grants {
                // Two of the three share their places
                let address = [0x0a00_0000, 0x0a40_0000, 0x0a01_0000][high as usize] | u32::from(low);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                given.insert(v4(address & mask, length), until_ns);
            }
            let lines = lines_of(&given, None);
            for prefix in given.keys() {
                let address = (prefix.address as u32).wrapping_add(u32::from(offset) & 0x1ff);
                let covered = given.iter().any(|(grant, until_ns)| {
                    let past = 128 - u32::from(grant.length);
                    now_ns < *until_ns && (address ^ grant.address as u32).checked_shr(past).unwrap_or(0) == 0
                });
                prop_assert!(covered || !says_yes(&lines, address, now_ns));
                let places = places_of(*prefix);
                let some = lines_of(&given, Some(&places));
                prop_assert!(some.iter().all(|(place, line)| lines.get(place) == Some(line)));
                prop_assert!(places.iter().all(|place| lines.contains_key(place) == some.contains_key(place)));
            }
        }
    }

    #[test]
    fn the_whole_of_a_granted_prefix_is_in_its_line() {
        let grants = HashMap::from([(v4(0xc000_0200, 25), 9)]);
        let lines = lines_of(&grants, None);
        assert!((0..128).all(|host| says_yes(&lines, 0xc000_0200 + host, 8)));
        assert!(!says_yes(&lines, 0xc000_0280, 8) && !says_yes(&lines, 0xc000_0200, 9));
    }
}
