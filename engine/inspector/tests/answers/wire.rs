//! Packets to be refused, written by etherparse, and answers to them, opened by etherparse.

use std::net::IpAddr;

use clearway_inspector::frame::{self, LinkType, Packet};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpSlice, TransportSlice};

pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x5];
pub const CLIENT_PORT: u16 = 40_000;
pub const CLIENT_ACK: u32 = 5_000_000;
pub const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 4];

const CLIENT_V4: [u8; 4] = [192, 0, 2, 7];
const SERVER_V4: [u8; 4] = [198, 51, 100, 9];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const SERVER_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const HOPS: u8 = 61;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V4,
    V6,
}

/// What stands between the MAC addresses and IP; the protocol of IPv4 in it is changed for IPv6.
pub struct Link {
    pub name: &'static str,
    pub head: &'static [u8],
    pub pppoe: bool,
}

impl Link {
    pub const fn l3_offset(&self) -> usize {
        12 + self.head.len()
    }
}

pub const PLAIN: Link = Link { name: "Ethernet", head: &[8, 0], pppoe: false };
pub const LINKS: [Link; 5] = [
    PLAIN,
    Link { name: "802.1Q", head: &[0x81, 0, 0x60, 100, 8, 0], pppoe: false },
    Link { name: "QinQ", head: &[0x88, 0xa8, 0, 10, 0x81, 0, 0, 100, 8, 0], pppoe: false },
    Link { name: "PPPoE", head: &[0x88, 0x64, 0x11, 0, 0, 7, 0, 0, 0, 0x21], pppoe: true },
    Link {
        name: "PPPoE in 802.1Q",
        head: &[0x81, 0, 0, 100, 0x88, 0x64, 0x11, 0, 0, 7, 0, 0, 0, 0x21],
        pppoe: true,
    },
];

/// A datagram of the client.
pub fn udp(link: &Link, version: Version, server_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut ip = Vec::new();
    match version {
        Version::V4 => PacketBuilder::ipv4(CLIENT_V4, SERVER_V4, HOPS),
        Version::V6 => PacketBuilder::ipv6(CLIENT_V6, SERVER_V6, HOPS),
    }
    .udp(CLIENT_PORT, server_port)
    .write(&mut ip, payload)
    .expect("a datagram");
    framed(link, version, &ip)
}

/// A segment of the client.
pub fn tcp(link: &Link, version: Version, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_with(link, version, sequence, flags, &[], payload)
}

/// The same with options.
pub fn tcp_with(
    link: &Link,
    version: Version,
    sequence: u32,
    flag_bits: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut ip = Vec::new();
    let mut builder = match version {
        Version::V4 => PacketBuilder::ipv4(CLIENT_V4, SERVER_V4, HOPS),
        Version::V6 => PacketBuilder::ipv6(CLIENT_V6, SERVER_V6, HOPS),
    }
    .tcp(CLIENT_PORT, 443, sequence, 500)
    .options_raw(options)
    .expect("options");
    if flag_bits & frame::flags::ACK != 0 {
        builder = builder.ack(CLIENT_ACK);
    }
    if flag_bits & frame::flags::SYN != 0 {
        builder = builder.syn();
    }
    if flag_bits & frame::flags::FIN != 0 {
        builder = builder.fin();
    }
    builder.write(&mut ip, payload).expect("a segment");
    framed(link, version, &ip)
}

fn framed(link: &Link, version: Version, ip: &[u8]) -> Vec<u8> {
    let mut frame = [&SERVER_MAC[..], &CLIENT_MAC[..], link.head].concat();
    let at = frame.len();
    if link.pppoe {
        frame[at - 4..at - 2].copy_from_slice(&(ip.len() as u16 + 2).to_be_bytes());
    }
    if version == Version::V6 {
        frame[at - 2..].copy_from_slice(if link.pppoe { &[0, 0x57] } else { &[0x86, 0xdd] });
    }
    frame.extend_from_slice(ip);
    frame
}

pub fn try_read(frame: &[u8]) -> Option<Packet<'_>> {
    frame::read(LinkType::Ethernet, frame).ok()
}

pub fn read(frame: &[u8]) -> Packet<'_> {
    try_read(frame).expect("a packet")
}

/// An answer, taken out of its encapsulation.
pub struct Opened<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub transport: TransportSlice<'a>,
}

impl<'a> Opened<'a> {
    pub fn tcp(&self) -> &TcpSlice<'a> {
        match &self.transport {
            TransportSlice::Tcp(segment) => segment,
            other => panic!("no segment: {other:?}"),
        }
    }

    /// A datagram's payload.
    pub fn message(&self) -> &'a [u8] {
        match &self.transport {
            TransportSlice::Udp(datagram) => datagram.payload(),
            other => panic!("no datagram: {other:?}"),
        }
    }
}

/// Holds an answer's encapsulation against `link`, its lengths and checksums against its bytes.
pub fn open<'a>(frame: &'a [u8], link: &Link) -> Opened<'a> {
    let (head, ip) = frame.split_at(link.l3_offset());
    let fixed = link.head.len() - if link.pppoe { 4 } else { 2 };
    assert_eq!(head[12..12 + fixed], link.head[..fixed], "{}", link.name);
    if link.pppoe {
        let length = u16::from_be_bytes([head[head.len() - 4], head[head.len() - 3]]);
        assert_eq!(usize::from(length), ip.len() + 2, "PPPoE's length");
    }
    let sliced = SlicedPacket::from_ip(ip).expect("an IP packet");
    let transport = sliced.transport.expect("a transport header");
    match sliced.net.expect("an IP header") {
        NetSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            assert_eq!(usize::from(header.total_len), ip.len());
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert!(sum_is_right_v4(&transport, header.source, header.destination));
            Opened { source: header.source.into(), destination: header.destination.into(), transport }
        }
        NetSlice::Ipv6(v6) => {
            let header = v6.header().to_header();
            assert_eq!(usize::from(header.payload_length) + 40, ip.len());
            assert!(sum_is_right_v6(&transport, header.source, header.destination));
            Opened { source: header.source.into(), destination: header.destination.into(), transport }
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

fn sum_is_right_v4(transport: &TransportSlice<'_>, source: [u8; 4], destination: [u8; 4]) -> bool {
    match transport {
        TransportSlice::Tcp(tcp) => tcp.calc_checksum_ipv4(source, destination) == Ok(tcp.checksum()),
        TransportSlice::Udp(udp) => {
            let sum = udp.to_header().calc_checksum_ipv4_raw(source, destination, udp.payload());
            sum == Ok(udp.checksum())
        }
        TransportSlice::Icmpv4(icmp) => icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum(),
        TransportSlice::Icmpv6(_) => false,
    }
}

fn sum_is_right_v6(transport: &TransportSlice<'_>, source: [u8; 16], destination: [u8; 16]) -> bool {
    match transport {
        TransportSlice::Tcp(tcp) => tcp.calc_checksum_ipv6(source, destination) == Ok(tcp.checksum()),
        TransportSlice::Udp(udp) => {
            let sum = udp.to_header().calc_checksum_ipv6_raw(source, destination, udp.payload());
            sum == Ok(udp.checksum())
        }
        TransportSlice::Icmpv6(icmp) => icmp.is_checksum_valid(source, destination),
        TransportSlice::Icmpv4(_) => false,
    }
}

/// An OPT record that says 1232 bytes and DO.
pub const OPT: &[u8] = &[0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0];

/// A question of class IN.
pub fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

/// A query of one question with ID 0x1234, RD, AD and CD; `additional` is one record or nothing.
pub fn query(question: &[u8], additional: &[u8]) -> Vec<u8> {
    let additional_count = u8::from(!additional.is_empty());
    let header = [0x12, 0x34, 0x01, 0x30, 0, 1, 0, 0, 0, 0, 0, additional_count];
    [&header[..], question, additional].concat()
}
