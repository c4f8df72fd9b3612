//! A captured frame to the transport segment in it: link layer, tags, PPPoE, MPLS, IP, extension headers, TCP or UDP.
//!
//! Borrows, never copies. Lengths are held against what is there; checksums are not looked at (a capture on the sending
//! host has none yet). What lies in a tunnel is not opened. Called for every packet by the gateway's hold loop
//! (Ethernet only) and by `capture`; as `bpf/parse.h` it reads at most the headers named in the limits here and in
//! `link`.

use std::net::{IpAddr, Ipv4Addr};

use crate::flow::Transport;
use crate::link;
pub use crate::link::LinkType;

/// TCP flags, as they stand in the header's 14th byte.
pub mod flags {
    /// The sender has no more data.
    pub const FIN: u8 = 0x01;
    /// Opens; takes one sequence number.
    pub const SYN: u8 = 0x02;
    /// Ends at once.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number means something.
    pub const ACK: u8 = 0x10;
}

/// One TCP segment or UDP datagram, whole as far as IP is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Port of the source.
    pub source_port: u16,
    /// Port of the destination.
    pub destination_port: u16,
    /// TCP: sequence number of the header (of SYN, or of the first payload byte). UDP: 0.
    pub sequence: u32,
    /// TCP: acknowledgement number. UDP: 0.
    pub acknowledgement: u32,
    /// TCP: flags. UDP: 0.
    pub flags: u8,
    /// TCP: the window as it stands there, not scaled. UDP: 0.
    pub window: u16,
    /// Payload as far as it was captured; padding behind the IP packet left out.
    pub payload: &'a [u8],
    /// Payload bytes that IP's length tells of and that were not captured.
    pub missing_bytes: usize,
    /// Where the IP header begins in the frame: what is before it is copied into an answer.
    pub l3_offset: usize,
    /// Where the TCP or UDP header begins.
    pub l4_offset: usize,
    /// Where the payload begins.
    pub payload_offset: usize,
    /// 802.1Q and 802.1ad tags.
    pub vlan_tags: u8,
    /// In a PPPoE session.
    pub pppoe: bool,
    /// Behind MPLS labels, which are one-way: no answer can be built.
    pub labelled: bool,
}

/// One IP fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// Protocol of the packet's payload: 6 or 17, in IPv6 also an extension header's; else it is `OtherTransport`.
    pub protocol: u8,
    /// Which packet it is of.
    pub identification: u32,
    /// Where its bytes belong in the packet's payload.
    pub offset: usize,
    /// More follow.
    pub more: bool,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Why there is no packet. None of it is a reason to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread<'a> {
    /// ARP and the like, or a tunnel.
    NotIp,
    /// Neither TCP nor UDP.
    OtherTransport,
    /// Ends within a header.
    Truncated,
    /// Lengths or versions that contradict each other.
    Malformed,
    /// More tags, labels or extension headers than are followed.
    TooDeep,
    /// A part of a packet.
    Fragment(Fragment<'a>),
}

/// IPv6 extension headers that are followed, as EXTENSION_HEADERS_MAX of bpf/abi.h.
pub const EXTENSION_HEADERS_MAX: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Reads a frame.
#[inline]
pub fn read(link: LinkType, frame: &[u8]) -> Result<Packet<'_>, Unread<'_>> {
    let below = link::find_ip(link, frame)?;
    let ip = frame.get(below.l3_offset..).ok_or(Unread::Truncated)?;
    let version = ip.first().ok_or(Unread::Truncated)? >> 4;
    let mut packet = match version {
        4 => ipv4(ip),
        6 => ipv6(ip),
        _ if below.labelled => return Err(Unread::NotIp), // labels don't say what they carry
        _ => return Err(Unread::Malformed),
    }?;
    packet.l3_offset = below.l3_offset;
    packet.l4_offset += below.l3_offset;
    packet.payload_offset += below.l3_offset;
    packet.vlan_tags = below.vlan_tags;
    packet.pppoe = below.pppoe;
    packet.labelled = below.labelled;
    Ok(packet)
}

/// Reads the payload of an IP packet that was put together from fragments. Offsets count from the payload's start.
pub fn of_fragments(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: &[u8],
) -> Result<Packet<'_>, Unread<'_>> {
    let ends = Ends { source, destination };
    match source {
        IpAddr::V4(_) => transport(ends, protocol, payload, 0, payload.len()),
        IpAddr::V6(_) => behind_headers(ends, protocol, payload, 0, payload.len()),
    }
}

#[derive(Clone, Copy)]
struct Ends {
    source: IpAddr,
    destination: IpAddr,
}

fn ipv4(ip: &[u8]) -> Result<Packet<'_>, Unread<'_>> {
    let header: &[u8; 20] = ip.first_chunk().ok_or(Unread::Truncated)?;
    let [version_length, _, total_0, total_1, id_0, id_1, offset_0, offset_1, _, protocol, ..] = *header;
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let header_bytes = usize::from(version_length & 0x0f) * 4;
    let total_bytes = match usize::from(u16::from_be_bytes([total_0, total_1])) {
        0 => ip.len(), // captured before segmentation offload filled it in
        told => told,
    };
    if header_bytes < 20 || total_bytes < header_bytes {
        return Err(Unread::Malformed);
    }
    let ends = Ends {
        source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
    };
    let body = ip.get(header_bytes..total_bytes.min(ip.len())).ok_or(Unread::Truncated)?;
    let more = offset_0 & 0x20 != 0;
    let offset = usize::from(u16::from_be_bytes([offset_0 & 0x1f, offset_1])) * 8;
    if more || offset != 0 {
        let identification = u32::from(u16::from_be_bytes([id_0, id_1]));
        return Err(fragment(ends, protocol, identification, offset, more, body, total_bytes - header_bytes));
    }
    transport(ends, protocol, body, header_bytes, total_bytes - header_bytes)
}

fn ipv6(ip: &[u8]) -> Result<Packet<'_>, Unread<'_>> {
    let header: &[u8; 40] = ip.first_chunk().ok_or(Unread::Truncated)?;
    let [_, _, _, _, length_0, length_1, next, _, rest @ ..] = *header;
    let mut source = [0; 16];
    let mut destination = [0; 16];
    source.iter_mut().chain(&mut destination).zip(rest).for_each(|(to, from)| *to = from);
    let ends = Ends { source: IpAddr::V6(source.into()), destination: IpAddr::V6(destination.into()) };
    let told_bytes = match usize::from(u16::from_be_bytes([length_0, length_1])) {
        0 => ip.len() - 40, // a jumbogram, or captured before segmentation offload filled it in
        told => told,
    };
    let body = ip.get(40..(40 + told_bytes).min(ip.len())).ok_or(Unread::Truncated)?;
    behind_headers(ends, next, body, 40, told_bytes)
}

/// `body`: IPv6 from the header `next` on, at `before` of the packet.
fn behind_headers(
    ends: Ends,
    mut next: u8,
    body: &[u8],
    before: usize,
    told_bytes: usize,
) -> Result<Packet<'_>, Unread<'_>> {
    let mut at = 0;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let here = body.get(at..).ok_or(Unread::Truncated)?;
        let header_bytes = match next {
            0 | 43 | 60 | 135 | 139 | 140 => usize::from(*here.get(1).ok_or(Unread::Truncated)?) * 8 + 8,
            51 => usize::from(*here.get(1).ok_or(Unread::Truncated)?) * 4 + 8,
            44 => {
                let header: &[u8; 8] = here.first_chunk().ok_or(Unread::Truncated)?;
                let [carried, _, offset_0, offset_1, i0, i1, i2, i3] = *header;
                let more = offset_1 & 1 != 0;
                let offset = usize::from(u16::from_be_bytes([offset_0, offset_1 & 0xf8]));
                if more || offset != 0 {
                    let part = here.get(8..).ok_or(Unread::Truncated)?;
                    let told = told_bytes.checked_sub(at + 8).ok_or(Unread::Malformed)?;
                    let identification = u32::from_be_bytes([i0, i1, i2, i3]);
                    return Err(fragment(ends, carried, identification, offset, more, part, told));
                }
                8 // an atomic fragment is a whole packet, RFC 6946
            }
            _ => {
                let told = told_bytes.checked_sub(at).ok_or(Unread::Malformed)?;
                return transport(ends, next, here, before + at, told);
            }
        };
        next = *here.first().ok_or(Unread::Truncated)?;
        at += header_bytes;
    }
    Err(Unread::TooDeep)
}

fn fragment(
    ends: Ends,
    protocol: u8,
    identification: u32,
    offset: usize,
    more: bool,
    payload: &[u8],
    told_bytes: usize,
) -> Unread<'_> {
    // In IPv6 what is cut may begin with further headers (RFC 8200 §4.5).
    if !matches!((protocol, ends.source), (TCP | UDP, _) | (43 | 51 | 60 | 135 | 139 | 140, IpAddr::V6(_))) {
        return Unread::OtherTransport;
    }
    if payload.len() < told_bytes {
        return Unread::Truncated;
    }
    let Ends { source, destination } = ends;
    Unread::Fragment(Fragment { source, destination, protocol, identification, offset, more, payload })
}

#[inline]
fn transport(
    ends: Ends,
    protocol: u8,
    body: &[u8],
    l4_offset: usize,
    told_bytes: usize,
) -> Result<Packet<'_>, Unread<'_>> {
    match protocol {
        TCP => tcp(ends, body, l4_offset, told_bytes),
        UDP => udp(ends, body, l4_offset, told_bytes),
        _ => Err(Unread::OtherTransport),
    }
}

fn tcp(ends: Ends, body: &[u8], l4_offset: usize, told_bytes: usize) -> Result<Packet<'_>, Unread<'_>> {
    let header: &[u8; 20] = body.first_chunk().ok_or(Unread::Truncated)?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
    let header_bytes = usize::from(offset >> 4) * 4;
    if header_bytes < 20 || header_bytes > told_bytes {
        return Err(Unread::Malformed);
    }
    let payload = body.get(header_bytes..).ok_or(Unread::Truncated)?;
    Ok(Packet {
        source: ends.source,
        destination: ends.destination,
        transport: Transport::Tcp,
        source_port: u16::from_be_bytes([s0, s1]),
        destination_port: u16::from_be_bytes([d0, d1]),
        sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
        flags,
        window: u16::from_be_bytes([w0, w1]),
        payload,
        missing_bytes: told_bytes.saturating_sub(body.len()),
        l3_offset: 0,
        l4_offset,
        payload_offset: l4_offset + header_bytes,
        vlan_tags: 0,
        pppoe: false,
        labelled: false,
    })
}

fn udp(ends: Ends, body: &[u8], l4_offset: usize, told_bytes: usize) -> Result<Packet<'_>, Unread<'_>> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Unread::Truncated)?;
    let [s0, s1, d0, d1, l0, l1, ..] = *header;
    let told_bytes = match usize::from(u16::from_be_bytes([l0, l1])) {
        0 => told_bytes, // a jumbogram, or many datagrams in one buffer
        told if told < 8 => return Err(Unread::Malformed),
        told => told.min(told_bytes), // no host takes a datagram that claims more than its packet; it is shown all the same
    };
    let payload = body.get(8..told_bytes.min(body.len())).ok_or(Unread::Truncated)?;
    Ok(Packet {
        source: ends.source,
        destination: ends.destination,
        transport: Transport::Udp,
        source_port: u16::from_be_bytes([s0, s1]),
        destination_port: u16::from_be_bytes([d0, d1]),
        sequence: 0,
        acknowledgement: 0,
        flags: 0,
        window: 0,
        payload,
        missing_bytes: told_bytes.saturating_sub(body.len()),
        l3_offset: 0,
        l4_offset,
        payload_offset: l4_offset + 8,
        vlan_tags: 0,
        pppoe: false,
        labelled: false,
    })
}
