//! From a frame's first byte to its IP header: link layers, tags, PPPoE sessions, MPLS labels.

use crate::frame::Unread;

/// 802.1Q and 802.1ad tags that are followed; one more than the gateway, since a capture may show the provider's.
pub const VLAN_TAGS_MAX: u8 = 4;
/// MPLS labels that are followed, as MPLS_LABELS_MAX of bpf/abi.h.
pub const MPLS_LABELS_MAX: usize = 8;

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
    /// BSD loopback: an address family in the byte order of the host that captured, or big-endian.
    Loopback,
    /// PPP, with or without HDLC's address and control.
    Ppp,
    /// A PPPoE session's header first.
    PppoeSession,
    /// Cisco's HDLC: address, control, EtherType.
    CiscoHdlc,
    /// Linux netfilter's log: attributes, one of them the packet.
    NetfilterLog,
}

impl LinkType {
    /// By the number that captures carry (LINKTYPE_ and older DLT_ values); None: can't be read.
    pub fn of_number(number: u32) -> Option<LinkType> {
        match number & 0xffff {
            0 | 108 => Some(LinkType::Loopback),
            1 => Some(LinkType::Ethernet),
            9 | 50 | 166 | 204 => Some(LinkType::Ppp),
            51 => Some(LinkType::PppoeSession),
            104 => Some(LinkType::CiscoHdlc),
            12 | 14 | 101 | 228 | 229 => Some(LinkType::Raw),
            113 => Some(LinkType::LinuxCooked),
            239 => Some(LinkType::NetfilterLog),
            276 => Some(LinkType::LinuxCooked2),
            _ => None,
        }
    }
}

/// Where IP begins, and what stood before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Below {
    pub(crate) l3_offset: usize,
    pub(crate) vlan_tags: u8,
    pub(crate) pppoe: bool,
    pub(crate) labelled: bool,
}

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_PPPOE_SESSION: u16 = 0x8864;
const ETHER_MPLS: u16 = 0x8847;
const ETHER_MPLS_MULTICAST: u16 = 0x8848;
/// EtherTypes begin here; below it the field is a length and LLC follows (IEEE 802.3).
const ETHER_TYPE_MIN: u16 = 0x0600;

#[inline]
pub(crate) fn find_ip<'a>(link: LinkType, frame: &'a [u8]) -> Result<Below, Unread<'a>> {
    match link {
        LinkType::Ethernet => ether(frame, 12),
        LinkType::Raw => Ok(Below::default()),
        LinkType::LinuxCooked => ether(frame, 14),
        LinkType::LinuxCooked2 => match be16(frame, 0)? {
            ETHER_IPV4 | ETHER_IPV6 => Ok(Below { l3_offset: 20, ..Below::default() }),
            ether_type => after(ether_type, frame, 20, Below::default()),
        },
        LinkType::Loopback => loopback(frame),
        LinkType::Ppp => match frame.get(..2) {
            Some([0xff, 0x03]) => ppp(frame, 2, Below::default()),
            _ => ppp(frame, 0, Below::default()),
        },
        LinkType::PppoeSession => pppoe(frame, 0, Below::default()),
        LinkType::CiscoHdlc => ether(frame, 2),
        LinkType::NetfilterLog => netfilter_log(frame),
    }
}

/// `at`: where an EtherType stands. Tags, then whatever is beneath them.
#[inline]
fn ether<'a>(frame: &'a [u8], at: usize) -> Result<Below, Unread<'a>> {
    let ether_type = be16(frame, at)?;
    after(ether_type, frame, at + 2, Below::default())
}

fn after<'a>(
    mut ether_type: u16,
    frame: &'a [u8],
    mut at: usize,
    mut below: Below,
) -> Result<Below, Unread<'a>> {
    while matches!(ether_type, 0x8100 | 0x88a8 | 0x9100 | 0x9200) {
        if below.vlan_tags == VLAN_TAGS_MAX {
            return Err(Unread::TooDeep);
        }
        below.vlan_tags += 1;
        ether_type = be16(frame, at + 2)?;
        at += 4;
    }
    match ether_type {
        ETHER_IPV4 | ETHER_IPV6 => Ok(Below { l3_offset: at, ..below }),
        ETHER_PPPOE_SESSION => pppoe(frame, at, below),
        ETHER_MPLS | ETHER_MPLS_MULTICAST => mpls(frame, at, below),
        length if length < ETHER_TYPE_MIN => match frame.get(at..at + 6) {
            Some([0xaa, 0xaa, 0x03, 0, 0, 0]) => match be16(frame, at + 6)? {
                ETHER_IPV4 | ETHER_IPV6 => Ok(Below { l3_offset: at + 8, ..below }),
                _ => Err(Unread::NotIp),
            },
            _ => Err(Unread::NotIp),
        },
        _ => Err(Unread::NotIp),
    }
}

fn pppoe<'a>(frame: &'a [u8], at: usize, below: Below) -> Result<Below, Unread<'a>> {
    match frame.get(at..at + 2) {
        Some([0x11, 0]) => ppp(frame, at + 6, Below { pppoe: true, ..below }), // version 1, type 1, session data
        Some(_) => Err(Unread::Malformed),
        None => Err(Unread::Truncated),
    }
}

/// RFC 1661 §2: the protocol in two bytes, or in one whose lowest bit is set.
fn ppp<'a>(frame: &'a [u8], at: usize, below: Below) -> Result<Below, Unread<'a>> {
    match frame.get(at).ok_or(Unread::Truncated)? {
        0x21 | 0x57 => return Ok(Below { l3_offset: at + 1, ..below }),
        _ => {}
    }
    match be16(frame, at)? {
        0x0021 | 0x0057 => Ok(Below { l3_offset: at + 2, ..below }),
        0x0281 | 0x0283 => mpls(frame, at + 2, below),
        _ => Err(Unread::NotIp),
    }
}

fn mpls<'a>(frame: &'a [u8], mut at: usize, below: Below) -> Result<Below, Unread<'a>> {
    for _ in 0..MPLS_LABELS_MAX {
        let bottom = frame.get(at + 2).ok_or(Unread::Truncated)? & 1 != 0;
        at += 4;
        if bottom {
            return Ok(Below { l3_offset: at, labelled: true, ..below });
        }
    }
    Err(Unread::TooDeep)
}

/// The families that mean IP on one system or another, whichever byte order they stand in.
fn loopback<'a>(frame: &'a [u8]) -> Result<Below, Unread<'a>> {
    let bytes: &[u8; 4] = frame.first_chunk().ok_or(Unread::Truncated)?;
    let family = u32::from_le_bytes(*bytes).min(u32::from_be_bytes(*bytes));
    match family {
        2 | 10 | 24 | 28 | 30 => Ok(Below { l3_offset: 4, ..Below::default() }),
        _ => Err(Unread::NotIp),
    }
}

/// Four bytes, then attributes: length (their own four bytes counted) and type in the byte order of the host that
/// captured, taken to be little-endian.
fn netfilter_log<'a>(frame: &'a [u8]) -> Result<Below, Unread<'a>> {
    let mut at = 4;
    while let Some(&[low, high, kind, 0]) = frame.get(at..at + 4) {
        if kind == NETFILTER_PAYLOAD {
            return Ok(Below { l3_offset: at + 4, ..Below::default() });
        }
        at += usize::from(u16::from_le_bytes([low, high])).max(4).next_multiple_of(4);
    }
    Err(Unread::NotIp)
}

const NETFILTER_PAYLOAD: u8 = 9;

#[inline]
fn be16<'a>(frame: &'a [u8], at: usize) -> Result<u16, Unread<'a>> {
    match frame.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Unread::Truncated),
    }
}
