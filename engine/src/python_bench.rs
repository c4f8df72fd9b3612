//! The face of what measures names: new flows, the time of their first data, the cost of reading a name, and Initials
//! to do it with. It translates; python.rs is its table of contents.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::epoll::Kind;
use crate::name_cost::{self, Case};
use crate::new_flows::{self, Dial};
use crate::python::detached;
use crate::python_names::NameFilter;
use crate::python_tables::view_of;
use crate::{first_data, initials, kernel};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<NameCost>()?;
    module.add_function(wrap_pyfunction!(dial_flows, module)?)?;
    module.add_function(wrap_pyfunction!(serve_flows, module)?)?;
    module.add_function(wrap_pyfunction!(dial_first_data, module)?)?;
    module.add_function(wrap_pyfunction!(serve_first_data, module)?)?;
    module.add_function(wrap_pyfunction!(quic_initial, module)?)?;
    Ok(())
}

fn kind_of(word: &str) -> PyResult<Kind> {
    match word {
        "tcp" => Ok(Kind::Tcp),
        "udp" => Ok(Kind::Udp),
        _ => Err(PyValueError::new_err(format!("a flow is \"tcp\" or \"udp\", not {word:?}"))),
    }
}

fn end(address: &str, port: u16) -> PyResult<SocketAddrV4> {
    let address: Ipv4Addr =
        address.parse().map_err(|_| PyValueError::new_err(format!("{address} is no IPv4 address")))?;
    Ok(SocketAddrV4::new(address, port))
}

#[pyfunction]
#[pyo3(signature = (kind, source, destination, port, payloads, *, first, concurrent, stays, seconds))]
#[expect(clippy::too_many_arguments, reason = "as Python names them")]
fn dial_flows(
    py: Python<'_>,
    kind: &str,
    source: &str,
    destination: &str,
    port: u16,
    payloads: Vec<Bound<'_, PyBytes>>,
    first: usize,
    concurrent: usize,
    stays: bool,
    seconds: f64,
) -> PyResult<(u64, u64, f64)> {
    let payloads: Vec<&[u8]> = payloads.iter().map(|payload| payload.as_bytes()).collect();
    let dial = Dial {
        kind: kind_of(kind)?,
        source: *end(source, 0)?.ip(),
        destination: end(destination, port)?,
        payloads: &payloads,
        first,
        concurrent,
        stays,
        time: Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(error.to_string()))?,
    };
    let found = detached(py, || new_flows::dial(&dial))?;
    Ok((found.answered, found.failed, found.took.as_secs_f64()))
}

#[pyfunction]
#[pyo3(signature = (kind, socket, stop, *, request_bytes, answer))]
fn serve_flows(
    py: Python<'_>,
    kind: &str,
    socket: i32,
    stop: i32,
    request_bytes: usize,
    answer: &[u8],
) -> PyResult<u64> {
    let kind = kind_of(kind)?;
    detached(py, || match kind {
        Kind::Tcp => new_flows::serve_tcp(&kernel::duplicate_number(socket)?, stop, request_bytes),
        Kind::Udp => new_flows::serve_udp(socket, stop, answer),
    })
}

#[pyfunction]
fn dial_first_data<'py>(
    py: Python<'py>,
    source: &str,
    destination: &str,
    port: u16,
    payloads: Vec<Bound<'py, PyBytes>>,
    count: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let payloads: Vec<&[u8]> = payloads.iter().map(|payload| payload.as_bytes()).collect();
    let (source, destination) = (*end(source, 0)?.ip(), end(destination, port)?);
    let times = detached(py, || first_data::dial(source, destination, &payloads, count))?;
    Ok(PyBytes::new(py, bytemuck::cast_slice(&times)))
}

#[pyfunction]
fn serve_first_data(
    py: Python<'_>,
    listener: i32,
    count: usize,
    request_bytes: usize,
) -> PyResult<Bound<'_, PyBytes>> {
    let times =
        detached(py, || first_data::serve(&kernel::duplicate_number(listener)?, count, request_bytes))?;
    Ok(PyBytes::new(py, bytemuck::cast_slice(&times)))
}

#[pyfunction]
fn quic_initial<'py>(py: Python<'py>, connection_id: &[u8], hello: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let sealed = detached(py, || initials::initial(connection_id, hello))?;
    Ok(PyBytes::new(py, &sealed))
}

#[pyclass(frozen, module = "clearway._engine")]
struct NameCost(Mutex<name_cost::NameCost>);

#[pymethods]
impl NameCost {
    #[new]
    fn new(py: Python<'_>, names: &NameFilter) -> PyResult<Self> {
        let names = view_of(Some(names), &[])?;
        detached(py, || name_cost::NameCost::load(&names)).map(|loaded| NameCost(Mutex::new(loaded)))
    }

    #[pyo3(signature = (frame, *, name_at, name_bytes, payload_at, is_dns, repeat, seed))]
    #[expect(clippy::too_many_arguments, reason = "as Python names them")]
    fn measure(
        &self,
        py: Python<'_>,
        frame: &[u8],
        name_at: usize,
        name_bytes: usize,
        payload_at: usize,
        is_dns: bool,
        repeat: u32,
        seed: u64,
    ) -> PyResult<(u32, u32, u64, u64)> {
        let case = Case { frame, name_at, name_bytes, payload_at, is_dns };
        let cost = detached(py, || {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).measure(&case, repeat, seed)
        })?;
        Ok((cost.all_ns, cost.drawing_ns, cost.clean, cost.other))
    }
}
