//! The exact set of listed names, flat in memory: part `names` of a snapshot, mapped by the inspector, asked about
//! every name that the filter in the kernel could not dismiss.
//!
//! The longest suffix of a name that is listed decides, among suffixes of two labels or more; at the same suffix an
//! exception beats a block, then the list with the lower number is named. What an entry covers is its scope: the name
//! itself, what is below it, or both. Lists that are only observed are a class by themselves: what they refuse by these
//! rules is found where the enforced ones refuse nothing.
//!
//! ```text
//! header       HEADER_BYTES: "CLWNAMES", format u32, records u32, keys 2 × u64, the filter's descriptor (seed u64,
//!              segment length, mask, segment count length, entries: u32), slots u32, homes u32, bytes of records u64
//! records      length of the name u8, flags u8 (scope, kind, what of it this record answers for, class), list u16, name
//! marks        a byte a slot: 0 empty, else of the hash; the last one is empty
//! offsets      u32 a slot: where in the records
//! ```
//! Little-endian; format 2 has observed lists, 1 has none. A slot is looked for from place (hash × homes) >> 64 on, up to an empty one; both slots and records
//! are in the order of their hash, so one lookup touches a line of marks and, for what is listed, one offset and one
//! record. A name has two records of a class only where one entry answers for itself and another for what is below. 10.25
//! bytes a name beside its text. The keyed hash keeps outsiders from choosing names that crowd one place.

mod build;

pub use build::{build, invariant, Built, NAMES_MAX};

use crate::name::Name;
use crate::name_filter::Descriptor;
use crate::name_hash::{self, Keys};

/// What an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// The name itself.
    Exact = 0,
    /// Every name below it, not itself.
    Below = 1,
    /// Both.
    Subtree = 2,
}

impl Scope {
    /// In the order of their numbers.
    pub const ALL: [Scope; 3] = [Scope::Exact, Scope::Below, Scope::Subtree];

    /// Its public word.
    pub const fn word(self) -> &'static str {
        match self {
            Scope::Exact => "exact",
            Scope::Below => "below",
            Scope::Subtree => "subtree",
        }
    }

    const fn answers(self) -> u8 {
        match self {
            Scope::Exact => ITSELF,
            Scope::Below => BELOW,
            Scope::Subtree => ITSELF | BELOW,
        }
    }
}

/// Names of one list that share scope and kind.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Number of the list: its place among those of the snapshot.
    pub list: u16,
    /// What each name covers.
    pub scope: Scope,
    /// What it covers is spared, not refused.
    pub exception: bool,
    /// Of a list that is only observed.
    pub observe: bool,
    /// Canonical names as name_lines.rs makes them: one a line, each line ended by "\n". Any order, duplicates allowed.
    pub names: &'a [u8],
}

/// Why there is no set: text for a person, a finished sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

/// The entry that decides about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// Number of the list that holds it.
    pub list: u16,
    /// What it covers.
    pub scope: Scope,
    /// The entry's name: the one that was asked, or a suffix of it.
    pub entry: &'a str,
    /// Spared, not refused.
    pub exception: bool,
    /// By lists alone that are only observed: told of, not refused.
    pub observe: bool,
}

/// A set in somebody's memory: a slice, a vector, a mapped file.
#[derive(Clone, Debug)]
pub struct NameSet<B> {
    bytes: B,
    header: Header,
}

impl<B: AsRef<[u8]>> NameSet<B> {
    /// Checks the header and the sizes, not the records: whoever maps a file checks its checksum first. Any bytes are
    /// safe to ask.
    pub fn open(bytes: B) -> Result<NameSet<B>, Unusable> {
        let header = Header::read(bytes.as_ref())?;
        Ok(NameSet { bytes, header })
    }

    /// The entry that decides about a name; None: nothing covers it.
    pub fn find<'a>(&self, name: &'a Name) -> Option<Match<'a>> {
        self.find_text(name.as_str())
    }

    /// The same for text that is known to be canonical.
    pub fn find_text<'a>(&self, name: &'a str) -> Option<Match<'a>> {
        let parts = self.parts()?;
        let (mut found, mut observed) = (None, None);
        for (start, hash) in name_hash::suffix_hashes(name, &self.header.keys) {
            let Some(suffix) = name.get(start..).filter(|suffix| suffix.contains('.')) else { continue };
            let asked = if start == 0 { ITSELF } else { BELOW };
            found = parts.at(suffix, hash, asked, false).or(found); // a longer suffix than those before
            if self.header.observed {
                observed = parts.at(suffix, hash, asked, true).or(observed);
            }
        }
        decided(found, observed)
    }

    /// What its names and those of its filter are hashed with.
    pub fn keys(&self) -> Keys {
        self.header.keys
    }

    /// How to ask the filter that was built with it.
    pub fn filter(&self) -> Descriptor {
        self.header.filter
    }

    /// Names in it: one that two entries answer for counts twice.
    pub fn names(&self) -> u32 {
        self.header.records
    }

    fn parts(&self) -> Option<Parts<'_>> {
        let rest = self.bytes.as_ref().get(HEADER_BYTES..)?;
        let (records, rest) = rest.split_at_checked(self.header.record_bytes)?;
        let (marks, offsets) = rest.split_at_checked(self.header.table.slots as usize)?;
        Some(Parts { homes: self.header.table.homes, records, marks, offsets })
    }
}

// ---- what stands in the bytes ----

const MAGIC: [u8; 8] = *b"CLWNAMES";
const FORMAT: u32 = 1;
const FORMAT_OBSERVED: u32 = 2;
const HEADER_BYTES: usize = 72;
const RECORD_HEAD_BYTES: usize = 4;

/// Flags of a record: its scope in two bits, then these.
const SCOPE_BITS: u8 = 3;
const EXCEPTION: u8 = 4;
const ITSELF: u8 = 8;
const BELOW: u8 = 16;
const OBSERVED: u8 = 32;

#[derive(Clone, Copy, Debug)]
struct Header {
    keys: Keys,
    filter: Descriptor,
    /// Some record is of an observed list.
    observed: bool,
    records: u32,
    table: Table,
    record_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Table {
    /// That there are.
    slots: u32,
    /// That a hash leads to: the first so many.
    homes: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields = [
            MAGIC,
            pair(if self.observed { FORMAT_OBSERVED } else { FORMAT }, self.records),
            self.keys.k0.to_le_bytes(),
            self.keys.k1.to_le_bytes(),
            self.filter.seed.to_le_bytes(),
            pair(self.filter.segment_length, self.filter.segment_length_mask),
            pair(self.filter.segment_count_length, self.filter.entries),
            pair(self.table.slots, self.table.homes),
            (self.record_bytes as u64).to_le_bytes(),
        ];
        for (into, field) in bytes.chunks_exact_mut(8).zip(fields) {
            into.copy_from_slice(&field);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Header, Unusable> {
        let mut fields = bytes.chunks_exact(8).filter_map(|field| field.first_chunk().copied());
        let mut next = || fields.next().ok_or_else(|| unusable("it ends within its header"));
        if next()? != MAGIC {
            return Err(unusable("it is no set of names"));
        }
        let (format, records) = halves(next()?);
        if ![FORMAT, FORMAT_OBSERVED].contains(&format) {
            return Err(Unusable(format!(
                "it has format {format}, and this version reads {FORMAT} to {FORMAT_OBSERVED}"
            )));
        }
        let observed = format == FORMAT_OBSERVED;
        let keys = Keys { k0: u64::from_le_bytes(next()?), k1: u64::from_le_bytes(next()?) };
        let seed = u64::from_le_bytes(next()?);
        let (segment_length, segment_length_mask) = halves(next()?);
        let (segment_count_length, entries) = halves(next()?);
        let filter = Descriptor { seed, segment_length, segment_length_mask, segment_count_length, entries };
        let (slots, homes) = halves(next()?);
        let record_bytes = u64::from_le_bytes(next()?);
        let total = record_bytes.checked_add(HEADER_BYTES as u64 + 5 * u64::from(slots));
        if total != Some(bytes.len() as u64) || slots <= records || slots < homes {
            return Err(Unusable(format!("its {} bytes are not what its header says", bytes.len())));
        }
        // It is no longer than the bytes, so it fits
        let record_bytes = record_bytes as usize;
        Ok(Header { keys, filter, observed, records, table: Table { slots, homes }, record_bytes })
    }
}

struct Parts<'a> {
    homes: u32,
    records: &'a [u8],
    marks: &'a [u8],
    offsets: &'a [u8],
}

impl Parts<'_> {
    /// The record of that class that answers for `asked` of this name.
    fn at<'a>(&self, name: &'a str, hash: u64, asked: u8, observe: bool) -> Option<Match<'a>> {
        let home = home_of(hash, self.homes.into()) as usize;
        let wanted = mark_of(hash);
        for (number, mark) in self.marks.get(home..)?.iter().enumerate() {
            if *mark == 0 {
                return None;
            }
            if *mark == wanted {
                let found = self.record(home + number, name, asked);
                if found.is_some_and(|found| found.observe == observe) {
                    return found;
                }
            }
        }
        None
    }

    fn record<'a>(&self, slot: usize, name: &'a str, asked: u8) -> Option<Match<'a>> {
        let offset = u32::from_le_bytes(*self.offsets.get(slot * 4..)?.first_chunk()?);
        let record = self.records.get(offset as usize..)?;
        let ([length, flags, list_low, list_high], rest) = record.split_first_chunk()?;
        if flags & asked == 0 || rest.get(..usize::from(*length))? != name.as_bytes() {
            return None;
        }
        Some(Match {
            list: u16::from_le_bytes([*list_low, *list_high]),
            scope: *Scope::ALL.get(usize::from(flags & SCOPE_BITS))?,
            entry: name,
            exception: flags & EXCEPTION != 0,
            observe: flags & OBSERVED != 0,
        })
    }
}

/// Of what each class says: an enforced block, else an observed one.
fn decided<'a>(enforced: Option<Match<'a>>, observed: Option<Match<'a>>) -> Option<Match<'a>> {
    let refuses = |found: &Match<'a>| !found.exception;
    enforced.filter(refuses).or(observed.filter(refuses)).or(enforced)
}

/// Ascends with the hash.
fn home_of(hash: u64, homes: u64) -> u64 {
    (u128::from(hash) * u128::from(homes) >> 64) as u64
}

/// From bits that say nothing of the home.
fn mark_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

fn pair(low: u32, high: u32) -> [u8; 8] {
    (u64::from(high) << 32 | u64::from(low)).to_le_bytes()
}

fn halves(field: [u8; 8]) -> (u32, u32) {
    let both = u64::from_le_bytes(field);
    (both as u32, (both >> 32) as u32)
}

fn unusable(why: &str) -> Unusable {
    Unusable(why.to_owned())
}
