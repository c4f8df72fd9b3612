//! Lists of names → the bytes of a set, and the keys of its filter. One sort by hash settles who answers for a name and
//! puts records and slots in the order that they are written in. Called once for each snapshot.

use std::cmp::Reverse;

use super::{
    home_of, mark_of, unusable, Header, Listed, Match, NameSet, Scope, Table, Unusable, BELOW, EXCEPTION,
    HEADER_BYTES, ITSELF, RECORD_HEAD_BYTES,
};
use crate::name::NAME_BYTES_MAX;
use crate::name_filter::NameFilter;
use crate::name_hash::{self, Keys};

/// A set and its filter, as they are built.
#[derive(Clone, Debug)]
pub struct Built {
    /// What NameSet::open takes.
    pub set: Vec<u8>,
    /// Asked in the kernel; its descriptor stands in the set too.
    pub filter: NameFilter,
}

/// Names that all lists may hold together, and bytes of all records: what u32 can say.
pub const NAMES_MAX: usize = 1 << 30;

/// Builds both. The same lists and keys give the same bytes. Memory while it works, beyond the lists: the set, and 26
/// bytes a key of the filter beside the keys: 0.5 GB for 5 million names of 22 bytes with all that is below them.
pub fn build(keys: Keys, lists: &[Listed<'_>]) -> Result<Built, Unusable> {
    // Who comes first answers: exceptions, then the lower number, then the wider scope
    let mut lists = lists.to_vec();
    lists.sort_by_key(|listed| (!listed.exception, listed.list, Reverse(listed.scope)));
    let mut found = gather(&keys, &lists)?;
    found.sort_unstable();
    let mut set = vec![0; HEADER_BYTES];
    let kept = write_records(&mut set, found, &lists)?;
    let record_bytes = set.len() - HEADER_BYTES;
    let table = write_table(&mut set, &kept);
    let records = kept.len() as u32;
    let mut filter_keys = Vec::with_capacity(kept.len() + kept.len() / 2);
    for Kept { hash, answers, .. } in kept {
        if answers & ITSELF != 0 {
            filter_keys.push(name_hash::tagged(hash));
        }
        if answers & BELOW != 0 {
            filter_keys.push(hash);
        }
    }
    let filter = NameFilter::build(filter_keys).ok_or_else(|| unusable("these names fit no filter"))?;
    let header = Header { keys, filter: filter.descriptor, records, table, record_bytes };
    if let Some(place) = set.first_chunk_mut() {
        *place = header.to_bytes();
    }
    Ok(Built { set, filter })
}

/// One line of a list; sorts by hash, then by who answers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    hash: u64,
    /// Number among the sorted lists.
    listed: u32,
    /// Where in its names.
    offset: u32,
}

/// One record.
#[derive(Clone, Copy, Debug)]
struct Kept {
    hash: u64,
    offset: u32,
    answers: u8,
}

fn gather(keys: &Keys, lists: &[Listed<'_>]) -> Result<Vec<Found>, Unusable> {
    let lines: usize = lists.iter().map(|listed| memchr::memchr_iter(b'\n', listed.names).count()).sum();
    if lines > NAMES_MAX {
        return Err(Unusable(format!("{lines} names are more than {NAMES_MAX}")));
    }
    let mut found = Vec::with_capacity(lines);
    for (number, listed) in lists.iter().enumerate() {
        if listed.names.len() > u32::MAX as usize {
            return Err(Unusable(format!("list {} has more than 4 GB of names", listed.list)));
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', listed.names) {
            let name = listed.names.get(start..end).unwrap_or_default();
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(Unusable(format!("list {} has a name of {} bytes", listed.list, name.len())));
            }
            let hash = name_hash::hash(name, keys);
            found.push(Found { hash, listed: number as u32, offset: start as u32 });
            start = end + 1;
        }
        if start != listed.names.len() {
            return Err(Unusable(format!("the last line of list {} has no end", listed.list)));
        }
    }
    Ok(found)
}

/// Appends the records; what they are, in the order of their hash.
fn write_records(set: &mut Vec<u8>, found: Vec<Found>, lists: &[Listed<'_>]) -> Result<Vec<Kept>, Unusable> {
    let text: usize = lists.iter().map(|listed| listed.names.len()).sum();
    set.reserve(text + 10 * found.len() + 64); // with room for the table
    let mut kept: Vec<Kept> = Vec::with_capacity(found.len());
    let mut group = 0;
    for each in found {
        let Some(listed) = lists.get(each.listed as usize) else { continue };
        let name = line_at(listed.names, each.offset);
        let mut answers = listed.scope.answers();
        if kept.last().is_none_or(|last| last.hash != each.hash) {
            group = kept.len();
        }
        for before in kept.get(group..).unwrap_or_default() {
            if name_of(set, before) == name {
                answers &= !before.answers;
            }
        }
        if answers == 0 {
            continue;
        }
        let offset = u32::try_from(set.len() - HEADER_BYTES).map_err(|_| unusable("4 GB of names"))?;
        let kind = if listed.exception { EXCEPTION } else { 0 };
        let [list_low, list_high] = listed.list.to_le_bytes();
        set.extend([name.len() as u8, listed.scope as u8 | kind | answers, list_low, list_high]);
        set.extend_from_slice(name);
        kept.push(Kept { hash: each.hash, offset, answers });
    }
    Ok(kept)
}

fn line_at(names: &[u8], offset: u32) -> &[u8] {
    let rest = names.get(offset as usize..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn name_of<'a>(set: &'a [u8], kept: &Kept) -> &'a [u8] {
    let record = set.get(HEADER_BYTES + kept.offset as usize..).unwrap_or_default();
    let Some(([length, ..], rest)) = record.split_first_chunk::<RECORD_HEAD_BYTES>() else { return &[] };
    rest.get(..usize::from(*length)).unwrap_or_default()
}

/// Appends marks and offsets. Four of five homes are taken; what is pushed past the last one has room behind it, and an
/// empty slot ends them all.
fn write_table(set: &mut Vec<u8>, kept: &[Kept]) -> Table {
    let homes = (kept.len() + kept.len() / 4 + 1) as u64;
    let places = || {
        let mut free = 0;
        kept.iter().map(move |each| {
            let place = home_of(each.hash, homes).max(free);
            free = place + 1;
            (place as usize, each)
        })
    };
    let slots = places().fold(homes as usize, |most, (place, _)| most.max(place + 2));
    let marks = set.len();
    set.resize(marks + 5 * slots, 0);
    let (marks, offsets) = set.get_mut(marks..).unwrap_or_default().split_at_mut(slots);
    for (place, each) in places() {
        if let Some(mark) = marks.get_mut(place) {
            *mark = mark_of(each.hash);
        }
        if let Some(offset) = offsets.get_mut(place * 4..place * 4 + 4) {
            offset.copy_from_slice(&each.offset.to_le_bytes());
        }
    }
    Table { slots: slots as u32, homes: homes as u32 }
}

/// What holds of every set, for tests and the fuzz target: it answers as a search through all lines does, and its
/// filter misses nothing that it covers. Panics where not.
#[doc(hidden)]
pub fn invariant(lists: &[Listed<'_>], keys: Keys, asked: &str) {
    let Ok(built) = build(keys, lists) else { return };
    let Ok(set) = NameSet::open(built.set.as_slice()) else { panic!("what was built does not open") };
    let found = set.find_text(asked);
    assert_eq!(found, slow_find(lists, asked));
    let hit = name_hash::questions(asked, &keys).any(|key| built.filter.contains(key));
    assert!(hit || found.is_none(), "the filter missed what is listed");
}

fn slow_find<'a>(lists: &[Listed<'_>], asked: &'a str) -> Option<Match<'a>> {
    let borders = asked.match_indices('.').map(|(dot, _)| dot + 1);
    for start in std::iter::once(0).chain(borders) {
        let entry = asked.get(start..).filter(|suffix| suffix.contains('.'))?;
        let covers = |scope| if start == 0 { scope != Scope::Below } else { scope != Scope::Exact };
        let holds = |names: &[u8]| names.split(|byte| *byte == b'\n').any(|line| line == entry.as_bytes());
        let best = lists
            .iter()
            .filter(|listed| covers(listed.scope) && holds(listed.names))
            .min_by_key(|listed| (!listed.exception, listed.list, Reverse(listed.scope)));
        if let Some(Listed { list, scope, exception, .. }) = best.copied() {
            return Some(Match { list, scope, entry, exception });
        }
    }
    None
}
