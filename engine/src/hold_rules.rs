//! What the inspector judges names by: the mapped set of a snapshot, the names that people blocked or excepted one by
//! one, and what a refused user is told. A value that is replaced as a whole; the daemon writes it, the hold loop
//! reads.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, RwLock};

use clearway_inspector::answers::DnsAnswer;
use clearway_inspector::name::Name;
use clearway_inspector::name_set::{NameSet, Scope};
use clearway_inspector::observation::Observation;

use crate::error::{Error, Result};

/// What is told of a rule: to a refused user, and in the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub rule: String,
    /// Word of enum reason.
    pub reason: String,
    /// enum reason
    pub reason_number: u32,
    /// The list or the person it comes from.
    pub source: String,
    /// RFC 3339, UTC.
    pub until: String,
}

/// One name by a person. Boot clock in ns, 0: none; a live exception beats a live block.
#[derive(Clone, Debug)]
pub struct Single {
    /// What it covers.
    pub scope: Scope,
    /// Refused until then.
    pub block_until_ns: u64,
    /// Spared until then.
    pub exception_until_ns: u64,
    /// Of the block.
    pub told: Told,
}

/// How refused users are answered.
#[derive(Clone, Debug)]
pub struct Answering {
    /// false: refused without a word.
    pub on: bool,
    /// What a query is answered with.
    pub dns: DnsAnswer,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Where to appeal.
    pub appeal_url: Option<String>,
    /// Count and tell, refuse nothing.
    pub observe: bool,
}

impl Default for Answering {
    fn default() -> Self {
        let dns = DnsAnswer::ALL[0];
        Answering { on: true, dns, contact: None, appeal_url: None, observe: false }
    }
}

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    set: Option<Arc<NameSet<MappedFile>>>,
    lists: Arc<Vec<Told>>,
    /// Shared by all copies: one name changes in place, however many others stand. Held for the moment of one name.
    single: Arc<RwLock<HashMap<String, Vec<Single>>>>,
    /// How refused users are answered.
    pub answering: Arc<Answering>,
    /// Names that providers put into hellos whose real name is encrypted.
    pub public_ech: Arc<Vec<String>>,
}

/// A name that is refused, and why.
#[derive(Clone, Debug)]
pub struct Hit {
    /// What is told of the rule.
    pub told: Told,
    /// The entry's name: the one that was asked for, or a suffix of it.
    pub entry: String,
    /// What it covers.
    pub scope: Scope,
    /// Number of the list in the snapshot; None: by a person.
    pub list: Option<u16>,
    /// By lists alone that are only observed: it is told of, and goes on.
    pub observed: bool,
}

impl Rules {
    /// Other lists: the set of a snapshot (None: it lists no name), and what is told of each list by its number.
    pub fn set_lists(&mut self, set: Option<&Path>, lists: Vec<Told>) -> Result<u32> {
        let set = set.map(open).transpose()?;
        let names = set.as_ref().map_or(0, NameSet::names);
        self.set = set.map(Arc::new);
        self.lists = Arc::new(lists);
        Ok(names)
    }

    /// Other single names, all of them.
    pub fn set_single(&mut self, names: Vec<(String, Single)>) {
        let mut by_name: HashMap<String, Vec<Single>> = HashMap::new();
        for (name, single) in names {
            by_name.entry(name).or_default().push(single);
        }
        self.single = Arc::new(RwLock::new(by_name));
    }

    /// What stands at one name by itself from now on; nothing: empty. Copies see it at once.
    pub fn put_single(&self, name: String, entries: Vec<Single>) {
        let mut single = self.single.write().unwrap_or_else(PoisonError::into_inner);
        if entries.is_empty() {
            single.remove(&name);
        } else {
            single.insert(name, entries);
        }
    }

    /// Names in the set.
    pub fn names(&self) -> u32 {
        self.set.as_ref().map_or(0, |set| set.names())
    }

    /// Is a name refused? What people decided beats the lists; among those, the longest suffix that says something.
    pub fn judge(&self, name: &Name, now_ns: u64) -> Option<Hit> {
        let single = self.single.read().unwrap_or_else(PoisonError::into_inner);
        if !single.is_empty() {
            for suffix in name.suffixes() {
                let Some(entries) = single.get(suffix) else { continue };
                let whole = suffix.len() == name.as_str().len();
                let mut covering = entries.iter().filter(|entry| covers(entry.scope, whole));
                if covering.clone().any(|entry| entry.exception_until_ns > now_ns) {
                    return None;
                }
                if let Some(block) = covering.find(|entry| entry.block_until_ns > now_ns) {
                    let entry = suffix.to_owned();
                    let (told, scope) = (block.told.clone(), block.scope);
                    return Some(Hit { told, entry, scope, list: None, observed: false });
                }
            }
        }
        drop(single);
        let found = self.set.as_ref()?.find(name)?;
        if found.exception {
            return None;
        }
        let told = self.lists.get(usize::from(found.list)).cloned().unwrap_or_default();
        let (entry, observed) = (found.entry.to_owned(), found.observe);
        Some(Hit { told, entry, scope: found.scope, list: Some(found.list), observed })
    }

    /// The first name that is refused; where none is, the first that only observed lists would refuse.
    pub fn first_hit<'a>(&self, found: &'a [Observation], now_ns: u64) -> Option<(&'a Observation, Hit)> {
        let mut observed = None;
        for seen in found {
            let Ok(name) = &seen.name else { continue };
            match self.judge(name, now_ns) {
                Some(hit) if !hit.observed => return Some((seen, hit)),
                Some(hit) => observed = observed.or(Some((seen, hit))),
                None => {}
            }
        }
        observed
    }
}

fn covers(scope: Scope, whole: bool) -> bool {
    match scope {
        Scope::Exact => whole,
        Scope::Below => !whole,
        Scope::Subtree => true,
    }
}

fn open(path: &Path) -> Result<NameSet<MappedFile>> {
    let mapped =
        MappedFile::open(path).map_err(|error| Error::Part { part: "names", why: error.to_string() })?;
    NameSet::open(mapped).map_err(|why| Error::Part { part: "names", why: format!("{why:?}") })
}

/// A file that is never written again, in memory without a copy.
#[derive(Debug)]
pub struct MappedFile {
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: memory that is only read.
unsafe impl Send for MappedFile {}
// SAFETY: as above.
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// Maps it whole.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if bytes == 0 {
            return Ok(MappedFile { memory: NonNull::dangling(), bytes });
        }
        let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE);
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, read, private, file.as_raw_fd(), 0) };
        match NonNull::new(memory.cast::<u8>()) {
            Some(found) if memory != libc::MAP_FAILED => Ok(MappedFile { memory: found, bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: mapped, or a dangling pointer with length 0, as a slice of nothing may have.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.bytes) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: our mapping, and no view outlives self.
            unsafe { libc::munmap(self.memory.as_ptr().cast(), self.bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(entries: &[(&str, Scope, u64, u64)]) -> Rules {
        let mut rules = Rules::default();
        let single = |scope, block_until_ns, exception_until_ns| Single {
            scope,
            block_until_ns,
            exception_until_ns,
            told: Told::default(),
        };
        let named = entries
            .iter()
            .map(|(name, scope, block, spare)| ((*name).to_owned(), single(*scope, *block, *spare)));
        rules.set_single(named.collect());
        rules
    }

    fn entry_for(rules: &Rules, name: &str) -> Option<String> {
        let name = Name::parse(name.as_bytes()).unwrap_or_else(|_| unreachable!());
        rules.judge(&name, 100).map(|hit| hit.entry)
    }

    #[test]
    fn an_entry_covers_what_its_scope_says() {
        for (scope, itself, below) in
            [(Scope::Exact, true, false), (Scope::Below, false, true), (Scope::Subtree, true, true)]
        {
            let rules = rules(&[("bad.example", scope, 101, 0)]);
            assert_eq!(entry_for(&rules, "bad.example").is_some(), itself);
            assert_eq!(entry_for(&rules, "a.bad.example").is_some(), below);
            assert_eq!(entry_for(&rules, "notbad.example"), None);
        }
    }

    #[test]
    fn the_longest_suffix_decides_and_there_an_exception_beats_a_block() {
        let rules = rules(&[
            ("bad.example", Scope::Subtree, 101, 0),
            ("fine.bad.example", Scope::Subtree, 101, 101),
            ("worse.fine.bad.example", Scope::Exact, 101, 0),
        ]);
        assert_eq!(entry_for(&rules, "x.bad.example").as_deref(), Some("bad.example"));
        assert_eq!(entry_for(&rules, "x.fine.bad.example"), None);
        assert_eq!(entry_for(&rules, "worse.fine.bad.example").as_deref(), Some("worse.fine.bad.example"));
    }

    #[test]
    fn a_name_that_is_put_is_seen_by_the_copy_in_use() {
        let rules = rules(&[("bad.example", Scope::Subtree, 101, 0)]);
        let in_use = rules.clone();
        let worse =
            Single { scope: Scope::Exact, block_until_ns: 101, exception_until_ns: 0, told: Told::default() };
        rules.put_single("worse.example".to_owned(), vec![worse]);
        rules.put_single("bad.example".to_owned(), Vec::new());
        assert_eq!(entry_for(&in_use, "worse.example").as_deref(), Some("worse.example"));
        assert_eq!(entry_for(&in_use, "bad.example"), None);
    }

    #[test]
    fn what_has_expired_says_nothing() {
        let rules = rules(&[("bad.example", Scope::Subtree, 100, 0), ("example", Scope::Below, 101, 0)]);
        assert_eq!(entry_for(&rules, "bad.example").as_deref(), Some("example"));
    }
}
