//! Host names in canonical form. Bytes in, a name or the reason why there is none out; called by every parser here and
//! by the readers of name lists, so that both sides of a comparison are written alike.
//!
//! Never guesses: what is not plainly a host name is an `Absence`, and a port, brackets or a list's `*.` is taken off by
//! the caller. An asterisk is a byte like another (RFC 4592 lets one ask for it).

use crate::observation::Absence;

/// Bytes of a name as text, without its trailing dot: RFC 1035's 255 on the wire.
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of one label.
pub const LABEL_BYTES_MAX: usize = 63;

/// A host name: lower case, A-labels, no trailing dot, 1 to 253 bytes of a-z 0-9 _ - * and dots, no empty label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Canonical form of a host as it stood in a message. `Literal`: every label is a number, or it is IPv6.
    pub fn parse(bytes: &[u8]) -> Result<Name, Absence> {
        let _ = bytes;
        Err(Absence::NotAName)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole name, then what follows each dot: `a.b.c`, `b.c`, `c`.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |rest| rest.split_once('.').map(|(_, parent)| parent))
    }
}

/// A host that is no name, for `Observation::odd`: lower case, what is not printable ASCII as \DDD (RFC 1035 §5.1).
pub fn escaped(bytes: &[u8]) -> String {
    let _ = bytes;
    String::new()
}
