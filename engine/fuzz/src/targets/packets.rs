//! Frames as they come, and the answers to what is in them, opened by the same reader that reads frames.

use std::net::IpAddr;

use clearway_inspector::answers::{
    dns_reply, dns_tcp_reply, http_page, port_unreachable, resets, DnsAnswer, Ending, Refusal, Standing,
    MSS_DEFAULT,
};
use clearway_inspector::flow::Transport;
use clearway_inspector::fragments::Fragments;
use clearway_inspector::frame::{of_fragments, read, LinkType, Packet, Unread};
use clearway_inspector::reader::Reader;

/// A script of frames, each behind two bytes: the link layer's number and the length. What is read lies within its
/// frame; what was put together from fragments is read too.
pub fn frame(data: &[u8]) {
    const NUMBERS: [u32; 8] = [1, 0, 9, 51, 12, 113, 276, 101];
    let mut reader = Reader::new(data);
    let mut fragments = Fragments::default();
    while let (Some(number), Some(length)) = (reader.u8(), reader.u8()) {
        let Some(bytes) = reader.take(usize::from(length).min(reader.len())) else { return };
        let number = NUMBERS.get(usize::from(number % 8)).copied().unwrap_or(1);
        let Some(link) = LinkType::of_number(number) else { panic!("link layer {number} is known no more") };
        match read(link, bytes) {
            Ok(packet) => lies_within(&packet, bytes),
            Err(Unread::Fragment(fragment)) => {
                assert!(fragment.payload.len() <= bytes.len());
                let whole = fragments.push(&fragment, 0);
                let ends = (fragment.source, fragment.destination);
                let packet = whole
                    .as_deref()
                    .map(|whole| (of_fragments(ends.0, ends.1, fragment.protocol, whole), whole));
                if let Some((Ok(packet), whole)) = packet {
                    lies_within(&packet, whole);
                }
            }
            Err(_) => {}
        }
    }
}

fn lies_within(packet: &Packet<'_>, frame: &[u8]) {
    assert!(packet.l3_offset <= packet.l4_offset && packet.l4_offset < packet.payload_offset);
    let end = packet.payload_offset + packet.payload.len();
    assert_eq!(frame.get(packet.payload_offset..end), Some(packet.payload));
    assert_eq!(packet.source.is_ipv4(), packet.destination.is_ipv4());
}

const REFUSAL: Refusal<'_> = Refusal {
    rule: "b-0123456789",
    reason: "phishing",
    source: "<list> & \"more\"",
    until: "2030-01-01T00:00:00Z",
    name: "login.example",
    contact: Some("abuse@isp.example"),
    appeal_url: None,
};

/// One Ethernet frame of a client, whatever it holds, and every answer to it. Two bytes stand before it: the client's
/// MSS, and how far the standing is from that of the frame itself.
pub fn answers(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (Some(mss), Some(moved)) = (reader.u8(), reader.u8()) else { return };
    let frame = reader.rest();
    let Ok(packet) = read(LinkType::Ethernet, frame) else { return };
    let mss = if mss == 0 { MSS_DEFAULT } else { u16::from(mss) * 16 };
    for answer in DnsAnswer::ALL {
        to_the_client(dns_reply(frame, &packet, &REFUSAL, answer), &packet);
    }
    to_the_client(port_unreachable(frame, &packet), &packet);
    if packet.transport == Transport::Udp {
        return;
    }
    let mut standing = Standing::of(&packet);
    standing.client_next = standing.client_next.wrapping_add(u32::from(moved) << 24);
    let message = packet.payload.get(2..).unwrap_or(&[]);
    for ending in [
        resets(frame, &packet, standing),
        http_page(frame, &packet, standing, packet.payload, &REFUSAL, "2030-01-01T00:00:00Z", mss),
        dns_tcp_reply(frame, &packet, standing, message, &REFUSAL, DnsAnswer::Nxdomain, mss),
    ] {
        let Some(Ending { to_client, to_server }) = ending else { continue };
        assert!(!to_client.is_empty() && to_client.len() <= 64 && to_server.len() <= 1);
        to_client.into_iter().for_each(|frame| to_the_client(Some(frame), &packet));
        for frame in to_server {
            let Ok(reset) = read(LinkType::Ethernet, &frame) else { panic!("a reset that can't be read") };
            assert_eq!((reset.source, reset.source_port), (packet.source, packet.source_port));
            is_sealed(&frame, &reset, 6);
        }
    }
}

/// An answer takes the way back: the server's address as source, the client's tags and session.
fn to_the_client(answer: Option<Vec<u8>>, asked: &Packet<'_>) {
    let Some(frame) = answer else { return };
    let ends = (asked.destination, asked.source);
    match read(LinkType::Ethernet, &frame) {
        Ok(said) => {
            assert_eq!((said.source, said.destination), ends);
            assert_eq!(
                (said.source_port, said.destination_port),
                (asked.destination_port, asked.source_port)
            );
            assert_eq!(
                (said.vlan_tags, said.pppoe, said.l3_offset),
                (asked.vlan_tags, asked.pppoe, asked.l3_offset)
            );
            assert_eq!(said.missing_bytes, 0);
            is_sealed(&frame, &said, if said.transport == Transport::Tcp { 6 } else { 17 });
        }
        Err(Unread::OtherTransport) => assert_eq!(asked.transport, Transport::Udp), // ICMP
        Err(unread) => panic!("an answer that can't be read: {unread:?}"),
    }
}

/// RFC 1071: the sum over everything that a checksum covers, itself among it, is all ones.
fn is_sealed(frame: &[u8], packet: &Packet<'_>, protocol: u8) {
    let segment = frame.get(packet.l4_offset..).unwrap_or(&[]);
    let mut covered = Vec::new();
    for address in [packet.source, packet.destination] {
        match address {
            IpAddr::V4(v4) => covered.extend(v4.octets()),
            IpAddr::V6(v6) => covered.extend(v6.octets()),
        }
    }
    covered.extend((segment.len() as u32).to_be_bytes());
    covered.extend([0, 0, 0, protocol]);
    covered.extend_from_slice(segment);
    covered.resize(covered.len().next_multiple_of(2), 0);
    let words = covered.chunks_exact(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let sum = words.fold(0, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    assert_eq!(sum, 0xffff, "a checksum that is wrong");
}
