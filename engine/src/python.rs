//! The face that Python imports as `clearway._engine`; with its python_*.rs the only files that name pyo3. It translates; it does not think. `src/clearway/_engine.pyi` is its contract. Long because it is one class after
//! another, with nothing to decide.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyFrozenSet};

use clearway_inspector::name_hash;

use crate::abi;
use crate::base;
use crate::clock;
use crate::error::{Error, Result};
use crate::events;
use crate::frames;
use crate::kernel;
use crate::loader;
use crate::name_check::Check;
use crate::name_tables::{Names, NO_NAMES};
use crate::overlay_maps::Until;
use crate::prefix_lines;
use crate::probe::{Hook, Probed};
use crate::python_names::NameFilter;
use crate::settings;
use crate::spin;
use crate::tables;
use crate::touch::Prefix;

/// Classes of Python made from the closed lists.
const LISTS: [(&str, &[(&str, u32)]); 6] = [
    ("Reason", abi::reason::NAMES),
    ("Lane", abi::lane::NAMES),
    ("Verdict", abi::verdict::NAMES),
    ("Direction", abi::direction::NAMES),
    ("DropReason", abi::drop_reason::NAMES),
    ("Fact", abi::fact::NAMES),
];

/// A closed list as Python has it: members in the order of their values.
pub(crate) struct List {
    name: &'static str,
    members: PyOnceLock<Vec<Py<PyAny>>>,
}

static LANE: List = List { name: "Lane", members: PyOnceLock::new() };
static VERDICT: List = List { name: "Verdict", members: PyOnceLock::new() };
pub(crate) static DIRECTION: List = List { name: "Direction", members: PyOnceLock::new() };
static DROP_REASON: List = List { name: "DropReason", members: PyOnceLock::new() };
static FACT: List = List { name: "Fact", members: PyOnceLock::new() };

impl List {
    /// The member of that value; None: of a newer ABI.
    fn member(&self, py: Python<'_>, value: u32) -> PyResult<Option<Py<PyAny>>> {
        let members = self.members.get_or_try_init(py, || {
            let class = py.import("clearway._engine")?.getattr(self.name)?;
            class.try_iter()?.map(|member| Ok(member?.unbind())).collect::<PyResult<Vec<_>>>()
        })?;
        let value = value as usize;
        // abi.h numbers its lists from 0 without a gap, which a test holds
        Ok(members.get(value).map(|member| member.clone_ref(py)))
    }

    pub(crate) fn known(&self, py: Python<'_>, value: u32) -> PyResult<Py<PyAny>> {
        self.member(py, value)?
            .ok_or_else(|| PyValueError::new_err(format!("{value} is no member of {}", self.name)))
    }
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let int_enum = py.import("enum")?.getattr("IntEnum")?;
    let named = PyDict::new(py);
    named.set_item("module", "clearway._engine")?;
    for (name, members) in LISTS {
        module.add(name, int_enum.call((name, members.to_vec()), Some(&named))?)?;
    }
    let limits = PyDict::new(py);
    for (name, value) in abi::limit::NAMES {
        limits.set_item(name, value)?;
    }
    module.add("LIMITS", limits)?;
    module.add_class::<PrefixLines>()?;
    module.add_class::<Settings>()?;
    module.add_class::<Capacity>()?;
    module.add_class::<Base>()?;
    module.add_class::<Loader>()?;
    module.add_class::<ProbeOutcome>()?;
    module.add_class::<Difference>()?;
    module.add_class::<Tables>()?;
    module.add_class::<DropEvent>()?;
    module.add_class::<Events>()?;
    module.add_class::<FrameSink>()?;
    module.add_function(wrap_pyfunction!(live_frames, module)?)?;
    module.add_function(wrap_pyfunction!(ping, module)?)?;
    module.add_function(wrap_pyfunction!(pong, module)?)?;
    module.add_function(wrap_pyfunction!(boot_clock_ns, module)?)?;
    module.add_function(wrap_pyfunction!(membarrier, module)?)?;
    module.add_function(wrap_pyfunction!(parse_prefixes, module)?)?;
    crate::python_hold::add_to(module)?;
    crate::python_bench::register(module)?;
    crate::python_inspect::register(module)?;
    crate::python_lists::register(module)?;
    crate::python_names::register(module)?;
    Ok(())
}

/// Works without the GIL, and raises what comes of it.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, error))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one place where an error of this crate becomes an exception; they are born in clearway.errors.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let name = match error {
        Error::Misuse(why) => return PyValueError::new_err(why),
        Error::Kernel { .. } => "KernelRefused",
        Error::Capacity { .. } => "CapacityExceeded",
        Error::Pins { .. } => "PinsUnusable",
        Error::Part { .. } => "BadSnapshotPart",
    };
    let made =
        py.import("clearway.errors").and_then(|errors| errors.getattr(name)?.call1((error.to_string(),)));
    made.map_or_else(|failed| failed, PyErr::from_value)
}

/// The bytes of a buffer. Callers hand over what nobody writes to meanwhile: bytes, or arrays that they keep still.
pub(crate) fn bytes_of(buffer: &PyUntypedBuffer) -> PyResult<&[u8]> {
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("the buffer is not contiguous"));
    }
    if buffer.len_bytes() == 0 {
        return Ok(&[]);
    }
    // SAFETY: the exporter keeps the memory in place while the buffer is held, which the lifetime says.
    Ok(unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) })
}

#[pyfunction]
fn boot_clock_ns(py: Python<'_>) -> PyResult<u64> {
    clock::boot_ns().map_err(|error| raise(py, error))
}

#[pyfunction]
fn membarrier(py: Python<'_>) -> PyResult<()> {
    detached(py, clock::membarrier)
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct PrefixLines {
    v4: Py<PyBytes>,
    v6: Py<PyBytes>,
    blank: u64,
    entries: u64,
    malformed: u64,
    rejected: Vec<(u64, String)>,
}

#[pyfunction]
fn parse_prefixes(py: Python<'_>, data: &Bound<'_, PyAny>, separators: &str) -> PyResult<PrefixLines> {
    if !separators.is_ascii() {
        return Err(PyValueError::new_err("separators are ASCII characters"));
    }
    let buffer = PyUntypedBuffer::get(data)?;
    let bytes = bytes_of(&buffer)?;
    let found = py.detach(|| prefix_lines::parse(bytes, separators.as_bytes()));
    Ok(PrefixLines {
        v4: PyBytes::new(py, bytemuck::cast_slice(&found.v4)).unbind(),
        v6: PyBytes::new(py, bytemuck::cast_slice(&found.v6)).unbind(),
        blank: found.blank,
        entries: found.entries,
        malformed: found.malformed,
        rejected: found.rejected,
    })
}

#[pyclass(frozen, module = "clearway._engine")]
struct Settings(settings::Settings);

#[pymethods]
impl Settings {
    #[new]
    #[pyo3(signature = (*, inside_ifindex, outside_ifindex, observe=false, xdp_forward=false, guard=Vec::new(),
                        guard_inside=false, guard_bogons=false, names_held=false))]
    #[allow(clippy::too_many_arguments)] // by keyword
    fn new(
        py: Python<'_>,
        inside_ifindex: u32,
        outside_ifindex: u32,
        observe: bool,
        xdp_forward: bool,
        guard: Vec<(Vec<u8>, u32, u32)>,
        guard_inside: bool,
        guard_bogons: bool,
        names_held: bool,
    ) -> PyResult<Self> {
        let guard = guard.iter().map(|(address, length, flags)| Ok((Prefix::new(address, *length)?, *flags)));
        let guard = guard.collect::<Result<_>>().map_err(|error| raise(py, error))?;
        Ok(Settings(settings::Settings {
            inside_ifindex,
            outside_ifindex,
            observe,
            xdp_forward,
            guard_inside,
            guard_bogons,
            guard,
            names_held,
        }))
    }
}

#[pyclass(frozen, eq, module = "clearway._engine")]
#[derive(PartialEq)]
struct Capacity(base::Capacity);

#[pymethods]
impl Capacity {
    #[new]
    #[pyo3(signature = (bitmaps, v6_buckets, v6_slots, name_words=1))]
    fn new(py: Python<'_>, bitmaps: u32, v6_buckets: u32, v6_slots: u32, name_words: u32) -> PyResult<Self> {
        let capacity = base::Capacity { bitmaps, v6_buckets, v6_slots, name_words };
        capacity.check().map_err(|error| raise(py, error))?;
        Ok(Capacity(capacity))
    }

    #[getter]
    fn bitmaps(&self) -> u32 {
        self.0.bitmaps
    }

    #[getter]
    fn v6_buckets(&self) -> u32 {
        self.0.v6_buckets
    }

    #[getter]
    fn v6_slots(&self) -> u32 {
        self.0.v6_slots
    }

    #[getter]
    fn name_words(&self) -> u32 {
        self.0.name_words
    }

    fn __repr__(&self) -> String {
        let base::Capacity { bitmaps, v6_buckets, v6_slots, name_words } = self.0;
        format!(
            "Capacity(bitmaps={bitmaps}, v6_buckets={v6_buckets}, v6_slots={v6_slots}, name_words={name_words})"
        )
    }
}

/// Holds the buffers that its parts are views on.
#[pyclass(frozen, module = "clearway._engine")]
struct Base {
    v4_cell_numbers: PyUntypedBuffer,
    v4_cells: PyUntypedBuffer,
    v4_bitmaps: PyUntypedBuffer,
    v6_buckets: PyUntypedBuffer,
    v6_slots: PyUntypedBuffer,
    v6_lengths: Vec<u8>,
    v6_seed: u64,
    needs: base::Capacity,
}

#[pymethods]
impl Base {
    #[new]
    #[pyo3(signature = (*, v4_cell_numbers, v4_cells, v4_bitmaps, v6_buckets, v6_slots, v6_lengths, v6_seed))]
    #[allow(clippy::too_many_arguments)] // by keyword
    fn new(
        py: Python<'_>,
        v4_cell_numbers: &Bound<'_, PyAny>,
        v4_cells: &Bound<'_, PyAny>,
        v4_bitmaps: &Bound<'_, PyAny>,
        v6_buckets: &Bound<'_, PyAny>,
        v6_slots: &Bound<'_, PyAny>,
        v6_lengths: &Bound<'_, PyAny>,
        v6_seed: u64,
    ) -> PyResult<Self> {
        let mut made = Base {
            v4_cell_numbers: PyUntypedBuffer::get(v4_cell_numbers)?,
            v4_cells: PyUntypedBuffer::get(v4_cells)?,
            v4_bitmaps: PyUntypedBuffer::get(v4_bitmaps)?,
            v6_buckets: PyUntypedBuffer::get(v6_buckets)?,
            v6_slots: PyUntypedBuffer::get(v6_slots)?,
            v6_lengths: bytes_of(&PyUntypedBuffer::get(v6_lengths)?)?.to_vec(),
            v6_seed,
            needs: base::Capacity::LEAST,
        };
        let parts = made.parts()?;
        made.needs = detached(py, || {
            let view = base::Base::view(parts)?;
            view.check()?;
            Ok(view.needs())
        })?;
        Ok(made)
    }

    fn needs(&self) -> Capacity {
        Capacity(self.needs)
    }
}

impl Base {
    fn parts(&self) -> PyResult<base::Parts<'_>> {
        Ok(base::Parts {
            v4_cell_numbers: bytes_of(&self.v4_cell_numbers)?,
            v4_cells: bytes_of(&self.v4_cells)?,
            v4_bitmaps: bytes_of(&self.v4_bitmaps)?,
            v6_buckets: bytes_of(&self.v6_buckets)?,
            v6_slots: bytes_of(&self.v6_slots)?,
            v6_lengths: &self.v6_lengths,
            v6_seed: self.v6_seed,
        })
    }
}

fn hook_of(word: &str) -> PyResult<Hook> {
    [Hook::Tcx, Hook::Xdp]
        .into_iter()
        .find(|hook| hook.word() == word)
        .ok_or_else(|| PyValueError::new_err(format!("a hook is \"tcx\" or \"xdp\", not {word:?}")))
}

/// Answer, protocol and class as words of abi.h, the name as it stood, its key.
type NameRead<'py> = (String, String, String, Bound<'py, PyBytes>, u64);

/// A member of a list that is no class of Python, as its public word.
fn reaching(names: &[(String, String)]) -> Result<Vec<(&str, tables::Reach)>> {
    names.iter().map(|(name, scope)| Ok((name.as_str(), tables::Reach::parse(scope)?))).collect()
}

fn known(list: &[(&str, u32)], value: u32) -> String {
    let found = list.iter().find(|(_, member)| *member == value);
    found.map_or_else(|| value.to_string(), |(name, _)| name.to_lowercase().replace('_', "-"))
}

/// Answers by word, with "different"; examples of those.
fn answers_of(check: Check) -> (BTreeMap<String, u64>, Vec<String>) {
    let answers =
        (0..).zip(check.answers).map(|(answer, count)| (known(abi::name_answer::NAMES, answer), count));
    (answers.chain([("different".to_owned(), check.differences)]).collect(), check.examples)
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

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct DropEvent {
    boot_ns: u64,
    source: Py<PyBytes>,
    destination: Py<PyBytes>,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    ip_version: u8,
    ttl: u8,
    vlan: u16,
    length: u32,
    weight: u32,
    epoch: u32,
    drop_reason: Py<PyAny>,
    direction: Py<PyAny>,
    lane: Py<PyAny>,
    observed: bool,
}

impl DropEvent {
    fn new(py: Python<'_>, event: &abi::DropEvent) -> PyResult<Self> {
        Ok(DropEvent {
            boot_ns: event.boot_ns,
            source: PyBytes::new(py, &event.source.octet).unbind(),
            destination: PyBytes::new(py, &event.destination.octet).unbind(),
            source_port: event.source_port,
            destination_port: event.destination_port,
            protocol: event.protocol,
            ip_version: event.ip_version,
            ttl: event.ttl,
            vlan: event.vlan,
            length: event.length,
            weight: event.weight,
            epoch: event.epoch,
            drop_reason: DROP_REASON.known(py, event.drop_reason.into())?,
            direction: DIRECTION.known(py, event.direction.into())?,
            lane: LANE.known(py, event.lane.into())?,
            observed: event.observed != 0,
        })
    }
}

#[pyclass(frozen, module = "clearway._engine")]
struct Events(Mutex<events::Events>);

#[pymethods]
impl Events {
    #[new]
    fn new(py: Python<'_>, ring_fd: i32) -> PyResult<Self> {
        let events = detached(py, || events::Events::open(kernel::duplicate_number(ring_fd)?))?;
        Ok(Events(Mutex::new(events)))
    }

    fn poll(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Vec<DropEvent>> {
        let events = detached(py, || locked(&self.0).poll(Duration::from_millis(timeout_ms)))?;
        // A signal ends the wait: Ctrl-C is answered here
        py.check_signals()?;
        events.iter().map(|event| DropEvent::new(py, event)).collect()
    }
}

// ---- for measurements ----

#[pyfunction]
#[pyo3(signature = (ifindex, frame, count, batch, *, randomize, seed, prefixes))]
#[expect(clippy::too_many_arguments, reason = "as Python names them")]
fn live_frames(
    py: Python<'_>,
    ifindex: u32,
    frame: &[u8],
    count: u32,
    batch: u32,
    randomize: &str,
    seed: u64,
    prefixes: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    let prefixes = PyUntypedBuffer::get(prefixes)?;
    let prefixes = bytes_of(&prefixes)?;
    let took = detached(py, || {
        let pairs: &[abi::Pair] = bytemuck::try_cast_slice(prefixes)
            .map_err(|_| Error::Misuse("prefixes are no pairs of uint32".to_owned()))?;
        frames::send(ifindex, frame, count, batch, frames::Randomize::parse(randomize)?, seed, pairs)
    })?;
    Ok(took.as_secs_f64())
}

#[pyclass(frozen, module = "clearway._engine")]
struct FrameSink(Mutex<Option<frames::Sink>>);

#[pymethods]
impl FrameSink {
    #[new]
    fn new(py: Python<'_>, ifindex: u32) -> PyResult<Self> {
        detached(py, || frames::Sink::attach(ifindex)).map(|sink| FrameSink(Mutex::new(Some(sink))))
    }

    fn packets(&self, py: Python<'_>) -> PyResult<u64> {
        detached(py, || match &*locked(&self.0) {
            Some(sink) => sink.packets(),
            None => Err(Error::Misuse("the sink is closed".to_owned())),
        })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            drop(locked(&self.0).take());
            Ok(())
        })
    }
}

#[pyfunction]
fn ping(py: Python<'_>, socket: i32, count: usize, timeout_ms: u64) -> PyResult<Bound<'_, PyBytes>> {
    let patience = Duration::from_millis(timeout_ms);
    let times = detached(py, || spin::ping(&kernel::duplicate_number(socket)?, count, patience))?;
    Ok(PyBytes::new(py, bytemuck::cast_slice(&times)))
}

#[pyfunction]
fn pong(py: Python<'_>, socket: i32, count: usize, timeout_ms: u64) -> PyResult<()> {
    let patience = Duration::from_millis(timeout_ms);
    detached(py, || spin::pong(&kernel::duplicate_number(socket)?, count, patience))
}
