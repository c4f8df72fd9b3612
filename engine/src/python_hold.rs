//! The inspector's face to Python: the TAPs, the hold loop as a class, and what the daemon sees and switches of it. A
//! part of `clearway._engine`; like python.rs it translates, and does not think.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use clearway_inspector::answers::DnsAnswer;
use clearway_inspector::name_set::Scope;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hold::{Conduct, Hold};
use crate::hold_events::Refused;
use crate::hold_rules::{Answering, Single, Told};
use crate::hold_tables::HoldTables;
use crate::kernel;
use crate::python::{detached, DIRECTION};
use crate::tap;

/// Adds this part to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Inspector>()?;
    module.add_class::<RefusedName>()?;
    module.add_class::<HoldView>()?;
    module.add_function(wrap_pyfunction!(open_tap, module)?)?;
    module.add_function(wrap_pyfunction!(remove_tap, module)?)?;
    module.add_function(wrap_pyfunction!(tap_dropped, module)?)?;
    module.add_function(wrap_pyfunction!(tap_stands, module)?)?;
    Ok(())
}

#[pyfunction]
fn open_tap(py: Python<'_>, name: String, mtu: u32) -> PyResult<i32> {
    detached(py, || tap::open(&name, mtu)).map(OwnedFd::into_raw_fd)
}

#[pyfunction]
fn remove_tap(py: Python<'_>, name: String) -> PyResult<bool> {
    detached(py, || tap::remove(&name))
}

#[pyfunction]
fn tap_dropped(fd: i32) -> PyResult<u64> {
    let tap = kernel::duplicate_number(fd).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(tap::dropped(tap.as_fd())?)
}

#[pyfunction]
fn tap_stands(fd: i32) -> PyResult<bool> {
    let tap = kernel::duplicate_number(fd).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(tap::name(tap.as_fd()).is_ok())
}

/// Rule, reason, number of the reason, source, until.
type ToldOf = (String, String, u32, String, String);
/// Scope, block and exception on the boot clock, what is told.
type SingleOf = (String, u64, u64, ToldOf);

fn told((rule, reason, reason_number, source, until): ToldOf) -> Told {
    Told { rule, reason, reason_number, source, until }
}

fn single((scope, block_until_ns, exception_until_ns, of): SingleOf) -> PyResult<Single> {
    let known = Scope::ALL.into_iter().find(|known| known.word() == scope);
    let scope = known.ok_or_else(|| PyValueError::new_err(format!("{scope:?} is no scope of a name")))?;
    Ok(Single { scope, block_until_ns, exception_until_ns, told: told(of) })
}

fn duplicates(map_fds: BTreeMap<String, i32>) -> crate::error::Result<BTreeMap<String, OwnedFd>> {
    map_fds.into_iter().map(|(name, fd)| Ok((name, kernel::duplicate_number(fd)?))).collect()
}

#[pyclass(frozen, module = "clearway._engine")]
struct Inspector(Hold);

#[pymethods]
impl Inspector {
    #[new]
    #[pyo3(signature = (tap_fds, map_fds, *, released_first=false, decision_us=0))]
    fn new(
        py: Python<'_>,
        tap_fds: (i32, i32),
        map_fds: BTreeMap<String, i32>,
        released_first: bool,
        decision_us: u64,
    ) -> PyResult<Self> {
        let conduct = Conduct { released_first, decision: Duration::from_micros(decision_us) };
        detached(py, || {
            let taps = [kernel::duplicate_number(tap_fds.0)?, kernel::duplicate_number(tap_fds.1)?];
            Hold::new(taps, &duplicates(map_fds)?, conduct).map(Inspector)
        })
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.run())
    }

    fn begin(&self) {
        self.0.begin();
    }

    fn end(&self) {
        self.0.end();
    }

    fn set_lists(&self, py: Python<'_>, names: Option<PathBuf>, lists: Vec<ToldOf>) -> PyResult<u32> {
        let lists = lists.into_iter().map(told).collect();
        detached(py, || self.0.change(|rules| rules.set_lists(names.as_deref(), lists)))
    }

    fn set_single(&self, py: Python<'_>, names: Vec<(String, SingleOf)>) -> PyResult<()> {
        let names: PyResult<Vec<_>> =
            names.into_iter().map(|(name, entry)| Ok((name, single(entry)?))).collect();
        let names = names?;
        detached(py, || {
            self.0.change(|rules| {
                rules.set_single(names);
                Ok(())
            })
        })
    }

    fn put_single(&self, py: Python<'_>, name: String, entries: Vec<SingleOf>) -> PyResult<()> {
        let entries = entries.into_iter().map(single).collect::<PyResult<Vec<_>>>()?;
        py.detach(|| self.0.rules().put_single(name, entries));
        Ok(())
    }

    #[pyo3(signature = (*, on, dns, contact, appeal_url, observe, public_ech))]
    #[expect(clippy::too_many_arguments, reason = "by keyword")]
    fn set_answering(
        &self,
        py: Python<'_>,
        on: bool,
        dns: &str,
        contact: Option<String>,
        appeal_url: Option<String>,
        observe: bool,
        public_ech: Vec<String>,
    ) -> PyResult<()> {
        let known = DnsAnswer::ALL.into_iter().find(|known| known.word() == dns);
        let dns = known.ok_or_else(|| PyValueError::new_err(format!("{dns:?} is no answer of DNS")))?;
        detached(py, || {
            self.0.change(|rules| {
                rules.answering = Answering { on, dns, contact, appeal_url, observe }.into();
                rules.public_ech = public_ech.into();
                Ok(())
            })
        })
    }

    fn take_refused(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Vec<RefusedName>> {
        let refused = py.detach(|| self.0.refusals.take(Duration::from_millis(timeout_ms)));
        refused.into_iter().map(|each| RefusedName::new(py, each)).collect()
    }
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct RefusedName {
    boot_ns: u64,
    name_protocol: &'static str,
    name: String,
    entry: String,
    scope: &'static str,
    list: Option<u16>,
    rule: String,
    reason: String,
    source: Py<PyBytes>,
    source_port: u16,
    destination: Py<PyBytes>,
    destination_port: u16,
    protocol: u8,
    direction: Py<PyAny>,
    answered: &'static str,
    observed: bool,
}

impl RefusedName {
    fn new(py: Python<'_>, refused: Refused) -> PyResult<Self> {
        Ok(RefusedName {
            boot_ns: refused.boot_ns,
            name_protocol: refused.protocol.word(),
            name: refused.name,
            entry: refused.entry,
            scope: refused.scope.word(),
            list: refused.list,
            rule: refused.told.rule,
            reason: refused.told.reason,
            source: PyBytes::new(py, &refused.client.0).unbind(),
            source_port: refused.client.1,
            destination: PyBytes::new(py, &refused.server.0).unbind(),
            destination_port: refused.server.1,
            protocol: refused.transport,
            direction: DIRECTION.known(py, refused.direction)?,
            answered: refused.answered,
            observed: refused.observed,
        })
    }
}

/// What the inspector writes while it runs, for whoever looks at it without the rest of the tables.
#[pyclass(frozen, module = "clearway._engine")]
struct HoldView(HoldTables);

#[pymethods]
impl HoldView {
    #[new]
    fn new(py: Python<'_>, map_fds: BTreeMap<String, i32>) -> PyResult<Self> {
        detached(py, || HoldTables::open(&duplicates(map_fds)?).map(HoldView))
    }

    #[getter]
    fn heartbeat_ns(&self) -> u64 {
        self.0.heartbeat_ns()
    }

    #[getter]
    fn held_total(&self) -> u64 {
        self.0.held_total()
    }

    #[getter]
    fn released_total(&self) -> u64 {
        self.0.released_total().load(std::sync::atomic::Ordering::Acquire)
    }

    #[getter]
    fn live(&self) -> u32 {
        self.0.live()
    }

    /// One slot, for tests: state, held and released by direction.
    fn slot(&self, number: u32) -> Option<(u32, [u32; 2], [u32; 2])> {
        let slot = self.0.slot(number)?;
        let released =
            [0, 1].map(|direction| slot.released(direction).load(std::sync::atomic::Ordering::Acquire));
        Some((slot.state(), [slot.held(0), slot.held(1)], released))
    }
}
