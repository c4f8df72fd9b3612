//! Queries of DNS: fixed messages, as dnspython and BIND's dig write them, and generated ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use clearway_inspector::dns::{
    invariant, query, Edns, Query, TcpQueries, QUESTIONS_MAX, TCP_MESSAGE_BYTES_MAX,
};
use clearway_inspector::observation::Absence;
use clearway_inspector::reader::Parsed;
use proptest::prelude::*;

/// dnspython: `WwW.eXaMpLe.CoM A`, RD.
const MIXED_CASE: &str = "12340100000100000000000003577757076558614d704c6503436f4d0000010001";
/// dnspython: AAAA, RD, AD, CD, EDNS 1232 with DO and a cookie.
const WITH_EDNS: &str = "beef0130000100000000000103777777076578616d706c6503636f6d00001c0001\
                         00002904d000008000000c000a00080102030405060708";
/// dnspython: UPDATE of example.org that adds host.example.org A.
const UPDATE: &str = "000728000001000000010000076578616d706c65036f72670000060001\
                      04686f7374c00c000100010000012c0004c0000201";
/// dnspython: a.example TXT, EDNS 4096, TSIG behind it.
const WITH_TSIG: &str = "0003010000010000000000020161076578616d706c65000010000100002910000000000000\
                         00036b6579c00e00fa00ff00000000003d0b686d61632d7368613235360000006b0720aa012c\
                         0020b6d57ea4320470b0bdc786a8ef5e0659f7b4cf391e7fbfbd3e4f69bad02198a8000300000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn read(message: &[u8]) -> Query {
    invariant(message);
    match query(message) {
        Parsed::Done(query) => query,
        other => panic!("{other:?}"),
    }
}

/// A query of id 1 with RD, for names given as labels.
fn message(names: &[&[&[u8]]]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 1, 0, 0, names.len() as u8, 0, 0, 0, 0, 0, 0];
    for labels in names {
        for label in *labels {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    }
    bytes
}

fn only(message: &[u8]) -> (Result<String, Absence>, String) {
    let mut questions = read(message).questions;
    assert_eq!(questions.len(), 1);
    let question = questions.remove(0);
    (question.name.map(|name| name.to_string()), question.odd)
}

fn behind_length(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

#[test]
fn mixed_case_is_folded_and_the_header_is_kept() {
    let found = read(&bytes(MIXED_CASE));
    assert_eq!(found.questions[0].name.as_ref().unwrap().as_str(), "www.example.com");
    assert_eq!((found.questions[0].kind, found.questions[0].class), (1, 1));
    assert_eq!((found.id, found.opcode, found.recursion_desired), (0x1234, 0, true));
    assert_eq!((found.edns, found.end_of_questions), (None, 33));
}

#[test]
fn edns_is_read_and_its_absence_changes_no_question() {
    let whole = bytes(WITH_EDNS);
    let found = read(&whole);
    assert_eq!(found.edns, Some(Edns { udp_size: 1232, dnssec_ok: true, version: 0 }));
    assert!(found.authentic_data && found.checking_disabled && found.recursion_desired);
    for length in found.end_of_questions..whole.len() {
        let cut = read(&whole[..length]);
        assert_eq!((cut.edns, &cut.questions), (None, &found.questions), "{length}");
    }
    for length in 0..found.end_of_questions {
        assert_eq!(query(&whole[..length]), Parsed::More, "{length}");
    }
    assert_eq!(read(&bytes(WITH_TSIG)).edns.unwrap().udp_size, 4096);
}

#[test]
fn opt_is_looked_for_among_the_additional_records_alone() {
    let mut whole = bytes(WITH_EDNS);
    whole.swap(9, 11); // it is now an authority record
    assert_eq!(read(&whole).edns, None);
}

#[test]
fn an_update_is_told_by_its_opcode_and_its_zone_is_read() {
    let found = read(&bytes(UPDATE));
    assert_eq!((found.opcode, found.questions.len(), found.edns), (5, 1, None));
    assert_eq!(found.questions[0].name.as_ref().unwrap().as_str(), "example.org");
}

#[test]
fn an_answer_is_no_query() {
    let mut answer = bytes(MIXED_CASE);
    answer[2] |= 0x80;
    assert_eq!(query(&answer), Parsed::No(Absence::OtherProtocol));
    assert_eq!(query(&answer[..4]), Parsed::No(Absence::OtherProtocol));
    invariant(&answer);
}

#[test]
fn each_of_several_questions_is_read() {
    let found = read(&message(&[&[b"a", b"example"], &[b"B", b"example"], &[b"c"]]));
    let names: Vec<_> =
        found.questions.iter().map(|question| question.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(names, ["a.example", "b.example", "c"]);
    assert_eq!(read(&message(&[])).questions, []);
    let mut many = message(&vec![&[b"a".as_slice()] as &[&[u8]]; QUESTIONS_MAX.into()]);
    assert_eq!(read(&many).questions.len(), QUESTIONS_MAX.into());
    many[5] += 1;
    assert_eq!(query(&many), Parsed::No(Absence::TooLarge));
}

#[test]
fn odd_bytes_are_shown_as_master_files_write_them() {
    let found = only(&message(&[&[b"WWW", b"allyourba\x04\x05\x06arebelongto", b"cn"]]));
    assert_eq!(found, (Err(Absence::NotAName), "www.allyourba\\004\\005\\006arebelongto.cn".into()));
    // A dot inside a label is no border.
    assert_eq!(only(&message(&[&[b"a.b", b"example"]])), (Err(Absence::NotAName), "a\\046b.example".into()));
    assert_eq!(only(&message(&[&[b"a\0", b"example"]])), (Err(Absence::NotAName), "a\\000.example".into()));
    assert_eq!(only(&message(&[&[b"a b/c"]])), (Err(Absence::NotAName), "a\\032b\\047c".into()));
    let second = read(&message(&[&[b"first"], &[b"a b", b"example"]])).questions.remove(1);
    assert_eq!((second.name, second.odd.as_str()), (Err(Absence::NotAName), "a\\032b.example"));
    assert_eq!(only(&message(&[&[]])), (Err(Absence::NotAName), ".".into()));
    assert_eq!(only(&message(&[&[b"192", b"0", b"2", b"1"]])), (Err(Absence::Literal), "192.0.2.1".into()));
}

#[test]
fn underscores_and_wildcards_are_names() {
    assert_eq!(only(&message(&[&[b"_sip", b"_tcp", b"example"]])).0, Ok("_sip._tcp.example".into()));
    assert_eq!(only(&message(&[&[b"*", b"example"]])).0, Ok("*.example".into()));
}

#[test]
fn a_name_of_255_bytes_on_the_wire_is_the_longest() {
    let label = [b'a'; 63];
    let longest: [&[u8]; 4] = [&label, &label, &label, &label[..61]];
    assert_eq!(only(&message(&[&longest])).0.unwrap().len(), 253);
    let longer: [&[u8]; 4] = [&label, &label, &label, &label[..62]];
    assert_eq!(only(&message(&[&longer])).0, Err(Absence::NotAName));
    let labels = vec![b"a".as_slice(); 30_000];
    let (name, odd) = only(&message(&[&labels]));
    assert_eq!((name, odd.len()), (Err(Absence::NotAName), 255));
}

#[test]
fn a_pointer_in_a_question_is_not_followed_and_the_next_question_is_read() {
    let mut whole = message(&[&[b"www", b"example"]]);
    whole[5] = 3;
    whole.extend_from_slice(&[1, b'a', 0xc0, 12, 0, 1, 0, 1]);
    whole.extend_from_slice(&[1, b'b', 0, 0, 1, 0, 1]);
    let found = read(&whole);
    assert_eq!(found.questions[1].name, Err(Absence::Malformed));
    assert_eq!(found.questions[2].name.as_ref().unwrap().as_str(), "b");
    assert_eq!(found.end_of_questions, whole.len());
    // To itself: a decompressor that follows it never ends.
    let looping = [&message(&[])[..5], &[1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]].concat();
    assert_eq!(only(&looping).0, Err(Absence::Malformed));
}

#[test]
fn unknown_label_types_are_malformed() {
    for first in [0x40, 0x41, 0x80, 0xbf] {
        let mut whole = message(&[&[b"www"]]);
        whole[12] = first;
        assert_eq!(query(&whole), Parsed::No(Absence::Malformed), "{first:#x}");
    }
}

#[test]
fn a_stream_of_queries_is_read_however_it_is_cut() {
    let parts = [MIXED_CASE, WITH_EDNS, UPDATE].map(|hex| behind_length(&bytes(hex)));
    let stream = parts.concat();
    invariant(&stream);
    let mut queries = TcpQueries::default();
    let mut found = Vec::new();
    queries.push(&stream[..20], &mut found);
    assert!(found.is_empty() && queries.is_partial());
    queries.push(&stream[20..], &mut found);
    assert!(!queries.is_partial());
    let expected: Vec<_> = [MIXED_CASE, WITH_EDNS, UPDATE].map(|hex| Ok(read(&bytes(hex)))).into();
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_query_does_not_hide_the_next_one() {
    let mut stream = behind_length(b"GET / HTTP/1.1\r\n");
    stream.extend_from_slice(&[0, 0]);
    stream.extend_from_slice(&behind_length(&bytes(MIXED_CASE)));
    let mut found = Vec::new();
    TcpQueries::default().push(&stream, &mut found);
    assert_eq!(found.len(), 3);
    assert!(found[0].is_err() && found[1] == Err(Absence::Malformed) && found[2].is_ok());
    invariant(&stream);
}

#[test]
fn a_message_longer_than_what_is_kept_is_read_from_its_start() {
    let mut long = bytes(MIXED_CASE);
    long.resize(TCP_MESSAGE_BYTES_MAX * 3, 0xaa);
    let mut stream = behind_length(&long);
    stream.extend_from_slice(&behind_length(&bytes(WITH_EDNS)));
    for size in [1, 7, 4000, stream.len()] {
        let (mut queries, mut found) = (TcpQueries::default(), Vec::new());
        for piece in stream.chunks(size) {
            queries.push(piece, &mut found);
            assert!(queries.memory_bytes() <= 2 * TCP_MESSAGE_BYTES_MAX);
        }
        let names: Vec<_> = found
            .iter()
            .map(|query| query.as_ref().unwrap().questions[0].name.as_ref().unwrap().as_str())
            .collect();
        assert_eq!(names, ["www.example.com"; 2], "{size}");
    }
    let endless = [&[0xff, 0xff, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[1; 65_535 - 12]].concat();
    let mut found = Vec::new();
    TcpQueries::default().push(&endless, &mut found);
    assert_eq!(found, [Err(Absence::TooLarge)]);
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-zA-Z0-9_-]{1,20}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..64),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        invariant(&data);
    }

    #[test]
    fn almost_queries_give_an_answer(
        names in proptest::collection::vec(proptest::collection::vec(label(), 0..8), 0..5),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let labels: Vec<Vec<&[u8]>> = names.iter().map(|name| name.iter().map(Vec::as_slice).collect()).collect();
        let mut whole = message(&labels.iter().map(Vec::as_slice).collect::<Vec<_>>());
        whole.extend_from_slice(&tail);
        for (place, byte) in changes {
            let place = place.index(whole.len());
            whole[place] = byte;
        }
        invariant(&whole);
        invariant(&[behind_length(&whole), behind_length(&bytes(WITH_EDNS))].concat());
    }

    #[test]
    fn what_is_asked_is_read_with_any_tail(
        names in proptest::collection::vec(proptest::collection::vec("[a-zA-Z_][a-zA-Z0-9_-]{0,11}", 1..8), 1..5),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let labels: Vec<Vec<&[u8]>> = names.iter().map(|name| name.iter().map(String::as_bytes).collect()).collect();
        let mut whole = message(&labels.iter().map(Vec::as_slice).collect::<Vec<_>>());
        whole.extend_from_slice(&tail);
        let found: Vec<_> = read(&whole).questions.into_iter().map(|question| question.name.unwrap().to_string()).collect();
        let expected: Vec<_> = names.iter().map(|name| name.join(".").to_ascii_lowercase()).collect();
        prop_assert_eq!(found, expected);
    }
}
