//! The face of the tables that the daemon writes while packets cross, and of what they count. It translates; python.rs
//! is its table of contents.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use clearway_inspector::name_hash;

use crate::error::Result;
use crate::name_tables::{Names, NO_NAMES};
use crate::overlay_maps::Until;
use crate::python::{detached, known, Base, Capacity, DIRECTION, DROP_REASON, FACT, LANE};
use crate::python_names::NameFilter;
use crate::touch::Prefix;
use crate::{abi, base, kernel, tables};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Difference>()?;
    module.add_class::<Tables>()?;
    Ok(())
}

fn reaching(names: &[(String, String)]) -> Result<Vec<(&str, tables::Reach)>> {
    names.iter().map(|(name, scope)| Ok((name.as_str(), tables::Reach::parse(scope)?))).collect()
}

/// What the kernel is to hold of names.
pub(crate) fn view_of<'a>(names: Option<&'a NameFilter>, public_ech: &[String]) -> PyResult<Names<'a>> {
    let mut meta = NO_NAMES;
    if public_ech.len() > meta.public_ech.len() {
        return Err(PyValueError::new_err(format!("{} public ECH names at most", meta.public_ech.len())));
    }
    // Without a list its keys are 0, and names are hashed with them all the same
    let (mut keys, mut words): (name_hash::Keys, &[u8]) = (name_hash::Keys { k0: 0, k1: 0 }, &[]);
    if let Some(names) = names {
        let (descriptor, of_list, filter) = names.parts();
        (keys, words) = (of_list, filter);
        (meta.key0, meta.key1, meta.filter_seed) = (keys.k0, keys.k1, descriptor.seed);
        meta.segment_length = descriptor.segment_length;
        meta.segment_length_mask = descriptor.segment_length_mask;
        (meta.segment_count_length, meta.entries) = (descriptor.segment_count_length, descriptor.entries);
    }
    for (key, name) in meta.public_ech.iter_mut().zip(public_ech) {
        *key = name_hash::tagged(name_hash::hash(name.as_bytes(), &keys));
    }
    Ok(Names { words, meta })
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct Difference {
    wanted: u64,
    missing: u64,
    foreign: u64,
    wrong: u64,
    examples: Vec<String>,
}

impl From<crate::difference::Difference> for Difference {
    fn from(found: crate::difference::Difference) -> Self {
        let crate::difference::Difference { wanted, missing, foreign, wrong, examples } = found;
        Difference { wanted, missing, foreign, wrong, examples }
    }
}

#[pymethods]
impl Difference {
    fn __repr__(&self) -> String {
        let Difference { wanted, missing, foreign, wrong, examples } = self;
        format!(
            "Difference(wanted={wanted}, missing={missing}, foreign={foreign}, wrong={wrong}, {examples:?})"
        )
    }
}

/// Lane, direction, drop reason, packets, bytes.
type Row = (Py<PyAny>, Py<PyAny>, Py<PyAny>, u64, u64);

#[pyclass(frozen, module = "clearway._engine")]
struct Tables(tables::Tables);

#[pymethods]
impl Tables {
    #[new]
    fn new(py: Python<'_>, map_fds: BTreeMap<String, i32>, capacity: &Capacity) -> PyResult<Self> {
        detached(py, || {
            let mut fds: BTreeMap<String, OwnedFd> = BTreeMap::new();
            for (name, fd) in map_fds {
                fds.insert(name, kernel::duplicate_number(fd)?);
            }
            tables::Tables::open(&fds, capacity.0).map(Tables)
        })
    }

    #[pyo3(signature = (base, names=None, public_ech=Vec::new()))]
    fn fill(
        &self,
        py: Python<'_>,
        base: &Base,
        names: Option<&NameFilter>,
        public_ech: Vec<String>,
    ) -> PyResult<()> {
        let (parts, names) = (base.parts()?, view_of(names, &public_ech)?);
        detached(py, || self.0.fill(&base::Base::view(parts)?, &names))
    }

    #[pyo3(signature = (*, grace=true))]
    fn flip(&self, py: Python<'_>, grace: bool) -> PyResult<u32> {
        detached(py, || self.0.base().flip(grace))
    }

    #[pyo3(signature = (base, names=None, public_ech=Vec::new()))]
    fn compare_base(
        &self,
        py: Python<'_>,
        base: &Base,
        names: Option<&NameFilter>,
        public_ech: Vec<String>,
    ) -> PyResult<Difference> {
        let (parts, names) = (base.parts()?, view_of(names, &public_ech)?);
        detached(py, || self.0.compare(&base::Base::view(parts)?, &names)).map(Difference::from)
    }

    fn set_names_active(&self, active: bool) {
        self.0.control.set_names_active(active);
    }

    fn set_on_failure(&self, policy: &str) -> PyResult<()> {
        match policy {
            "open" => self.0.hold.set_closed(false),
            "closed" => self.0.hold.set_closed(true),
            _ => return Err(PyValueError::new_err(format!("a policy is open or closed, not {policy:?}"))),
        }
        Ok(())
    }

    fn set_overlay_names(&self, py: Python<'_>, names: Vec<(String, String)>) -> PyResult<u32> {
        detached(py, || self.0.set_overlay_names(&reaching(&names)?))
    }

    fn change_overlay_names(
        &self,
        py: Python<'_>,
        added: Vec<(String, String)>,
        removed: Vec<(String, String)>,
    ) -> PyResult<u32> {
        detached(py, || self.0.change_overlay_names(&reaching(&added)?, &reaching(&removed)?))
    }

    fn hold_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let held = self.0.hold.state();
        let state = PyDict::new(py);
        state.set_item("names_active", self.0.control.names_active())?;
        state.set_item("on_failure", if held.closed { "closed" } else { "open" })?;
        state.set_item("overlay_names", held.overlay_names)?;
        state.set_item("held", held.held_total)?;
        state.set_item("released", held.released_total)?;
        state.set_item("live", held.live)?;
        state.set_item("heartbeat_ns", held.heartbeat_ns)?;
        state.set_item("tap_ifindex", held.tap_ifindex)?;
        Ok(state)
    }

    fn names_seen(&self, py: Python<'_>) -> PyResult<Vec<(String, String, u64, u64)>> {
        let rows = detached(py, || self.0.names_seen())?;
        let said = |row: tables::NamesRow| {
            let protocol = known(abi::name_protocol::NAMES, row.protocol);
            (protocol, known(abi::name_class::NAMES, row.class), row.in_kernel, row.by_inspector)
        };
        Ok(rows.into_iter().map(said).collect())
    }

    fn names_pushed_out(&self, py: Python<'_>) -> PyResult<u64> {
        detached(py, || self.0.pushed_out())
    }

    fn inspector_counts(&self) -> BTreeMap<String, u64> {
        let counts = self.0.inspector_counts().into_iter();
        counts.map(|(name, count)| (name.to_lowercase().replace('_', "-"), count)).collect()
    }

    #[getter]
    fn epoch(&self) -> u32 {
        self.0.control.epoch()
    }

    fn put_overlay(
        &self,
        py: Python<'_>,
        address: &[u8],
        length: u32,
        block_until_ns: u64,
        exception_until_ns: u64,
    ) -> PyResult<()> {
        let until = Until { block_ns: block_until_ns, exception_ns: exception_until_ns };
        detached(py, || self.0.overlay().put(Prefix::new(address, length)?, until))
    }

    fn remove_overlay(&self, py: Python<'_>, address: &[u8], length: u32) -> PyResult<()> {
        detached(py, || self.0.overlay().remove(Prefix::new(address, length)?))
    }

    fn put_green(&self, py: Python<'_>, address: &[u8], length: u32, until_ns: u64) -> PyResult<()> {
        detached(py, || self.0.overlay().put_green(Prefix::new(address, length)?, until_ns))
    }

    fn remove_green(&self, py: Python<'_>, address: &[u8], length: u32) -> PyResult<()> {
        detached(py, || self.0.overlay().remove_green(Prefix::new(address, length)?))
    }

    fn reconcile(
        &self,
        py: Python<'_>,
        overlay: Vec<(Vec<u8>, u32, u64, u64)>,
        green: Vec<(Vec<u8>, u32, u64)>,
    ) -> PyResult<()> {
        detached(py, || {
            let mut entries = HashMap::with_capacity(overlay.len());
            for (address, length, block_ns, exception_ns) in overlay {
                entries.insert(Prefix::new(&address, length)?, Until { block_ns, exception_ns });
            }
            let mut grants = HashMap::with_capacity(green.len());
            for (address, length, until_ns) in green {
                grants.insert(Prefix::new(&address, length)?, until_ns);
            }
            self.0.overlay().reconcile(entries, grants)
        })
    }

    fn compare_overlay(&self, py: Python<'_>) -> PyResult<Difference> {
        detached(py, || self.0.compare_overlay()).map(Difference::from)
    }

    fn mend_overlay(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.overlay().mend())
    }

    fn set_bypass_until(&self, boot_ns: u64) {
        self.0.control.set_bypass_until_ns(boot_ns);
    }

    fn bypass_until(&self) -> u64 {
        self.0.control.bypass_until_ns()
    }

    fn set_probe_nonce(&self, nonce: u32) {
        self.0.control.set_probe_nonce(nonce);
    }

    fn beat(&self, boot_ns: u64) {
        self.0.control.beat(boot_ns);
    }

    fn heartbeat(&self) -> u64 {
        self.0.control.heartbeat_ns()
    }

    fn counters(&self, py: Python<'_>) -> PyResult<Vec<Row>> {
        let rows = detached(py, || self.0.counters())?;
        let mut known = Vec::with_capacity(rows.len());
        for row in rows {
            let lane = LANE.known(py, row.lane)?;
            let direction = DIRECTION.known(py, row.direction)?;
            // A reason of a newer program that still runs cannot be named here
            if let Some(reason) = DROP_REASON.member(py, row.drop_reason)? {
                known.push((lane, direction, reason, row.count.packets, row.count.bytes));
            }
        }
        Ok(known)
    }

    fn observed(&self, py: Python<'_>) -> PyResult<Vec<(Py<PyAny>, u64, u64)>> {
        let mut known = Vec::new();
        for (reason, count) in detached(py, || self.0.observed())? {
            if let Some(reason) = DROP_REASON.member(py, reason)? {
                known.push((reason, count.packets, count.bytes));
            }
        }
        Ok(known)
    }

    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let known = PyDict::new(py);
        for (fact, count) in detached(py, || self.0.facts())? {
            if let Some(fact) = FACT.member(py, fact)? {
                known.set_item(fact, (count.packets, count.bytes))?;
            }
        }
        Ok(known)
    }

    fn sweep_fragments(&self, py: Python<'_>, now_ns: u64) -> PyResult<u64> {
        detached(py, || self.0.sweep_fragments(now_ns))
    }

    fn memory_bytes(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u64>> {
        detached(py, || self.0.memory_bytes())
    }
}
