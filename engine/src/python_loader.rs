//! The loader's face: programs and maps, links, and what a frame meets in the programs. It translates; python.rs is its
//! table of contents.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet};

use crate::name_check::Check;
use crate::probe::{Hook, Probed};
use crate::python::{detached, known, locked, raise, Capacity, Settings, DROP_REASON, FACT, LANE, VERDICT};
use crate::{abi, loader};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Loader>()?;
    module.add_class::<ProbeOutcome>()?;
    Ok(())
}

fn hook_of(word: &str) -> PyResult<Hook> {
    [Hook::Tcx, Hook::Xdp]
        .into_iter()
        .find(|hook| hook.word() == word)
        .ok_or_else(|| PyValueError::new_err(format!("a hook is \"tcx\" or \"xdp\", not {word:?}")))
}

/// Answer, protocol and class as words of abi.h, the name as it stood, its key.
type NameRead<'py> = (String, String, String, Bound<'py, PyBytes>, u64);

/// Answers by word, with "different"; examples of those.
fn answers_of(check: Check) -> (BTreeMap<String, u64>, Vec<String>) {
    let answers =
        (0..).zip(check.answers).map(|(answer, count)| (known(abi::name_answer::NAMES, answer), count));
    (answers.chain([("different".to_owned(), check.differences)]).collect(), check.examples)
}

#[pyclass(frozen, module = "clearway._engine")]
struct Loader(Mutex<loader::Loader>);

#[pymethods]
impl Loader {
    #[new]
    #[pyo3(signature = (pin_directory, *, tcx_object=None))]
    fn new(py: Python<'_>, pin_directory: Option<PathBuf>, tcx_object: Option<PathBuf>) -> PyResult<Self> {
        let object = tcx_object.map(std::fs::read).transpose()?;
        let made = loader::Loader::new(pin_directory.as_deref(), object).map_err(|error| raise(py, error))?;
        Ok(Loader(Mutex::new(made)))
    }

    #[pyo3(signature = (settings, capacity, *, xdp))]
    fn load(
        &self,
        py: Python<'_>,
        settings: &Settings,
        capacity: &Capacity,
        xdp: bool,
    ) -> PyResult<Vec<String>> {
        detached(py, || locked(&self.0).load(settings.0.clone(), capacity.0, xdp))
    }

    fn map_fds(&self, py: Python<'_>) -> PyResult<BTreeMap<String, i32>> {
        detached(py, || {
            let mut loader = locked(&self.0);
            Ok(loader.maps()?.iter().map(|(name, map)| (name.clone(), map.as_raw_fd())).collect())
        })
    }

    fn names_held(&self, py: Python<'_>) -> bool {
        py.detach(|| locked(&self.0).names_held())
    }

    fn capacity(&self, py: Python<'_>) -> PyResult<Capacity> {
        detached(py, || locked(&self.0).capacity()).map(Capacity)
    }

    fn attach(&self, py: Python<'_>) -> PyResult<BTreeMap<String, &'static str>> {
        let attached = detached(py, || locked(&self.0).attach())?;
        Ok(attached.into_iter().map(|(name, how)| (name, how.word())).collect())
    }

    fn attach_hold(
        &self,
        py: Python<'_>,
        outbound_ifindex: u32,
        inbound_ifindex: u32,
    ) -> PyResult<BTreeMap<String, &'static str>> {
        let attached = detached(py, || locked(&self.0).attach_hold(outbound_ifindex, inbound_ifindex))?;
        Ok(attached.into_iter().map(|(name, how)| (name, how.word())).collect())
    }

    #[pyo3(signature = (direction, frame, hook = "tcx"))]
    fn run(&self, py: Python<'_>, direction: u32, frame: &[u8], hook: &str) -> PyResult<u32> {
        let hook = hook_of(hook)?;
        detached(py, || locked(&self.0).run(hook, direction, frame))
    }

    fn read_names<'py>(
        &self,
        py: Python<'py>,
        direction: u32,
        frames: Vec<Bound<'py, PyBytes>>,
    ) -> PyResult<Vec<NameRead<'py>>> {
        let frames: Vec<&[u8]> = frames.iter().map(|frame| frame.as_bytes()).collect();
        let windows = detached(py, || locked(&self.0).read_names(direction, &frames))?;
        let said = |window: abi::NameWindow| {
            let read = window.read;
            let name = read.at as usize..(read.at as usize).saturating_add(read.length as usize);
            let name = PyBytes::new(py, window.bytes.get(name).unwrap_or_default());
            let answer = known(abi::name_answer::NAMES, read.answer);
            let protocol = known(abi::name_protocol::NAMES, read.protocol);
            (answer, protocol, known(abi::name_class::NAMES, read.name_class), name, read.key)
        };
        Ok(windows.into_iter().map(said).collect())
    }

    fn check_names(
        &self,
        py: Python<'_>,
        frames: Vec<Bound<'_, PyBytes>>,
    ) -> PyResult<(BTreeMap<String, u64>, Vec<String>)> {
        let frames: Vec<&[u8]> = frames.iter().map(|frame| frame.as_bytes()).collect();
        detached(py, || locked(&self.0).check_names(|reader| reader.check(&frames))).map(answers_of)
    }

    fn check_generated_names(
        &self,
        py: Python<'_>,
        seed: u64,
        count: u64,
    ) -> PyResult<(BTreeMap<String, u64>, Vec<String>)> {
        let work = || locked(&self.0).check_names(|reader| reader.check_generated(seed, count));
        detached(py, work).map(answers_of)
    }

    fn probe(&self, py: Python<'_>, hook: &str, direction: u32, frame: &[u8]) -> PyResult<ProbeOutcome> {
        let hook = hook_of(hook)?;
        let probed = detached(py, || locked(&self.0).probe(hook, direction, frame))?;
        ProbeOutcome::new(py, probed)
    }

    fn probe_many(
        &self,
        py: Python<'_>,
        hook: &str,
        directions: &[u8],
        frames: Vec<Bound<'_, PyBytes>>,
    ) -> PyResult<Vec<ProbeOutcome>> {
        let hook = hook_of(hook)?;
        let frames: Vec<&[u8]> = frames.iter().map(|frame| frame.as_bytes()).collect();
        let probed = detached(py, || locked(&self.0).probe_many(hook, directions, &frames))?;
        probed.into_iter().map(|probed| ProbeOutcome::new(py, probed)).collect()
    }

    fn cost_ns(
        &self,
        py: Python<'_>,
        hook: &str,
        direction: u32,
        frame: &[u8],
        repeat: u32,
    ) -> PyResult<u32> {
        let hook = hook_of(hook)?;
        detached(py, || locked(&self.0).cost_ns(hook, direction, frame, repeat))
    }

    fn close_programs(&self, py: Python<'_>) {
        py.detach(|| locked(&self.0).close_programs());
    }

    fn links(&self, py: Python<'_>) -> PyResult<BTreeMap<String, u32>> {
        detached(py, || locked(&self.0).links())
    }

    fn detach(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        detached(py, || locked(&self.0).detach())
    }
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct ProbeOutcome {
    verdict: Py<PyAny>,
    drop_reason: Py<PyAny>,
    lane: Py<PyAny>,
    epoch: u32,
    facts: Py<PyFrozenSet>,
    action: u32,
}

impl ProbeOutcome {
    fn new(py: Python<'_>, probed: Probed) -> PyResult<Self> {
        let said = probed.outcome;
        let bits = (0..u32::BITS).filter(|bit| said.facts >> bit & 1 == 1);
        let facts = bits.map(|bit| FACT.known(py, bit)).collect::<PyResult<Vec<_>>>()?;
        Ok(ProbeOutcome {
            verdict: VERDICT.known(py, said.verdict)?,
            drop_reason: DROP_REASON.known(py, said.drop_reason)?,
            lane: LANE.known(py, said.lane)?,
            epoch: said.epoch,
            facts: PyFrozenSet::new(py, facts)?.unbind(),
            action: probed.action,
        })
    }
}

#[pymethods]
impl ProbeOutcome {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let reason = self.drop_reason.bind(py).getattr("name")?;
        let lane = self.lane.bind(py).getattr("name")?;
        Ok(format!("ProbeOutcome({reason}, {lane}, epoch={}, action={})", self.epoch, self.action))
    }
}
