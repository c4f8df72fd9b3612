//! Host names in canonical form. Bytes in, a name or the reason why there is none out; called by every parser here and
//! by the readers of name lists, so that both sides of a comparison are written alike.
//!
//! Never guesses: what is not plainly a host name is an `Absence`. A port or a list's `*.` is taken off by the caller.
//! An asterisk is a byte like another (RFC 4592 lets one ask for it), and so is the underscore (`_dmarc`).

use crate::observation::Absence;
use std::fmt::Write;
use std::net::Ipv6Addr;

/// Bytes of a name as text, without its trailing dot: RFC 1035's 255 on the wire.
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of one label.
pub const LABEL_BYTES_MAX: usize = 63;
/// Bytes that `escaped` shows; each takes up to four characters.
pub const ESCAPED_BYTES_MAX: usize = 255;

/// A host name: lower case, A-labels, no trailing dot, 1 to 253 bytes of a-z 0-9 _ - * and dots, no empty label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Canonical form of a host as it stood in a message; one trailing dot is taken off. `Literal`: IPv6, with brackets
    /// or without, or every label is a number, which resolvers and browsers read as IPv4 (`10.1`, `0x7f.1`).
    pub fn parse(bytes: &[u8]) -> Result<Name, Absence> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX {
            return Err(Absence::NotAName);
        }
        let mut text = String::with_capacity(bytes.len());
        for byte in bytes {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*' | b'.' => text.push(char::from(*byte)),
                b'A'..=b'Z' => text.push(char::from(byte.to_ascii_lowercase())),
                _ => return Err(if is_ipv6(bytes) { Absence::Literal } else { Absence::NotAName }),
            }
        }
        let mut numbers_only = true;
        for label in text.split('.') {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return Err(Absence::NotAName);
            }
            numbers_only &= is_number(label.as_bytes());
        }
        if numbers_only {
            return Err(Absence::Literal);
        }
        Ok(Name(text))
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

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// A host that is no name, for `Observation::odd`: lower case, without a trailing dot, and what is not printable ASCII
/// as \DDD in decimal (RFC 1035 §5.1). Cut at `ESCAPED_BYTES_MAX`.
pub fn escaped(bytes: &[u8]) -> String {
    let bytes = bytes.get(..ESCAPED_BYTES_MAX).unwrap_or(bytes);
    let bytes = if bytes.len() > 1 { bytes.strip_suffix(b".").unwrap_or(bytes) } else { bytes };
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        push_escaped(&mut text, *byte, byte.is_ascii_graphic() && *byte != b'\\');
    }
    text
}

/// Adds one byte: in lower case if it may stand `plain`, else as \DDD.
pub(crate) fn push_escaped(text: &mut String, byte: u8, plain: bool) {
    if plain {
        text.push(char::from(byte.to_ascii_lowercase()));
    } else {
        // Writing to a String can't fail.
        let _ = write!(text, "\\{byte:03}");
    }
}

/// As inet_aton reads a part of an address: decimal or octal digits, or 0x and hexadecimal ones. Lower case.
fn is_number(label: &[u8]) -> bool {
    match label.strip_prefix(b"0x") {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => label.iter().all(u8::is_ascii_digit),
    }
}

/// With brackets or without, with a zone or without.
fn is_ipv6(bytes: &[u8]) -> bool {
    let inner = bytes.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(bytes);
    let address = inner.split(|byte| *byte == b'%').next().unwrap_or_default();
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<String, Absence> {
        Name::parse(text.as_bytes()).map(|name| name.to_string())
    }

    #[test]
    fn a_name_is_lower_case_and_has_no_trailing_dot() {
        assert_eq!(read("WWW.Example.COM."), Ok("www.example.com".into()));
        assert_eq!(read("_dmarc.XN--BCHER-KVA.example"), Ok("_dmarc.xn--bcher-kva.example".into()));
        assert_eq!(read("*.teams.microsoft.com"), Ok("*.teams.microsoft.com".into()));
        assert_eq!(read("localhost"), Ok("localhost".into()));
        assert_eq!(read("-leading.trailing-"), Ok("-leading.trailing-".into()));
    }

    #[test]
    fn an_empty_label_is_no_name() {
        for text in ["", ".", "..", "a..b", ".a", "a.."] {
            assert_eq!(read(text), Err(Absence::NotAName), "{text:?}");
        }
    }

    #[test]
    fn lengths_end_at_63_and_253() {
        let label = "a".repeat(63);
        assert!(read(&label).is_ok());
        assert_eq!(read(&"a".repeat(64)), Err(Absence::NotAName));
        let whole = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(whole.len(), NAME_BYTES_MAX);
        assert_eq!(read(&whole), Ok(whole.clone()));
        assert_eq!(read(&format!("{whole}.")), Ok(whole.clone()));
        assert_eq!(read(&format!("{whole}a")), Err(Absence::NotAName));
    }

    #[test]
    fn an_address_is_a_literal_however_it_is_written() {
        for text in [
            "192.0.2.1",
            "192.0.2.1.",
            "10.1",
            "017.0.0.1",
            "0x7f.1",
            "0X7F000001",
            "3221225985",
            "1.2.3.4.5",
            "[::1]",
            "::1",
            "[2001:db8::1]",
            "[fe80::1%eth0]",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(read(text), Err(Absence::Literal), "{text:?}");
        }
        for text in ["1.2.3.4.in-addr.arpa", "1and1.com", "0x7g", "163.com", "a.1"] {
            assert!(read(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_byte_that_no_host_has_is_no_name() {
        for text in
            ["a b", "a\0b", "a/b", "a@b", "a:80", "bücher.example", "a%2eb", "a,b", "[::1", "[::1]:80", "::g"]
        {
            assert_eq!(read(text), Err(Absence::NotAName), "{text:?}");
        }
        assert_eq!(Name::parse(b"\xff.example"), Err(Absence::NotAName));
    }

    #[test]
    fn suffixes_begin_at_label_borders() {
        let name = Name::parse(b"a.b.example").unwrap_or_else(|_| unreachable!());
        assert_eq!(name.suffixes().collect::<Vec<_>>(), ["a.b.example", "b.example", "example"]);
    }

    #[test]
    fn odd_bytes_are_shown_as_decimal() {
        assert_eq!(escaped(b"WWW.A\x04\x05\\.cn."), "www.a\\004\\005\\092.cn");
        assert_eq!(escaped(b"[::1]"), "[::1]");
        assert_eq!(escaped(b"/"), "/");
        assert_eq!(escaped(b"."), ".");
        assert_eq!(escaped(b"a b\xff"), "a\\032b\\255");
        assert_eq!(escaped(&[0; 9000]).len(), 4 * ESCAPED_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn a_name_reads_back_as_itself(bytes in "[a-zA-Z0-9_.\\-*]{0,260}|\\PC{0,20}") {
            if let Ok(name) = Name::parse(bytes.as_bytes()) {
                prop_assert_eq!(Name::parse(name.as_str().as_bytes()), Ok(name.clone()));
                prop_assert_eq!(Name::parse(bytes.to_ascii_uppercase().as_bytes()), Ok(name.clone()));
                prop_assert!(name.as_str().len() <= NAME_BYTES_MAX);
                prop_assert!(name.suffixes().all(|suffix| !suffix.is_empty() && !suffix.starts_with('.')));
            }
        }

        #[test]
        fn any_bytes_can_be_shown(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(escaped(&bytes).bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
