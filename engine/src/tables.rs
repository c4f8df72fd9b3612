//! The maps of a loaded gateway, by their descriptors. Needs no capability. The base, the overlay and the counters are
//! locked apart: a grant never waits for a fill or a flip.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::abi::{self, drop_reason, inspector_count, limit};
use clearway_inspector::name_hash;

use crate::base::{Base, Capacity};
use crate::base_tables::BaseTables;
use crate::control::Control;
use crate::difference::Difference;
use crate::error::{Error, Result};
use crate::hold_control::HoldControl;
use crate::kernel::{self, Keyed};
use crate::mapped::{of_fds, Mapped};
use crate::name_tables::{NameTables, Names};
use crate::overlay::{self, Overlay};

/// Packets and bytes of one counter, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// As on the wire: a super-packet counts its segments.
    pub packets: u64,
    /// Of whole frames.
    pub bytes: u64,
}

/// One row of the table that sums to all packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// enum lane
    pub lane: u32,
    /// enum direction
    pub direction: u32,
    /// enum drop_reason
    pub drop_reason: u32,
    /// What was counted.
    pub count: Count,
}

/// What an entry of a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Itself.
    Exact,
    /// What ends with it, without itself.
    Below,
    /// Both.
    Subtree,
}

impl Reach {
    /// By its public word.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "exact" => Ok(Reach::Exact),
            "below" => Ok(Reach::Below),
            "subtree" => Ok(Reach::Subtree),
            _ => Err(Error::Misuse(format!("a scope is exact, below or subtree, not {word:?}"))),
        }
    }
}

/// Flows, of DNS queries, of one protocol and class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesRow {
    /// enum name_protocol
    pub protocol: u32,
    /// enum name_class
    pub class: u32,
    /// Decided in the kernel.
    pub in_kernel: u64,
    /// Decided by the inspector.
    pub by_inspector: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Tables {
    /// struct control
    pub control: Arc<Control>,
    /// The daemon's half of struct hold_control.
    pub hold: HoldControl,
    base: Mutex<BaseTables>,
    names: Mutex<NameTables>,
    overlay: Mutex<Overlay>,
    /// By enum inspector_count.
    inspector: Mapped,
    fragments: Keyed<abi::FragmentKey, abi::FragmentValue>,
    fds: BTreeMap<String, OwnedFd>,
    cpus: usize,
}

impl Tables {
    /// Duplicates the descriptors that it is given.
    pub fn open<F: AsFd>(given: &BTreeMap<String, F>, capacity: Capacity) -> Result<Self> {
        let mut fds = BTreeMap::new();
        for (name, fd) in given {
            fds.insert(name.clone(), kernel::duplicate(fd.as_fd())?);
        }
        let control = Arc::new(Control::open(&fds)?);
        let base = BaseTables::open(&fds, capacity, Arc::clone(&control))?;
        let names = NameTables::open(&fds, capacity.name_words)?;
        let overlay = Overlay::open(&fds)?;
        let fragments = Keyed::new(kernel::duplicate(map_of(&fds, "fragments")?.as_fd())?, "fragments")?;
        let tables = Tables {
            control,
            hold: HoldControl::open(&fds)?,
            base: Mutex::new(base),
            names: Mutex::new(names),
            inspector: of_fds(&fds, "inspector_counts", 8, limit::INSPECTOR_COUNTS as usize)?,
            overlay: Mutex::new(overlay),
            fragments,
            cpus: kernel::possible_cpus()?,
            fds,
        };
        // What counters() and its sisters read is there, and has their size
        for (name, entries) in [
            ("counters", limit::LANES * limit::DIRECTIONS * limit::DROP_REASONS_MAX),
            ("observed_drops", limit::DROP_REASONS_MAX),
            ("facts", limit::FACTS_MAX),
            ("names_seen", limit::NAMES_SEEN_MAX),
        ] {
            let shape = kernel::map_shape(map_of(&tables.fds, name)?.as_fd())?;
            let per_cpu = libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY;
            let value_bytes = if name == "names_seen" { 8 } else { 16 };
            if (shape.map_type, shape.value_bytes, shape.entries) != (per_cpu, value_bytes, entries) {
                return Err(Error::Misuse(format!("the map {name} is not what it should be: {shape:?}")));
            }
        }
        Ok(tables)
    }

    /// The base, for one caller at a time.
    pub fn base(&self) -> MutexGuard<'_, BaseTables> {
        self.base.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes the idle copy of both whole. Refused before anything is written.
    pub fn fill(&self, base: &Base<'_>, names: &Names<'_>) -> Result<()> {
        let mut tables = self.base();
        let mut of_names = self.names();
        of_names.check_room(names)?;
        tables.fill(base)?;
        of_names.fill(tables.idle_copy(), names)
    }

    /// The live copy of both against what it should be.
    pub fn compare(&self, base: &Base<'_>, names: &Names<'_>) -> Result<Difference> {
        let tables = self.base();
        let mut found = tables.compare(base)?;
        self.names().compare(tables.idle_copy() ^ 1, names, &mut found)?;
        Ok(found)
    }

    fn names(&self) -> MutexGuard<'_, NameTables> {
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The names that a person blocked or excepted, all of them, in canonical form. Each is held from the next flow on;
    /// the inspector, which has to know them by then, says what becomes of it.
    pub fn set_overlay_names(&self, names: &[(&str, Reach)]) -> Result<u32> {
        let wanted = self.overlay_keys(names);
        let mut tables = self.names();
        // Asked while it changes: an entry more or less for a moment
        self.hold.set_overlay_names(wanted.len() as u32);
        let held = tables.set_overlay(&wanted)?;
        self.hold.set_overlay_names(held);
        Ok(held)
    }

    /// As set_overlay_names() where only these changed: a few names cost as much with many others standing. After an
    /// error all of them must be set. How many keys stand.
    pub fn change_overlay_names(&self, added: &[(&str, Reach)], removed: &[(&str, Reach)]) -> Result<u32> {
        let (added, removed) = (self.overlay_keys(added), self.overlay_keys(removed));
        let mut tables = self.names();
        let mut standing = self.hold.state().overlay_names;
        let fewer = tables.change_overlay(&added, &removed, |more| {
            standing += more;
            self.hold.set_overlay_names(standing);
        })?;
        standing = standing.saturating_sub(fewer);
        self.hold.set_overlay_names(standing);
        Ok(standing)
    }

    fn overlay_keys(&self, names: &[(&str, Reach)]) -> Vec<u64> {
        let keys = self.hold.keys();
        let mut found = Vec::with_capacity(2 * names.len());
        for (name, reach) in names {
            let plain = name_hash::hash(name.as_bytes(), &keys);
            if *reach != Reach::Below {
                found.push(name_hash::tagged(plain));
            }
            if *reach != Reach::Exact {
                found.push(plain);
            }
        }
        found
    }

    /// Overlay and grants, for one caller at a time.
    pub fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads overlay and grants back.
    pub fn compare_overlay(&self) -> Result<Difference> {
        overlay::compare(&self.overlay)
    }

    /// All packets: rows that are not 0. Held ones are in it from when the inspector has answered: those that left the
    /// TAP without its answers to clients, and those that it refused.
    pub fn counters(&self) -> Result<Vec<CounterRow>> {
        let mut rows = self.kernel_counters()?;
        for direction in 0..limit::DIRECTIONS {
            let answers =
                self.inspected(inspector_count::ANSWER_PACKETS, inspector_count::ANSWER_BYTES, direction);
            let of = |row: &CounterRow, drop_reason| {
                (row.lane, row.direction, row.drop_reason) == (abi::lane::INSPECTED, direction, drop_reason)
            };
            if let Some(row) = rows.iter_mut().find(|row| of(row, drop_reason::FORWARDED)) {
                row.count.packets = row.count.packets.saturating_sub(answers.packets);
                row.count.bytes = row.count.bytes.saturating_sub(answers.bytes);
            }
            let refused =
                self.inspected(inspector_count::REFUSED_PACKETS, inspector_count::REFUSED_BYTES, direction);
            if refused == Count::default() {
                continue;
            }
            match rows.iter_mut().find(|row| of(row, drop_reason::REFUSED_NAME)) {
                Some(row) => {
                    row.count.packets += refused.packets;
                    row.count.bytes += refused.bytes;
                }
                None => rows.push(CounterRow {
                    lane: abi::lane::INSPECTED,
                    direction,
                    drop_reason: drop_reason::REFUSED_NAME,
                    count: refused,
                }),
            }
        }
        Ok(rows)
    }

    fn inspected(&self, packets: u32, bytes: u32, direction: u32) -> Count {
        Count {
            packets: self.inspector_count(packets + direction),
            bytes: self.inspector_count(bytes + direction),
        }
    }

    fn inspector_count(&self, index: u32) -> u64 {
        self.inspector.words().get(index as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// By enum inspector_count; those by direction are in counters().
    pub fn inspector_counts(&self) -> Vec<(&'static str, u64)> {
        let by_direction = inspector_count::REFUSED_PACKETS..inspector_count::OBSERVED;
        let single = inspector_count::NAMES.iter().filter(|(_, index)| !by_direction.contains(index));
        single.map(|(name, index)| (*name, self.inspector_count(*index))).collect()
    }

    /// Names by where they were read: rows that are not 0.
    pub fn names_seen(&self) -> Result<Vec<NamesRow>> {
        let mut rows = Vec::new();
        for index in 0..limit::NAMES_PUSHED_OUT {
            let (in_kernel, by_inspector) = (self.seen_in_kernel(index)?, self.inspector_count(index));
            if in_kernel != 0 || by_inspector != 0 {
                let (protocol, class) = (index / limit::NAME_CLASSES, index % limit::NAME_CLASSES);
                rows.push(NamesRow { protocol, class, in_kernel, by_inspector });
            }
        }
        Ok(rows)
    }

    /// Flows whose first data was awaited, and that newer ones pushed out within a minute: they passed unread.
    pub fn pushed_out(&self) -> Result<u64> {
        self.seen_in_kernel(limit::NAMES_PUSHED_OUT)
    }

    fn seen_in_kernel(&self, index: u32) -> Result<u64> {
        let each: Vec<u64> = kernel::per_cpu(map_of(&self.fds, "names_seen")?.as_fd(), index, self.cpus)?;
        Ok(each.into_iter().fold(0, u64::wrapping_add))
    }

    fn kernel_counters(&self) -> Result<Vec<CounterRow>> {
        let rows = self.counts("counters", limit::LANES * limit::DIRECTIONS * limit::DROP_REASONS_MAX)?;
        let split = |(index, count)| CounterRow {
            lane: index / limit::DROP_REASONS_MAX / limit::DIRECTIONS,
            direction: index / limit::DROP_REASONS_MAX % limit::DIRECTIONS,
            drop_reason: index % limit::DROP_REASONS_MAX,
            count,
        };
        Ok(rows.into_iter().map(split).collect())
    }

    /// With --observe: what would have been dropped, by enum drop_reason.
    pub fn observed(&self) -> Result<Vec<(u32, Count)>> {
        self.counts("observed_drops", limit::DROP_REASONS_MAX)
    }

    /// By enum fact.
    pub fn facts(&self) -> Result<Vec<(u32, Count)>> {
        self.counts("facts", limit::FACTS_MAX)
    }

    fn counts(&self, map: &str, entries: u32) -> Result<Vec<(u32, Count)>> {
        let map = map_of(&self.fds, map)?.as_fd();
        let mut rows = Vec::new();
        for index in 0..entries {
            let values: Vec<abi::Counter> = kernel::per_cpu(map, index, self.cpus)?;
            let sum = values.iter().fold(Count::default(), |sum, cpu| Count {
                packets: sum.packets.wrapping_add(cpu.packets),
                bytes: sum.bytes.wrapping_add(cpu.bytes),
            });
            if sum != Count::default() {
                rows.push((index, sum));
            }
        }
        Ok(rows)
    }

    /// Removes first fragments that nobody follows any more; how many. One that comes again between look and removal is
    /// lost with the old one: its later fragments then pass by their addresses.
    pub fn sweep_fragments(&self, now_ns: u64) -> Result<u64> {
        let life_ns = u64::from(limit::FRAGMENT_LIFE_SECONDS) * 1_000_000_000;
        let mut swept = 0;
        for (key, value) in self.fragments.read_all()? {
            if now_ns.saturating_sub(value.seen_ns) > life_ns {
                swept += u64::from(self.fragments.remove(&key)?);
            }
        }
        Ok(swept)
    }

    /// Kernel memory of each map, as the kernel accounts for it.
    pub fn memory_bytes(&self) -> Result<BTreeMap<String, u64>> {
        let mut bytes = BTreeMap::new();
        for (name, fd) in &self.fds {
            bytes.insert(name.clone(), memlock(fd)?);
        }
        Ok(bytes)
    }
}

fn map_of<'a>(fds: &'a BTreeMap<String, OwnedFd>, name: &str) -> Result<&'a OwnedFd> {
    fds.get(name).ok_or_else(|| Error::Misuse(format!("the map {name} is not among the descriptors")))
}

fn memlock(fd: &OwnedFd) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text =
        std::fs::read_to_string(path).map_err(|error| Error::kernel("tell the memory of a map", error))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0))
}
