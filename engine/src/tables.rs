//! The maps of a loaded gateway, by their descriptors. Needs no capability. The base, the overlay and the counters are
//! locked apart: a grant never waits for a fill or a flip.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::abi::{self, limit};
use crate::base::Capacity;
use crate::base_tables::BaseTables;
use crate::control::Control;
use crate::difference::Difference;
use crate::error::{Error, Result};
use crate::kernel::{self, Keyed};
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

/// See the file's head.
#[derive(Debug)]
pub struct Tables {
    /// struct control
    pub control: Arc<Control>,
    base: Mutex<BaseTables>,
    overlay: Mutex<Overlay>,
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
        let overlay = Overlay::open(&fds)?;
        let fragments = Keyed::new(kernel::duplicate(map_of(&fds, "fragments")?.as_fd())?, "fragments")?;
        let tables = Tables {
            control,
            base: Mutex::new(base),
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
        ] {
            let shape = kernel::map_shape(map_of(&tables.fds, name)?.as_fd())?;
            let per_cpu = libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY;
            if (shape.map_type, shape.value_bytes, shape.entries) != (per_cpu, 16, entries) {
                return Err(Error::Misuse(format!("the map {name} is not what it should be: {shape:?}")));
            }
        }
        Ok(tables)
    }

    /// The base, for one caller at a time.
    pub fn base(&self) -> MutexGuard<'_, BaseTables> {
        self.base.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Overlay and grants, for one caller at a time.
    pub fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads overlay and grants back.
    pub fn compare_overlay(&self) -> Result<Difference> {
        overlay::compare(&self.overlay)
    }

    /// All packets: rows that are not 0.
    pub fn counters(&self) -> Result<Vec<CounterRow>> {
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
