//! Capture files in every form, and frames of every link layer, give the same packets; anything else gives none.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use std::net::IpAddr;

use clearway_inspector::capture::{Broken, Capture, Record, FRAME_BYTES_MAX};
use clearway_inspector::fragments::Fragments;
use clearway_inspector::frame::{self, LinkType, Unread};
use clearway_inspector::inspect::{invariant, Inspection, NAMES_KEPT_MAX, NAMES_MAX};
use proptest::prelude::*;

const HOST: &[u8] = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

fn ipv4(payload: &[u8]) -> Vec<u8> {
    let builder =
        etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64).tcp(40000, 80, 7, 1000);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn ipv6(payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(40000, 53);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn pcap(big: bool, nano: bool, link: u32, frames: &[&[u8]]) -> Vec<u8> {
    let u32 = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let magic = if nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = [u32(magic), if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] }].concat();
    file.extend([u32(0), u32(0), u32(65535), u32(link)].concat());
    for frame in frames {
        file.extend([u32(1), u32(5), u32(frame.len() as u32), u32(frame.len() as u32)].concat());
        file.extend(*frame);
    }
    file
}

/// Link layer, time and bytes.
type Told = (Option<LinkType>, u64, Vec<u8>);

/// Every frame of a file, with its time, read from a buffer that grows by `step` bytes.
fn frames(file: &[u8], step: usize) -> Result<Vec<Told>, Broken> {
    let mut capture = Capture::new();
    let mut found = Vec::new();
    let (mut at, mut end) = (0, 0);
    loop {
        match capture.next(file.get(at..end).unwrap_or(&[]))? {
            (Record::More, _) if end == file.len() => return Ok(found),
            (Record::More, _) => end = (end + step).min(file.len()),
            (Record::Passed, bytes) => at += bytes,
            (Record::Frame(captured), bytes) => {
                found.push((captured.link.ok(), captured.time_ns, captured.frame.to_vec()));
                at += bytes;
            }
        }
    }
}

#[test]
fn reads_pcap_of_both_byte_orders_and_both_clocks() {
    for (big, nano) in [(false, false), (false, true), (true, false), (true, true)] {
        let file = pcap(big, nano, 101, &[b"one", b"", b"three"]);
        let time_ns = 1_000_000_000 + if nano { 5 } else { 5000 };
        let expected: Vec<_> =
            [&b"one"[..], b"", b"three"].map(|frame| (Some(LinkType::Raw), time_ns, frame.to_vec())).to_vec();
        assert_eq!(frames(&file, 1), Ok(expected.clone()));
        assert_eq!(frames(&file, 100_000), Ok(expected));
    }
}

#[test]
fn a_file_that_is_none_or_lies_about_a_length_says_so() {
    assert_eq!(frames(b"# Clearway\n", 100), Err(Broken::NotACapture));
    assert_eq!(frames(&pcap(false, false, 147, &[]), 100), Err(Broken::Link(147)));
    let mut file = pcap(false, false, 1, &[b"one"]);
    file[32..36].copy_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    assert_eq!(frames(&file, 100), Err(Broken::Length));
}

#[test]
fn the_same_packet_is_read_below_every_link_layer() {
    let packet = ipv4(HOST);
    let cases: [(LinkType, Vec<u8>); 15] = [
        (LinkType::Raw, vec![]),
        (LinkType::Ethernet, [&[0; 12][..], &[8, 0]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x91, 0, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x88, 0x64, 0x11, 0, 0, 1, 0, 99, 0, 0x21]].concat()),
        (LinkType::Ethernet, [&[0; 12][..], &[0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64]].concat()),
        (LinkType::LinuxCooked, [&[0; 14][..], &[8, 0]].concat()),
        (LinkType::LinuxCooked2, [&[8, 0][..], &[0; 18]].concat()),
        (LinkType::Loopback, vec![2, 0, 0, 0]),
        (LinkType::Loopback, vec![0, 0, 0, 2]),
        (LinkType::Ppp, vec![0xff, 3, 0, 0x21]),
        (LinkType::Ppp, vec![0x21]),
        (LinkType::CiscoHdlc, vec![0x0f, 0, 8, 0]),
        (LinkType::NetfilterLog, vec![2, 0, 0, 0, 5, 0, 10, 0, 0, 0, 0, 0, 99, 0, 9, 0]),
    ];
    for (link, head) in cases {
        let frame = [head.as_slice(), &packet, b"padding"].concat();
        let read = frame::read(link, &frame).unwrap_or_else(|why| panic!("{link:?} {head:?}: {why:?}"));
        assert_eq!(
            (read.l3_offset, read.l4_offset, read.payload_offset),
            (head.len(), head.len() + 20, head.len() + 40)
        );
        assert_eq!((read.payload, read.source_port, read.destination_port), (HOST, 40000, 80));
        assert_eq!((read.source, read.sequence), (IpAddr::from([192, 0, 2, 1]), 7));
        assert_eq!(
            (read.labelled, read.pppoe),
            (frame[12..].starts_with(&[0x88, 0x47]), frame[12..].starts_with(&[0x88, 0x64]))
        );
    }
}

#[test]
fn extension_headers_are_walked_and_too_many_are_not() {
    let plain = ipv6(b"query");
    let with = |count: usize| {
        let mut packet = plain.clone();
        packet[6] = if count > 0 { 60 } else { 17 };
        let length = u16::from_be_bytes([packet[4], packet[5]]) + 8 * count as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        let headers: Vec<u8> =
            (0..count).flat_map(|at| [if at + 1 < count { 60 } else { 17 }, 0, 1, 4, 0, 0, 0, 0]).collect();
        packet.splice(40..40, headers);
        packet
    };
    for count in 0..=8 {
        let packet = with(count);
        assert_eq!(frame::read(LinkType::Raw, &packet).unwrap().payload, b"query", "{count}");
    }
    assert_eq!(frame::read(LinkType::Raw, &with(9)), Err(Unread::TooDeep));
}

#[test]
fn headers_behind_which_a_packet_was_cut_are_walked_once_it_is_whole() {
    let plain = ipv6(b"a query of some bytes");
    let payload = [&[17, 0, 1, 4, 0, 0, 0, 0], &plain[40..]].concat();
    let mut fragments = Fragments::default();
    let mut whole = None;
    for (number, part) in payload.chunks(16).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let more = u16::from((number + 1) * 16 < payload.len());
        let place = ((number * 16) as u16 | more).to_be_bytes();
        let mut packet = [&plain[..40], &[60, 0], &place, &[0, 0, 0, 7], part].concat();
        packet[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
        packet[6] = 44;
        let Err(Unread::Fragment(fragment)) = frame::read(LinkType::Raw, &packet) else { panic!("{number}") };
        whole = fragments.push(&fragment, 0).map(|whole| (fragment.source, fragment.destination, whole));
    }
    let (source, destination, whole) = whole.unwrap();
    let packet = frame::of_fragments(source, destination, 60, &whole).unwrap();
    assert_eq!((packet.l4_offset, packet.payload), (8, &b"a query of some bytes"[..]));
}

#[test]
fn lengths_that_contradict_each_other_are_malformed_and_cut_frames_are_told_apart() {
    let whole = ipv4(HOST);
    for length in 0..whole.len() {
        let read = frame::read(LinkType::Raw, &whole[..length]);
        match length {
            0..40 => assert_eq!(read, Err(Unread::Truncated), "{length}"),
            _ => assert_eq!(read.unwrap().missing_bytes, whole.len() - length),
        }
    }
    let mut short = whole.clone();
    short[2..4].copy_from_slice(&19u16.to_be_bytes());
    assert_eq!(frame::read(LinkType::Raw, &short), Err(Unread::Malformed));
    let mut offset = whole.clone();
    offset[32] = 0x40;
    assert_eq!(frame::read(LinkType::Raw, &offset), Err(Unread::Malformed));
    let mut unfilled = whole;
    unfilled[2..4].fill(0); // captured before segmentation offload filled it in
    assert_eq!(frame::read(LinkType::Raw, &unfilled).unwrap().payload, HOST);
}

/// A query of 32 questions to port 53, from a client port of its own, as raw IP.
fn queries(client_port: u16, number: usize) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 32, 0, 0, 0, 0, 0, 0];
    for question in 0..32 {
        let label = format!("{:05}", number * 32 + question);
        message.push(label.len() as u8);
        message.extend(label.bytes());
        message.extend(b"\x01a\0\0\x01\0\x01");
    }
    let builder = etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64).udp(client_port, 53);
    let mut packet = Vec::new();
    builder.write(&mut packet, &message).unwrap();
    packet
}

#[test]
fn the_names_that_are_remembered_are_bounded_over_all_flows() {
    let mut inspection = Inspection::new(false);
    for client_port in 1000..(1000 + NAMES_KEPT_MAX / NAMES_MAX + 20) as u16 {
        for number in 0..NAMES_MAX / 32 {
            let frame = queries(client_port, number);
            inspection.frame(Some(LinkType::Raw), 0, &frame);
            assert_eq!(inspection.findings().count(), 32);
        }
        inspection.frame(Some(LinkType::Raw), 0, &queries(999, 0));
        inspection.findings();
        assert!(inspection.names_kept() <= NAMES_KEPT_MAX);
    }
    assert_eq!(inspection.names_kept(), NAMES_KEPT_MAX);
    inspection.frame(Some(LinkType::Raw), 0, &queries(999, 0));
    assert_eq!(inspection.findings().count(), 0, "what a flow has said, it still knows");
    inspection.end();
    assert_eq!(inspection.names_kept(), 0);
}

proptest! {
    #[test]
    fn holds_for_any_bytes(tail in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..3) {
        let head = match kind {
            0 => pcap(false, false, 1, &[]),
            1 => [0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a].to_vec(),
            _ => vec![],
        };
        invariant(&[head, tail].concat());
    }

    #[test]
    fn any_frame_is_read_or_told_why_not(frame in proptest::collection::vec(any::<u8>(), 0..200), link in 0..300u32) {
        if let Some(link) = LinkType::of_number(link) {
            let _ = frame::read(link, &frame);
        }
    }
}
