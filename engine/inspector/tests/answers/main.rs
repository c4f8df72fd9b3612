//! What a refused client is told, frame by frame. Each answer is opened by etherparse, an independent reader, and its
//! checksums are computed there.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a panic is how a test fails

mod datagrams;
mod segments;
mod wire;

use clearway_inspector::answers::{
    dns_reply, dns_tcp_reply, http_page, port_unreachable, resets, DnsAnswer, Refusal, Standing, MSS_DEFAULT,
};
use clearway_inspector::frame::{flags, Packet};
use proptest::prelude::*;
use wire::{Link, Version, LINKS};

const REFUSAL: Refusal<'static> = Refusal {
    rule: "urlhaus/48213",
    reason: "malware",
    source: "urlhaus",
    until: "2026-12-01T00:00:00Z",
    name: "files.bad.example",
    contact: Some("noc@isp.example"),
    appeal_url: Some("https://status.isp.example/appeal"),
};
const AT: &str = "2026-11-25T17:30:00Z";

/// Every answer there is to one packet, as frames to the client and to the server.
fn all_answers(frame: &[u8], packet: &Packet<'_>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let standing = Standing::of(packet);
    let single = [
        dns_reply(frame, packet, &REFUSAL, DnsAnswer::Nxdomain),
        dns_reply(frame, packet, &REFUSAL, DnsAnswer::Refused),
        port_unreachable(frame, packet),
    ];
    let query = wire::query(&wire::question("files.bad.example", 1), wire::OPT);
    let endings = [
        resets(frame, packet, standing),
        http_page(frame, packet, standing, packet.payload, &REFUSAL, AT, MSS_DEFAULT),
        dns_tcp_reply(frame, packet, standing, &query, &REFUSAL, DnsAnswer::Nxdomain, MSS_DEFAULT),
    ];
    let mut to_client: Vec<Vec<u8>> = single.into_iter().flatten().collect();
    let mut to_server = Vec::new();
    for ending in endings.into_iter().flatten() {
        to_client.extend(ending.to_client);
        to_server.extend(ending.to_server);
    }
    (to_client, to_server)
}

fn queries() -> impl Iterator<Item = (&'static Link, Version, Vec<u8>)> {
    let message = wire::query(&wire::question("files.bad.example", 1), wire::OPT);
    LINKS.iter().flat_map(move |link| {
        let message = message.clone();
        [Version::V4, Version::V6].map(move |version| {
            let frame = wire::udp(link, version, 53, &message);
            (link, version, frame)
        })
    })
}

fn requests() -> impl Iterator<Item = (&'static Link, Version, Vec<u8>)> {
    LINKS.iter().flat_map(|link| {
        [Version::V4, Version::V6].map(move |version| {
            let frame = wire::tcp(link, version, 1000, flags::ACK, b"GET / HTTP/1.1\r\n\r\n");
            (link, version, frame)
        })
    })
}

#[test]
fn every_answer_comes_back_in_its_packets_encapsulation_with_complete_checksums() {
    for (link, version, frame) in queries().chain(requests()) {
        let packet = wire::read(&frame);
        let (to_client, to_server) = all_answers(&frame, &packet);
        assert!(!to_client.is_empty(), "{} {version:?}", link.name);
        for answer in &to_client {
            let opened = wire::open(answer, link);
            assert_eq!(answer[..6], wire::CLIENT_MAC, "{}", link.name);
            assert_eq!(answer[6..12], wire::SERVER_MAC, "{}", link.name);
            assert_eq!((opened.source, opened.destination), (packet.destination, packet.source));
        }
        for answer in &to_server {
            let opened = wire::open(answer, link);
            assert_eq!(answer[..6], wire::SERVER_MAC, "{}", link.name);
            assert_eq!(answer[6..12], wire::CLIENT_MAC, "{}", link.name);
            assert_eq!((opened.source, opened.destination), (packet.source, packet.destination));
        }
    }
}

#[test]
fn behind_mpls_labels_nothing_is_answered() {
    for (_, _, frame) in queries().chain(requests()) {
        let packet = Packet { labelled: true, ..wire::read(&frame) };
        assert_eq!(all_answers(&frame, &packet), (Vec::new(), Vec::new()));
    }
}

#[test]
fn nothing_is_answered_in_the_name_of_a_group() {
    for (_, _, mut frame) in queries().chain(requests()) {
        frame[0] |= 1;
        let packet = wire::read(&frame);
        assert_eq!(all_answers(&frame, &packet), (Vec::new(), Vec::new()));
    }
    for (_, _, frame) in queries() {
        for group in ["224.0.0.251", "255.255.255.255", "0.0.0.0", "ff02::fb", "::"] {
            let group = group.parse().expect("an address");
            let to_group = Packet { destination: group, ..wire::read(&frame) };
            assert_eq!(all_answers(&frame, &to_group), (Vec::new(), Vec::new()));
            let from_group = Packet { source: group, ..wire::read(&frame) };
            assert_eq!(all_answers(&frame, &from_group), (Vec::new(), Vec::new()));
        }
    }
}

proptest! {
    /// Whatever stands in a packet: no panic, and what is answered is well-formed.
    #[test]
    fn any_packet_is_answered_well_or_not_at_all(
        choice in 0usize..20,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        is_tcp: bool,
    ) {
        let link = &LINKS[choice % LINKS.len()];
        let version = if choice % 2 == 0 { Version::V4 } else { Version::V6 };
        let mut frame = match is_tcp {
            true => wire::tcp(link, version, 7, flags::ACK, &payload),
            false => wire::udp(link, version, 53, &payload),
        };
        for (place, value) in changes {
            let behind_link = link.l3_offset() + place.index(frame.len() - link.l3_offset());
            frame[behind_link] = value;
        }
        if let Some(packet) = wire::try_read(&frame) {
            let (to_client, to_server) = all_answers(&frame, &packet);
            for answer in to_client.iter().chain(&to_server) {
                wire::open(answer, link);
            }
        }
    }
}
