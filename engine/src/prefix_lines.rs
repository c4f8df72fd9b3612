//! Lines of a list → sorted, distinct prefixes. Pure: bytes in, a value out. Any input gives an answer; memory stays
//! below a small multiple of the input.
//!
//! A line holds one address, CIDR prefix or range `a-b` in its first column; `#`, `;` and `//` open a comment. Host
//! bits past the length are cut, as routers do. IPv6 that is written mapped (`::ffff:192.0.2.1`) is IPv4. What is
//! ambiguous is malformed: octets with a leading zero (octal to some readers), short forms (`10.1`), zone ids, a second
//! address beside the first. First address, last address and length of one prefix (DShield's block.txt) are that.

use std::net::Ipv6Addr;

/// Rejected lines kept as examples.
pub const REJECTED_MAX: usize = 100;
/// Characters kept of each.
pub const REJECTED_CHARACTERS_MAX: usize = 200;
/// Prefixes that all ranges of one input may make beyond one each: a short line can stand for 254 of them. 96 MB.
pub const RANGE_PREFIXES_MAX: usize = 4_000_000;

/// An IPv6 prefix; sorts by address, then length.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
pub struct V6Prefix {
    /// The address's first 64 bits.
    pub high: u64,
    /// Its last 64 bits.
    pub low: u64,
    /// 0 to 128; bits past it are 0.
    pub length: u64,
}

/// What an input held. Every line is counted once: blank, entry or malformed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixLines {
    /// address << 8 | length, sorted and distinct.
    pub v4: Vec<u64>,
    /// Sorted and distinct.
    pub v6: Vec<V6Prefix>,
    /// Lines with nothing on them but space or a comment.
    pub blank: u64,
    /// Lines that gave an entry, duplicates included.
    pub entries: u64,
    /// Lines that gave none.
    pub malformed: u64,
    /// The first malformed lines: number from 1, text.
    pub rejected: Vec<(u64, String)>,
}

/// Reads every line. `separators`: bytes that end the first column; white space ends it always.
pub fn parse(data: &[u8], separators: &[u8]) -> PrefixLines {
    let mut found = PrefixLines::default();
    let mut pushed = Pushed::default();
    let column_ends = column_ends(separators);
    let mut rest = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut number = 0;
    while !rest.is_empty() {
        let line;
        (line, rest) = next_line(rest);
        number += 1;
        match pushed.push_line(line, &column_ends) {
            None => found.blank += 1,
            Some(true) => found.entries += 1,
            Some(false) => {
                found.malformed += 1;
                if found.rejected.len() < REJECTED_MAX {
                    let text =
                        String::from_utf8_lossy(line).trim().chars().take(REJECTED_CHARACTERS_MAX).collect();
                    found.rejected.push((number, text));
                }
            }
        }
    }
    (found.v4, found.v6) = pushed.into_sorted();
    found
}

/// Prefixes as they are read, in any order.
#[derive(Debug)]
pub(crate) struct Pushed {
    v4: Vec<u64>,
    v6: Vec<V6Prefix>,
    /// What is left of RANGE_PREFIXES_MAX.
    room: usize,
    /// Whether IPv4 in the dress of IPv6 gives no entry.
    pub refuses_mapped: bool,
}

impl Default for Pushed {
    fn default() -> Self {
        Pushed { v4: Vec::new(), v6: Vec::new(), room: RANGE_PREFIXES_MAX, refuses_mapped: false }
    }
}

impl Pushed {
    /// Whether the line gave an entry; None: there is nothing on it.
    pub fn push_line(&mut self, line: &[u8], column_ends: &[bool; 256]) -> Option<bool> {
        let is_mapped = || self.refuses_mapped && memchr::memchr(b':', line).is_some();
        match read_line(line, column_ends) {
            Line::Blank => return None,
            Line::V4(_) | Line::Range(Address::V4(_), _) if is_mapped() => return Some(false),
            Line::V4(key) => self.v4.push(key),
            Line::V6(prefix) => self.v6.push(prefix),
            Line::Range(first, last) => return Some(self.push_range(first, last)),
            Line::Malformed => return Some(false),
        }
        Some(true)
    }

    /// Whether the text is one IPv4 address, and another than 0.0.0.0.
    pub fn push_v4(&mut self, text: &[u8]) -> bool {
        let address = read_v4(text).filter(|address| *address != 0);
        self.v4.extend(address.map(|address| v4_key(address, 32)));
        address.is_some()
    }

    /// Sorted and distinct.
    pub fn into_sorted(mut self) -> (Vec<u64>, Vec<V6Prefix>) {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v6.sort_unstable();
        self.v6.dedup();
        (self.v4, self.v6)
    }

    /// The smallest set of prefixes that makes up first..=last. False, and nothing pushed, when `room` is used up.
    fn push_range(&mut self, first: Address, last: Address) -> bool {
        let (v4_before, v6_before) = (self.v4.len(), self.v6.len());
        match (first, last) {
            (Address::V4(first), Address::V4(last)) => {
                each_prefix(first.into(), last.into(), 32, |address, length| {
                    self.v4.push(v4_key(address as u32, length));
                });
            }
            (Address::V6(first), Address::V6(last)) => {
                each_prefix(first, last, 128, |address, length| {
                    // A range of IPv6 around the mapped range says nothing of IPv4
                    if length < 96 || address >> 32 != 0xffff {
                        self.v6.push(v6_prefix(address, length));
                    }
                });
            }
            _ => return false,
        }
        let extra = (self.v4.len() - v4_before + self.v6.len() - v6_before).saturating_sub(1);
        match self.room.checked_sub(extra) {
            Some(left) => self.room = left,
            None => {
                self.v4.truncate(v4_before);
                self.v6.truncate(v6_before);
                return false;
            }
        }
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Blank,
    V4(u64),
    V6(V6Prefix),
    Range(Address, Address),
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    V4(u32),
    V6(u128),
}

/// "\n", "\r\n" and a lone "\r" end a line.
pub(crate) fn next_line(data: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr2(b'\n', b'\r', data) else {
        return (data, &[]);
    };
    let (line, rest) = data.split_at(end);
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
    (line, rest)
}

/// Which bytes end the first column.
pub(crate) fn column_ends(separators: &[u8]) -> [bool; 256] {
    let mut ends = [false; 256];
    for byte in separators.iter().chain(b" \t\x0b\x0c#;") {
        if let Some(end) = ends.get_mut(usize::from(*byte)) {
            *end = true;
        }
    }
    ends
}

fn read_line(line: &[u8], column_ends: &[bool; 256]) -> Line {
    // Most lines of most lists are an address and nothing else
    if let Some(address) = read_v4(line) {
        return Line::V4(v4_key(address, 32));
    }
    let line = line.trim_ascii_start();
    if line.is_empty() || line.starts_with(b"#") || line.starts_with(b";") || line.starts_with(b"//") {
        return Line::Blank;
    }
    let mut end = line.iter().position(|byte| column_ends[usize::from(*byte)]).unwrap_or(line.len());
    let (mut column, mut behind) = line.split_at(end);
    if let Some(comment) = column.windows(2).position(|pair| pair == b"//") {
        end = comment;
        (column, behind) = line.split_at(end);
    }
    read_column(column, behind, column_ends)
}

fn read_column(column: &[u8], behind: &[u8], column_ends: &[bool; 256]) -> Line {
    if let Some(dash) = memchr::memchr(b'-', column) {
        let (first, last) = column.split_at(dash);
        let last = last.get(1..).unwrap_or_default();
        // "a- b": the second address stands in the next column
        let last = if last.is_empty() { next_column(behind, column_ends) } else { last };
        return read_range(first, last);
    }
    if let Some(last) = behind.trim_ascii_start().strip_prefix(b"-") {
        // "a - b" is a range, "a - some words" an address with a note
        let last = next_column(last, column_ends);
        let range = read_range(column, last);
        if range != Line::Malformed || read_prefix(last) != Line::Malformed {
            return range;
        }
    }
    let behind = behind.trim_ascii_start();
    let behind = behind.strip_prefix(b",").unwrap_or(behind);
    let beside = next_column(behind, column_ends);
    // What may be a note costs little to tell: numbers, countries and dates are no addresses
    if read_prefix(beside.split(|byte| *byte == b'-').next().unwrap_or_default()) == Line::Malformed {
        return read_prefix(column);
    }
    let behind = behind.trim_ascii_start().get(beside.len()..).unwrap_or_default();
    read_block(column, beside, next_column(behind, column_ends))
}

/// A prefix that is written as its first address, its last one and its length.
fn read_block(first: &[u8], last: &[u8], length: &[u8]) -> Line {
    let (Some(first), Some(last), Some(length @ 0..=32)) =
        (read_v4(first), read_v4(last), read_length(length))
    else {
        return Line::Malformed;
    };
    let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
    if first & hosts == 0 && first | hosts == last {
        Line::V4(v4_key(first, length))
    } else {
        Line::Malformed
    }
}

fn next_column<'a>(behind: &'a [u8], column_ends: &[bool; 256]) -> &'a [u8] {
    let behind = behind.trim_ascii_start();
    let end = behind.iter().position(|byte| column_ends[usize::from(*byte)]).unwrap_or(behind.len());
    let column = behind.get(..end).unwrap_or_default();
    let comment = column.windows(2).position(|pair| pair == b"//").unwrap_or(column.len());
    column.get(..comment).unwrap_or_default()
}

fn read_range(first: &[u8], last: &[u8]) -> Line {
    match (read_address(first), read_address(last)) {
        (Some(Address::V4(first)), Some(Address::V4(last))) if first <= last => {
            Line::Range(Address::V4(first), Address::V4(last))
        }
        (Some(Address::V6(first)), Some(Address::V6(last))) if first <= last => {
            Line::Range(Address::V6(first), Address::V6(last))
        }
        _ => Line::Malformed,
    }
}

fn read_prefix(column: &[u8]) -> Line {
    let (address, length) = match memchr::memchr(b'/', column) {
        None => (column, None),
        Some(slash) => {
            let (address, length) = column.split_at(slash);
            match read_length(length.get(1..).unwrap_or_default()) {
                None => return Line::Malformed,
                length => (address, length),
            }
        }
    };
    if let Some(v4) = read_v4(address) {
        return match length.unwrap_or(32) {
            length @ 0..=32 => Line::V4(v4_key(v4, length)),
            _ => Line::Malformed,
        };
    }
    match (read_v6(address), length.unwrap_or(128)) {
        // Mapped, and wholly inside ::ffff:0:0/96
        (Some(v6), length @ 96..=128) if v6 >> 32 == 0xffff => Line::V4(v4_key(v6 as u32, length - 96)),
        (Some(v6), length @ 0..=128) => Line::V6(v6_prefix(v6, length)),
        _ => Line::Malformed,
    }
}

fn read_address(text: &[u8]) -> Option<Address> {
    if let Some(v4) = read_v4(text) {
        return Some(Address::V4(v4));
    }
    match read_v6(text)? {
        v6 if v6 >> 32 == 0xffff => Some(Address::V4(v6 as u32)),
        v6 => Some(Address::V6(v6)),
    }
}

/// Four decimal octets without leading zeros.
fn read_v4(text: &[u8]) -> Option<u32> {
    let (mut address, mut octet, mut digits, mut dots) = (0u32, 0u32, 0, 0);
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                if digits == 3 || (digits > 0 && octet == 0) {
                    return None;
                }
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && octet <= 255 && dots < 3 => {
                address = address << 8 | octet;
                (octet, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (dots == 3 && digits > 0 && octet <= 255).then_some(address << 8 | octet)
}

fn read_v6(text: &[u8]) -> Option<u128> {
    // A zone id or a word is told apart before the standard library looks
    let hexadecimal = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':' || *byte == b'.';
    if !text.contains(&b':') || !text.iter().all(hexadecimal) {
        return None;
    }
    let address: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(u128::from(address))
}

/// One to three digits.
fn read_length(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    text.iter()
        .try_fold(0, |length, byte| byte.is_ascii_digit().then(|| length * 10 + u32::from(byte - b'0')))
}

fn v4_key(address: u32, length: u32) -> u64 {
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    u64::from(address & mask) << 8 | u64::from(length)
}

fn v6_prefix(address: u128, length: u32) -> V6Prefix {
    let address = address & u128::MAX.checked_shl(128 - length).unwrap_or(0);
    V6Prefix { high: (address >> 64) as u64, low: address as u64, length: u64::from(length) }
}

/// At most 2 × width prefixes: the widest that begins at `first` and ends by `last`, then on from behind it.
fn each_prefix(mut first: u128, last: u128, width: u32, mut each: impl FnMut(u128, u32)) {
    loop {
        let aligned = first.trailing_zeros().min(width);
        // The span is last - first + 1, which may be 2^128: one less is counted instead
        let fits = (last - first).checked_add(1).map_or(128, u128::ilog2);
        let bits = aligned.min(fits);
        each(first, width - bits);
        let step_last = first | !u128::MAX.checked_shl(bits).unwrap_or(0);
        if step_last >= last {
            return;
        }
        first = step_last + 1;
    }
}

/// What holds of every input, for tests and the fuzz target. Panics where it does not.
#[doc(hidden)]
pub fn invariant(data: &[u8], found: &PrefixLines) {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let lines = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(found.blank + found.entries + found.malformed, lines.lines().count() as u64);
    assert!(found.v4.is_sorted_by(|a, b| a < b));
    assert!(found.v6.is_sorted_by(|a, b| a < b));
    assert!(found.rejected.len() <= REJECTED_MAX);
    // Written out and read again, it is the same: nothing is found that isn't a prefix
    let mut written = String::new();
    for key in &found.v4 {
        written += &format!("{}/{}\n", std::net::Ipv4Addr::from((key >> 8) as u32), key & 0xff);
    }
    for prefix in &found.v6 {
        let address = u128::from(prefix.high) << 64 | u128::from(prefix.low);
        written += &format!("{}/{}\n", Ipv6Addr::from(address), prefix.length);
    }
    let again = parse(written.as_bytes(), b"");
    assert_eq!((&again.v4, &again.v6, again.malformed), (&found.v4, &found.v6, 0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Line {
        read_line(line.as_bytes(), &column_ends(b""))
    }

    fn v4(address: [u8; 4], length: u32) -> Line {
        Line::V4(v4_key(u32::from_be_bytes(address), length))
    }

    #[test]
    fn reads_addresses_prefixes_and_cuts_host_bits() {
        assert_eq!(one("192.0.2.1"), v4([192, 0, 2, 1], 32));
        assert_eq!(one("  192.0.2.1/24\t# note"), v4([192, 0, 2, 0], 24));
        assert_eq!(one("0.0.0.0/0"), v4([0, 0, 0, 0], 0));
        assert_eq!(one("192.0.2.0/24 ; SBL123"), v4([192, 0, 2, 0], 24));
        assert_eq!(one("192.0.2.0/24//note"), v4([192, 0, 2, 0], 24));
        assert_eq!(one("192.0.2.1 - seen twice"), v4([192, 0, 2, 1], 32));
        assert_eq!(one("192.0.2.1 2026-11-25 12:30:00"), v4([192, 0, 2, 1], 32));
        assert_eq!(one("192.0.2.1\t7\t198.51.100.1"), v4([192, 0, 2, 1], 32));
        assert_eq!(one("192.0.2.0\t192.0.2.255\t24\t3062\tACME"), v4([192, 0, 2, 0], 24));
        assert_eq!(one("::ffff:192.0.2.1/120"), v4([192, 0, 2, 0], 24));
        assert_eq!(one("2001:db8::1/32"), Line::V6(v6_prefix(0x2001_0db8 << 96, 32)));
        assert_eq!(one("::/0"), Line::V6(V6Prefix { high: 0, low: 0, length: 0 }));
    }

    #[test]
    fn refuses_what_is_ambiguous_or_none() {
        for line in [
            "010.0.0.1",
            "10.1",
            "256.0.0.1",
            "1.2.3.4.5",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/0032",
            "fe80::1%eth0",
            "2001:db8::/129",
            "example.org",
            "1.2.3.4-",
            "1.2.3.9-1.2.3.4",
            "1.2.3.4-2001:db8::",
            "[2001:db8::1]",
            "1.2.3.4,5",
            "<html>",
            "1.2.3.9 - 1.2.3.4",
            "1.2.3.0/24 - 1.2.4.0/24",
            "1.2.3.4 5.6.7.8",
            "1.2.3.4\t2001:db8::1",
            "1.2.3.4 5.6.7.0/24 # both",
            "1.2.3.4 5.6.7.8// both",
            "1.2.3.9 - 1.2.3.4//note",
            "1.2.3.4 5.6.7.8-5.6.7.9",
            "1.2.3.0 255.255.255.0",
            "1.2.3.0 1.2.3.255 25",
            "1.2.3.4 1.2.3.255 24",
            "\u{ff11}.2.3.4",
        ] {
            assert_eq!(one(line), Line::Malformed, "{line}");
        }
    }

    #[test]
    fn counts_each_line_once_whatever_ends_it() {
        let found = parse(b"\xef\xbb\xbf1.2.3.4\r\n\r\n# c\rword\n1.2.3.4", b"");
        assert_eq!((found.entries, found.blank, found.malformed), (2, 2, 1));
        assert_eq!(found.v4, [0x0001_0203_0420]);
        assert_eq!(found.rejected, [(4, "word".to_owned())]);
    }

    #[test]
    fn a_separator_ends_the_first_column() {
        assert_eq!(parse(b"192.0.2.1,c2,2026", b",").v4, [0x00c0_0002_0120]);
        assert_eq!(parse(b"192.0.2.1,192.0.2.2\n192.0.2.1 , 192.0.2.2", b",").malformed, 2);
    }

    #[test]
    fn a_range_becomes_its_smallest_set_of_prefixes() {
        let found = parse(b"192.0.2.1-192.0.2.8\n192.0.2.10 - 192.0.2.11\n0.0.0.0-255.255.255.255", b"");
        let expected = [
            ("0.0.0.0", 0),
            ("192.0.2.1", 32),
            ("192.0.2.2", 31),
            ("192.0.2.4", 30),
            ("192.0.2.8", 32),
            ("192.0.2.10", 31),
        ];
        let keys = expected.map(|(text, length)| v4_key(read_v4(text.as_bytes()).unwrap_or(1), length));
        assert_eq!(found.v4, keys);
        let all = parse(b"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", b"");
        assert_eq!(all.v6, [V6Prefix { high: 0, low: 0, length: 0 }]);
    }

    #[test]
    fn a_range_of_ipv6_around_the_mapped_range_says_nothing_of_ipv4() {
        let found = parse(b"::fffe:ffff:fffe-::1:0:0:1", b"");
        let lengths: Vec<u64> = found.v6.iter().map(|prefix| prefix.length).collect();
        assert_eq!((found.v4.len(), lengths), (0, vec![127, 127]));
    }

    #[test]
    fn ranges_cannot_grow_without_bound() {
        let mut pushed = Pushed { room: 100, ..Pushed::default() };
        let wide = Line::Range(Address::V6(1), Address::V6(u128::MAX - 1));
        assert_eq!(one("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), wide);
        assert!(!pushed.push_range(Address::V6(1), Address::V6(u128::MAX - 1)));
        assert_eq!((pushed.v6.len(), pushed.room), (0, 100));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            invariant(&data, &parse(&data, b";"));
        }

        #[test]
        fn almost_lines_give_an_answer(text in "([0-9a-f:./ \\-#;\\r\\n]|1\\.2\\.3\\.|2001:db8::|::ffff:|/24|/97|[0-9]{1,3}){0,40}") {
            invariant(text.as_bytes(), &parse(text.as_bytes(), b""));
        }

        #[test]
        fn v4_agrees_with_the_standard_library(text in "[0-9]{1,4}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}") {
            let theirs = text.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
            prop_assert_eq!(read_v4(text.as_bytes()), theirs);
        }

        #[test]
        fn a_range_covers_itself_exactly(a in any::<u32>(), span in 0u32..5000) {
            let b = a.saturating_add(span);
            let mut next = u128::from(a);
            each_prefix(a.into(), b.into(), 32, |address, length| {
                assert_eq!(address, next);
                next += 1 << (32 - length);
            });
            prop_assert_eq!(next, u128::from(b) + 1);
        }

        #[test]
        fn what_is_written_is_read(address in any::<u128>(), length in 0u32..=128) {
            prop_assume!(address >> 32 != 0xffff);
            let text = format!("{}/{length}\n", Ipv6Addr::from(address));
            let found = parse(text.as_bytes(), b"");
            prop_assert_eq!(found.v6, [v6_prefix(address, length)]);
        }
    }
}
