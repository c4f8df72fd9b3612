//! One frame from a TAP, and how it is fed to its flow. Pure.

use std::net::IpAddr;

use clearway_inspector::flow::{Flow, Step, Transport};
use clearway_inspector::frame::{flags, Packet};
use clearway_inspector::observation::Observation;

use crate::hold_events::End;
use crate::hold_live::KeyBytes;

/// gso_type of struct virtio_net_hdr: datagrams of gso_size each.
const GSO_UDP_L4: u8 = 5;

/// One frame from a TAP.
pub struct Held<'f> {
    /// With its offload header: as it is written back.
    pub whole: &'f [u8],
    /// The frame itself.
    pub frame: &'f [u8],
    /// enum direction
    pub direction: usize,
    /// Of its flow; all zeros: of none.
    pub key: KeyBytes,
    /// Wire packets in it.
    pub segments: u64,
}

/// Feeds one packet, or the datagrams that one buffer carries.
pub fn read_packet(
    flow: &mut Flow,
    held: &Held<'_>,
    packet: &Packet<'_>,
    found: &mut Vec<Observation>,
) -> Step {
    if packet.transport == Transport::Udp {
        let each = datagram_bytes(held.whole).unwrap_or(packet.payload.len()).max(1);
        let mut step = Step::More;
        for datagram in packet.payload.chunks(each) {
            step = flow.datagram(datagram, found);
            if step == Step::Done {
                break;
            }
        }
        return step;
    }
    if packet.flags & flags::SYN != 0 {
        let first = packet.sequence.wrapping_add(1);
        *flow = Flow::new(Transport::Tcp, packet.destination_port, Some(first));
        return flow.segment(first, packet.payload, found);
    }
    flow.segment(packet.sequence, packet.payload, found)
}

/// Client and server: only the client's packets are held.
pub fn ends(packet: &Packet<'_>) -> (End, End) {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    ((octets(packet.source), packet.source_port), (octets(packet.destination), packet.destination_port))
}

/// gso_type and gso_size of the offload header.
fn gso(whole: &[u8]) -> (u8, usize) {
    match whole {
        [_, kind, _, _, low, high, ..] => (*kind & 0x7f, usize::from(u16::from_ne_bytes([*low, *high]))),
        _ => (0, 0),
    }
}

fn datagram_bytes(whole: &[u8]) -> Option<usize> {
    let (kind, bytes) = gso(whole);
    (kind == GSO_UDP_L4 && bytes > 0).then_some(bytes)
}

/// Wire packets in one buffer.
pub fn segments(whole: &[u8], payload_bytes: usize) -> u64 {
    let (kind, bytes) = gso(whole);
    if kind == 0 || bytes == 0 {
        return 1;
    }
    payload_bytes.div_ceil(bytes).max(1) as u64
}
