//! The face of capture_file.rs and of the inspector's `inspect`: what a capture says, as lines or as values. It
//! translates; python.rs is its table of contents.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clearway_inspector::finding::{Finding, FlowTotal};
use clearway_inspector::flow::Transport;
use clearway_inspector::inspect;
use clearway_inspector::observation::Absence;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::capture_file::{CaptureFile, Trouble};

/// Adds what is here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ABSENCES", Absence::ALL.map(Absence::word).to_vec())?;
    module.add_class::<Inspection>()?;
    module.add_class::<Found>()?;
    module.add_class::<FlowSum>()?;
    Ok(())
}

/// About the length of a line, to make room once.
const LINE_BYTES: usize = 192;

/// A capture that is being read.
#[pyclass(frozen, module = "clearway._engine")]
struct Inspection {
    reading: Mutex<Reading>,
}

struct Reading {
    file: CaptureFile,
    inspection: inspect::Inspection,
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct Found {
    proto: &'static str,
    transport: &'static str,
    src: String,
    sport: u16,
    dst: String,
    dport: u16,
    name: Option<String>,
    none: Option<&'static str>,
    odd: String,
    frame: u64,
    alpn: Vec<String>,
    ech: bool,
    ambiguous: u32,
}

#[pyclass(frozen, module = "clearway._engine", get_all)]
struct FlowSum {
    transport: &'static str,
    src: String,
    sport: u16,
    dst: String,
    dport: u16,
    packets: u64,
    bytes: u64,
    frame: u64,
}

#[pymethods]
impl Inspection {
    #[new]
    #[pyo3(signature = (path, sums = false))]
    fn new(path: PathBuf, sums: bool) -> PyResult<Self> {
        let file = CaptureFile::open(&path)?;
        let inspection = inspect::Inspection::new(sums);
        Ok(Inspection { reading: Mutex::new(Reading { file, inspection }) })
    }

    fn json<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.lines(py, Finding::write_json)
    }

    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.lines(py, Finding::write_fields)
    }

    fn findings(&self, py: Python<'_>) -> PyResult<Option<Vec<Found>>> {
        self.some(py, |inspection| inspection.findings().map(Found::of).collect())
    }

    fn sums(&self) -> Vec<FlowSum> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.inspection.totals().map(FlowSum::of).collect()
    }

    #[getter]
    fn frames(&self) -> u64 {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).inspection.frames()
    }

    #[getter]
    fn unread_frames(&self) -> u64 {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).inspection.unread_frames()
    }

    #[getter]
    fn read_bytes(&self) -> u64 {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).file.read_bytes
    }

    #[getter]
    fn trouble(&self) -> Option<&'static str> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).file.trouble.map(Trouble::word)
    }

    #[getter]
    fn link(&self) -> Option<u32> {
        let file = &self.reading.lock().unwrap_or_else(PoisonError::into_inner).file;
        match file.trouble {
            Some(Trouble::Link(number)) => Some(number),
            _ => file.unread_link.map(u32::from),
        }
    }
}

impl Inspection {
    fn lines<'py>(
        &self,
        py: Python<'py>,
        write: impl Fn(&Finding, &mut String) + Sync,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let lines = self.some(py, |inspection| {
            let mut lines = String::with_capacity(inspection.waiting() * LINE_BYTES);
            inspection.findings().for_each(|finding| write(&finding, &mut lines));
            lines
        })?;
        Ok(lines.map(|lines| PyBytes::new(py, lines.as_bytes())))
    }

    /// One buffer of the file, without the GIL; None at its end.
    fn some<T: Send>(
        &self,
        py: Python<'_>,
        take: impl Fn(&mut inspect::Inspection) -> T + Sync,
    ) -> PyResult<Option<T>> {
        let taken = py.detach(|| {
            let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            let Reading { file, inspection } = &mut *reading;
            std::io::Result::Ok(file.read_some(inspection)?.then(|| take(inspection)))
        })?;
        Ok(taken)
    }
}

impl Found {
    fn of(finding: Finding) -> Found {
        let said = finding.said;
        let none = said.name.as_ref().err().map(|absence| absence.word());
        Found {
            proto: said.protocol.word(),
            transport: word(finding.transport),
            src: text(finding.source),
            sport: finding.source_port,
            dst: text(finding.destination),
            dport: finding.destination_port,
            name: said.name.ok().map(|name| name.as_str().to_owned()),
            none,
            odd: said.odd,
            frame: finding.frame,
            alpn: said.alpn,
            ech: said.ech,
            ambiguous: said.ambiguous,
        }
    }
}

impl FlowSum {
    fn of(total: FlowTotal) -> FlowSum {
        FlowSum {
            transport: word(total.transport),
            src: text(total.source),
            sport: total.source_port,
            dst: text(total.destination),
            dport: total.destination_port,
            packets: total.packets,
            bytes: total.bytes,
            frame: total.frame,
        }
    }
}

fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn text(address: IpAddr) -> String {
    address.to_string()
}
