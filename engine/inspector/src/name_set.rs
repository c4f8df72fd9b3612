//! The exact set of listed names, flat in memory: part `names` of a snapshot, mapped by the inspector, asked about
//! every name that the filter in the kernel could not dismiss.
//!
//! The longest suffix of a name that is listed decides; at the same suffix an exception beats a block, and the list
//! with the lower number is named. What an entry covers is its scope: the name itself, what is below it, or both.

use crate::name::Name;
use crate::name_filter::{Descriptor, NameFilter};
use crate::name_hash::Keys;

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
    /// Canonical names as name_lines.rs makes them: one a line, each line ended by "\n".
    pub names: &'a [u8],
}

/// A set and its filter, as they are built.
#[derive(Clone, Debug)]
pub struct Built {
    /// What NameSet::open takes.
    pub set: Vec<u8>,
    /// Asked in the kernel; its descriptor stands in the set too.
    pub filter: NameFilter,
}

/// Why there is no set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Text for a person: what is wrong with the bytes, or with the lists.
    Shape(String),
}

/// Builds both. The same lists and keys give the same bytes.
pub fn build(_keys: Keys, _lists: &[Listed<'_>]) -> Result<Built, Unusable> {
    Err(Unusable::Shape("not built".to_owned()))
}

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
}

/// A set in somebody's memory: a slice, a vector, a mapped file.
#[derive(Clone, Debug)]
pub struct NameSet<B> {
    #[allow(dead_code)]
    bytes: B,
    keys: Keys,
    filter: Descriptor,
    names: u32,
}

impl<B: AsRef<[u8]>> NameSet<B> {
    /// Checks the header and the sizes; not the text: whoever maps a file checks its checksum first. Any bytes are safe.
    pub fn open(_bytes: B) -> Result<NameSet<B>, Unusable> {
        Err(Unusable::Shape("not built".to_owned()))
    }

    /// The entry that decides about a name; None: nothing covers it.
    pub fn find<'a>(&self, name: &'a Name) -> Option<Match<'a>> {
        self.find_text(name.as_str())
    }

    /// The same for text that is known to be canonical.
    pub fn find_text<'a>(&self, _name: &'a str) -> Option<Match<'a>> {
        None
    }

    /// What its names and those of its filter are hashed with.
    pub fn keys(&self) -> Keys {
        self.keys
    }

    /// How to ask the filter that was built with it.
    pub fn filter(&self) -> Descriptor {
        self.filter
    }

    /// Names in it.
    pub fn names(&self) -> u32 {
        self.names
    }
}
