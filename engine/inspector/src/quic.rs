//! The ClientHello in a client's QUIC Initial packets, versions 1 and 2: RFC 9000, 9001, 9369.

use crate::observation::Absence;
use crate::reader::Parsed;
use crate::tls::ClientHello;

/// The Initial packets of one flow's client.
pub struct Initials {}

impl Initials {
    /// None seen.
    pub fn new() -> Self {
        Initials {}
    }

    /// One more datagram of the client. `No` once a bound is reached; a datagram that can't be read (another version,
    /// no key fits) is `More`, since one that can may follow.
    pub fn datagram(&mut self, _datagram: &[u8]) -> Parsed<ClientHello> {
        Parsed::More
    }

    /// What an unfinished hello already says: to be asked when the flow is given up. None: its name has not come yet.
    pub fn unfinished(&self) -> Option<ClientHello> {
        None
    }

    /// Why there is no name so far.
    pub fn absence(&self) -> Absence {
        Absence::Incomplete
    }

    /// Bytes of CRYPTO frames that a later copy gave another value; the first was believed.
    pub fn ambiguous(&self) -> u32 {
        0
    }

    /// Heap held.
    pub fn memory_bytes(&self) -> usize {
        0
    }
}

impl Default for Initials {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a flow whose first datagram this is may be QUIC that a client opens, of any version.
pub fn could_be_initial(_datagram: &[u8]) -> bool {
    false
}
