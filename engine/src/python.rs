//! The face that Python imports as `clearway._engine`; with its python_*.rs the only files that name pyo3. It
//! translates; it does not think. `src/clearway/_engine.pyi` is its contract. Here: the closed lists, what all parts
//! share, and what the tables are filled with.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use crate::abi;
use crate::base;
use crate::clock;
use crate::error::{Error, Result};
use crate::prefix_lines;
use crate::settings;
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

pub(crate) static LANE: List = List { name: "Lane", members: PyOnceLock::new() };
pub(crate) static VERDICT: List = List { name: "Verdict", members: PyOnceLock::new() };
pub(crate) static DIRECTION: List = List { name: "Direction", members: PyOnceLock::new() };
pub(crate) static DROP_REASON: List = List { name: "DropReason", members: PyOnceLock::new() };
pub(crate) static FACT: List = List { name: "Fact", members: PyOnceLock::new() };

impl List {
    /// The member of that value; None: of a newer ABI.
    pub(crate) fn member(&self, py: Python<'_>, value: u32) -> PyResult<Option<Py<PyAny>>> {
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
    module.add_function(wrap_pyfunction!(boot_clock_ns, module)?)?;
    module.add_function(wrap_pyfunction!(membarrier, module)?)?;
    module.add_function(wrap_pyfunction!(parse_prefixes, module)?)?;
    crate::python_hold::add_to(module)?;
    crate::python_bench::register(module)?;
    crate::python_events::register(module)?;
    crate::python_frames::register(module)?;
    crate::python_inspect::register(module)?;
    crate::python_lists::register(module)?;
    crate::python_loader::register(module)?;
    crate::python_names::register(module)?;
    crate::python_tables::register(module)?;
    Ok(())
}

/// A member of a list that is no class of Python, as its public word.
pub(crate) fn known(list: &[(&str, u32)], value: u32) -> String {
    let found = list.iter().find(|(_, member)| *member == value);
    found.map_or_else(|| value.to_string(), |(name, _)| name.to_lowercase().replace('_', "-"))
}

/// Works without the GIL, and raises what comes of it.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, error))
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
pub(crate) struct Settings(pub(crate) settings::Settings);

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
pub(crate) struct Capacity(pub(crate) base::Capacity);

#[pymethods]
impl Capacity {
    #[new]
    #[pyo3(signature = (bitmaps, v6_buckets, v6_slots, name_words=1, observed=1))]
    fn new(
        py: Python<'_>,
        bitmaps: u32,
        v6_buckets: u32,
        v6_slots: u32,
        name_words: u32,
        observed: u32,
    ) -> PyResult<Self> {
        let capacity = base::Capacity { bitmaps, v6_buckets, v6_slots, name_words, observed };
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

    #[getter]
    fn observed(&self) -> u32 {
        self.0.observed
    }

    fn __repr__(&self) -> String {
        let base::Capacity { bitmaps, v6_buckets, v6_slots, name_words, observed } = self.0;
        format!(
            "Capacity(bitmaps={bitmaps}, v6_buckets={v6_buckets}, v6_slots={v6_slots}, \
             name_words={name_words}, observed={observed})"
        )
    }
}

/// Holds the buffers that its parts are views on.
#[pyclass(frozen, module = "clearway._engine")]
pub(crate) struct Base {
    v4_cell_numbers: PyUntypedBuffer,
    v4_cells: PyUntypedBuffer,
    v4_bitmaps: PyUntypedBuffer,
    v4_observed: Option<PyUntypedBuffer>,
    v6_buckets: PyUntypedBuffer,
    v6_slots: PyUntypedBuffer,
    v6_lengths: Vec<u8>,
    v6_seed: u64,
    needs: base::Capacity,
}

#[pymethods]
impl Base {
    #[new]
    #[pyo3(signature = (
        *, v4_cell_numbers, v4_cells, v4_bitmaps, v6_buckets, v6_slots, v6_lengths, v6_seed, v4_observed=None
    ))]
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
        v4_observed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut made = Base {
            v4_cell_numbers: PyUntypedBuffer::get(v4_cell_numbers)?,
            v4_cells: PyUntypedBuffer::get(v4_cells)?,
            v4_bitmaps: PyUntypedBuffer::get(v4_bitmaps)?,
            v4_observed: v4_observed.map(PyUntypedBuffer::get).transpose()?,
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
    pub(crate) fn parts(&self) -> PyResult<base::Parts<'_>> {
        Ok(base::Parts {
            v4_cell_numbers: bytes_of(&self.v4_cell_numbers)?,
            v4_cells: bytes_of(&self.v4_cells)?,
            v4_bitmaps: bytes_of(&self.v4_bitmaps)?,
            v4_observed: self.v4_observed.as_ref().map(bytes_of).transpose()?.unwrap_or_default(),
            v6_buckets: bytes_of(&self.v6_buckets)?,
            v6_slots: bytes_of(&self.v6_slots)?,
            v6_lengths: &self.v6_lengths,
            v6_seed: self.v6_seed,
        })
    }
}
