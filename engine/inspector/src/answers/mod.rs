//! What somebody is told who was refused: a DNS answer with the reason in it, a page, a reset, "port unreachable".
//!
//! Whole Ethernet frames, to be written as they are: checksums complete, in the encapsulation of the refused packet
//! (802.1Q and 802.1ad tags, PPPoE session), addresses and ports turned round towards the client, the server's address
//! as source. `None` where no answer can be built: behind MPLS labels (one-way), from or to a group address. Nothing
//! here decides that an answer is due; the caller has an exact match in hand and counts what was sent or could not be.
//!
//! An answer over TCP takes the server's place in the stream. The server never sees the refused bytes, so its sequence
//! numbers and the client's part for good: the connection ends with it, by FIN or RST to the client and RST to the
//! server, and the caller drops its later packets in both directions. What gets lost on the way to the client is not
//! sent again. Called by the gateway's hold loop (`engine/src/hold.rs`).

mod checksum;
mod dns;
mod envelope;
mod http;
mod icmp;
mod page;
mod tcp;
mod text;

pub use dns::{dns_reply, dns_tcp_reply};
pub use http::http_page;
pub use icmp::port_unreachable;
pub use tcp::{resets, Standing};

/// A client's MSS where its SYN was not seen: a segment of it fits any path that carries IPv6.
pub const MSS_DEFAULT: u16 = 1200;

/// Who refused what, and why: the words of the matched rule and the settings of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// Its reason, a word of the closed list.
    pub reason: &'a str,
    /// The list or the person it comes from.
    pub source: &'a str,
    /// In force until, RFC 3339, UTC.
    pub until: &'a str,
    /// The name that was refused, as the client asked for it.
    pub name: &'a str,
    /// The setting `contact`: whom to ask.
    pub contact: Option<&'a str>,
    /// The setting `appeal_url`: where to appeal. Must lie outside every list, or the appeal is refused too.
    pub appeal_url: Option<&'a str>,
}

/// The setting `dns_answer`. NXDOMAIN is the default: a stub stops there, while REFUSED has it ask its next resolver,
/// which answers. A validating resolver on the inside passes NXDOMAIN on for an unsigned zone and keeps it; for a
/// signed one it says SERVFAIL at once, as it does to REFUSED for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// There is no such name; cached for a short time (RFC 2308).
    Nxdomain,
    /// Will not say; a stub asks its next resolver.
    Refused,
}

impl DnsAnswer {
    /// Its public word.
    pub const fn word(self) -> &'static str {
        match self {
            DnsAnswer::Nxdomain => "nxdomain",
            DnsAnswer::Refused => "refused",
        }
    }

    /// All of them, in the order of their declaration; the first is the default.
    pub const ALL: [DnsAnswer; 2] = [DnsAnswer::Nxdomain, DnsAnswer::Refused];
}

/// The frames that end a refused connection, each list in the order of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Out of the port where the client is.
    pub to_client: Vec<Vec<u8>>,
    /// Out of the other port; empty where the server knows nothing of the connection yet.
    pub to_server: Vec<Vec<u8>>,
}
