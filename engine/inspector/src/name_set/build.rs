//! Lists of names → the bytes of a set, and the keys of its filter. One sort by hash settles who answers for a name and
//! puts records and slots in the order that they are written in. Called once for each snapshot.
//!
//! The work is cut by the first bits of the hash, into parts that know nothing of each other and stand one behind the
//! other at the end: so it goes on as many threads as there are, and gives the same bytes on any number of them.

use std::cmp::Reverse;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use super::{
    decided, home_of, mark_of, unusable, Header, Listed, Match, NameSet, Scope, Table, Unusable, BELOW,
    EXCEPTION, HEADER_BYTES, ITSELF, OBSERVED, RECORD_HEAD_BYTES,
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

/// Parts that the names are cut into by the first bits of their hash: few enough to be cut in one pass, and with five
/// million names small enough for a cache.
const PARTS: usize = 64;
const PART_SHIFT: u32 = 64 - PARTS.ilog2();
/// Threads at most: the machine has other things to do.
const THREADS_MAX: usize = 4;
/// Bytes of names that are hashed at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Builds both. The same lists and keys give the same bytes. Memory while it works, beyond the lists: the set twice, and
/// 26 bytes a key of the filter beside the keys: 0.5 GB for 5 million names of 22 bytes with all that is below them.
pub fn build(keys: Keys, lists: &[Listed<'_>]) -> Result<Built, Unusable> {
    // Who comes first of a class answers: exceptions, then the lower number, then the wider scope
    let mut lists = lists.to_vec();
    lists.sort_by_key(|listed| (listed.observe, !listed.exception, listed.list, Reverse(listed.scope)));
    check(&lists)?;
    let parts = each_of(gather(&keys, &lists)?, |found| records_of(found, &lists));
    let record_bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
    if u32::try_from(record_bytes).is_err() {
        return Err(unusable("4 GB of names"));
    }
    let observed = parts.iter().flat_map(|part| &part.kept).any(|each| each.observe);
    let filter_keys = filter_keys(&parts);
    let (filter, (mut set, table, records)) = std::thread::scope(|scope| {
        let filter = scope.spawn(|| NameFilter::of_sorted(filter_keys));
        let written = write_all(parts, record_bytes);
        (filter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), written)
    });
    let filter = filter.ok_or_else(|| unusable("these names fit no filter"))?;
    let header = Header { keys, filter: filter.descriptor, observed, records, table, record_bytes };
    if let Some(place) = set.first_chunk_mut() {
        *place = header.to_bytes();
    }
    Ok(Built { set, filter })
}

/// A set but for its header, its table, and how many records it has.
fn write_all(parts: Vec<Records>, record_bytes: usize) -> (Vec<u8>, Table, u32) {
    let records = parts.iter().map(|part| part.kept.len()).sum();
    let mut set = Vec::with_capacity(HEADER_BYTES + record_bytes + 7 * records + 64); // with room for the table
    set.resize(HEADER_BYTES, 0);
    let mut kept = Vec::with_capacity(records);
    for part in parts {
        let first = (set.len() - HEADER_BYTES) as u32;
        kept.extend(part.kept.into_iter().map(|each| Kept { offset: first + each.offset, ..each }));
        set.extend_from_slice(&part.bytes);
    }
    let table = write_table(&mut set, &kept);
    (set, table, records as u32)
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
    observe: bool,
}

/// The records of the names whose hash begins alike, in the order of their hash. Offsets count from their first byte.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    kept: Vec<Kept>,
}

fn check(lists: &[Listed<'_>]) -> Result<(), Unusable> {
    let lines: usize = lists.iter().map(|listed| memchr::memchr_iter(b'\n', listed.names).count()).sum();
    if lines > NAMES_MAX {
        return Err(Unusable(format!("{lines} names are more than {NAMES_MAX}")));
    }
    for listed in lists {
        if listed.names.len() > u32::MAX as usize {
            return Err(Unusable(format!("list {} has more than 4 GB of names", listed.list)));
        }
        if !listed.names.is_empty() && !listed.names.ends_with(b"\n") {
            return Err(Unusable(format!("the last line of list {} has no end", listed.list)));
        }
    }
    Ok(())
}

/// All lines by the first bits of their hash.
fn gather(keys: &Keys, lists: &[Listed<'_>]) -> Result<Vec<Vec<Vec<Found>>>, Unusable> {
    let mut pieces = Vec::new();
    for (number, listed) in lists.iter().enumerate() {
        let mut start = 0;
        while start < listed.names.len() {
            let least = (start + PIECE_BYTES).min(listed.names.len()) - 1; // ends with the line that this byte is of
            let rest = listed.names.get(least..).unwrap_or_default();
            let end = least + memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            pieces.push((number as u32, start, end));
            start = end;
        }
    }
    let mut parts = vec![Vec::new(); PARTS];
    for piece in each_of(pieces, |(number, start, end)| hashed(keys, lists, number, start, end)) {
        for (part, found) in parts.iter_mut().zip(piece?) {
            part.push(found);
        }
    }
    Ok(parts)
}

fn hashed(
    keys: &Keys,
    lists: &[Listed<'_>],
    number: u32,
    start: usize,
    end: usize,
) -> Result<Vec<Vec<Found>>, Unusable> {
    let Some(listed) = lists.get(number as usize) else { return Ok(Vec::new()) };
    let piece = listed.names.get(start..end).unwrap_or_default();
    let room = || Vec::with_capacity(piece.len() / (20 * PARTS));
    let mut parts: Vec<_> = std::iter::repeat_with(room).take(PARTS).collect();
    let mut begin = 0;
    for newline in memchr::memchr_iter(b'\n', piece) {
        let name = piece.get(begin..newline).unwrap_or_default();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Unusable(format!("list {} has a name of {} bytes", listed.list, name.len())));
        }
        let hash = name_hash::hash(name, keys);
        if let Some(part) = parts.get_mut((hash >> PART_SHIFT) as usize) {
            part.push(Found { hash, listed: number, offset: (start + begin) as u32 });
        }
        begin = newline + 1;
    }
    Ok(parts)
}

fn records_of(pieces: Vec<Vec<Found>>, lists: &[Listed<'_>]) -> Records {
    let mut found = pieces.concat();
    drop(pieces);
    found.sort_unstable();
    let mut made =
        Records { bytes: Vec::with_capacity(26 * found.len()), kept: Vec::with_capacity(found.len()) };
    let mut group = 0;
    for each in found {
        let Some(listed) = lists.get(each.listed as usize) else { continue };
        let name = line_at(listed.names, each.offset);
        let mut answers = listed.scope.answers();
        if made.kept.last().is_none_or(|last| last.hash != each.hash) {
            group = made.kept.len();
        }
        for before in made.kept.get(group..).unwrap_or_default() {
            if before.observe == listed.observe && name_of(&made.bytes, before) == name {
                answers &= !before.answers;
            }
        }
        if answers == 0 {
            continue;
        }
        let offset = made.bytes.len() as u32; // all together are checked to be that
        let mut kind = if listed.exception { EXCEPTION } else { 0 };
        kind |= if listed.observe { OBSERVED } else { 0 };
        let [list_low, list_high] = listed.list.to_le_bytes();
        made.bytes.extend([name.len() as u8, listed.scope as u8 | kind | answers, list_low, list_high]);
        made.bytes.extend_from_slice(name);
        made.kept.push(Kept { hash: each.hash, offset, answers, observe: listed.observe });
    }
    made
}

/// Ascending, each once: what the filter is built of.
fn filter_keys(parts: &[Records]) -> Vec<u64> {
    // what is tagged in one part has the first bits of another
    let partner = (name_hash::tagged(0) >> PART_SHIFT) as usize;
    let keys = each_of((0..PARTS).collect(), |number| {
        let of = |number: usize| parts.get(number).map(|part| part.kept.as_slice()).unwrap_or_default();
        let mut keys = Vec::with_capacity(of(number).len() + of(number ^ partner).len());
        keys.extend(of(number).iter().filter(|each| each.answers & BELOW != 0).map(|each| each.hash));
        let itself = of(number ^ partner).iter().filter(|each| each.answers & ITSELF != 0);
        keys.extend(itself.map(|each| name_hash::tagged(each.hash)));
        keys.sort_unstable();
        keys.dedup();
        keys
    });
    keys.concat()
}

/// What `work` makes of each of them, in their order; on as many threads as there are, THREADS_MAX at most.
fn each_of<T: Send, R: Send>(given: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let queue = Mutex::new(given.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let go_on = || {
        let mut made = Vec::new();
        while let Some((number, one)) = next() {
            made.push((number, work(one)));
        }
        made
    };
    let mut made = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(go_on)).collect();
        let mut made = go_on();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, made)| made).collect()
}

fn line_at(names: &[u8], offset: u32) -> &[u8] {
    let rest = names.get(offset as usize..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn name_of<'a>(records: &'a [u8], kept: &Kept) -> &'a [u8] {
    let record = records.get(kept.offset as usize..).unwrap_or_default();
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
    decided(slow_find_of(lists, asked, false), slow_find_of(lists, asked, true))
}

fn slow_find_of<'a>(lists: &[Listed<'_>], asked: &'a str, observe: bool) -> Option<Match<'a>> {
    let borders = asked.match_indices('.').map(|(dot, _)| dot + 1);
    for start in std::iter::once(0).chain(borders) {
        let entry = asked.get(start..).filter(|suffix| suffix.contains('.'))?;
        let covers = |scope| if start == 0 { scope != Scope::Below } else { scope != Scope::Exact };
        let holds = |names: &[u8]| names.split(|byte| *byte == b'\n').any(|line| line == entry.as_bytes());
        let best = lists
            .iter()
            .filter(|listed| listed.observe == observe && covers(listed.scope) && holds(listed.names))
            .min_by_key(|listed| (!listed.exception, listed.list, Reverse(listed.scope)));
        if let Some(Listed { list, scope, exception, .. }) = best.copied() {
            return Some(Match { list, scope, entry, exception, observe });
        }
    }
    None
}
