//! One direction of a flow, from its client's first bytes to the first name or a sure absence of one.
//!
//! Bounded in bytes (`reassembly`) and in work; no clock: who holds the flow ends it (`end`) when its time is up. What a
//! flow begins with decides how it is read: port 53 as DNS for its whole life, else as TLS, HTTP/1, HTTP/2 or QUIC by its
//! first bytes, whichever port it goes to.

use crate::observation::Observation;

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A stream of bytes, by sequence number.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whether more of a flow is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The flow's next packets matter. Always so of DNS: each query is a question of its own.
    More,
    /// Nothing further of this flow needs to be read: its first name, or a sure absence, has been found.
    Done,
}

/// What was read of one direction so far.
#[derive(Debug)]
pub struct Flow {
    transport: Transport,
}

impl Flow {
    /// A flow to `server_port`. `start` is the sequence number of its first byte (that of SYN + 1); None: not seen, the
    /// first segment counts as the beginning.
    pub fn new(transport: Transport, server_port: u16, start: Option<u32>) -> Flow {
        let _ = (server_port, start);
        Flow { transport }
    }

    /// Reads a TCP segment's payload; appends what it makes known.
    pub fn segment(&mut self, sequence: u32, payload: &[u8], found: &mut Vec<Observation>) -> Step {
        let _ = (sequence, payload, found, self.transport);
        Step::More
    }

    /// Reads a UDP datagram's payload; appends what it makes known.
    pub fn datagram(&mut self, payload: &[u8], found: &mut Vec<Observation>) -> Step {
        let _ = (payload, found);
        Step::More
    }

    /// Its time is up (deadline, RST, end of capture): says why there is no name, if nothing was said of the flow yet.
    pub fn end(&mut self, found: &mut Vec<Observation>) {
        let _ = found;
    }

    /// What it holds in memory.
    pub fn memory_bytes(&self) -> usize {
        std::mem::size_of::<Flow>()
    }
}
