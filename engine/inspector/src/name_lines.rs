//! Lines of a list → sorted, distinct names in canonical form, one blob a scope. Pure: bytes in, a value out. Any input
//! gives an answer; memory stays below a small multiple of the input.
//!
//! A line holds one name and nothing else but a comment: `#`, `;` or `//` open one at the start of a line or behind
//! white space, `#` anywhere. Letters of either size, one final dot allowed. `*.` in front says what the caller says
//! that it says: formats differ. A name here has two labels or more, the last one not numeric, hyphens inside only.
//!
//! Of a known kind, but nothing that is enforced (unsupported): letters beyond ASCII, an asterisk elsewhere, a dot in
//! front, `*.` before one label or an address. Addresses are handed back as they stood: who wants them has
//! prefix_lines.rs read them. All else is malformed, a URL and a line of a hosts file among it: never cut to a host.

use std::net::Ipv6Addr;

use crate::name::{LABEL_BYTES_MAX, NAME_BYTES_MAX};
use crate::name_set::Scope;

/// Rejected lines kept as examples.
pub const REJECTED_MAX: usize = 100;
/// Characters kept of each.
pub const REJECTED_CHARACTERS_MAX: usize = 200;

/// What an input held. Every line is counted once: blank, entry, address, unsupported or malformed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameLines {
    /// Names by the number of their scope: sorted by byte, distinct, each line ended by "\n".
    pub names: [Vec<u8>; 3],
    /// The first columns that are an address, in their order, each line ended by "\n".
    pub addresses: Vec<u8>,
    /// Lines with nothing on them but space or a comment.
    pub blank: u64,
    /// Lines that gave a name, duplicates included.
    pub entries: u64,
    /// Lines that are an address.
    pub address_lines: u64,
    /// Lines of a known kind that give nothing to enforce.
    pub unsupported: u64,
    /// All others.
    pub malformed: u64,
    /// The first malformed lines: number from 1, text.
    pub rejected: Vec<(u64, String)>,
}

/// Reads every line. `plain`: what a name covers; `starred`: what it covers behind `*.`.
pub fn parse(data: &[u8], plain: Scope, starred: Scope) -> NameLines {
    let mut found = NameLines::default();
    let mut gathered = [Gathered::default(), Gathered::default(), Gathered::default()];
    let mut rest = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut number = 0;
    while !rest.is_empty() {
        let line;
        (line, rest) = next_line(rest);
        number += 1;
        match read_line(line) {
            Line::Blank => found.blank += 1,
            Line::Name { text, has_star } => {
                found.entries += 1;
                let scope = if has_star { starred } else { plain };
                if let Some(gathered) = gathered.get_mut(scope as usize) {
                    gathered.push(text);
                }
            }
            Line::Address(text) => {
                found.address_lines += 1;
                found.addresses.extend_from_slice(text);
                found.addresses.push(b'\n');
            }
            Line::Unsupported => found.unsupported += 1,
            Line::Malformed => {
                found.malformed += 1;
                if found.rejected.len() < REJECTED_MAX {
                    let text = String::from_utf8_lossy(line);
                    let text = text.trim().chars().take(REJECTED_CHARACTERS_MAX).collect();
                    found.rejected.push((number, text));
                }
            }
        }
    }
    found.names = gathered.map(Gathered::into_sorted);
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Blank,
    /// Checked, but in the letters that it was written in.
    Name {
        text: &'a [u8],
        has_star: bool,
    },
    Address(&'a [u8]),
    Unsupported,
    Malformed,
}

/// "\n", "\r\n" and a lone "\r" end a line.
fn next_line(data: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr2(b'\n', b'\r', data) else {
        return (data, &[]);
    };
    let (line, rest) = data.split_at(end);
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
    (line, rest)
}

fn read_line(line: &[u8]) -> Line<'_> {
    // Most lines of most lists are a name and nothing else
    if is_name(line) {
        return Line::Name { text: line, has_star: false };
    }
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'#');
    let (column, behind) = line.split_at(end.unwrap_or(line.len()));
    let is_comment =
        |text: &[u8]| text.starts_with(b";") || text.starts_with(b"//") || text.starts_with(b"#");
    if column.is_empty() || is_comment(column) {
        return Line::Blank;
    }
    let behind = behind.trim_ascii_start();
    if behind.is_empty() || is_comment(behind) {
        read_column(column)
    } else {
        Line::Malformed
    }
}

fn read_column(column: &[u8]) -> Line<'_> {
    let text = column.strip_suffix(b".").unwrap_or(column);
    if is_name(text) {
        return Line::Name { text, has_star: false };
    }
    if is_address(column) {
        return Line::Address(column);
    }
    let (text, has_star) = text.strip_prefix(b"*.").map_or((text, false), |text| (text, true));
    if has_star && is_name(text) {
        return Line::Name { text, has_star };
    }
    let (text, has_dot) = match text.strip_prefix(b".") {
        Some(behind) if !has_star => (behind, true),
        _ => (text, false),
    };
    if has_foreign_labels(text, has_star || has_dot) {
        Line::Unsupported
    } else {
        Line::Malformed
    }
}

/// Labels of letters (beyond ASCII too) and asterisks, of which a name has none; `marked`: what stood in front says
/// enough.
fn has_foreign_labels(text: &[u8], marked: bool) -> bool {
    let is_foreign = |byte: &u8| matches!(byte, b'*' | 0x80..);
    let is_label =
        |label: &[u8]| !label.is_empty() && label.iter().all(|byte| is_name_byte(*byte) || is_foreign(byte));
    (marked || text.iter().any(is_foreign)) && text != b"*" && text.split(|byte| *byte == b'.').all(is_label)
}

/// Two labels or more of letters, digits, hyphen (inside) and underscore, 253 bytes at most, the last label not
/// numeric, nor hexadecimal.
pub fn is_name(text: &[u8]) -> bool {
    if text.len() > NAME_BYTES_MAX {
        return false;
    }
    // Bytes of the label so far; its last byte; whether all are digits
    let (mut length, mut last, mut numeric, mut dots) = (0, b'-', true, 0);
    for byte in text {
        if *byte == b'.' {
            if length == 0 || last == b'-' {
                return false;
            }
            (length, last, numeric, dots) = (0, b'-', true, dots + 1);
            continue;
        }
        if !is_name_byte(*byte) || (length == 0 && *byte == b'-') || length == LABEL_BYTES_MAX {
            return false;
        }
        numeric &= byte.is_ascii_digit();
        (length, last) = (length + 1, *byte);
    }
    dots > 0 && length > 0 && last != b'-' && !numeric && !ends_hexadecimal(text)
}

/// Whether the last label is a number as some systems read addresses: 0x7f.
fn ends_hexadecimal(text: &[u8]) -> bool {
    let last = text.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let digits = last.strip_prefix(b"0x").or_else(|| last.strip_prefix(b"0X"));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Looks like an address or a prefix; prefix_lines.rs says whether it is one.
fn is_address(column: &[u8]) -> bool {
    let slash = memchr::memchr(b'/', column).unwrap_or(column.len());
    let (address, length) = column.split_at(slash);
    let length = length.strip_prefix(b"/").unwrap_or(b"0");
    let is_number = |text: &[u8]| !text.is_empty() && text.len() <= 3 && text.iter().all(u8::is_ascii_digit);
    if !is_number(length) {
        return false;
    }
    let octets = address.split(|byte| *byte == b'.');
    let is_v6 = || std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    (octets.clone().count() == 4 && octets.clone().all(is_number)) || (address.contains(&b':') && is_v6())
}

/// Names in lower case, each ended by "\n".
#[derive(Default)]
pub struct Gathered {
    text: Vec<u8>,
    /// Where the last one begins.
    last: usize,
    unsorted: bool,
}

impl Gathered {
    /// Takes one more, as it is.
    pub fn push(&mut self, name: &[u8]) {
        let start = self.text.len();
        self.text.extend(name.iter().map(u8::to_ascii_lowercase));
        self.text.push(b'\n');
        // "\n" is less than any byte of a name: whole lines compare as their names do
        let before = self.text.get(self.last..start).unwrap_or_default();
        let this = self.text.get(start..).unwrap_or_default();
        match before.cmp(this) {
            std::cmp::Ordering::Less => self.last = start,
            std::cmp::Ordering::Equal => self.text.truncate(start),
            std::cmp::Ordering::Greater => (self.last, self.unsorted) = (start, true),
        }
    }

    /// All of them, sorted by byte, distinct.
    pub fn into_sorted(self) -> Vec<u8> {
        if !self.unsorted {
            return self.text;
        }
        let text = self.text.as_slice();
        let mut starts: Vec<(u64, usize)> = Vec::with_capacity(memchr::memchr_iter(b'\n', text).count());
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            starts.push((first_bytes(text, start, end), start));
            start = end + 1;
        }
        let line = |start: usize| {
            let rest = text.get(start..).unwrap_or_default();
            rest.get(..memchr::memchr(b'\n', rest).map_or(0, |end| end + 1)).unwrap_or_default()
        };
        starts.sort_unstable_by(|(a_first, a), (b_first, b)| {
            a_first.cmp(b_first).then_with(|| line(*a).cmp(line(*b)))
        });
        let mut sorted = Vec::with_capacity(text.len());
        let mut before: &[u8] = &[];
        for (_, start) in starts {
            let this = line(start);
            if this != before {
                sorted.extend_from_slice(this);
                before = this;
            }
        }
        sorted
    }
}

/// The first eight bytes as a number that sorts as they do: most comparisons need no more, and no look at the text.
fn first_bytes(text: &[u8], start: usize, end: usize) -> u64 {
    let mut first = [0; 8];
    for (into, byte) in first.iter_mut().zip(text.get(start..end).unwrap_or_default()) {
        *into = *byte;
    }
    u64::from_be_bytes(first)
}

/// What holds of every input, for tests and the fuzz target. Panics where it does not.
#[doc(hidden)]
pub fn invariant(data: &[u8], found: &NameLines) {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let lines = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    let counted = found.blank + found.entries + found.address_lines + found.unsupported + found.malformed;
    assert_eq!(counted, lines.lines().count() as u64);
    assert!(found.rejected.len() <= REJECTED_MAX);
    for (names, scope) in found.names.iter().zip(Scope::ALL) {
        let lines: Vec<&[u8]> = names.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(lines.is_sorted_by(|a, b| a < b) && lines.iter().all(|line| line.ends_with(b"\n")));
        // Written out and read again, it is the same: nothing is found that isn't a name
        let again = parse(names, scope, scope);
        assert_eq!((again.entries, again.names.get(scope as usize)), (lines.len() as u64, Some(names)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a panic is how a test fails
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_plain(line: &str, name: &str) -> bool {
        read_line(line.as_bytes()) == Line::Name { text: name.as_bytes(), has_star: false }
    }

    #[test]
    fn reads_a_name_beside_a_comment_and_a_final_dot() {
        for line in [
            "evil.example",
            "  evil.example\t# note",
            "evil.example.",
            "evil.example#x",
            "evil.example ; x",
            "evil.example // x",
        ] {
            assert!(is_plain(line, "evil.example"), "{line}");
        }
        for name in ["_dmarc.evil.example", "xn--bcher-kva.example", "1.2.3.4.example", "a-b.c_d.x1", "0.a"] {
            assert!(is_plain(name, name), "{name}");
        }
    }

    #[test]
    fn tells_the_kinds_of_lines_apart() {
        for blank in ["", " \t", "# evil.example", "; x", "// x", "#"] {
            assert_eq!(read_line(blank.as_bytes()), Line::Blank, "{blank}");
        }
        for address in
            ["192.0.2.1", "192.0.2.0/24", "2001:db8::1", "2001:db8::/32", "::ffff:192.0.2.1", "999.0.0.1"]
        {
            assert_eq!(read_line(address.as_bytes()), Line::Address(address.as_bytes()));
        }
        for unsupported in [
            "bücher.example",
            "a.*.example",
            "*evil.example",
            ".evil.example",
            "*.zip",
            "*.192.0.2.1",
            "*.*.a.b",
        ] {
            assert_eq!(read_line(unsupported.as_bytes()), Line::Unsupported, "{unsupported}");
        }
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}.example", "a.".repeat(123) + "a");
        assert_eq!(long_name.len(), 255);
        for malformed in [
            "localhost",
            "evil..example",
            "-a.example",
            "a-.example",
            "a.b-",
            "https://evil.example/",
            "evil.example/x",
            "evil.example:443",
            "0.0.0.0 evil.example",
            "evil.example other.example",
            "evil.123",
            "0x7f.0.0.0x1",
            "*",
            "*.",
            ".",
            "..",
            "evil.example,malware",
            "||evil.example^",
            "<html>",
            "a b",
            "evil.example;x",
            "*..example",
            "1.2.3.4/24/1",
            &long_label,
            &long_name,
        ] {
            assert_eq!(read_line(malformed.as_bytes()), Line::Malformed, "{malformed}");
        }
    }

    #[test]
    fn a_star_in_front_gives_the_scope_that_the_format_says() {
        let data = b"*.b.example\na.example\n*.B.example.\n";
        let found = parse(data, Scope::Exact, Scope::Below);
        assert_eq!(found.names, [b"a.example\n".to_vec(), b"b.example\n".to_vec(), Vec::new()]);
        let found = parse(data, Scope::Subtree, Scope::Subtree);
        assert_eq!(found.names, [Vec::new(), Vec::new(), b"a.example\nb.example\n".to_vec()]);
    }

    #[test]
    fn counts_each_line_once_whatever_ends_it() {
        let found = parse(
            b"\xef\xbb\xbfb.example\r\n\r\n# c\rword\nA.Example\na.example.\n192.0.2.1\n*.x",
            Scope::Exact,
            Scope::Below,
        );
        assert_eq!((found.entries, found.blank, found.malformed), (3, 2, 1));
        assert_eq!((found.address_lines, found.unsupported), (1, 1));
        assert_eq!(found.names, [b"a.example\nb.example\n".to_vec(), Vec::new(), Vec::new()]);
        assert_eq!(found.addresses, b"192.0.2.1\n");
        assert_eq!(found.rejected, [(4, "word".to_owned())]);
    }

    #[test]
    fn the_longest_name_is_one() {
        let name = format!("{}.example", "a.".repeat(122) + "a");
        assert_eq!(name.len(), 253);
        assert!(is_plain(&name, &name) && is_plain(&format!("{name}."), &name));
    }

    proptest! {
        #[test]
        fn any_bytes_are_lines(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            invariant(&data, &parse(&data, Scope::Exact, Scope::Below));
        }

        #[test]
        fn names_come_out_sorted_and_distinct(names in proptest::collection::vec("[ab]{1,9}\\.[ab]{1,3}", 0..40)) {
            let text = names.join("\n");
            let found = parse(text.as_bytes(), Scope::Subtree, Scope::Below);
            invariant(text.as_bytes(), &found);
            let wanted: std::collections::BTreeSet<&str> = names.iter().map(String::as_str).collect();
            let wanted: String = wanted.into_iter().map(|name| format!("{name}\n")).collect();
            prop_assert_eq!(found.names.get(Scope::Subtree as usize).unwrap(), wanted.as_bytes());
        }
    }
}
