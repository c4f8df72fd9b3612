//! The start of HTTP/2 in clear text, as python-h2 writes it, as other clients may, and broken.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use clearway_inspector::http2::{could_be_preface, hosts, invariant, PREFACE};
use clearway_inspector::observation::Absence;
use clearway_inspector::reader::Parsed;
use proptest::prelude::*;

/// python-h2: SETTINGS, WINDOW_UPDATE, HEADERS with priority; Plain.Example:8080, Huffman-coded.
const H2: &str = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a\
    00002a04000000000000010000100000020000000100040000ffff000500004000000800000000000300000064000600010000\
    000004080000000000000003e8\
    00001b012500000001000000000f8286418ed740cd52f83c8e9ae82dc780f03f847a81f3";

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END: u8 = 0x04;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection of these frames behind preface and SETTINGS.
fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[]), frames.concat()].concat()
}

/// A literal field without Huffman code, names and values under 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The hosts, each a name, else why there is none.
fn names(stream: &[u8]) -> Result<Vec<String>, Absence> {
    invariant(stream);
    match hosts(stream) {
        Parsed::Done(hosts) => hosts.into_iter().map(|host| host.name.map(|name| name.to_string())).collect(),
        Parsed::No(absence) => Err(absence),
        Parsed::More => Err(Absence::Incomplete),
    }
}

fn host(stream: &[u8]) -> Result<String, Absence> {
    let mut names = names(stream)?;
    assert_eq!(names.len(), 1, "{names:?}");
    Ok(names.remove(0))
}

#[test]
fn the_authority_of_the_first_request_is_read() {
    let whole = bytes(H2);
    assert_eq!(host(&whole), Ok("plain.example".into()));
    assert_eq!(host(&[whole.as_slice(), b"and more"].concat()), Ok("plain.example".into()));
    for length in 0..whole.len() {
        assert_eq!(hosts(&whole[..length]), Parsed::More, "{length}");
    }
}

#[test]
fn a_header_block_may_be_spread_over_frames_and_padded() {
    let block = [field(":method", "GET"), field(":authority", "A.example."), field("x", "y")].concat();
    let padded = [&[3][..], &[0, 0, 0, 0, 15], &block[..5], &[0; 3]].concat();
    let mut frames = vec![frame(HEADERS, 0x28, 1, &padded)];
    frames.extend(block[5..].chunks(4).map(|part| frame(CONTINUATION, 0, 1, part)));
    frames.push(frame(CONTINUATION, END, 1, &[]));
    assert_eq!(host(&connection(&frames)), Ok("a.example".into()));
    // Frames before it, known and unknown, are passed over.
    let before = [frame(8, 0, 0, &[0, 0, 1, 0]), frame(0x77, 0xff, 5, b"grease"), frame(2, 0, 3, &[0; 5])];
    assert_eq!(host(&connection(&[before.concat(), frames.concat()])), Ok("a.example".into()));
}

#[test]
fn host_stands_beside_an_authority_or_in_for_one_that_is_not_sent() {
    let of = |fields: &[Vec<u8>]| names(&connection(&[frame(HEADERS, END, 1, &fields.concat())]));
    let (host_field, authority) = (field("host", "h.example"), field(":authority", "a.example"));
    let both = Ok(vec!["a.example".to_owned(), "h.example".to_owned()]);
    assert_eq!(of(&[host_field.clone(), authority.clone(), field(":authority", "b.example")]), both);
    assert_eq!(of(&[authority.clone(), host_field, field("host", "i.example")]), both);
    assert_eq!(of(&[authority, field("host", "A.Example.:80")]), Ok(vec!["a.example".to_owned()]));
    assert_eq!(
        host(&connection(&[frame(HEADERS, END, 1, &field("host", "h.example:80"))])),
        Ok("h.example".into())
    );
    let empty = [vec![0x81], field("host", "h.example")].concat(); // :authority of the static table is empty
    assert_eq!(host(&connection(&[frame(HEADERS, END, 1, &empty)])), Ok("h.example".into()));
    assert_eq!(host(&connection(&[frame(HEADERS, END, 1, &[0x82])])), Err(Absence::NotSent));
    let literal = field(":authority", "[2001:db8::1]:80");
    assert_eq!(host(&connection(&[frame(HEADERS, END, 1, &literal)])), Err(Absence::Literal));
}

#[test]
fn a_name_that_was_read_stands_before_what_is_malformed() {
    let broken = [field(":authority", "a.example"), vec![0x80]].concat();
    assert_eq!(host(&connection(&[frame(HEADERS, END, 1, &broken)])), Ok("a.example".into()));
    assert_eq!(host(&connection(&[frame(HEADERS, END, 1, &[0x80])])), Err(Absence::Malformed));
}

#[test]
fn frames_that_break_a_header_block_are_malformed() {
    let block = field(":authority", "a.example");
    for (frames, why) in [
        (vec![frame(CONTINUATION, END, 1, &block)], "continues nothing"),
        (vec![frame(HEADERS, 0, 1, &block), frame(SETTINGS, 0, 0, &[])], "another frame within"),
        (vec![frame(HEADERS, 0, 1, &block), frame(CONTINUATION, END, 3, &[])], "another stream within"),
        (vec![frame(HEADERS, 0x0c, 1, &[9, 0, 0])], "padding longer than its frame"),
        (vec![frame(HEADERS, 0x24, 1, &[0, 0])], "priority cut short"),
    ] {
        assert_eq!(host(&connection(&frames)), Err(Absence::Malformed), "{why}");
    }
}

#[test]
fn another_start_is_another_protocol() {
    for stream in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01"] {
        assert_eq!(host(stream), Err(Absence::OtherProtocol));
    }
    assert!(could_be_preface(b"") && could_be_preface(b"PRI") && could_be_preface(PREFACE));
}

#[test]
fn a_first_request_past_the_bound_is_too_large() {
    let settings = frame(SETTINGS, 0, 0, &[0; 600]).repeat(40);
    assert_eq!(host(&connection(&[settings])), Err(Absence::TooLarge));
    // A frame that can't end within the bound is not waited for.
    assert_eq!(host(&[&PREFACE[..], &[0x00, 0x40, 0x00, 0, 0, 0, 0, 0, 1]].concat()), Err(Absence::TooLarge));
}

/// Each frame is read once, when it is whole: so each of these, handed over byte by byte, ends soon.
#[test]
fn hostile_streams_of_64_kib_are_read_byte_by_byte() {
    let empty = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, 0, 1, &[]), frame(HEADERS, END, 1, &[0x82; 9])];
    for unit in empty {
        invariant(&connection(&[unit.repeat(65_536 / unit.len())]));
    }
    invariant(&connection(&[frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &[]).repeat(7_000)]));
    let longest = [&[0x40, 0x7f, 0x81, 0x1f][..], &[b'n'; 4096], &[0], &[0x7e, 0].repeat(6_000)].concat();
    invariant(&connection(&[frame(HEADERS, END, 1, &longest)]));
}

proptest! {
    #[test]
    fn any_bytes_behind_the_preface_give_an_answer(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        invariant(&data);
        invariant(&[PREFACE.as_slice(), &data].concat());
    }

    #[test]
    fn any_frames_give_an_answer(
        frames in proptest::collection::vec(
            (0_u8..11, any::<u8>(), 0_u32..3, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        let frames: Vec<_> = frames.iter().map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect();
        invariant(&connection(&frames));
    }

    #[test]
    fn a_changed_sample_gives_an_answer(
        changes in proptest::collection::vec((24_usize..122, any::<u8>()), 1..4),
    ) {
        let mut stream = bytes(H2);
        for (place, byte) in changes {
            if let Some(changed) = stream.get_mut(place) {
                *changed = byte;
            }
        }
        invariant(&stream);
    }

    #[test]
    fn what_is_asked_is_read_however_its_block_is_cut(
        name in "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9-]{0,20}){1,3}", size in 1_usize..40,
        before in proptest::collection::vec("[a-z]{1,9}", 0..5),
    ) {
        prop_assume!(!before.iter().any(|name| name == "host"));
        let mut block: Vec<u8> = before.iter().flat_map(|name| field(name, "value")).collect();
        block.extend(field(":authority", &name));
        let mut frames = vec![frame(HEADERS, 0, 1, &[])];
        frames.extend(block.chunks(size).map(|part| frame(CONTINUATION, 0, 1, part)));
        frames.push(frame(CONTINUATION, END, 1, &[]));
        prop_assert_eq!(host(&connection(&frames)), Ok(name));
    }
}
