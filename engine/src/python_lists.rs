//! The face of list_lines.rs. It translates; python.rs is its table of contents.

use bytemuck::cast_slice;
use clearway_inspector::name_set::Scope;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::list_lines::{self, Frame, Shape};
use crate::python::bytes_of;

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ListLines>()?;
    module.add_function(wrap_pyfunction!(parse_list, module)?)?;
    module.add_function(wrap_pyfunction!(sort_names, module)?)?;
    module.add_function(wrap_pyfunction!(merge_names, module)?)?;
    module.add_function(wrap_pyfunction!(find_names, module)?)?;
    Ok(())
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct ListLines {
    exact: Py<PyBytes>,
    below: Py<PyBytes>,
    subtree: Py<PyBytes>,
    v4: Py<PyBytes>,
    v6: Py<PyBytes>,
    blank: u64,
    entries: u64,
    others: Py<PyBytes>,
    is_full: bool,
}

/// What stands before, what behind, the scope's number, whether addresses are taken.
type PythonFrame = (Vec<u8>, Vec<u8>, u32, bool);

#[pyfunction]
#[pyo3(signature = (data, frames, comments, special_labels, separators=None))]
fn parse_list(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    frames: Vec<PythonFrame>,
    comments: Vec<Vec<u8>>,
    special_labels: Vec<Vec<u8>>,
    separators: Option<Vec<u8>>,
) -> PyResult<ListLines> {
    let frames = frames.into_iter().map(frame_of).collect::<PyResult<Vec<_>>>()?;
    let shape = Shape { frames, comments, special_labels, separators };
    let buffer = PyUntypedBuffer::get(data)?;
    let bytes = bytes_of(&buffer)?;
    let found = py.detach(|| list_lines::parse(bytes, &shape));
    let [exact, below, subtree] = found.names.map(|names| PyBytes::new(py, &names).unbind());
    Ok(ListLines {
        exact,
        below,
        subtree,
        v4: PyBytes::new(py, cast_slice(&found.v4)).unbind(),
        v6: PyBytes::new(py, cast_slice(&found.v6)).unbind(),
        blank: found.blank,
        entries: found.entries,
        others: PyBytes::new(py, cast_slice(&found.others)).unbind(),
        is_full: found.is_full,
    })
}

fn frame_of((before, behind, scope, has_addresses): PythonFrame) -> PyResult<Frame> {
    let scope = Scope::ALL.get(scope as usize).copied();
    let scope = scope.ok_or_else(|| PyValueError::new_err("no scope of a name has this number"))?;
    Ok(Frame { before, behind, scope, has_addresses })
}

#[pyfunction]
fn sort_names<'py>(py: Python<'py>, names: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let buffer = PyUntypedBuffer::get(names)?;
    let bytes = bytes_of(&buffer)?;
    let made = py.detach(|| list_lines::sorted(bytes));
    Ok(PyBytes::new(py, &made))
}

#[pyfunction]
fn merge_names<'py>(
    py: Python<'py>,
    exact: &Bound<'py, PyAny>,
    below: &Bound<'py, PyAny>,
    subtree: &Bound<'py, PyAny>,
) -> PyResult<[Bound<'py, PyBytes>; 3]> {
    let buffers =
        [PyUntypedBuffer::get(exact)?, PyUntypedBuffer::get(below)?, PyUntypedBuffer::get(subtree)?];
    let [exact, below, subtree] = &buffers;
    let (exact, below, subtree) = (bytes_of(exact)?, bytes_of(below)?, bytes_of(subtree)?);
    let made = py.detach(|| list_lines::merged(exact, below, subtree));
    Ok(made.map(|names| PyBytes::new(py, &names)))
}

#[pyfunction]
fn find_names<'py>(
    py: Python<'py>,
    names: &Bound<'py, PyAny>,
    sought: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let buffers = [PyUntypedBuffer::get(names)?, PyUntypedBuffer::get(sought)?];
    let [names, sought] = &buffers;
    let (names, sought) = (bytes_of(names)?, bytes_of(sought)?);
    let made = py.detach(|| list_lines::held(names, sought));
    Ok(PyBytes::new(py, &made))
}
