//! Queries of DNS (RFC 1035), over UDP and TCP: what is asked, never what is answered.

use crate::name::Name;
use crate::observation::Absence;
use crate::reader::Parsed;

/// A query: header, questions, and what its OPT record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// To be repeated in an answer.
    pub id: u16,
    /// 0: an ordinary query. Others (NOTIFY 4, UPDATE 5) name a zone in their question section.
    pub opcode: u8,
    /// RD.
    pub recursion_desired: bool,
    /// AD.
    pub authentic_data: bool,
    /// CD.
    pub checking_disabled: bool,
    /// In their order; may be none.
    pub questions: Vec<Question>,
    /// Of the OPT record, where there is one and it was whole.
    pub edns: Option<Edns>,
    /// Bytes of header and question section: what an answer repeats.
    pub end_of_questions: usize,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked for, or why that is no host name.
    pub name: Result<Name, Absence>,
    /// The name in RFC 1035 master-file form, lower case, where it is no host name; the root is ".".
    pub odd: String,
    /// QTYPE.
    pub kind: u16,
    /// QCLASS.
    pub class: u16,
}

/// RFC 6891.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram that the asker takes.
    pub udp_size: u16,
    /// DO.
    pub dnssec_ok: bool,
    /// 0 is the only one there is.
    pub version: u8,
}

/// Reads a message (without the length that TCP puts before it). `More`: it ends within its question section, so a
/// datagram is cut. An answer (QR = 1) is `No(OtherProtocol)`.
pub fn query(message: &[u8]) -> Parsed<Query> {
    let _ = message;
    Parsed::More
}

/// The queries of a TCP stream: each behind two bytes of length (RFC 7766 §8).
#[derive(Clone, Debug, Default)]
pub struct TcpQueries {
    waiting: Vec<u8>,
}

impl TcpQueries {
    /// Takes the stream's next bytes; every message that they complete is added to `found`.
    pub fn push(&mut self, bytes: &[u8], found: &mut Vec<Result<Query, Absence>>) {
        let _ = (bytes, found);
    }

    /// A message has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes held for it.
    pub fn memory_bytes(&self) -> usize {
        self.waiting.capacity()
    }
}
