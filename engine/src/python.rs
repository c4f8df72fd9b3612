//! The face that Python imports as `clearway._engine`, and the only file that names pyo3. It translates; it does not
//! think. `src/clearway/_engine.pyi` is its contract.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::abi;
use crate::clock;
use crate::error::Error;
use crate::prefix_lines;

/// Classes of Python made from the closed lists.
const LISTS: [(&str, &[(&str, u32)]); 6] = [
    ("Reason", abi::reason::NAMES),
    ("Lane", abi::lane::NAMES),
    ("Verdict", abi::verdict::NAMES),
    ("Direction", abi::direction::NAMES),
    ("DropReason", abi::drop_reason::NAMES),
    ("Fact", abi::fact::NAMES),
];

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
    module.add_function(wrap_pyfunction!(boot_clock_ns, module)?)?;
    module.add_function(wrap_pyfunction!(membarrier, module)?)?;
    module.add_function(wrap_pyfunction!(parse_prefixes, module)?)?;
    Ok(())
}

/// The one place where an error of this crate becomes an exception; they are born in clearway.errors.
fn raise(py: Python<'_>, error: Error) -> PyErr {
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
fn bytes_of(buffer: &PyUntypedBuffer) -> PyResult<&[u8]> {
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
    py.detach(clock::membarrier).map_err(|error| raise(py, error))
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
