//! A hello in QUIC Initials states the same facts however its CRYPTO frames, packets and datagrams are cut and ordered;
//! what is no hello, or can't be opened, hides none.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

mod hellos;
mod initials;

use clearway_inspector::crypto_stream::{CryptoStream, CRYPTO_BYTES_MAX};
use clearway_inspector::flow::{Flow, Step, Transport};
use clearway_inspector::observation::{Absence, Observation, Protocol};
use clearway_inspector::quic::{
    could_be_initial, read_frames, Initials, ATTEMPTS_MAX, CONNECTIONS_MAX, DATAGRAMS_MAX,
    EARLY_DATAGRAMS_MAX, INITIAL_DATAGRAM_BYTES_MIN, PACKETS_MAX,
};
use clearway_inspector::reader::Parsed;
use clearway_inspector::tls::{client_hello, ClientHello};
use hellos::*;
use initials::*;
use proptest::prelude::*;
use proptest::sample::Index;

const ID: &[u8] = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
const OTHER_ID: &[u8] = b"other id";

fn fed(datagrams: &[Vec<u8>]) -> (Parsed<ClientHello>, Initials) {
    let mut initials = Initials::new();
    for datagram in datagrams {
        match initials.datagram(datagram) {
            Parsed::More => {}
            answer => return (answer, initials),
        }
    }
    (Parsed::More, initials)
}

fn whole(version: u32, id: &[u8], message: &[u8]) -> Vec<u8> {
    Initial::new(version, id).datagram(&crypto(0, message))
}

/// RFC 9001 §A.2 and RFC 9369 §A.2. The tag authenticates the whole packet, so that it stands for all 1200 bytes.
#[test]
fn the_clients_initials_of_the_rfcs_are_opened() {
    let frames = from_hex(
        "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c0000041301\
         1302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007\
         000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f5\
         0f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c00\
         024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f0\
         3e51570806048000ffff",
    );
    for (version, start, tag) in [
        (
            VERSION_1,
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
            "e221af44860018ab0856972e194cd934",
        ),
        (
            VERSION_2,
            "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
            "a18b2faa745b6fe189cf772a9f84cbfc",
        ),
    ] {
        let packet = Initial { number: 2, source: vec![], ..Initial::new(version, ID) }.datagram(&frames);
        assert_eq!(packet.len(), 1200);
        assert!(packet.starts_with(&from_hex(start)) && packet.ends_with(&from_hex(tag)), "{version:x}");
        let (Parsed::Done(hello), _) = fed(&[packet]) else { panic!("not opened") };
        assert_eq!(hello.name.map(|name| name.as_str().to_owned()), Ok("example.com".to_owned()));
        assert_eq!(hello.alpn, ["alpn"]);
    }
}

#[test]
fn a_post_quantum_hello_is_put_together_from_two_datagrams_in_any_order() {
    let message = of_a_browser(b"www.example.com");
    let frames = [
        [crypto(900, &message[900..1000]), vec![PING], crypto(0, &message[..400])].concat(),
        [ack(), crypto(1000, &message[1000..]), crypto(400, &message[400..900])].concat(),
    ];
    let datagrams: Vec<_> = (0..)
        .zip(&frames)
        .map(|(number, frames)| Initial { number, ..Initial::new(VERSION_1, ID) }.datagram(frames))
        .collect();
    let swapped: Vec<_> = datagrams.iter().rev().cloned().collect();
    assert_eq!(fed(&datagrams).0, client_hello(&message));
    assert_eq!(fed(&swapped).0, client_hello(&message));
    assert_eq!(fed(&datagrams[..1]).0, Parsed::More);
}

#[test]
fn packets_that_hold_no_hello_are_stepped_over() {
    let message = of_a_browser(b"a.example");
    for version in [VERSION_1, VERSION_2] {
        let hello = Initial::new(version, ID).packet(&[close(), crypto(0, &message)].concat());
        let datagram =
            [zero_rtt(version, ID), handshake_packet(version, ID), hello, b"\x40short".to_vec()].concat();
        assert_eq!(fed(&[datagram]).0, client_hello(&message));
    }
}

#[test]
fn later_packets_with_the_servers_connection_id_are_opened_with_the_first_keys() {
    let message = of_a_browser(b"a.example");
    let first = Initial::new(VERSION_1, ID).datagram(&crypto(0, &message[..900]));
    let later = Initial { destination: OTHER_ID.to_vec(), number: 300, ..Initial::new(VERSION_1, ID) };
    let later = later.datagram(&crypto(900, &message[900..]));
    assert_eq!(fed(&[first, later.clone()]).0, client_hello(&message));
    let (answer, initials) = fed(&[later]);
    assert_eq!((answer, initials.absence()), (Parsed::More, Absence::Undecipherable));
}

#[test]
fn a_short_packet_number_is_completed_from_the_largest_one_before() {
    let message = of_a_browser(b"a.example");
    let numbered = |number, number_bytes, frames: &[u8]| {
        Initial { number, number_bytes, ..Initial::new(VERSION_1, ID) }.datagram(frames)
    };
    let start = numbered(0x1_fe, 2, &crypto(0, &message[..500]));
    let wrapped = numbered(0x2_01, 1, &crypto(500, &message[500..900]));
    let overtaken = numbered(0x1_ff, 1, &crypto(900, &message[900..]));
    assert_eq!(fed(&[start.clone(), wrapped.clone(), overtaken.clone()]).0, client_hello(&message));
    assert_eq!(fed(&[wrapped, start, overtaken]).0, Parsed::More, "the first alone can't be completed");
}

#[test]
fn after_a_retry_the_client_begins_again_with_keys_of_the_new_connection_id() {
    let message = of_a_browser(b"a.example");
    let first = Initial::new(VERSION_1, ID).datagram(&crypto(0, &message[..900]));
    let again = |number, frames: &[u8]| {
        Initial { token: vec![1; 70], number, ..Initial::new(VERSION_1, OTHER_ID) }.datagram(frames)
    };
    let datagrams = [first, again(1, &crypto(900, &message[900..])), again(2, &crypto(0, &message[..900]))];
    assert_eq!(fed(&datagrams).0, client_hello(&message));
    assert_eq!(fed(&datagrams[..2]).0, Parsed::More, "two connections are two streams");
}

#[test]
fn another_version_is_told_and_hides_no_later_hello() {
    let message = of_a_browser(b"a.example");
    for version in [0xff00_001d_u32, 0x1a2a_3a4a, 0x5130_3530] {
        let mut other = whole(VERSION_1, ID, &message);
        other[1..5].copy_from_slice(&version.to_be_bytes());
        assert!(could_be_initial(&other));
        let (answer, mut initials) = fed(&[other]);
        assert_eq!((answer, initials.absence()), (Parsed::More, Absence::OtherVersion));
        assert_eq!(initials.datagram(&whole(VERSION_1, OTHER_ID, &message)), client_hello(&message));
    }
}

#[test]
fn a_forged_initial_in_front_hides_nothing() {
    let message = of_a_browser(b"a.example");
    let mut forged = whole(VERSION_1, ID, &of_a_browser(b"b.example"));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(fed(&[forged, whole(VERSION_1, ID, &message)]).0, client_hello(&message));
    let decoys = (0..CONNECTIONS_MAX as u8 + 2).map(|id| Initial::new(VERSION_1, &[id; 8]).datagram(&[PING]));
    let datagrams: Vec<_> = decoys.chain([whole(VERSION_1, ID, &message)]).collect();
    assert_eq!(fed(&datagrams).0, client_hello(&message));
}

#[test]
fn of_copies_that_differ_the_first_is_believed_and_each_byte_counted() {
    let message = handshake(&[server_name(b"a.example"), ech()]);
    let mut lie = message.clone();
    let at = lie.windows(9).position(|window| window == b"a.example").unwrap();
    lie[at..at + 3].copy_from_slice(b"bad");
    let first = Initial::new(VERSION_1, ID).datagram(&crypto(0, &message[..at + 9]));
    let second = Initial { number: 1, ..Initial::new(VERSION_1, ID) };
    let second =
        second.datagram(&[crypto(0, &lie[..at + 9]), crypto(at as u64 + 9, &message[at + 9..])].concat());
    let (answer, initials) = fed(&[first, second]);
    assert_eq!(answer, client_hello(&message));
    assert_eq!(initials.ambiguous(), 3);
}

#[test]
fn a_hello_that_is_never_finished_still_gives_its_name_when_asked() {
    let message = handshake(&[server_name(b"a.example"), key_share(0x11ec, 1216)]);
    let (answer, initials) = fed(&[Initial::new(VERSION_1, ID).datagram(&crypto(0, &message[..600]))]);
    assert_eq!((answer, initials.absence()), (Parsed::More, Absence::Incomplete));
    assert!(initials.unfinished().unwrap().name.is_ok());
}

#[test]
fn datagrams_attempts_and_memory_of_a_flow_are_bounded() {
    let message = vec![1, 0, 255, 255];
    let mut initials = Initials::new();
    for number in 0..DATAGRAMS_MAX {
        let far = crypto(CRYPTO_BYTES_MAX as u64 - 1 - u64::from(number), &[0; 500]);
        let id = [number as u8; 8];
        let datagram =
            Initial { number, ..Initial::new(VERSION_1, &id) }.datagram(&[crypto(0, &message), far].concat());
        assert!(initials.memory_bytes() <= CONNECTIONS_MAX * 20 * 1024 + 4096, "{}", initials.memory_bytes());
        let answer = initials.datagram(&datagram);
        if number + 1 == DATAGRAMS_MAX {
            assert_eq!(answer, Parsed::No(Absence::TooLarge));
        }
    }

    let mut sealed = Initials::new();
    let noise = Initial { destination: OTHER_ID.to_vec(), ..Initial::new(VERSION_1, ID) }.datagram(&[PING]);
    let answers: Vec<_> = (0..ATTEMPTS_MAX).map(|_| sealed.datagram(&noise)).collect();
    let (last, before) = answers.split_last().unwrap();
    assert!(before.iter().all(|answer| *answer == Parsed::More));
    assert_eq!(*last, Parsed::No(Absence::Undecipherable));
}

/// What `flow.rs` says of a flow of these datagrams, and whether it was done before its end.
fn said(datagrams: &[Vec<u8>]) -> (Observation, bool) {
    let mut flow = Flow::new(Transport::Udp, 443, None);
    let mut found = Vec::new();
    let done = datagrams.iter().any(|datagram| flow.datagram(datagram, &mut found) == Step::Done);
    flow.end(&mut found);
    assert_eq!(found.len(), 1);
    (found.remove(0), done)
}

fn padded(mut datagram: Vec<u8>) -> Vec<u8> {
    datagram.resize(datagram.len().max(INITIAL_DATAGRAM_BYTES_MIN), 0);
    datagram
}

#[test]
fn an_initial_is_seen_behind_other_packets_of_its_datagram() {
    let message = of_a_browser(b"a.example");
    for version in [VERSION_1, VERSION_2] {
        let hello = whole(version, ID, &message);
        for packet in [zero_rtt(version, ID), handshake_packet(version, ID)] {
            for count in [1, 2, PACKETS_MAX - 1] {
                let datagram = [packet.repeat(count), hello.clone()].concat();
                assert!(could_be_initial(&datagram));
                let (observation, done) = said(&[datagram]);
                assert_eq!(observation.name.map(|name| name.as_str().to_owned()), Ok("a.example".to_owned()));
                assert!(done);
            }
            assert!(!could_be_initial(&[packet.repeat(PACKETS_MAX), hello.clone()].concat()));
        }
    }
}

#[test]
fn datagrams_in_front_of_the_hello_hide_it_only_beyond_the_bounds() {
    let hello = whole(VERSION_1, ID, &of_a_browser(b"a.example"));
    let unknown = Initial { destination: OTHER_ID.to_vec(), ..Initial::new(VERSION_1, ID) }.datagram(&[PING]);
    let opened = Initial::new(VERSION_1, OTHER_ID).datagram(&[PING]);
    let odd = [&[0xc0, 0, 0, 0, 1, 255][..], &[0; 1300]].concat(); // the kernel takes it for an Initial
    for (front, count) in [
        (padded(zero_rtt(VERSION_1, ID)), EARLY_DATAGRAMS_MAX - 1),
        (padded(handshake_packet(VERSION_1, ID)), EARLY_DATAGRAMS_MAX - 1),
        (unknown, ATTEMPTS_MAX - 1),
        (opened, DATAGRAMS_MAX - 1),
        (odd, EARLY_DATAGRAMS_MAX - 1),
    ] {
        let mut datagrams = vec![front.clone(); count as usize];
        datagrams.push(hello.clone());
        assert!(said(&datagrams).0.name.is_ok());
        datagrams.insert(0, front.clone());
        assert!(said(&datagrams).0.name.is_err());
        let between = [front, b"short and no QUIC".to_vec(), hello.clone()];
        assert!(said(&between).0.name.is_ok(), "what comes between ends nothing");
    }
}

#[test]
fn a_flow_without_an_initial_is_undecipherable_and_soon_decided() {
    for packet in [zero_rtt(VERSION_1, ID), handshake_packet(VERSION_2, ID)] {
        let none = Observation::new(Protocol::Quic, Err(Absence::Undecipherable));
        let datagram = padded(packet);
        assert_eq!(said(std::slice::from_ref(&datagram)), (none.clone(), false));
        assert_eq!(said(&vec![datagram; EARLY_DATAGRAMS_MAX as usize]), (none, true));
    }
    let other = Observation::new(Protocol::Other, Err(Absence::OtherProtocol));
    assert_eq!(said(&[vec![0x80; 40]]), (other, false), "not empty: a datagram came");
}

/// RFC 9287; the bit is part of what the tag covers.
#[test]
fn an_initial_without_its_fixed_bit_is_opened() {
    let message = of_a_browser(b"a.example");
    for version in [VERSION_1, VERSION_2] {
        let greased = Initial { fixed_bit: false, ..Initial::new(version, ID) };
        let datagram = greased.datagram(&crypto(0, &message));
        assert_eq!(datagram[0] & 0xc0, 0x80);
        assert!(could_be_initial(&datagram));
        assert_eq!(fed(std::slice::from_ref(&datagram)).0, client_hello(&message));
        let (observation, done) = said(std::slice::from_ref(&datagram));
        assert_eq!(observation.name.map(|name| name.as_str().to_owned()), Ok("a.example".to_owned()));
        assert!(done);
        let mut other = datagram;
        other[1..5].copy_from_slice(&0x1a2a_3a4a_u32.to_be_bytes());
        assert!(!could_be_initial(&other), "of another version it is not told from noise");
    }
}

/// RFC 9000 §14.1: a server throws it away, so a clean name there decides nothing.
#[test]
fn an_initial_in_a_small_datagram_is_not_believed() {
    let small =
        Initial::new(VERSION_1, OTHER_ID).packet(&crypto(0, &handshake(&[server_name(b"decoy.example")])));
    assert!(small.len() < INITIAL_DATAGRAM_BYTES_MIN);
    let message = of_a_browser(b"a.example");
    assert_eq!(fed(&[small.clone(), whole(VERSION_1, ID, &message)]).0, client_hello(&message));
    let alone = said(std::slice::from_ref(&small)).0;
    assert_eq!(alone, Observation::new(Protocol::Quic, Err(Absence::Incomplete)), "no key was tried");
    let (observation, _) = said(&[small, whole(VERSION_1, ID, &message)]);
    assert_eq!(observation.name.map(|name| name.as_str().to_owned()), Ok("a.example".to_owned()));
}

#[test]
fn an_initial_is_known_by_size_bits_and_type() {
    let hello = whole(VERSION_1, ID, &of_a_browser(b"a.example"));
    assert!(could_be_initial(&hello) && could_be_initial(&whole(VERSION_2, ID, &[1, 0, 0])));
    assert!(!could_be_initial(&hello[..INITIAL_DATAGRAM_BYTES_MIN - 1]));
    assert!(!could_be_initial(&[0x40; 1200]) && !could_be_initial(&[0xff; 1200]) && !could_be_initial(&[]));
    let mut negotiation = hello;
    negotiation[1..5].fill(0);
    assert!(!could_be_initial(&negotiation));
    assert!(!could_be_initial(&padded(zero_rtt(VERSION_1, ID))));
}

/// A hello cut at `cuts`, as frames.
fn frames_of(message: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> =
        cuts.iter().map(|cut| cut.index(message.len())).chain([0, message.len()]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| crypto(pair[0] as u64, &message[pair[0]..pair[1]])).collect()
}

proptest! {
    #[test]
    fn any_frames_shuffled_doubled_and_spread_over_packets_and_datagrams_give_the_same_facts(
        host in "[a-z0-9-]{1,20}(\\.[a-z0-9]{1,12}){1,4}",
        version in prop_oneof![Just(VERSION_1), Just(VERSION_2)],
        id in proptest::collection::vec(any::<u8>(), 0..=20),
        cuts in proptest::collection::vec(any::<Index>(), 0..40),
        order in proptest::collection::vec(any::<u32>(), 82),
        doubled in any::<bool>(),
        a_packet in 1..30_usize,
        coalesced in any::<bool>(),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let message = of_a_browser(host.as_bytes());
        let mut frames = frames_of(&message, &cuts);
        if doubled {
            frames.extend(frames.clone());
        }
        let mut frames: Vec<_> = order.iter().zip(frames).collect();
        frames.sort_by_key(|(place, _)| **place);
        let frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
        let noise = [vec![0; 7], vec![PING], ack()];
        let packets: Vec<_> = (0..).zip(frames.chunks(a_packet.max(frames.len().div_ceil(20)))).map(|(number, frames)| {
            let frames: Vec<u8> = frames.iter().zip(noise.iter().cycle()).flat_map(|(frame, noise)| [&frame[..], noise].concat()).collect();
            Initial { number, ..Initial::new(version, &id) }.packet(&frames)
        }).collect();
        let datagrams: Vec<_> = packets.chunks(if coalesced { 4 } else { 1 }).map(|packets| padded([&packets.concat()[..], &tail].concat())).collect();
        let (answer, initials) = fed(&datagrams);
        prop_assert_eq!(answer, client_hello(&message));
        prop_assert_eq!(initials.ambiguous(), 0);
    }

    #[test]
    fn a_stream_is_the_first_copy_of_each_byte_and_counts_the_others(
        pieces in proptest::collection::vec((0..900_usize, proptest::collection::vec(any::<u8>(), 0..200)), 0..40)
    ) {
        let mut stream = CryptoStream::new();
        let mut plain = [None; 1200];
        let mut differ = 0;
        for (offset, data) in &pieces {
            stream.insert(*offset as u64, data);
            for (place, byte) in plain[*offset..].iter_mut().zip(data) {
                differ += u32::from(*place.get_or_insert(*byte) != *byte);
            }
        }
        let there: Vec<u8> = plain.iter().map_while(|byte| *byte).collect();
        prop_assert_eq!(stream.contiguous(), &there[..]);
        prop_assert_eq!(stream.ambiguous(), differ);
    }

    #[test]
    fn no_bytes_panic(
        datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..6),
        frames in proptest::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..300),
    ) {
        fed(&datagrams);
        let mut crypto = CryptoStream::new();
        read_frames(&frames, &mut crypto);
        prop_assert!(crypto.contiguous().len() <= frames.len());
        let sealed = Initial::new(VERSION_1, ID).datagram(&frames);
        let (_, initials) = fed(&[sealed]);
        prop_assert_eq!(initials.ambiguous(), crypto.ambiguous());
    }

    #[test]
    fn damaged_datagrams_state_nothing_that_was_not_sent(
        damage in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4)
    ) {
        let message = of_a_browser(b"a.example");
        let mut datagram = whole(VERSION_1, ID, &message);
        for (at, byte) in damage {
            *at.get_mut(&mut datagram) = byte;
        }
        let answer = fed(&[datagram]).0;
        prop_assert!(answer == Parsed::More || answer == client_hello(&message));
    }
}
