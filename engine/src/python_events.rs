//! The face of the ring of drops. It translates; python.rs is its table of contents.

use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::python::{detached, locked, DIRECTION, DROP_REASON, LANE};
use crate::{abi, events, kernel};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DropEvent>()?;
    module.add_class::<Events>()?;
    Ok(())
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
