//! ClientHello, RFC 8446 §4.1.2, from TLS records or from QUIC's CRYPTO frames.

use crate::name::Name;
use crate::observation::Absence;
use crate::reader::Parsed;

/// What a ClientHello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The first host_name of the first server_name, or why there is none.
    pub name: Result<Name, Absence>,
    /// The host as it stood there where it is no name; else empty.
    pub odd: String,
    /// What the client offers, in its order; GREASE left out.
    pub alpn: Vec<String>,
    /// encrypted_client_hello is present.
    pub ech: bool,
    /// A key share of a post-quantum group is present.
    pub post_quantum: bool,
}

/// The hello in `stream`, the client's bytes from the flow's start; `More` until all of it is there.
pub fn client_hello_of_records(_stream: &[u8]) -> Parsed<ClientHello> {
    Parsed::More
}

/// What an unfinished hello in `stream` already says: to be asked when the flow is given up (deadline, bound, end),
/// so that a client can't hide a name by never sending the last byte. None: its name has not come yet.
pub fn unfinished_of_records(_stream: &[u8]) -> Option<ClientHello> {
    None
}

/// The hello in `handshake`, a handshake message with its header.
pub fn client_hello(_handshake: &[u8]) -> Parsed<ClientHello> {
    Parsed::More
}

/// As `unfinished_of_records`, of a handshake message with its header.
pub fn unfinished(_handshake: &[u8]) -> Option<ClientHello> {
    None
}

/// Whether a flow that begins so may be TLS (or SSL 2); true while undecided.
pub fn could_be_tls(_start: &[u8]) -> bool {
    false
}
