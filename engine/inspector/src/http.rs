//! Heads of HTTP/1.x requests (RFC 9112): which host is asked for.

use crate::name::Name;
use crate::observation::Absence;
use crate::reader::Parsed;

/// A host as a request states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Without its port.
    pub name: Result<Name, Absence>,
    /// The same, where it is no name: as it stood, without its port; see `name::escaped`.
    pub odd: String,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The first Host; `NotSent` where there is none or it is empty.
    pub host: Result<Name, Absence>,
    /// It, where it is no name.
    pub odd: String,
    /// The host in an absolute-form target, or CONNECT's.
    pub target: Option<Host>,
    /// Further Host lines that differ from the first. Servers differ in which they believe, so each is a name of the flow.
    pub others: Vec<Host>,
    /// As sent.
    pub method: String,
    /// Bytes up to and with the blank line; of a head that never ended, those that were read.
    pub head_bytes: usize,
}

impl Request {
    /// Every host that the request states, each once: Host, the target, further Hosts. Never empty.
    pub fn hosts(&self) -> Vec<Host> {
        vec![Host { name: self.host.clone(), odd: self.odd.clone() }]
    }
}

/// Reads the head at the start of a stream. `Done` at its blank line, or at the bound if a host was stated by then.
pub fn request(stream: &[u8]) -> Parsed<Request> {
    Head::default().read(stream)
}

/// Could a stream that begins so be a request? True while undecided.
pub fn could_be_request(start: &[u8]) -> bool {
    let _ = start;
    true
}

/// A head that is being read: `read` is asked again with the same stream, grown, and looks at no byte twice.
#[derive(Clone, Debug, Default)]
pub struct Head {}

impl Head {
    /// `stream`: from its first byte, each time.
    pub fn read(&mut self, stream: &[u8]) -> Parsed<Request> {
        let _ = stream;
        Parsed::More
    }

    /// What the complete lines so far state, for a head that will not go on (deadline, reset, end of capture); `None`
    /// if they state no host.
    pub fn so_far(&self) -> Option<Request> {
        None
    }
}
