//! A ClientHello states the same facts however it is cut, and nothing that it does not say.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

mod hellos;

use clearway_inspector::observation::Absence;
use clearway_inspector::reader::Parsed;
use clearway_inspector::tls::{
    client_hello, client_hello_of_records, could_be_tls, invariant, unfinished_of_records, ClientHello, Flaw,
    ALPN_MAX, HANDSHAKE_BYTES_MAX, RECORDS_ASIDE_MAX,
};
use hellos::*;
use proptest::prelude::*;

fn read(handshake: &[u8]) -> ClientHello {
    match client_hello(handshake) {
        Parsed::Done(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn name(hello: &ClientHello) -> Result<&str, Absence> {
    hello.name.as_ref().map(|name| name.as_str()).map_err(|absence| *absence)
}

#[test]
fn a_browsers_hello_states_name_protocols_ech_and_the_post_quantum_share() {
    let hello = read(&of_a_browser(b"WWW.Example.COM"));
    assert_eq!(name(&hello), Ok("www.example.com"));
    assert_eq!(hello.alpn, ["h2", "http/1.1"]);
    assert!(hello.ech && hello.post_quantum && hello.odd.is_empty());
    assert_eq!(hello.flaw, None);
}

#[test]
fn a_hello_without_extensions_sends_no_name() {
    let hello = read(&handshake_of_body(&before_extensions()));
    assert_eq!((name(&hello), hello.flaw), (Err(Absence::NotSent), None));
    let hello = read(&handshake(&[alpn(&[b"h2"]), key_share(29, 32)]));
    assert_eq!((name(&hello), hello.flaw), (Err(Absence::NotSent), None));
    assert!(!hello.ech && !hello.post_quantum);
}

#[test]
fn an_address_or_odd_bytes_are_no_name_and_shown_escaped() {
    let hello = read(&handshake(&[server_name(b"192.0.2.7")]));
    assert_eq!((name(&hello), hello.odd.as_str()), (Err(Absence::Literal), "192.0.2.7"));
    let hello = read(&handshake(&[server_name(b"a\0b.example")]));
    assert_eq!((name(&hello), hello.odd.as_str()), (Err(Absence::NotAName), "a\\000b.example"));
    let hello = read(&handshake(&[server_name(b"")]));
    assert!(hello.name.is_err());
}

#[test]
fn only_a_host_name_is_a_name_and_the_first_one_counts() {
    let list =
        [host_entry(7, b"other.example"), host_entry(0, b"a.example"), host_entry(0, b"b.example")].concat();
    let hello = read(&handshake(&[(0, sized(2, &list))]));
    assert_eq!((name(&hello), hello.flaw), (Ok("a.example"), Some(Flaw::RepeatedName)));
    let hello = read(&handshake(&[(0, sized(2, &host_entry(7, b"other.example")))]));
    assert_eq!(name(&hello), Err(Absence::NotSent));
}

#[test]
fn of_a_repeated_extension_the_first_counts() {
    let hello = read(&handshake(&[server_name(b"a.example"), alpn(&[b"h2"]), server_name(b"b.example")]));
    assert_eq!((name(&hello), hello.flaw), (Ok("a.example"), Some(Flaw::Repeated(0))));
}

#[test]
fn bytes_left_over_are_named_and_hide_no_name() {
    let (kind, data) = server_name(b"a.example");
    let hello = read(&handshake(&[(kind, [&data[..], b"x"].concat())]));
    assert_eq!((name(&hello), hello.flaw), (Ok("a.example"), Some(Flaw::LeftOver("server_name"))));

    let message = handshake(&[server_name(b"a.example")]);
    let hello = read(&handshake_of_body(&[&message[4..], b"x"].concat()));
    assert_eq!((name(&hello), hello.flaw), (Ok("a.example"), Some(Flaw::LeftOver("client_hello"))));
}

#[test]
fn a_structure_shorter_than_it_says_is_malformed_unless_the_name_stands_before_it() {
    let body = &handshake(&[alpn(&[b"h2"]), server_name(b"a.example"), ech()])[4..];
    let cut_in_ech = read(&handshake_of_body(&body[..body.len() - 1]));
    assert_eq!((name(&cut_in_ech), cut_in_ech.flaw), (Ok("a.example"), Some(Flaw::Short("extension"))));
    let cut_in_name = read(&handshake_of_body(&body[..body.len() - ech().1.len() - 5]));
    assert_eq!(
        (name(&cut_in_name), cut_in_name.flaw),
        (Err(Absence::Malformed), Some(Flaw::Short("extension")))
    );
    let cut_in_random = read(&handshake_of_body(&body[..20]));
    assert_eq!(cut_in_random.flaw, Some(Flaw::Short("client_hello")));
    assert_eq!(name(&cut_in_random), Err(Absence::Malformed));
    assert_eq!(name(&read(&handshake(&[(0, vec![])]))), Err(Absence::Malformed));
    assert_eq!(name(&read(&handshake(&[(0, vec![0, 9, 0, 0, 9, b'a'])]))), Err(Absence::Malformed));
}

#[test]
fn another_protocol_is_known_by_its_first_bytes() {
    for start in [
        &b"GET / HTTP/1.1"[..],
        b"SSH-2.0",
        b"\x17\x03\x03\x00\x20",
        b"\x16\x02\x00\x00\x05",
        b"\x16\x03\x01\xff\xff",
        b"\x80\x2e\x04",
    ] {
        assert!(!could_be_tls(start), "{start:?}");
        assert_eq!(client_hello_of_records(start), Parsed::No(Absence::OtherProtocol));
    }
    let server_hello = records(22, &[&[2], &sized(3, &[0; 40])[..]].concat(), 1000);
    assert_eq!(client_hello_of_records(&server_hello), Parsed::No(Absence::OtherProtocol));
}

#[test]
fn a_hello_of_ssl_2_is_another_version() {
    let hello = b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10";
    invariant(hello, 0..hello.len());
    assert_eq!(client_hello_of_records(hello), Parsed::No(Absence::OtherVersion));
    assert_eq!(client_hello_of_records(b"\x80\x2e\x01\x00\x02"), Parsed::No(Absence::OtherVersion));
}

#[test]
fn alerts_and_change_cipher_specs_in_front_or_between_hide_no_name() {
    let aside = [records(21, &[1, 90], 2), records(20, &[1], 1)].concat();
    let message = of_a_browser(b"a.example");
    let (front, back) = message.split_at(700);
    let stream = [&aside[..], &records(22, front, 100), &aside, &records(22, back, 2000)].concat();
    assert_eq!(client_hello_of_records(&stream), Parsed::Done(read(&message)));
    let many = [aside.repeat(RECORDS_ASIDE_MAX), records(22, &message, 9000)].concat();
    assert_eq!(client_hello_of_records(&many), Parsed::No(Absence::TooLarge));
}

#[test]
fn application_data_within_the_hello_is_malformed() {
    let stream = [records(22, &of_a_browser(b"a.example")[..100], 100), records(23, b"data", 4)].concat();
    assert_eq!(client_hello_of_records(&stream), Parsed::No(Absence::Malformed));
}

#[test]
fn a_hello_that_is_never_finished_still_gives_its_name_when_asked() {
    let stream = records(22, &handshake(&[server_name(b"a.example"), (21, vec![0; 600])]), 200);
    let held_back = &stream[..stream.len() - 1];
    assert_eq!(client_hello_of_records(held_back), Parsed::More);
    assert_eq!(unfinished_of_records(held_back).as_ref().map(name), Some(Ok("a.example")));
    assert_eq!(unfinished_of_records(&stream[..60]), None);
}

#[test]
fn of_a_hello_too_large_the_first_16_kib_are_read() {
    let padding = (21, vec![0; HANDSHAKE_BYTES_MAX]);
    let front = handshake(&[server_name(b"a.example"), padding.clone()]);
    assert_eq!(client_hello(&front[..HANDSHAKE_BYTES_MAX - 1]), Parsed::More);
    assert_eq!(name(&read(&front)), Ok("a.example"));
    let back = handshake(&[padding, server_name(b"a.example")]);
    assert_eq!(client_hello(&back), Parsed::No(Absence::TooLarge));
    assert_eq!(client_hello_of_records(&records(22, &back, 1 << 14)), Parsed::No(Absence::TooLarge));
}

#[test]
fn a_list_of_protocols_is_bounded_and_escaped() {
    let many = vec![&b"h2"[..]; 100];
    assert_eq!(read(&handshake(&[alpn(&many)])).alpn.len(), ALPN_MAX);
    assert_eq!(read(&handshake(&[alpn(&[b"\xff\n"])])).alpn, ["\\xff\\n"]);
}

fn host() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-zA-Z0-9-]{1,20}(\\.[a-z0-9]{1,12}){1,4}\\.?".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let other = (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..400));
    let known = prop_oneof![
        host().prop_map(|host| server_name(&host)),
        Just(alpn(&[b"h2", b"\x0a\x0a"])),
        Just(ech()),
        (any::<u16>(), 0..1300_usize).prop_map(|(group, bytes)| key_share(group, bytes)),
        other,
    ];
    proptest::collection::vec(known, 0..12)
}

proptest! {
    #[test]
    fn any_cut_into_records_and_any_tail_give_the_same_facts(
        extensions in extensions(), record in 1..3000_usize, tail in proptest::collection::vec(any::<u8>(), 0..50)
    ) {
        let message = handshake(&extensions);
        let facts = client_hello(&message);
        prop_assert!(matches!(facts, Parsed::Done(_)));
        let stream = [records(22, &message, record), tail.clone()].concat();
        prop_assert_eq!(&client_hello_of_records(&stream), &facts);
        prop_assert_eq!(&client_hello(&[message, tail].concat()), &facts);
        invariant(&stream, (0..stream.len()).step_by(1 + stream.len() / 300));
    }

    #[test]
    fn byte_by_byte_the_answer_comes_with_the_last_one(host in host(), record in 1..400_usize) {
        let message = handshake(&[ech(), server_name(&host), alpn(&[b"h2"])]);
        let stream = records(22, &message, record);
        for end in 0..stream.len() {
            prop_assert_eq!(client_hello_of_records(&stream[..end]), Parsed::More);
        }
        prop_assert_eq!(client_hello_of_records(&stream), client_hello(&message));
    }

    #[test]
    fn damaged_hellos_answer_alike_however_they_are_cut(
        extensions in extensions(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut stream = records(22, &handshake(&extensions), 1000);
        for (at, byte) in damage {
            *at.get_mut(&mut stream) = byte;
        }
        invariant(&stream, (0..stream.len()).step_by(1 + stream.len() / 200));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        invariant(&bytes, 0..bytes.len());
        let _ = client_hello(&bytes);
    }
}
