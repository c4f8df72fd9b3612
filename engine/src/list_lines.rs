//! Lines of a list of any simple format → what stands in its usual lines, and where the others are. Pure: bytes in, a
//! value out; any input gives an answer, and memory stays below a small multiple of the input.
//!
//! It knows no format: a shape says what stands before and behind a name, and what opens a comment. A line of none of
//! its frames is no error, but one that the format's reader (feeds/readers/) looks at by itself: the millions of usual
//! lines go fast, and what a format means stands in one place.

use clearway_inspector::name_lines::{self, Gathered};
use clearway_inspector::name_set::Scope;

use crate::prefix_lines::{self, V6Prefix};

/// Other lines that one input may have, 24 bytes each: 96 MB. A list with more is none.
pub const OTHERS_MAX: usize = 4_000_000;

/// A longer line is an other, whatever it begins with: feeds/readers/lines.py says why, and holds the same number.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// What stands around a name (or an IPv4 address, where the format takes them) in a line of a format.
#[derive(Clone, Debug)]
pub struct Frame {
    /// From the line's first byte to the name.
    pub before: Vec<u8>,
    /// From the name to the line's end, white space there aside.
    pub behind: Vec<u8>,
    /// What the name covers.
    pub scope: Scope,
    /// Whether an address in place of the name is one.
    pub has_addresses: bool,
}

/// What the usual lines of a format look like.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The first one that fits a line reads it.
    pub frames: Vec<Frame>,
    /// What opens a line that says nothing.
    pub comments: Vec<Vec<u8>>,
    /// Last labels of names that are none: the format gives them another meaning.
    pub special_labels: Vec<Vec<u8>>,
    /// Reads lines as prefix_lines.rs does in place of frames: the bytes that end its first column. IPv4 with a colon
    /// in its line may be written mapped, and is another.
    pub separators: Option<Vec<u8>>,
}

/// Where a line stands that is of no frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Other {
    /// Its number, from 1.
    pub line: u64,
    /// Its first byte.
    pub start: u64,
    /// Behind its last byte.
    pub end: u64,
}

/// What an input held. Every line is counted once: blank, entry or other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListLines {
    /// Names by the number of their scope: sorted by byte, distinct, each line ended by "\n".
    pub names: [Vec<u8>; 3],
    /// As in `PrefixLines`.
    pub v4: Vec<u64>,
    /// As in `PrefixLines`.
    pub v6: Vec<V6Prefix>,
    /// Lines with nothing on them but space or a comment.
    pub blank: u64,
    /// Lines that gave an entry, duplicates included.
    pub entries: u64,
    /// All others, in their order.
    pub others: Vec<Other>,
    /// There were more others than OTHERS_MAX, and reading ended there.
    pub is_full: bool,
}

/// Reads every line.
pub fn parse(data: &[u8], shape: &Shape) -> ListLines {
    let mut found = ListLines::default();
    let mut names = [Gathered::default(), Gathered::default(), Gathered::default()];
    let mut prefixes = prefix_lines::Pushed::default();
    prefixes.refuses_mapped = true;
    let column_ends = shape.separators.as_deref().map(prefix_lines::column_ends);
    let start = if data.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut rest = data.get(start..).unwrap_or_default();
    let mut number = 0;
    while !rest.is_empty() {
        let at = data.len() - rest.len();
        let line;
        (line, rest) = prefix_lines::next_line(rest);
        number += 1;
        let is_entry = match &column_ends {
            _ if line.len() > LINE_BYTES_MAX => false,
            Some(column_ends) => match prefixes.push_line(line, column_ends) {
                None => {
                    found.blank += 1;
                    continue;
                }
                Some(false) if is_blank(line, &shape.comments) => {
                    found.blank += 1;
                    continue;
                }
                Some(is_entry) => is_entry,
            },
            None if is_blank(line, &shape.comments) => {
                found.blank += 1;
                continue;
            }
            None => push_framed(line, shape, &mut names, &mut prefixes),
        };
        if is_entry {
            found.entries += 1;
            continue;
        }
        if found.others.len() == OTHERS_MAX {
            found.is_full = true;
            break;
        }
        found.others.push(Other { line: number, start: at as u64, end: (at + line.len()) as u64 });
    }
    found.names = names.map(Gathered::into_sorted);
    (found.v4, found.v6) = prefixes.into_sorted();
    found
}

/// Lines of names in canonical form, in any order → sorted and distinct.
pub fn sorted(names: &[u8]) -> Vec<u8> {
    let mut gathered = Gathered::default();
    for line in names.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        gathered.push(line);
    }
    gathered.into_sorted()
}

/// A name that is listed and all below it listed too is one entry, that covers both. Blobs as `ListLines` has them.
pub fn merged(exact: &[u8], below: &[u8], subtree: &[u8]) -> [Vec<u8>; 3] {
    let mut rows = [exact, below, subtree].map(|blob| blob.split_inclusive(|byte| *byte == b'\n').peekable());
    let mut made = [Vec::new(), Vec::new(), Vec::new()];
    loop {
        let next = rows.iter_mut().filter_map(|blob| blob.peek().copied()).min();
        let Some(next) = next else { return made };
        let mut held = 0;
        for (number, blob) in rows.iter_mut().enumerate() {
            if blob.next_if_eq(&next).is_some() {
                held |= 1 << number;
            }
        }
        let scope = match held {
            0b001 => Scope::Exact,
            0b010 => Scope::Below,
            _ => Scope::Subtree,
        };
        if let Some(into) = made.get_mut(scope as usize) {
            into.extend_from_slice(next);
        }
    }
}

/// Which of the sought names stand in a blob, a byte for each of them: 1 or 0. Bisects; `names` is sorted by byte.
pub fn held(names: &[u8], sought: &[u8]) -> Vec<u8> {
    let lines = sought.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| u8::from(holds(names, line.strip_suffix(b"\n").unwrap_or(line)))).collect()
}

fn holds(names: &[u8], sought: &[u8]) -> bool {
    let mut left = names; // whole lines
    while !left.is_empty() {
        let (before, after) = left.split_at(left.len() / 2);
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line_end =
            after.iter().position(|byte| *byte == b'\n').map_or(left.len(), |at| before.len() + at);
        let (smaller, rest) = left.split_at(start);
        let (line, larger) = rest.split_at(line_end - start);
        match line.cmp(sought) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => left = larger.strip_prefix(b"\n").unwrap_or(larger),
            std::cmp::Ordering::Greater => left = smaller,
        }
    }
    false
}

fn is_blank(line: &[u8], comments: &[Vec<u8>]) -> bool {
    let line = line.trim_ascii_start();
    line.is_empty() || comments.iter().any(|comment| line.starts_with(comment))
}

fn push_framed(
    line: &[u8],
    shape: &Shape,
    names: &mut [Gathered; 3],
    prefixes: &mut prefix_lines::Pushed,
) -> bool {
    let line = line.trim_ascii_end();
    for frame in &shape.frames {
        let framed = line
            .strip_prefix(frame.before.as_slice())
            .and_then(|rest| rest.strip_suffix(frame.behind.as_slice()));
        let Some(column) = framed else { continue };
        if name_lines::is_name(column) {
            let last = || column.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
            if shape.special_labels.iter().any(|label| label.eq_ignore_ascii_case(last())) {
                return false;
            }
            if let Some(gathered) = names.get_mut(frame.scope as usize) {
                gathered.push(column);
            }
            return true;
        }
        // 0.0.0.0 beside itself, in hosts files, says nothing: the format's reader knows
        if frame.has_addresses && prefixes.push_v4(column) {
            return true;
        }
    }
    false
}

/// What holds of every input, for tests and the fuzz target. Panics where it does not.
#[doc(hidden)]
pub fn invariant(data: &[u8], found: &ListLines) {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let lines = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(found.blank + found.entries + found.others.len() as u64, lines.lines().count() as u64);
    for names in &found.names {
        let lines: Vec<&[u8]> = names.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(lines.is_sorted_by(|a, b| a < b));
        assert!(lines.iter().all(|line| line.strip_suffix(b"\n").is_some_and(name_lines::is_name)));
    }
    assert!(found.v4.is_sorted_by(|a, b| a < b) && found.v6.is_sorted_by(|a, b| a < b));
    let end = found.others.iter().try_fold(0, |end, other| {
        (end <= other.start && other.start <= other.end && other.end <= data.len() as u64)
            .then_some(other.end)
    });
    assert!(end.is_some());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a panic is how a test fails
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(before: &str, behind: &str, scope: Scope) -> Frame {
        Frame { before: before.into(), behind: behind.into(), scope, has_addresses: true }
    }

    fn adblock() -> Shape {
        Shape {
            frames: vec![frame("||", "^", Scope::Subtree), frame("@@||", "^", Scope::Exact)],
            comments: vec![b"!".to_vec()],
            special_labels: vec![b"special".to_vec()],
            separators: None,
        }
    }

    #[test]
    fn a_usual_line_is_an_entry_and_another_is_handed_back_with_its_place() {
        let data = b"\xef\xbb\xbf! note\r\n||B.example^ \r\n||a.example^$third-party\n||192.0.2.1^\n  \n||localhost^\n||a.special^";
        let found = parse(data, &adblock());
        assert_eq!(found.names, [Vec::new(), Vec::new(), b"b.example\n".to_vec()]);
        assert_eq!((found.blank, found.entries, found.v4.as_slice()), (2, 2, &[0x00c0_0002_0120][..]));
        let texts: Vec<&[u8]> =
            found.others.iter().map(|other| &data[other.start as usize..other.end as usize]).collect();
        assert_eq!(texts, [&b"||a.example^$third-party"[..], b"||localhost^", b"||a.special^"]);
        assert_eq!(found.others.iter().map(|other| other.line).collect::<Vec<_>>(), [3, 6, 7]);
        invariant(data, &found);
    }

    #[test]
    fn a_line_that_is_too_long_is_neither_a_comment_nor_an_entry() {
        for line in ["!", "||a.example^", " "] {
            let mut data = line.as_bytes().to_vec();
            data.resize(LINE_BYTES_MAX, b' ');
            assert_eq!(parse(&data, &adblock()).others.len(), 0, "{line}");
            data.push(b' ');
            assert_eq!(parse(&data, &adblock()).others.len(), 1, "{line}");
        }
    }

    #[test]
    fn separators_read_addresses_as_the_lines_of_prefixes_are() {
        let shape = Shape { separators: Some(b";".to_vec()), ..Shape::default() };
        let data = b"192.0.2.0/24 ; SBL1\n; note\n2001:db8::/32\n192.0.2.1-192.0.2.2\nword\n";
        let found = parse(data, &shape);
        assert_eq!((found.entries, found.blank, found.others.len()), (3, 1, 1));
        assert_eq!((found.v4.len(), found.v6.len()), (3, 1));
    }

    #[test]
    fn a_name_and_all_below_it_are_one_entry() {
        let made = merged(b"a.x\nb.x\n", b"b.x\nc.x\n", b"a.x\nd.x\n");
        assert_eq!(made, [Vec::new(), b"c.x\n".to_vec(), b"a.x\nb.x\nd.x\n".to_vec()]);
        assert_eq!(sorted(b"b.x\na.x\nb.x\n"), b"a.x\nb.x\n");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            invariant(&data, &parse(&data, &adblock()));
        }

        #[test]
        fn almost_lines_give_an_answer(text in "(\\|\\||@@|a\\.b|\\^|\\r|\\n|!| |1\\.2\\.3\\.4){0,40}") {
            invariant(text.as_bytes(), &parse(text.as_bytes(), &adblock()));
        }
    }
}
