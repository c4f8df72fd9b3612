//! A flow states the same facts however its bytes arrive, within its bounds, and the first copy of a byte counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

mod hellos;

use clearway_inspector::flow::{invariant, Flow, Step, Transport, FLOW_BYTES_MAX, MIDSTREAM_SEGMENTS_MAX};
use clearway_inspector::http2::PREFACE;
use clearway_inspector::observation::{Absence, Observation, Protocol};
use hellos::of_a_browser;
use proptest::prelude::*;

const START: u32 = u32::MAX - 100; // so that sequence numbers wrap within the samples

fn hello() -> Vec<u8> {
    let handshake = of_a_browser(b"www.example.com");
    let mut records = Vec::new();
    for part in handshake.chunks(600) {
        records.extend([0x16, 3, 1]);
        records.extend((part.len() as u16).to_be_bytes());
        records.extend(part);
    }
    records
}

fn dns_message(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

fn dns_stream(names: &[&str]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| {
            let message = dns_message(name);
            [(message.len() as u16).to_be_bytes().to_vec(), message].concat()
        })
        .collect()
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nUser-Agent: x\r\nHost: www.example.com:8080\r\n\r\n";

/// (what it is, port, bytes, names)
fn samples() -> Vec<(&'static str, u16, Vec<u8>, Vec<&'static str>)> {
    vec![
        ("tls", 443, hello(), vec!["www.example.com"]),
        ("http", 80, REQUEST.to_vec(), vec!["www.example.com"]),
        ("dns", 53, dns_stream(&["a.example", "b.example"]), vec!["a.example", "b.example"]),
        ("tls where dns is", 53, hello(), vec!["www.example.com"]),
        ("http where dns is", 53, REQUEST.to_vec(), vec!["www.example.com"]),
    ]
}

fn read(port: u16, start: Option<u32>, segments: &[(u32, &[u8])]) -> Vec<Observation> {
    let mut flow = Flow::new(Transport::Tcp, port, start);
    let mut found = Vec::new();
    for (sequence, payload) in segments {
        flow.segment(*sequence, payload, &mut found);
        assert!(flow.memory_bytes() <= FLOW_BYTES_MAX);
    }
    flow.end(&mut found);
    found
}

fn names(found: &[Observation]) -> Vec<&str> {
    found.iter().map(|one| one.name.as_ref().map_or("-", |name| name.as_str())).collect()
}

fn cut(bytes: &[u8], at: &[usize]) -> Vec<(u32, Vec<u8>)> {
    let mut bounds: Vec<usize> = at.iter().map(|at| at % bytes.len()).chain([0, bytes.len()]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds.windows(2).map(|w| (START.wrapping_add(w[0] as u32), bytes[w[0]..w[1]].to_vec())).collect()
}

fn borrowed(segments: &[(u32, Vec<u8>)]) -> Vec<(u32, &[u8])> {
    segments.iter().map(|(sequence, payload)| (*sequence, payload.as_slice())).collect()
}

#[test]
fn says_the_same_of_a_flow_whole_and_byte_by_byte_and_with_a_tail() {
    for (what, port, bytes, expected) in samples() {
        let whole = read(port, Some(START), &[(START, &bytes)]);
        assert_eq!(names(&whole), expected, "{what}");
        let single = cut(&bytes, &(0..bytes.len()).collect::<Vec<_>>());
        assert_eq!(read(port, Some(START), &borrowed(&single)), whole, "{what}");
        if what != "dns" {
            let tailed = [bytes.as_slice(), b"\x17\x03\x03\0\x05abcde"].concat();
            assert_eq!(read(port, Some(START), &[(START, &tailed)]), whole, "{what}");
        }
    }
}

#[test]
fn requests_that_stand_together_state_every_host_and_a_body_states_none() {
    let second = [REQUEST, b"HEAD / HTTP/1.1\r\nHost: other.example\r\n\r\n"].concat();
    assert_eq!(names(&read(80, Some(0), &[(0, &second)])), ["www.example.com", "other.example"]);
    let posted = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 40\r\n\r\nGET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
    assert_eq!(names(&read(80, Some(0), &[(0, posted)])), ["a.example"]);
}

#[test]
fn believes_the_first_copy_and_tells_how_many_bytes_differed() {
    let other = String::from_utf8(REQUEST.to_vec()).unwrap().replace("example", "another").into_bytes();
    let found = read(80, Some(0), &[(10, &REQUEST[10..50]), (10, &other[10..50]), (0, REQUEST)]);
    assert_eq!(names(&found), ["www.example.com"]);
    let differing = REQUEST[10..50].iter().zip(&other[10..50]).filter(|(one, two)| one != two).count();
    assert!(differing > 0 && found[0].ambiguous == differing as u32);
}

#[test]
fn bytes_out_of_the_window_are_no_part_of_the_flow() {
    let fake = String::from_utf8(REQUEST.to_vec()).unwrap().replace("example", "another").into_bytes();
    let found = read(80, Some(0), &[(1 << 20, &fake), (u32::MAX - 1000, &fake), (0, REQUEST)]);
    assert_eq!(names(&found), ["www.example.com"]);
    assert_eq!(found[0].ambiguous, 0);
}

#[test]
fn a_flow_that_nobody_saw_begin_is_read_from_its_lowest_segment() {
    for (what, port, bytes, expected) in samples() {
        let middle = bytes.len() / 2;
        let found = read(port, None, &[(1000 + middle as u32, &bytes[middle..]), (1000, &bytes[..middle])]);
        // what stood in the later half alone may have been told before
        assert!(names(&found).ends_with(&expected), "{what}: {:?}", names(&found));
    }
    // A line of a body is no request's, and does not end the wait for an earlier segment.
    let body = b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n";
    assert_eq!(
        names(&read(80, None, &[(1000 + REQUEST.len() as u32, body), (1000, REQUEST)])),
        ["www.example.com"]
    );
    assert_eq!(read(80, None, &[(1000, body)])[0].name, Err(Absence::Unseen));
    let mut flow = Flow::new(Transport::Tcp, 443, None);
    let mut found = Vec::new();
    for at in 0..u32::from(MIDSTREAM_SEGMENTS_MAX) {
        flow.segment(at * 4, &[0, 1, 2, 3], &mut found);
    }
    assert_eq!(found[0].name, Err(Absence::Unseen));
}

#[test]
fn what_is_none_of_the_protocols_is_over_with_its_first_bytes() {
    let mut found = Vec::new();
    let step = Flow::new(Transport::Tcp, 22, Some(0)).segment(0, b"SSH-2.0-OpenSSH\r\n", &mut found);
    assert_eq!((step, found[0].protocol), (Step::Done, Protocol::Other));
    assert_eq!(found[0].name, Err(Absence::OtherProtocol));
    // Words that may begin a request are told apart by their line: it is none of HTTP's then.
    for line in [&b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n"[..], b"EHLO mail.example\r\n"] {
        found.clear();
        let step = Flow::new(Transport::Tcp, 22, Some(0)).segment(0, line, &mut found);
        assert_eq!((step, found[0].protocol), (Step::Done, Protocol::Other));
        assert_eq!(found[0].name, Err(Absence::OtherProtocol));
    }
    found.clear();
    let step = Flow::new(Transport::Udp, 5000, None).datagram(&[0; 20], &mut found);
    assert_eq!((step, found[0].name.clone()), (Step::Done, Err(Absence::OtherProtocol)));
}

#[test]
fn each_query_of_a_flow_is_told_over_udp_and_the_flow_is_never_done() {
    let mut flow = Flow::new(Transport::Udp, 53, None);
    let mut found = Vec::new();
    for name in ["a.example", "b.example", "a.example"] {
        assert_eq!(flow.datagram(&dns_message(name), &mut found), Step::More);
    }
    assert_eq!(names(&found), ["a.example", "b.example", "a.example"]);
}

#[test]
fn a_hello_that_never_completes_tells_the_name_that_it_holds_when_the_flow_is_given_up() {
    let bytes = hello();
    assert_eq!(names(&read(443, Some(0), &[(0, &bytes[..bytes.len() - 1])])), ["www.example.com"]);
    let found = read(443, Some(0), &[(0, &bytes[..20])]);
    assert_eq!(found[0].name, Err(Absence::Incomplete));
    assert_eq!(read(443, Some(0), &[])[0].name, Err(Absence::Empty));
}

#[test]
fn a_flow_whose_first_bytes_never_came_is_incomplete_and_not_empty() {
    let said = |segments: &[(u32, &[u8])]| {
        let found = read(443, Some(START), segments);
        assert_eq!(found.len(), 1);
        (found[0].protocol, found[0].name.clone())
    };
    let behind = START.wrapping_add(100);
    assert_eq!(said(&[(behind, &[7; 403])]), (Protocol::Other, Err(Absence::Incomplete)));
    assert_eq!(said(&[]), (Protocol::Other, Err(Absence::Empty)));
    assert_eq!(
        said(&[(START.wrapping_sub(1), &[0])]),
        (Protocol::Other, Err(Absence::Empty)),
        "a keep-alive"
    );
}

#[test]
fn what_a_parser_keeps_is_counted() {
    let mut weights = Vec::new();
    for (start, more) in [
        (&b"GET / HTTP/1.1\r\n"[..], format!("Host: {}\r\n", "a.".repeat(120)).into_bytes()),
        // A header block that goes on: its first 8 KiB.
        (&PREFACE[..], [&[0, 0x20, 0, 1, 0, 0, 0, 0, 1][..], &[0x82; 0x2000]].concat()),
    ] {
        let mut flow = Flow::new(Transport::Tcp, 80, Some(0));
        let mut found = Vec::new();
        flow.segment(0, start, &mut found);
        let before = flow.memory_bytes();
        flow.segment(start.len() as u32, &more, &mut found);
        weights.push(flow.memory_bytes() - before);
        assert!(found.is_empty());
    }
    assert!(weights[0] > 2 * 240 && weights[1] > 2 * 0x2000, "beside the stream: {weights:?}");
}

#[test]
fn both_hosts_of_a_first_request_of_http2_are_names_of_the_flow() {
    let field = |name: &str, value: &str| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let flow_of = |authority: &str, host: &str| {
        let block = [field(":authority", authority), field("host", host)].concat();
        let headers = [&[0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1], &block[..]].concat();
        let stream = [&PREFACE[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &headers].concat();
        read(80, Some(START), &[(START, &stream)])
    };
    assert_eq!(names(&flow_of("a.example", "b.example:80")), ["a.example", "b.example"]);
    assert_eq!(names(&flow_of("a.example", "A.example.")), ["a.example"]);
    assert_eq!(names(&flow_of("192.0.2.1", "b.example")), ["b.example"]);
    assert_eq!(flow_of("192.0.2.1", "192.0.2.2")[0].name, Err(Absence::Literal));
}

#[test]
fn a_flow_larger_than_its_bound_is_given_up() {
    let mut flow = Flow::new(Transport::Tcp, 80, Some(0));
    let mut found = Vec::new();
    flow.segment(0, b"GET / HTTP/1.1\r\n", &mut found);
    let line = b"X-Filler: 0123456789012345678901234567890123456789\r\n";
    let mut at = 16;
    while flow.segment(at, line, &mut found) == Step::More {
        at += line.len() as u32;
        assert!(at < 100_000, "never given up");
    }
    assert_eq!(found[0].name, Err(Absence::TooLarge));
}

#[test]
fn queries_behind_what_looks_like_a_request_are_read_all_the_same() {
    // To a server of DNS, "GE" is a length of 18,245 bytes: it skips as many, and answers the query behind them.
    let mut stream = b"GET / HTTP/1.1\r\nHost: decoy.example\r\n\r\n".to_vec();
    stream.resize(2 + 0x4745, 0);
    stream.extend(dns_stream(&["hidden.example"]));
    let found = read(53, Some(START), &borrowed(&cut(&stream, &[1, 700, 2100, 9000, 18_300])));
    assert_eq!(names(&found).first(), Some(&"decoy.example"));
    assert_eq!(names(&found).last(), Some(&"hidden.example"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn says_the_same_of_segments_cut_shuffled_and_doubled(
        which in 0..3usize, cuts in proptest::collection::vec(any::<usize>(), 0..12), seed in any::<u64>(),
    ) {
        let (_, port, bytes, expected) = samples().swap_remove(which);
        let mut segments = cut(&bytes, &cuts);
        segments.extend(segments.clone());
        let mut state = seed | 1;
        for at in (1..segments.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            segments.swap(at, (state >> 33) as usize % (at + 1));
        }
        let found = read(port, Some(START), &borrowed(&segments));
        prop_assert_eq!(names(&found), expected);
        prop_assert!(found.iter().all(|one| one.ambiguous == 0));
    }

    #[test]
    fn holds_for_any_script(script in proptest::collection::vec(any::<u8>(), 0..2000)) {
        invariant(&script);
    }
}
