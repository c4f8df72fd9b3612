//! Segments in the name of either end of a refused connection.

use super::envelope::{protocol, Envelope, From};
use super::Ending;
use crate::frame::{flags, Packet};

/// Push: what is here is all there is for now.
const PSH: u8 = 0x08;

const CHECKSUM_AT: usize = 16;
const HEADER_BYTES: usize = 20;

/// No further than a TCP header reaches: its length field counts 15 words.
const OPTIONS_BYTES_MAX: usize = 40;

/// Timestamps behind two bytes that align them, as everybody sends them (RFC 7323, appendix A).
const TIMESTAMPS_BYTES: usize = 12;
const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
const OPTION_TIMESTAMPS: u8 = 8;
const OPTION_TIMESTAMPS_LENGTH: u8 = 10;

/// Never fewer payload bytes in a segment of an answer, whatever MSS a client claims: an answer stays a few frames.
const SEGMENT_PAYLOAD_BYTES_MIN: usize = 200;

/// The window that an answer announces: a client that still has a request's body to send may do so, into nothing.
const WINDOW: u16 = 0xffff;

/// Where both ends of a connection stand when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The sequence number that the server expects next: of the first byte that was held.
    pub server_expects: u32,
    /// The sequence number behind the last byte that the client is known to have sent.
    pub client_next: u32,
    /// What the client expects next: its newest acknowledgement.
    pub client_expects: u32,
}

impl Standing {
    /// By one segment of the client. Of a segment that opens the connection, `client_expects` means nothing.
    pub fn of(packet: &Packet<'_>) -> Self {
        Standing {
            server_expects: packet.sequence,
            client_next: behind(packet),
            client_expects: packet.acknowledgement,
        }
    }

    /// Widened by another segment of the client that is held too, in any order.
    pub fn and(self, packet: &Packet<'_>) -> Self {
        Standing {
            server_expects: earlier(self.server_expects, packet.sequence),
            client_next: later(self.client_next, behind(packet)),
            client_expects: later(self.client_expects, packet.acknowledgement),
        }
    }
}

/// Resets both ends: `frame` and `packet` are any held segment of the client.
///
/// Each reset stands exactly where its receiver expects the next byte (elsewhere RFC 5961 only has it asked again). The
/// server gets none for a segment that opens the connection, which it never saw.
pub fn resets(frame: &[u8], packet: &Packet<'_>, standing: Standing) -> Option<Ending> {
    let connection = Connection::of(frame, packet, standing)?;
    Some(Ending { to_client: vec![connection.reset_to_client()?], to_server: connection.reset_to_server()? })
}

/// One refused connection, to speak in it.
pub(super) struct Connection<'a> {
    envelope: Envelope<'a>,
    client_port: u16,
    server_port: u16,
    timestamps: Option<Timestamps>,
    opening: bool,
    standing: Standing,
}

/// As the client sent them. Who agreed on them may drop segments without (RFC 7323 §3.2).
#[derive(Clone, Copy)]
struct Timestamps {
    value: [u8; 4],
    echo: [u8; 4],
}

impl<'a> Connection<'a> {
    pub(super) fn of(frame: &'a [u8], packet: &Packet<'_>, standing: Standing) -> Option<Self> {
        let options = frame.get(packet.l4_offset + HEADER_BYTES..packet.payload_offset)?;
        Some(Connection {
            envelope: Envelope::of(frame, packet)?,
            client_port: packet.source_port,
            server_port: packet.destination_port,
            timestamps: timestamps(options),
            opening: packet.flags & flags::SYN != 0,
            standing,
        })
    }

    /// `content` in segments to the client, the last with FIN, and a reset to the server. In a connection that is not
    /// open yet nothing can be said: the client is reset.
    pub(super) fn last_words(&self, content: &[u8], client_mss: u16) -> Option<Ending> {
        let to_server = self.reset_to_server()?;
        if self.opening {
            return Some(Ending { to_client: vec![self.reset_to_client()?], to_server });
        }
        let options_bytes = if self.timestamps.is_some() { TIMESTAMPS_BYTES } else { 0 };
        let payload_bytes =
            usize::from(client_mss).saturating_sub(options_bytes).max(SEGMENT_PAYLOAD_BYTES_MIN);
        let mut to_client = Vec::with_capacity(content.len() / payload_bytes + 1);
        let mut sequence = self.standing.client_expects;
        let mut rest = content;
        loop {
            let (payload, more) = rest.split_at(payload_bytes.min(rest.len()));
            let ends = if more.is_empty() { flags::FIN | PSH } else { 0 };
            to_client.push(self.segment(From::Server, sequence, flags::ACK | ends, payload)?);
            if more.is_empty() {
                return Some(Ending { to_client, to_server });
            }
            sequence = sequence.wrapping_add(payload.len() as u32);
            rest = more;
        }
    }

    fn reset_to_client(&self) -> Option<Vec<u8>> {
        let sequence = if self.opening { 0 } else { self.standing.client_expects };
        self.segment(From::Server, sequence, flags::RST | flags::ACK, &[])
    }

    fn reset_to_server(&self) -> Option<Vec<Vec<u8>>> {
        if self.opening {
            return Some(Vec::new());
        }
        let reset = self.segment(From::Client, self.standing.server_expects, flags::RST | flags::ACK, &[])?;
        Some(vec![reset])
    }

    fn segment(&self, from: From, sequence: u32, flag_bits: u8, payload: &[u8]) -> Option<Vec<u8>> {
        let (source_port, destination_port, acknowledgement) = match from {
            From::Server => (self.server_port, self.client_port, self.standing.client_next),
            From::Client => (self.client_port, self.server_port, self.standing.client_expects),
        };
        let options = self.timestamps.map(|sent| sent.option(from));
        let options = options.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let header_words = ((HEADER_BYTES + options.len()) / 4) as u8;
        let window = if flag_bits & flags::RST != 0 { 0 } else { WINDOW };

        let mut segment = Vec::with_capacity(HEADER_BYTES + options.len() + payload.len());
        segment.extend_from_slice(&source_port.to_be_bytes());
        segment.extend_from_slice(&destination_port.to_be_bytes());
        segment.extend_from_slice(&sequence.to_be_bytes());
        segment.extend_from_slice(&acknowledgement.to_be_bytes());
        segment.extend_from_slice(&[header_words << 4, flag_bits]);
        segment.extend_from_slice(&window.to_be_bytes());
        segment.extend_from_slice(&[0; 4]); // checksum, urgent pointer
        segment.extend_from_slice(options);
        segment.extend_from_slice(payload);
        self.envelope.seal(from, protocol::TCP, segment, CHECKSUM_AT)
    }
}

impl Timestamps {
    /// The server's newest one is known from the client's echo of it; saying it again is never too old.
    fn option(self, from: From) -> [u8; TIMESTAMPS_BYTES] {
        let (value, echo) = match from {
            From::Server => (self.echo, self.value),
            From::Client => (self.value, self.echo),
        };
        let mut option = [OPTION_NOTHING; TIMESTAMPS_BYTES];
        let fields = [OPTION_TIMESTAMPS, OPTION_TIMESTAMPS_LENGTH].into_iter().chain(value).chain(echo);
        option.iter_mut().skip(2).zip(fields).for_each(|(at, byte)| *at = byte);
        option
    }
}

fn timestamps(options: &[u8]) -> Option<Timestamps> {
    let mut rest = options.get(..options.len().min(OPTIONS_BYTES_MAX))?;
    loop {
        match rest {
            [OPTION_TIMESTAMPS, OPTION_TIMESTAMPS_LENGTH, fields @ ..] => {
                let (value, behind) = fields.split_first_chunk::<4>()?;
                let (echo, _) = behind.split_first_chunk::<4>()?;
                return Some(Timestamps { value: *value, echo: *echo });
            }
            [] | [OPTION_END, ..] => return None,
            [OPTION_NOTHING, behind @ ..] => rest = behind,
            [_, length, ..] if *length >= 2 => rest = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

/// The sequence number behind a segment; SYN and FIN take one each.
fn behind(packet: &Packet<'_>) -> u32 {
    let marks = [flags::SYN, flags::FIN].into_iter().filter(|mark| packet.flags & mark != 0).count();
    packet.sequence.wrapping_add((packet.payload.len() + packet.missing_bytes + marks) as u32)
}

/// Sequence numbers go round: of two, the one less than half a circle ahead is the later.
fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 {
        b
    } else {
        a
    }
}

fn earlier(a: u32, b: u32) -> u32 {
    if later(a, b) == a {
        b
    } else {
        a
    }
}
