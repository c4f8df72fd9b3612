//! What `clearway inspect` says of a flow, and how a line of it reads.

use std::fmt::Write;
use std::net::IpAddr;

use crate::flow::Transport;
use crate::observation::Observation;

/// One line: a name of a flow, or why it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The side that asks.
    pub source: IpAddr,
    /// Its port.
    pub source_port: u16,
    /// The side that is asked.
    pub destination: IpAddr,
    /// Its port.
    pub destination_port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Number of the frame that made it known, from 1.
    pub frame: u64,
    /// What was read.
    pub said: Observation,
}

/// A flow's packets, for `clearway replay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTotal {
    /// The side that asks, as far as that is known; else the one whose port is higher.
    pub source: IpAddr,
    /// Its port.
    pub source_port: u16,
    /// The side that is asked.
    pub destination: IpAddr,
    /// Its port.
    pub destination_port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Of both sides; a packet in fragments counts once, when it is whole.
    pub packets: u64,
    /// Payload of both sides, as far as IP tells of it.
    pub bytes: u64,
    /// Number of its first frame.
    pub frame: u64,
}

impl Finding {
    /// Adds it as a JSON object and a line feed. `literal`, `odd`, `alpn`, `ech` and `ambiguous` stand there where they
    /// say something. An address for a name is shown as it was sent and marked `literal`; no rule matches it.
    pub fn write_json(&self, out: &mut String) {
        out.push_str("{\"proto\": \"");
        out.push_str(self.said.protocol.word());
        out.push_str("\", \"src\": \"");
        push_address(self.source, out);
        out.push_str("\", \"sport\": ");
        push_number(self.source_port.into(), out);
        out.push_str(", \"dst\": \"");
        push_address(self.destination, out);
        out.push_str("\", \"dport\": ");
        push_number(self.destination_port.into(), out);
        match &self.said.name {
            Ok(name) => {
                out.push_str(", \"name\": ");
                push_quoted(name.as_str(), out);
            }
            Err(_) if self.said.is_address_for_name() => {
                out.push_str(", \"name\": ");
                push_quoted(&self.said.odd, out);
                out.push_str(", \"literal\": true");
            }
            Err(absence) => {
                out.push_str(", \"none\": ");
                push_quoted(absence.word(), out);
            }
        }
        out.push_str(", \"frame\": ");
        push_number(self.frame, out);
        if !self.said.odd.is_empty() && !self.said.is_address_for_name() {
            out.push_str(", \"odd\": ");
            push_quoted(&self.said.odd, out);
        }
        if let [first, others @ ..] = self.said.alpn.as_slice() {
            out.push_str(", \"alpn\": [");
            push_quoted(first, out);
            for other in others {
                out.push_str(", ");
                push_quoted(other, out);
            }
            out.push(']');
        }
        if self.said.ech {
            out.push_str(", \"ech\": true");
        }
        if self.said.ambiguous > 0 {
            out.push_str(", \"ambiguous\": ");
            push_number(self.said.ambiguous.into(), out);
        }
        out.push_str("}\n");
    }

    /// Adds it as fields between tabs: frame, protocol, source, port, destination, port, name (or the reason for none
    /// in brackets).
    pub fn write_fields(&self, out: &mut String) {
        push_number(self.frame, out);
        out.push('\t');
        out.push_str(self.said.protocol.word());
        out.push('\t');
        push_address(self.source, out);
        out.push('\t');
        push_number(self.source_port.into(), out);
        out.push('\t');
        push_address(self.destination, out);
        out.push('\t');
        push_number(self.destination_port.into(), out);
        match &self.said.name {
            Ok(name) => {
                out.push('\t');
                out.push_str(name.as_str());
            }
            Err(_) if self.said.is_address_for_name() => {
                out.push('\t');
                out.push_str(&self.said.odd);
            }
            Err(absence) => {
                out.push_str("\t(");
                out.push_str(absence.word());
                out.push(')');
            }
        }
        out.push('\n');
    }
}

/// Quicker than `Display`, which goes by way of padding; IPv6 keeps it, for its rules of shortening.
fn push_address(address: IpAddr, out: &mut String) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            push_number(a.into(), out);
            for byte in [b, c, d] {
                out.push('.');
                push_number(byte.into(), out);
            }
        }
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}"); // writing to a String can't fail
        }
    }
}

fn push_number(number: u64, out: &mut String) {
    if number >= 10 {
        push_number(number / 10, out);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}"); // as above
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Absence, Protocol};

    fn line(said: Observation) -> String {
        let source = IpAddr::from([192, 0, 2, 1]);
        let destination = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let ends = Finding {
            source,
            source_port: 40000,
            destination,
            destination_port: 443,
            transport: Transport::Tcp,
            frame: 12,
            said,
        };
        let mut out = String::new();
        ends.write_json(&mut out);
        out
    }

    const ENDS: &str = r#""src": "192.0.2.1", "sport": 40000, "dst": "2001:db8::1", "dport": 443"#;

    #[test]
    fn a_flow_without_a_name_has_the_reason_and_what_stood_there() {
        let odd = "a\\000\"b".to_owned();
        let said = Observation { odd, ..Observation::new(Protocol::Http, Err(Absence::NotAName)) };
        let expected = r#", "none": "not-a-name", "frame": 12, "odd": "a\\000\"b"}"#;
        assert_eq!(line(said), format!("{{\"proto\": \"http\", {ENDS}{expected}\n"));
    }

    #[test]
    fn an_address_in_server_name_is_shown_as_sent_and_marked() {
        let odd = "192.0.2.7".to_owned();
        let said = Observation { odd, ech: true, ..Observation::new(Protocol::Tls, Err(Absence::Literal)) };
        let expected = r#", "name": "192.0.2.7", "literal": true, "frame": 12, "ech": true}"#;
        assert_eq!(line(said), format!("{{\"proto\": \"tls\", {ENDS}{expected}\n"));
    }

    #[test]
    fn what_a_client_offers_is_quoted_whatever_it_holds() {
        let alpn = vec!["h2".to_owned(), "\u{1}é".to_owned()];
        let said =
            Observation { alpn, ambiguous: 3, ..Observation::new(Protocol::Quic, Err(Absence::NotSent)) };
        assert!(line(said).ends_with("\"alpn\": [\"h2\", \"\\u0001\\u00e9\"], \"ambiguous\": 3}\n"));
    }
}
