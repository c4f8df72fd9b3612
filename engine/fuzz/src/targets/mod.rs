//! A function for each fuzz target: any bytes in, a panic where something does not hold. What holds of a parser stands
//! beside the parser (`invariant`), so most are one call. Must not need the kernel, a clock or a file.
//!
//! Called by the binaries in fuzz_targets/ and, with every seed and case, by engine/tests/cases.rs.

mod models;
mod packets;

use clearway_inspector::crypto_stream::{CryptoStream, CRYPTO_BYTES_MAX};
use clearway_inspector::hpack::{Decoder, TABLE_BYTES_MAX};
use clearway_inspector::name::{escaped, Name, ESCAPED_BYTES_MAX, NAME_BYTES_MAX};
use clearway_inspector::name_hash::Keys;
use clearway_inspector::name_lines::parse as parse_names;
use clearway_inspector::name_set::{Listed, NameSet, Scope};
use clearway_inspector::quic::{could_be_initial, read_frames, Initials, CONNECTIONS_MAX};
use clearway_inspector::reader::Reader;
use clearway_inspector::tls::{client_hello, unfinished};
use clearway_inspector::{dns, flow, http, http2, inspect, name_lines, name_set, tls};

use crate::list_lines::{self, Frame, Shape};
use crate::prefix_lines;
pub use models::{crypto, fragments, reassembly};
pub use packets::{answers, frame};

/// What a target does.
pub type Target = fn(&[u8]);

/// Every target by the name of its binary, its seeds and its cases.
pub const TARGETS: [(&str, Target); 18] = [
    ("answers", answers),
    ("capture", inspect::invariant),
    ("crypto", crypto),
    ("dns", dns::invariant),
    ("flow", flow::invariant),
    ("fragments", fragments),
    ("frame", frame),
    ("hpack", hpack),
    ("http", http::invariant),
    ("http2", preface_and_without),
    ("list_lines", lines_of_lists),
    ("name", name),
    ("name_lines", lines_of_names),
    ("name_set", set_of_names),
    ("prefix_lines", lines_of_prefixes),
    ("quic", datagrams),
    ("reassembly", reassembly),
    ("tls", hello),
];

/// Runs the target of that name. Panics where there is none.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let Some((_, run)) = found else { panic!("no target is named {target}") };
    run(data);
}

/// Header blocks of one connection, each behind a byte of length: the table keeps to its bound whatever is read, and a
/// byte hands over one field at most.
fn hpack(data: &[u8]) {
    let mut decoder = Decoder::default();
    let mut reader = Reader::new(data);
    while let Some(length) = reader.u8() {
        let Some(block) = reader.take(usize::from(length).min(reader.len())) else { return };
        let mut fields = 0;
        let read = decoder.decode(block, |_, _| fields += 1);
        assert!(fields <= block.len() && decoder.table_bytes() <= TABLE_BYTES_MAX);
        if read.is_err() {
            return;
        }
    }
}

/// The bytes behind the preface of HTTP/2, and as they are.
fn preface_and_without(data: &[u8]) {
    http2::invariant(data);
    http2::invariant(&[http2::PREFACE.as_slice(), data].concat());
}

/// A name is canonical: parsed again it is itself, and so is each suffix; its suffixes end with its last label.
fn name(data: &[u8]) {
    let shown = escaped(data);
    assert!(shown.is_ascii() && shown.len() <= 4 * ESCAPED_BYTES_MAX.max(data.len()));
    let Ok(name) = Name::parse(data) else { return };
    assert!(
        name.as_str().len() <= NAME_BYTES_MAX && !name.as_str().bytes().any(|byte| byte.is_ascii_uppercase())
    );
    assert_eq!(Name::parse(name.as_str().as_bytes()).as_ref(), Ok(&name));
    let suffixes: Vec<&str> = name.suffixes().collect();
    assert_eq!(suffixes.first(), Some(&name.as_str()));
    assert_eq!(suffixes.len(), name.as_str().split('.').count());
    assert!(suffixes.windows(2).all(|pair| matches!(pair, [long, short] if long.ends_with(short))));
}

fn lines_of_names(data: &[u8]) {
    name_lines::invariant(data, &parse_names(data, Scope::Subtree, Scope::Below));
}

/// The first byte says the shape of the lines. Names that were found are what reading them alone finds, and merging
/// them loses none.
fn lines_of_lists(data: &[u8]) {
    let (kind, lines) = data.split_first().unwrap_or((&0, &[]));
    let frame = |before: &str, behind: &str, scope| Frame {
        before: before.into(),
        behind: behind.into(),
        scope,
        has_addresses: kind & 8 != 0,
    };
    let mut shape = Shape { comments: vec![b"#".to_vec(), b"!".to_vec()], ..Shape::default() };
    match kind % 4 {
        0 => shape.frames = vec![frame("", "", Scope::Exact), frame("*.", "", Scope::Below)],
        1 => shape.frames = vec![frame("||", "^", Scope::Subtree), frame("0.0.0.0 ", "", Scope::Exact)],
        2 => shape.frames = vec![frame("", " CNAME .", Scope::Exact), frame("*.", " CNAME .", Scope::Below)],
        _ => shape.separators = Some(if kind & 4 == 0 { Vec::new() } else { b",;".to_vec() }),
    }
    shape.special_labels = vec![b"rpz-ip".to_vec()];
    let found = list_lines::parse(lines, &shape);
    list_lines::invariant(lines, &found);
    for names in &found.names {
        assert_eq!(&list_lines::sorted(names), names);
    }
    let [exact, below, subtree] = &found.names;
    let merged = list_lines::merged(exact, below, subtree).concat();
    assert_eq!(list_lines::sorted(&merged).len(), merged.len());
    assert_eq!(list_lines::sorted(&found.names.concat()), list_lines::sorted(&merged));
}

/// The first byte says whether columns end at punctuation too.
fn lines_of_prefixes(data: &[u8]) {
    let separators: &[u8] = if data.first().is_some_and(|byte| byte % 2 == 0) { b"" } else { b";," };
    prefix_lines::invariant(data, &prefix_lines::parse(data, separators));
}

/// Lines make a set that answers as a search through all of them does; any bytes that open as a set are safe to ask.
/// The first line is asked; each NUL begins another list, whose first byte says what kind of list.
fn set_of_names(data: &[u8]) {
    if let Ok(set) = NameSet::open(data) {
        let _ = set.find_text("a.b.example");
    }
    let (asked, lists) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let Ok(asked) = std::str::from_utf8(asked) else { return };
    let read: Vec<_> = lists.split(|byte| *byte == 0).take(8).map(list_of_names).collect();
    let listed: Vec<Listed<'_>> = (0..)
        .zip(&read)
        .flat_map(|(list, (found, exception))| {
            let exception = *exception;
            let observe = list % 3 == 2;
            let one = move |(names, scope)| Listed { list, scope, exception, observe, names };
            found.names.iter().map(Vec::as_slice).zip(Scope::ALL).map(one)
        })
        .collect();
    let keys = Keys { k0: data.len() as u64, k1: 0x9e37_79b9_7f4a_7c15 };
    for asked in [asked, "a.b", "a.a.b", "b.a.a.b"] {
        name_set::invariant(&listed, keys, asked);
    }
}

fn list_of_names(list: &[u8]) -> (name_lines::NameLines, bool) {
    let (kind, lines) = list.split_first().unwrap_or((&0, &[]));
    let scope = Scope::ALL.into_iter().cycle().nth(usize::from(kind % 3)).unwrap_or(Scope::Exact);
    (parse_names(lines, scope, Scope::Below), kind & 4 != 0)
}

/// A client's datagrams, each behind two bytes of length, and the same bytes as the frames of an opened packet: no
/// hello that was not sealed, memory within its bounds.
fn datagrams(data: &[u8]) {
    let mut initials = Initials::new();
    let mut reader = Reader::new(data);
    while let Some(length) = reader.u16() {
        let Some(datagram) = reader.take(usize::from(length).min(reader.len())) else { break };
        let _ = could_be_initial(datagram);
        let _ = initials.datagram(datagram);
        let _ = (initials.absence(), initials.unfinished());
    }
    assert!(initials.memory_bytes() <= data.len() * 2 + CONNECTIONS_MAX * (2 * CRYPTO_BYTES_MAX + 4096));

    let mut crypto = CryptoStream::new();
    read_frames(data, &mut crypto);
    assert!(crypto.contiguous().len() <= data.len().min(CRYPTO_BYTES_MAX));
}

/// The start of a client's stream: an answer to a part is the answer to the whole.
fn hello(data: &[u8]) {
    tls::invariant(data, (0..data.len()).step_by(1 + data.len() / 64));
    let _ = client_hello(data);
    let _ = unfinished(data);
}
