//! HTTP/2 with prior knowledge (RFC 9113 §3.3): `:authority` and `host` of the first request, in clear text. Called by
//! the flow machine; fuzz target `http2`.
//!
//! Reads frames up to the end of the first header block and nothing of what they carry beside it. Each frame is read
//! once, when it is whole.

use crate::hpack::Decoder;
use crate::http::Host;
use crate::observation::Absence;
use crate::reader::{Parsed, Reader};

/// What a client sends first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes up to the end of the first header block: as many as of a head of HTTP/1.
pub const CONNECTION_BYTES_MAX: usize = 16 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const FLAG_END_HEADERS: u8 = 0x04;
const FLAG_PADDED: u8 = 0x08;
const FLAG_PRIORITY: u8 = 0x20;
/// What HEADERS carries with `FLAG_PRIORITY`: dependency and weight.
const PRIORITY_BYTES: usize = 5;

/// Could a stream that begins so be HTTP/2? True while undecided.
pub fn could_be_preface(start: &[u8]) -> bool {
    start.iter().zip(PREFACE).all(|(sent, expected)| sent == expected)
}

/// Reads a stream from its preface to the end of the first header block: the first `:authority` and the first `host`,
/// each that is not empty, once where they are the same; one that is `NotSent` where neither is there. Servers differ in
/// which they take.
pub fn hosts(stream: &[u8]) -> Parsed<Vec<Host>> {
    Connection::default().read(stream)
}

/// A connection that is being read: `read` is asked again with the same stream, grown, until it answers.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Bytes that were read: the preface and whole frames.
    read: usize,
    /// Fragments of the header block, and the stream that it opens.
    block: Option<(u32, Vec<u8>)>,
}

impl Connection {
    /// `stream`: from its first byte, each time.
    pub fn read(&mut self, stream: &[u8]) -> Parsed<Vec<Host>> {
        let window = stream.get(..CONNECTION_BYTES_MAX).unwrap_or(stream);
        if self.read == 0 {
            if !could_be_preface(window) {
                return Parsed::No(Absence::OtherProtocol);
            }
            if window.len() < PREFACE.len() {
                return Parsed::More;
            }
            self.read = PREFACE.len();
        }
        let mut reader = Reader::new(window.get(self.read..).unwrap_or_default());
        while let Some(header) = frame_header(&mut reader) {
            if self.read + header.bytes() > CONNECTION_BYTES_MAX {
                return Parsed::No(Absence::TooLarge);
            }
            let Some(payload) = reader.take(header.length) else { break };
            self.read += header.bytes();
            match self.frame(&header, payload) {
                None => return Parsed::No(Absence::Malformed),
                Some(true) => return self.hosts(),
                Some(false) => (),
            }
        }
        if window.len() < CONNECTION_BYTES_MAX {
            Parsed::More
        } else {
            Parsed::No(Absence::TooLarge)
        }
    }

    /// Bytes that it holds.
    pub fn memory_bytes(&self) -> usize {
        self.block.as_ref().map_or(0, |(_, block)| block.capacity())
    }

    /// Whether the header block is complete; `None`: malformed.
    fn frame(&mut self, header: &FrameHeader, payload: &[u8]) -> Option<bool> {
        match (&mut self.block, header.kind) {
            (None, HEADERS) => {
                let fragment = header_fragment(header.flags, payload)?;
                self.block = Some((header.stream, fragment.to_vec()));
            }
            (Some((stream, block)), CONTINUATION) if *stream == header.stream => {
                block.extend_from_slice(payload)
            }
            // Nothing may come between the frames of a block (§4.3), and none continues what did not begin.
            (Some(_), _) | (None, CONTINUATION) => return None,
            (None, _) => return Some(false),
        }
        Some(header.flags & FLAG_END_HEADERS != 0)
    }

    fn hosts(&mut self) -> Parsed<Vec<Host>> {
        let block = self.block.take().map(|(_, block)| block).unwrap_or_default();
        let (mut authority, mut host) = (None, None);
        let decoded = Decoder::default().decode(&block, |name, value| {
            let place = match name {
                b":authority" => &mut authority,
                b"host" => &mut host,
                _ => return,
            };
            // A byte of the block may name a long value again: it is read once.
            if place.is_none() {
                *place = Some(Host::read(value)).filter(Host::is_stated);
            }
        });
        // A name that was read stands, whatever comes behind it.
        let mut hosts: Vec<Host> = authority.into_iter().chain(host).collect();
        hosts.dedup();
        match decoded {
            Err(absence) if hosts.is_empty() => Parsed::No(absence),
            Ok(()) if hosts.is_empty() => Parsed::Done(vec![Host::read(b"")]),
            _ => Parsed::Done(hosts),
        }
    }
}

/// RFC 9113 §4.1.
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHeader {
    const BYTES: usize = 9;

    /// With its payload.
    fn bytes(&self) -> usize {
        FrameHeader::BYTES + self.length
    }
}

fn frame_header(reader: &mut Reader<'_>) -> Option<FrameHeader> {
    let mut header = reader.sub(FrameHeader::BYTES)?;
    let length = usize::try_from(header.u24()?).ok()?;
    Some(FrameHeader { length, kind: header.u8()?, flags: header.u8()?, stream: header.u32()? & 0x7fff_ffff })
}

/// The payload of HEADERS without padding and priority, §6.2.
fn header_fragment(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(payload);
    let padding = if flags & FLAG_PADDED != 0 { usize::from(reader.u8()?) } else { 0 };
    if flags & FLAG_PRIORITY != 0 {
        reader.take(PRIORITY_BYTES)?;
    }
    reader.take(reader.len().checked_sub(padding)?)
}

/// What holds of every stream, for tests and the fuzz target. Panics where it does not.
#[doc(hidden)]
pub fn invariant(stream: &[u8]) {
    let whole = hosts(stream);
    // Byte by byte, it is the same answer, and none before it.
    let mut connection = Connection::default();
    let mut answer = Parsed::More;
    for end in 0..=stream.len() {
        answer = connection.read(stream.get(..end).unwrap_or_default());
        if answer != Parsed::More {
            break;
        }
        assert!(connection.memory_bytes() <= 2 * CONNECTION_BYTES_MAX);
    }
    assert_eq!(answer, whole);
    assert_eq!(!could_be_preface(stream), whole == Parsed::No(Absence::OtherProtocol));
    if let Parsed::Done(hosts) = whole {
        assert!(hosts.len() == 1 || hosts.len() == 2 && hosts.iter().all(Host::is_stated));
        assert!(hosts.iter().all(|host| (host.name.is_ok() || !host.is_stated()) == host.odd.is_empty()));
    }
}
