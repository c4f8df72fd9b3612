//! Answers without a connection: DNS over UDP, and "port unreachable".

use clearway_inspector::answers::{dns_reply, port_unreachable, DnsAnswer, Refusal};
use clearway_inspector::frame::Packet;
use etherparse::TransportSlice;

use crate::wire::{self, Version, OPT, PLAIN};
use crate::REFUSAL;

const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

/// The message that answers `query`, if any.
fn reply(query: &[u8], refusal: &Refusal<'_>, answer: DnsAnswer) -> Option<Vec<u8>> {
    let frame = wire::udp(&PLAIN, Version::V4, 53, query);
    let answer = dns_reply(&frame, &wire::read(&frame), refusal, answer)?;
    Some(wire::open(&answer, &PLAIN).message().to_vec())
}

fn told(query: &[u8], answer: DnsAnswer) -> Vec<u8> {
    reply(query, &REFUSAL, answer).expect("an answer")
}

/// EDNS with `size`, no flags.
fn opt(size: u16) -> Vec<u8> {
    let [high, low] = size.to_be_bytes();
    vec![0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]
}

#[test]
fn nxdomain_repeats_the_question_and_tells_why() {
    let question = wire::question("FiLes.bAd.example", 28);
    let message = told(&wire::query(&question, OPT), DnsAnswer::Nxdomain);
    let soa = [
        &[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 30, 0, 38][..], // the question's name, SOA IN, 30 s
        &[0xc0, 12][..],
        b"\x06nobody\x07invalid\0",
        &[0, 0, 0, 1, 0, 0, 0x0e, 0x10, 0, 0, 0x04, 0xb0, 0, 9, 0x3a, 0x80, 0, 0, 0, 30],
    ]
    .concat();
    let text = b"malware; source urlhaus; rule urlhaus/48213; until 2026-12-01T00:00:00Z";
    let length = text.len() as u8;
    let opt = [&[0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, length + 6, 0, 15, 0, length + 2, 0, 15][..], text];
    // QR, RD, RA and CD; not AA, TC, AD
    let header = [0x12, 0x34, 0x81, 0x90 | NXDOMAIN, 0, 1, 0, 0, 0, 1, 0, 1];
    assert_eq!(message, [&header[..], &question, &soa, &opt.concat()].concat());
}

#[test]
fn refused_has_no_soa() {
    let question = wire::question("files.bad.example", 1);
    let message = told(&wire::query(&question, &[]), DnsAnswer::Refused);
    let header = [0x12, 0x34, 0x81, 0x90 | REFUSED, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(message, [&header[..], &question].concat());
}

#[test]
fn a_query_without_edns_gets_no_extended_error() {
    let message = told(&wire::query(&wire::question("bad.example", 1), &[]), DnsAnswer::Nxdomain);
    assert_eq!(message[10..12], [0, 0], "additional records");
    assert!(!contains(&message, b"malware"));
}

#[test]
fn rd_and_cd_are_cleared_where_the_query_had_neither() {
    let mut query = wire::query(&wire::question("bad.example", 1), &[]);
    query[2..4].copy_from_slice(&[0, 0]);
    assert_eq!(told(&query, DnsAnswer::Nxdomain)[2..4], [0x80, 0x80 | NXDOMAIN]);
}

#[test]
fn the_text_gives_way_to_the_clients_size_and_the_code_stays() {
    let long = [&*vec!["a".repeat(63); 3].join("."), ".", &"b".repeat(61)].concat();
    let refusal = Refusal { source: &"ماخذ".repeat(100), ..REFUSAL };
    for size in [0, 512, 600, 1232, 4096, 65_535] {
        let query = wire::query(&wire::question(&long, 1), &opt(size));
        let message = reply(&query, &refusal, DnsAnswer::Nxdomain).expect("an answer");
        assert!(message.len() <= usize::from(size).clamp(512, 1232), "{size}: {}", message.len());
        assert_eq!(message[2] & 0x02, 0, "no TC at {size}");
        assert!(contains(&message, &[0, 15, b'm', b'a', b'l']), "code and the start of the text at {size}");
        let text = message.windows(7).position(|bytes| bytes == b"malware").expect("the text");
        assert!(std::str::from_utf8(&message[text..]).is_ok(), "cut between characters at {size}");
        assert!(message.len() - text <= 200);
    }
}

#[test]
fn several_questions_are_refused_since_nxdomain_would_not_say_which() {
    let questions = [wire::question("good.example", 1), wire::question("bad.example", 1)].concat();
    let mut query = wire::query(&questions, OPT);
    query[5] = 2;
    let message = told(&query, DnsAnswer::Nxdomain);
    assert_eq!(message[3] & 0xf, REFUSED);
    assert_eq!(message[4..12], [0, 2, 0, 0, 0, 0, 0, 1]);
    assert_eq!(message[12..12 + questions.len()], questions);
}

#[test]
fn questions_that_leave_no_room_are_left_out_and_tc_is_set() {
    let questions: Vec<u8> = (0..32).flat_map(|_| wire::question("quite.long.bad.example", 1)).collect();
    let mut query = wire::query(&questions, OPT);
    query[5] = 32;
    let message = told(&query[..], DnsAnswer::Nxdomain);
    assert!(message.len() <= 1232);
    let mut query = wire::query(&questions, &[]);
    query[5] = 32;
    let message = told(&query, DnsAnswer::Nxdomain);
    assert_eq!(message, [0x12, 0x34, 0x83, 0x90 | REFUSED, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn an_update_or_another_class_is_refused() {
    let mut update = wire::query(&wire::question("bad.example", 6), &[]);
    update[2] = 5 << 3;
    assert_eq!(told(&update, DnsAnswer::Nxdomain)[2..4], [0x80 | 5 << 3, 0x90 | REFUSED]);
    let mut chaos = wire::query(&wire::question("bad.example", 16), &[]);
    *chaos.last_mut().expect("a class") = 3;
    assert_eq!(told(&chaos, DnsAnswer::Nxdomain)[3] & 0xf, REFUSED);
}

#[test]
fn a_cut_query_and_an_answer_are_not_answered() {
    let query = wire::query(&wire::question("bad.example", 1), OPT);
    assert_eq!(reply(&query[..20], &REFUSAL, DnsAnswer::Nxdomain), None);
    let answer = told(&query, DnsAnswer::Nxdomain);
    assert_eq!(reply(&answer, &REFUSAL, DnsAnswer::Nxdomain), None);
}

#[test]
fn port_unreachable_quotes_as_much_as_it_may() {
    for (version, header, ip_header, whole) in
        [(Version::V4, [3, 3], 20, 576), (Version::V6, [1, 4], 40, 1280)]
    {
        for payload_bytes in [0, 1, 400, 1200, 1400] {
            let frame = wire::udp(&PLAIN, version, 443, &vec![0xc3; payload_bytes]);
            let answer = port_unreachable(&frame, &wire::read(&frame)).expect("an answer");
            wire::open(&answer, &PLAIN);
            let ip = &answer[14..];
            assert_eq!(ip.len(), whole.min(ip_header + 8 + frame.len() - 14), "{version:?} {payload_bytes}");
            assert_eq!(ip[ip_header..ip_header + 2], header);
            let quoted = &ip[ip_header + 8..];
            assert_eq!(quoted, &frame[14..14 + quoted.len()]);
        }
    }
}

#[test]
fn the_quoted_checksum_is_the_one_that_was_sent() {
    let sent = wire::udp(&PLAIN, Version::V6, 443, &[0xc3; 300]);
    let mut from_tap = sent.clone();
    from_tap[14 + 40 + 6..14 + 40 + 8].copy_from_slice(&[0x12, 0x34]); // a mark for the network card
    let answer = port_unreachable(&from_tap, &wire::read(&from_tap)).expect("an answer");
    assert_eq!(answer[14 + 48..], sent[14..]);

    let mut without = wire::udp(&PLAIN, Version::V4, 443, &[0xc3; 300]);
    without[14 + 20 + 6..14 + 20 + 8].fill(0);
    let answer = port_unreachable(&without, &wire::read(&without)).expect("an answer");
    assert_eq!(answer[14 + 28..], without[14..]);
}

#[test]
fn a_cut_datagram_is_quoted_as_far_as_it_is_there() {
    let frame = wire::udp(&PLAIN, Version::V4, 443, &[0xc3; 300]);
    let whole = wire::read(&frame);
    let cut = Packet { payload: &whole.payload[..100], missing_bytes: 200, ..whole.clone() };
    let answer = port_unreachable(&frame, &cut).expect("an answer");
    assert!(matches!(wire::open(&answer, &PLAIN).transport, TransportSlice::Icmpv4(_)));
    assert_eq!(answer[14 + 28..], frame[14..14 + 28 + 100]);
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
