//! The closed list of facts that a parser may state. Never a verdict, and of a flow's bytes nothing but a name.

use crate::name::Name;

/// Where a name was read. Numbers and words are those of `enum name_protocol` in bpf/abi.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Protocol {
    /// A question of a query, RFC 1035.
    Dns = 0,
    /// Host, the target in absolute form or of CONNECT, or HTTP/2's `:authority`; RFC 9112, 9113.
    Http = 1,
    /// server_name of a ClientHello over TCP, RFC 6066 §3.
    Tls = 2,
    /// The same in CRYPTO frames of QUIC Initial packets, RFC 9001, 9369.
    Quic = 3,
    /// None of these: the flow begins in another way.
    Other = 4,
}

impl Protocol {
    /// Its public word.
    pub const fn word(self) -> &'static str {
        match self {
            Protocol::Dns => "dns",
            Protocol::Http => "http",
            Protocol::Tls => "tls",
            Protocol::Quic => "quic",
            Protocol::Other => "other",
        }
    }
}

/// Why there is no name to match. Closed; each is counted, none is a reason to drop anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absence {
    /// A hello without server_name, a request without Host.
    NotSent,
    /// The host is an IP address.
    Literal,
    /// Over 253 bytes, an empty or overlong label, a NUL, a byte that no host name has.
    NotAName,
    /// The message contradicts itself.
    Malformed,
    /// The message was not complete when the flow, the capture or its time ended.
    Incomplete,
    /// It grew past a bound of this crate.
    TooLarge,
    /// Begins like none of the protocols that are read.
    OtherProtocol,
    /// A version that can't be read: QUIC of another version, SSL 2.
    OtherVersion,
    /// The Initial can't be decrypted: keys follow from bytes that were not seen.
    Undecipherable,
    /// The flow ran already when it was first seen.
    Unseen,
    /// Nothing was ever sent by the client.
    Empty,
}

impl Absence {
    /// Its public word: the value of `none` in `clearway inspect --json`.
    pub const fn word(self) -> &'static str {
        match self {
            Absence::NotSent => "not-sent",
            Absence::Literal => "literal",
            Absence::NotAName => "not-a-name",
            Absence::Malformed => "malformed",
            Absence::Incomplete => "incomplete",
            Absence::TooLarge => "too-large",
            Absence::OtherProtocol => "other-protocol",
            Absence::OtherVersion => "other-version",
            Absence::Undecipherable => "undecipherable",
            Absence::Unseen => "unseen",
            Absence::Empty => "empty",
        }
    }

    /// All of them, in the order of their declaration.
    pub const ALL: [Absence; 11] = [
        Absence::NotSent,
        Absence::Literal,
        Absence::NotAName,
        Absence::Malformed,
        Absence::Incomplete,
        Absence::TooLarge,
        Absence::OtherProtocol,
        Absence::OtherVersion,
        Absence::Undecipherable,
        Absence::Unseen,
        Absence::Empty,
    ];
}

/// One fact about a flow or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Where it was read.
    pub protocol: Protocol,
    /// The name in canonical form, or why there is none.
    pub name: Result<Name, Absence>,
    /// The host as it stood there where it is no name (odd bytes as \DDD, a literal), for `inspect` only; else empty.
    pub odd: String,
    /// TLS and QUIC: what the client offers, in its order; GREASE left out.
    pub alpn: Vec<String>,
    /// encrypted_client_hello was present. Not a sign that the name is hidden: most of it is GREASE.
    pub ech: bool,
    /// Bytes that a later copy of the same place gave another value before the name was read; the first was believed.
    pub ambiguous: u32,
}

impl Observation {
    /// A fact with nothing beside it.
    pub fn new(protocol: Protocol, name: Result<Name, Absence>) -> Self {
        Observation { protocol, name, odd: String::new(), alpn: Vec::new(), ech: false, ambiguous: 0 }
    }

    /// An address where only a name may stand: in server_name, which RFC 6066 forbids, or as the name of a question. A
    /// Host may be one, and says nothing by it.
    pub fn is_address_for_name(&self) -> bool {
        self.name == Err(Absence::Literal) && self.protocol != Protocol::Http
    }
}
