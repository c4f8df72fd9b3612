//! Everything around an answer's TCP, UDP or ICMP part: IP in the refused packet's version between the same addresses,
//! and the Ethernet header, tags and PPPoE session that it came in.

use std::net::IpAddr;

use super::checksum::Checksum;
use crate::flow::Transport;
use crate::frame::Packet;

/// Protocol numbers of IP's payload.
pub(super) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMP_V6: u8 = 58;
}

const MAC_BYTES: usize = 6;
const ETHERNET_BYTES: usize = 14;
const V4_HEADER_BYTES: usize = 20;
const V6_HEADER_BYTES: usize = 40;

/// PPPoE's length field stands four bytes before IP and counts the two bytes of PPP's protocol with it.
const PPPOE_LENGTH_BEFORE_IP: usize = 4;
const PPP_PROTOCOL_BYTES: usize = 2;

/// As hosts begin with. The refused packet's own says how far away the client is, not the server.
const HOPS: u8 = 64;

/// The type of service of an ICMP error in IPv4: internetwork control, RFC 1812 §4.3.2.5.
const TOS_CONTROL: u8 = 0xc0;

/// Whose part an answer takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// To the client.
    Server,
    /// To the server.
    Client,
}

/// What surrounds the answers to one refused packet.
pub(super) struct Envelope<'a> {
    head: &'a [u8],
    pppoe: bool,
    client: IpAddr,
    server: IpAddr,
}

impl<'a> Envelope<'a> {
    /// Of the client's packet that is refused; none where there is no way back.
    pub(super) fn of(frame: &'a [u8], packet: &Packet<'_>) -> Option<Self> {
        let head = frame.get(..packet.l3_offset)?;
        let to_group = head.first()? & 1 == 1;
        let same_version = packet.source.is_ipv4() == packet.destination.is_ipv4();
        let answerable = head.len() >= ETHERNET_BYTES && !packet.labelled && !to_group && same_version;
        let hosts = is_host(packet.source) && is_host(packet.destination);
        (answerable && hosts).then_some(Envelope {
            head,
            pppoe: packet.pppoe,
            client: packet.source,
            server: packet.destination,
        })
    }

    /// The same of a datagram; none of a segment.
    pub(super) fn of_datagram(frame: &'a [u8], packet: &Packet<'_>) -> Option<Self> {
        if packet.transport != Transport::Udp {
            return None;
        }
        Envelope::of(frame, packet)
    }

    /// IPv4?
    pub(super) fn is_v4(&self) -> bool {
        self.client.is_ipv4()
    }

    /// The frame around `segment`, whose header has a zero at `checksum_at`. None past 64 KiB.
    pub(super) fn seal(
        &self,
        from: From,
        protocol: u8,
        mut segment: Vec<u8>,
        checksum_at: usize,
    ) -> Option<Vec<u8>> {
        let (source, destination) = match from {
            From::Server => (self.server, self.client),
            From::Client => (self.client, self.server),
        };
        let length = u16::try_from(segment.len()).ok()?;
        let covered = match protocol {
            protocol::ICMP => Checksum::default(),
            _ => Checksum::of_transport(source, destination, protocol, u32::from(length)),
        };
        let mut sum = covered.bytes(&segment).finish();
        if protocol == protocol::UDP && sum == [0, 0] {
            sum = [0xff, 0xff]; // zero says that there is none, RFC 768
        }
        segment.get_mut(checksum_at..checksum_at + 2)?.copy_from_slice(&sum);

        let ip = ip_header(source, destination, protocol, length)?;
        let mut frame = self.link_header(from, ip.len() + segment.len())?;
        frame.extend_from_slice(&ip);
        frame.append(&mut segment);
        Some(frame)
    }

    fn link_header(&self, from: From, ip_bytes: usize) -> Option<Vec<u8>> {
        let mut head = self.head.to_vec();
        if from == From::Server {
            let (to, rest) = head.split_at_mut(MAC_BYTES);
            to.swap_with_slice(rest.get_mut(..MAC_BYTES)?);
        }
        if self.pppoe {
            let at = head.len().checked_sub(PPPOE_LENGTH_BEFORE_IP)?;
            let length = u16::try_from(ip_bytes + PPP_PROTOCOL_BYTES).ok()?;
            head.get_mut(at..at + 2)?.copy_from_slice(&length.to_be_bytes());
        }
        Some(head)
    }
}

/// The address of one host, which an error may be sent to and come from (RFC 1122 §3.2.2, RFC 4443 §2.4).
fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() && !broadcast
}

fn ip_header(source: IpAddr, destination: IpAddr, protocol: u8, payload_bytes: u16) -> Option<Vec<u8>> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let tos = if protocol == protocol::ICMP { TOS_CONTROL } else { 0 };
            let total = payload_bytes.checked_add(V4_HEADER_BYTES as u16)?.to_be_bytes();
            let [total_high, total_low] = total;
            let mut header = Vec::with_capacity(V4_HEADER_BYTES);
            // Identification 0 is right for what may not be fragmented, RFC 6864 §4.1.
            header
                .extend_from_slice(&[0x45, tos, total_high, total_low, 0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            let sum = Checksum::default().bytes(&header).finish();
            header.get_mut(10..12)?.copy_from_slice(&sum);
            Some(header)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = payload_bytes.to_be_bytes();
            let mut header = Vec::with_capacity(V6_HEADER_BYTES);
            header.extend_from_slice(&[0x60, 0, 0, 0, high, low, protocol, HOPS]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            Some(header)
        }
        _ => None,
    }
}
