//! The face of name_lines.rs, name_hash.rs, name_set.rs and name_filter.rs of the inspector's crate: lists of names
//! read, compiled, and asked. It translates; python.rs is its table of contents.

use std::borrow::Cow;

use clearway_inspector::name_filter::{self, Descriptor};
use clearway_inspector::name_hash::{self as hashes, Keys};
use clearway_inspector::name_lines;
use clearway_inspector::name_set::{self, Listed, Scope, Unusable};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::Error;
use crate::python::{bytes_of, raise};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let members: Vec<(String, u8)> =
        Scope::ALL.iter().map(|scope| (scope.word().to_uppercase(), *scope as u8)).collect();
    let named = PyDict::new(py);
    named.set_item("module", "clearway._engine")?;
    module.add(
        "NameScope",
        py.import("enum")?.getattr("IntEnum")?.call(("NameScope", members), Some(&named))?,
    )?;
    module.add_class::<NameLines>()?;
    module.add_class::<NameMatch>()?;
    module.add_class::<NameFilterShape>()?;
    module.add_class::<NameSet>()?;
    module.add_class::<NameFilter>()?;
    module.add_function(wrap_pyfunction!(parse_names, module)?)?;
    module.add_function(wrap_pyfunction!(name_hash, module)?)?;
    Ok(())
}

fn scope_of(number: u32) -> PyResult<Scope> {
    let found = Scope::ALL.get(number as usize).copied();
    found.ok_or_else(|| PyValueError::new_err(format!("{number} is no scope of a name")))
}

fn raise_unusable(py: Python<'_>, part: &'static str, why: Unusable) -> PyErr {
    raise(py, Error::Part { part, why: why.0 })
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct NameLines {
    exact: Py<PyBytes>,
    below: Py<PyBytes>,
    subtree: Py<PyBytes>,
    addresses: Py<PyBytes>,
    blank: u64,
    entries: u64,
    address_lines: u64,
    unsupported: u64,
    malformed: u64,
    rejected: Vec<(u64, String)>,
}

#[pyfunction]
fn parse_names(py: Python<'_>, data: &Bound<'_, PyAny>, plain: u32, starred: u32) -> PyResult<NameLines> {
    let (plain, starred) = (scope_of(plain)?, scope_of(starred)?);
    let buffer = PyUntypedBuffer::get(data)?;
    let bytes = bytes_of(&buffer)?;
    let found = py.detach(|| name_lines::parse(bytes, plain, starred));
    let [exact, below, subtree] = found.names.map(|names| PyBytes::new(py, &names).unbind());
    Ok(NameLines {
        exact,
        below,
        subtree,
        addresses: PyBytes::new(py, &found.addresses).unbind(),
        blank: found.blank,
        entries: found.entries,
        address_lines: found.address_lines,
        unsupported: found.unsupported,
        malformed: found.malformed,
        rejected: found.rejected,
    })
}

#[pyfunction]
fn name_hash(name: &str, k0: u64, k1: u64) -> u64 {
    hashes::hash(name.as_bytes(), &Keys { k0, k1 })
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct NameMatch {
    list: u16,
    scope: Py<PyAny>,
    entry: String,
    exception: bool,
    observe: bool,
}

#[pyclass(frozen, eq, module = "clearway._engine", get_all)]
#[derive(PartialEq)]
struct NameFilterShape {
    seed: u64,
    segment_length: u32,
    segment_length_mask: u32,
    segment_count_length: u32,
    entries: u32,
}

impl From<Descriptor> for NameFilterShape {
    fn from(descriptor: Descriptor) -> Self {
        let Descriptor { seed, segment_length, segment_length_mask, segment_count_length, entries } =
            descriptor;
        NameFilterShape { seed, segment_length, segment_length_mask, segment_count_length, entries }
    }
}

/// A buffer that nobody writes to while it is held.
struct Held(PyUntypedBuffer);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        bytes_of(&self.0).unwrap_or_default()
    }
}

/// Name, scope, kind and names of one list.
type PythonListed<'py> = (u16, u32, bool, Bound<'py, PyAny>);

#[pyclass(frozen, module = "clearway._engine")]
struct NameSet(name_set::NameSet<Held>);

#[pymethods]
impl NameSet {
    #[new]
    fn new(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let held = Held(PyUntypedBuffer::get(data)?);
        bytes_of(&held.0)?;
        name_set::NameSet::open(held).map(NameSet).map_err(|why| raise_unusable(py, "names", why))
    }

    #[staticmethod]
    #[pyo3(signature = (lists, k0, k1, observed=Vec::new()))]
    fn build<'py>(
        py: Python<'py>,
        lists: Vec<PythonListed<'py>>,
        k0: u64,
        k1: u64,
        observed: Vec<PythonListed<'py>>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let enforced = lists.len();
        let all: Vec<_> = lists.into_iter().chain(observed).collect();
        let buffers =
            all.iter().map(|(.., names)| PyUntypedBuffer::get(names)).collect::<PyResult<Vec<_>>>()?;
        let mut listed = Vec::with_capacity(all.len());
        for (number, ((list, scope, exception, _), buffer)) in all.iter().zip(&buffers).enumerate() {
            let (scope, names) = (scope_of(*scope)?, bytes_of(buffer)?);
            let observe = number >= enforced;
            listed.push(Listed { list: *list, scope, exception: *exception, observe, names });
        }
        let built = py
            .detach(|| name_set::build(Keys { k0, k1 }, &listed))
            .map_err(|why| PyValueError::new_err(why.0))?;
        let set = PyBytes::new(py, &built.set);
        drop(built.set);
        Ok((set, PyBytes::new(py, bytemuck::cast_slice(&built.filter.words))))
    }

    fn find(&self, py: Python<'_>, name: &str) -> PyResult<Option<NameMatch>> {
        let Some(found) = self.0.find_text(name) else { return Ok(None) };
        let scopes = py.import("clearway._engine")?.getattr("NameScope")?;
        Ok(Some(NameMatch {
            list: found.list,
            scope: scopes.call1((found.scope as u8,))?.unbind(),
            entry: found.entry.to_owned(),
            exception: found.exception,
            observe: found.observe,
        }))
    }

    #[getter]
    fn names(&self) -> u32 {
        self.0.names()
    }

    #[getter]
    fn keys(&self) -> (u64, u64) {
        let Keys { k0, k1 } = self.0.keys();
        (k0, k1)
    }

    #[getter]
    fn filter(&self) -> NameFilterShape {
        self.0.filter().into()
    }
}

#[pyclass(frozen, module = "clearway._engine")]
pub struct NameFilter {
    descriptor: Descriptor,
    keys: Keys,
    words: Held,
}

#[pymethods]
impl NameFilter {
    #[new]
    fn new(py: Python<'_>, set: &NameSet, words: &Bound<'_, PyAny>) -> PyResult<Self> {
        let words = Held(PyUntypedBuffer::get(words)?);
        let (descriptor, bytes) = (set.0.filter(), bytes_of(&words.0)?.len() as u64);
        if bytes != 8 * descriptor.words() {
            let why = format!("{bytes} bytes in place of {}", 8 * descriptor.words());
            return Err(raise_unusable(py, "name_filter", Unusable(why)));
        }
        Ok(NameFilter { descriptor, keys: set.0.keys(), words })
    }

    fn may_hold(&self, name: &str) -> bool {
        let words = words_of(self.words.as_ref());
        hashes::questions(name, &self.keys)
            .any(|key| name_filter::contains(&self.descriptor, |at| words.get(at).copied(), key))
    }
}

impl NameFilter {
    /// How to ask, under which keys, and the words.
    pub fn parts(&self) -> (Descriptor, Keys, &[u8]) {
        (self.descriptor, self.keys, self.words.as_ref())
    }
}

/// Copied where the memory isn't aligned.
fn words_of(bytes: &[u8]) -> Cow<'_, [u64]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(words) => Cow::Borrowed(words),
        Err(_) => Cow::Owned(bytemuck::allocation::pod_collect_to_vec(bytes)),
    }
}
