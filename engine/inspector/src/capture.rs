//! Capture files: pcap (both byte orders, micro- and nanoseconds) and pcapng (sections, interfaces, simple, enhanced
//! and the obsolete packet blocks) to frames.
//!
//! A cursor without a file: it is given the bytes at its place and answers with a frame, or how much further to go, or
//! that it needs more. Memory does not grow with the file. Lengths that no capture has end it, and what was before
//! counts.

use crate::link::LinkType;

/// The longest frame; tcpdump's own bound. A reader's buffer holds two of them.
pub const FRAME_BYTES_MAX: usize = 262_144;
/// A frame with its block around it: what a reader's buffer has to hold for certain.
pub const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX + 4096;
/// Interfaces of a pcapng section that are remembered, 24 bytes each; frames of further ones are counted, not read.
pub const INTERFACES_MAX: usize = 4096;

/// A frame as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// How it begins, or the number of a link layer that can't be read; none of an interface that was not described.
    pub link: Result<LinkType, Option<u16>>,
    /// When, since 1970. 0 where the file does not say.
    pub time_ns: u64,
    /// What was captured of it.
    pub frame: &'a [u8],
}

/// What stands at a place of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The bytes end within it.
    More,
    /// Nothing of interest.
    Passed,
    /// A frame.
    Frame(Captured<'a>),
}

/// Why a file can't be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Its first bytes are not those of a capture.
    NotACapture,
    /// It is a capture of a link layer that can't be read, by its number.
    Link(u32),
    /// A length that no record has.
    Length,
}

/// A capture file that is being read.
#[derive(Debug, Default)]
pub struct Capture {
    form: Form,
}

#[derive(Debug, Default)]
enum Form {
    #[default]
    Unknown,
    Pcap {
        order: Order,
        link: LinkType,
        fraction_ns: u64,
        record_header_bytes: usize,
    },
    PcapNg {
        order: Order,
        interfaces: Vec<Interface>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Result<LinkType, Option<u16>>,
    snap_bytes: usize,
    /// Ticks a second; a frame's time is counted in them.
    ticks: u64,
    offset_s: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    #[inline]
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const OPTION_TICKS: u16 = 9;
const OPTION_OFFSET: u16 = 14;

impl Capture {
    /// At the first byte of a file.
    pub fn new() -> Capture {
        Capture::default()
    }

    /// What stands at the front of `rest`, and how many bytes it takes. That may be more than `rest` has: the caller
    /// then skips the file forward.
    #[inline]
    pub fn next<'a>(&mut self, rest: &'a [u8]) -> Result<(Record<'a>, usize), Broken> {
        match &mut self.form {
            Form::Unknown => self.begin(rest),
            Form::Pcap { order, link, fraction_ns, record_header_bytes } => {
                pcap_record(rest, *order, *link, *fraction_ns, *record_header_bytes)
            }
            Form::PcapNg { order, interfaces } => block(rest, order, interfaces),
        }
    }

    fn begin<'a>(&mut self, rest: &'a [u8]) -> Result<(Record<'a>, usize), Broken> {
        let Some(magic) = Order::Big.u32(rest, 0) else { return Ok((Record::More, 0)) };
        let (order, fraction_ns, record_header_bytes) = match magic {
            0xa1b2_c3d4 => (Order::Big, 1000, 16),
            0xd4c3_b2a1 => (Order::Little, 1000, 16),
            0xa1b2_3c4d => (Order::Big, 1, 16),
            0x4d3c_b2a1 => (Order::Little, 1, 16),
            0xa1b2_cd34 => (Order::Big, 1000, 24), // Kuznetsov's patch of 1999: eight bytes more a record
            0x34cd_b2a1 => (Order::Little, 1000, 24),
            SECTION_HEADER => {
                self.form = Form::PcapNg { order: Order::Little, interfaces: Vec::new() };
                return Ok((Record::Passed, 0));
            }
            _ => return Err(Broken::NotACapture),
        };
        let Some(number) = order.u32(rest, 20) else { return Ok((Record::More, 0)) };
        let link = LinkType::of_number(number).ok_or(Broken::Link(number & 0xffff))?;
        self.form = Form::Pcap { order, link, fraction_ns, record_header_bytes };
        Ok((Record::Passed, 24))
    }
}

#[inline]
fn pcap_record<'a>(
    rest: &'a [u8],
    order: Order,
    link: LinkType,
    fraction_ns: u64,
    header_bytes: usize,
) -> Result<(Record<'a>, usize), Broken> {
    let (Some(seconds), Some(fraction), Some(captured)) =
        (order.u32(rest, 0), order.u32(rest, 4), order.u32(rest, 8))
    else {
        return Ok((Record::More, 0));
    };
    let captured_bytes = captured as usize;
    if captured_bytes > FRAME_BYTES_MAX {
        return Err(Broken::Length);
    }
    let end = header_bytes + captured_bytes;
    let Some(frame) = rest.get(header_bytes..end) else { return Ok((Record::More, 0)) };
    let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * fraction_ns;
    Ok((Record::Frame(Captured { link: Ok(link), time_ns, frame }), end))
}

/// One block of a pcapng file. A new section may turn the byte order and begins its interfaces anew.
fn block<'a>(
    rest: &'a [u8],
    order: &mut Order,
    interfaces: &mut Vec<Interface>,
) -> Result<(Record<'a>, usize), Broken> {
    let Some(kind) = order.u32(rest, 0) else { return Ok((Record::More, 0)) };
    if kind == SECTION_HEADER {
        match Order::Big.u32(rest, 8) {
            None => return Ok((Record::More, 0)),
            Some(0x1a2b_3c4d) => *order = Order::Big,
            Some(0x4d3c_2b1a) => *order = Order::Little,
            Some(_) => return Err(Broken::Length),
        }
        interfaces.clear();
    }
    let Some(block_bytes) = order.u32(rest, 4) else { return Ok((Record::More, 0)) };
    let block_bytes = block_bytes as usize;
    if block_bytes < 12 {
        return Err(Broken::Length);
    }
    let end = block_bytes.next_multiple_of(4);
    if !matches!(kind, INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
        return Ok((Record::Passed, end));
    }
    if block_bytes > RECORD_BYTES_MAX {
        return Err(Broken::Length);
    }
    let Some(body) = rest.get(8..block_bytes - 4) else { return Ok((Record::More, 0)) };
    let record = match kind {
        INTERFACE => {
            if interfaces.len() < INTERFACES_MAX {
                interfaces.push(interface(body, *order).ok_or(Broken::Length)?);
            }
            Record::Passed
        }
        _ => Record::Frame(packet(kind, body, *order, interfaces).ok_or(Broken::Length)?),
    };
    Ok((record, end))
}

fn interface(body: &[u8], order: Order) -> Option<Interface> {
    let number = order.u16(body, 0)?;
    let snap_bytes = match order.u32(body, 4)? as usize {
        0 => FRAME_BYTES_MAX,
        told => told,
    };
    let link = LinkType::of_number(number.into()).ok_or(Some(number));
    let mut interface = Interface { link, snap_bytes, ticks: 1_000_000, offset_s: 0 };
    let mut at = 8;
    while let (Some(code), Some(length)) = (order.u16(body, at), order.u16(body, at + 2)) {
        let length = usize::from(length);
        let Some(value) = body.get(at + 4..at + 4 + length) else { break };
        match (code, value) {
            (0, _) => break,
            (OPTION_TICKS, &[power]) => interface.ticks = ticks_a_second(power),
            (OPTION_OFFSET, value) => interface.offset_s = order.u64(value, 0).map_or(0, |s| s as i64),
            _ => {}
        }
        at += 4 + length.next_multiple_of(4);
    }
    Some(interface)
}

/// if_tsresol: a power of ten, or of two if the highest bit is set.
fn ticks_a_second(power: u8) -> u64 {
    let exponent = u32::from(power & 0x7f);
    let base: u64 = if power & 0x80 != 0 { 2 } else { 10 };
    base.checked_pow(exponent).unwrap_or(1_000_000)
}

fn packet<'a>(kind: u32, body: &'a [u8], order: Order, interfaces: &[Interface]) -> Option<Captured<'a>> {
    if kind == SIMPLE_PACKET {
        let interface = interfaces.first();
        let snap_bytes = interface.map_or(FRAME_BYTES_MAX, |interface| interface.snap_bytes);
        let original_bytes = order.u32(body, 0)? as usize;
        let data = body.get(4..)?;
        let frame = data.get(..original_bytes.min(snap_bytes)).unwrap_or(data);
        return Some(Captured {
            link: interface.map_or(Err(None), |interface| interface.link),
            time_ns: 0,
            frame,
        });
    }
    let number = match kind {
        OBSOLETE_PACKET => usize::from(order.u16(body, 0)?),
        _ => order.u32(body, 0)? as usize,
    };
    let ticks = u64::from(order.u32(body, 4)?) << 32 | u64::from(order.u32(body, 8)?);
    let captured_bytes = order.u32(body, 12)? as usize;
    let frame = body.get(20..20 + captured_bytes)?;
    let interface = interfaces.get(number);
    let time_ns = interface.map_or(0, |interface| {
        let seconds = (ticks / interface.ticks).saturating_add_signed(interface.offset_s);
        let rest_ns = u128::from(ticks % interface.ticks) * 1_000_000_000 / u128::from(interface.ticks);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest_ns as u64)
    });
    Some(Captured { link: interface.map_or(Err(None), |interface| interface.link), time_ns, frame })
}
