//! The face of what measures packets and exchanges: frames as fast as they go, what counts them, ping and pong. It
//! translates; python.rs is its table of contents.

use std::sync::Mutex;
use std::time::Duration;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Error;
use crate::python::{bytes_of, detached, locked};
use crate::{abi, frames, kernel, spin};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<FrameSink>()?;
    module.add_function(wrap_pyfunction!(live_frames, module)?)?;
    module.add_function(wrap_pyfunction!(ping, module)?)?;
    module.add_function(wrap_pyfunction!(pong, module)?)?;
    Ok(())
}

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
