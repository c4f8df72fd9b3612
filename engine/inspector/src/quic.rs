//! The ClientHello in a client's QUIC Initial packets, versions 1 and 2: RFC 9000, 9001, 9369. Called by the flow
//! machine with each datagram of the client; a server's are never asked for, and nothing of theirs is needed.
//!
//! A datagram may hold several packets, a hello may lie in any order in many CRYPTO frames of several datagrams, and
//! after a Retry the client begins again with another connection id. So each connection id that opens a packet has keys
//! and a stream of its own. The answer is `Done` when all of a hello is there. A datagram that can't be read is no
//! answer: a forged one in front must not hide the one behind.

use crate::crypto_stream::CryptoStream;
use crate::observation::Absence;
use crate::quic_keys::{Keys, Version};
use crate::reader::{Parsed, Reader};
use crate::tls::{client_hello, unfinished, ClientHello};

/// Datagrams of a flow that are looked at, beside those with Initials that no key opens. A post-quantum hello takes two
/// or three; ten of a splitter still fit.
pub const DATAGRAMS_MAX: u32 = 32;
/// The same before the first Initial that a key opens: a window full of 0-RTT, ten datagrams, may overtake it. A flow
/// whose beginning was not seen ends here.
pub const EARLY_DATAGRAMS_MAX: u32 = 16;
/// Packets of a datagram that are looked at: four as a rule, and no more with tags fit into 1,500 bytes. To step over
/// one takes some 20 ns.
pub const PACKETS_MAX: usize = 64;
/// Packets opened or tried, and keys derived, of a flow: 2 µs each at most.
pub const ATTEMPTS_MAX: u32 = 96;
/// Connection ids of a flow with keys and a stream (19 KiB at most) each; a Retry makes two, a Version Negotiation one
/// more. A further one takes the place of the oldest.
pub const CONNECTIONS_MAX: usize = 3;
/// RFC 9000 §14.1: servers throw away an Initial in a smaller datagram.
pub const INITIAL_DATAGRAM_BYTES_MIN: usize = 1200;
/// RFC 9000 §17.2.
pub const CONNECTION_ID_BYTES_MAX: u8 = 20;

/// The Initial packets of one flow's client.
#[derive(Default)]
pub struct Initials {
    connections: Vec<Connection>,
    /// The packet being opened.
    scratch: Vec<u8>,
    /// Without those whose Initials no key opened: `attempts` bounds these.
    datagrams: u32,
    attempts: u32,
    /// Something of a version that is known came, and no key opens it.
    sealed: bool,
    other_version: bool,
    /// An Initial came in a datagram that servers throw away.
    thrown_away: bool,
    /// Of connections that are forgotten.
    ambiguous: u32,
}

struct Connection {
    version: Version,
    keys: Keys,
    /// One more than the largest packet number.
    expected: u64,
    crypto: CryptoStream,
}

impl Initials {
    /// None seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more datagram of the client. Once a bound is reached: what there is, or `No`; a datagram that can't be read
    /// (another version, no key fits) is `More`, since one that can may follow.
    pub fn datagram(&mut self, datagram: &[u8]) -> Parsed<ClientHello> {
        let mut rest = Reader::new(datagram);
        let servers_read_it = datagram.len() >= INITIAL_DATAGRAM_BYTES_MIN;
        let (mut opened, mut tried) = (false, false);
        for _ in 0..PACKETS_MAX {
            if self.attempts >= ATTEMPTS_MAX {
                break;
            }
            match Packet::next(&mut rest) {
                Packet::Initial(initial) if servers_read_it => match self.initial(&initial) {
                    Some(Parsed::Done(hello)) => return Parsed::Done(hello),
                    Some(_) => opened = true,
                    None => (tried, self.sealed) = (true, true),
                },
                Packet::OtherVersion => self.other_version = true,
                Packet::Initial(_) => self.thrown_away = true,
                Packet::Skipped => self.sealed = true,
                Packet::End => break,
            }
        }
        if opened || !tried {
            self.datagrams += 1;
        }
        let most = if self.connections.is_empty() { EARLY_DATAGRAMS_MAX } else { DATAGRAMS_MAX };
        if self.datagrams >= most || self.attempts >= ATTEMPTS_MAX {
            return self.given_up();
        }
        Parsed::More
    }

    /// What an unfinished hello already says: to be asked when the flow is given up. None: its name has not come yet.
    pub fn unfinished(&self) -> Option<ClientHello> {
        self.connections.iter().find_map(|connection| unfinished(connection.crypto.contiguous()))
    }

    /// Why there is no name so far.
    pub fn absence(&self) -> Absence {
        let refused = self.connections.iter().find_map(|connection| {
            match client_hello(connection.crypto.contiguous()) {
                Parsed::No(absence) => Some(absence),
                _ => None,
            }
        });
        match refused {
            Some(absence) => absence,
            None if !self.connections.is_empty() => Absence::Incomplete,
            None if self.sealed => Absence::Undecipherable,
            None if self.other_version => Absence::OtherVersion,
            None if self.thrown_away => Absence::Incomplete,
            None if self.datagrams == 0 => Absence::Empty,
            None => Absence::OtherProtocol,
        }
    }

    /// Bytes of CRYPTO frames that a later copy gave another value; the first was believed.
    pub fn ambiguous(&self) -> u32 {
        let live = self.connections.iter().map(|connection| connection.crypto.ambiguous());
        live.fold(self.ambiguous, u32::saturating_add)
    }

    /// Heap held.
    pub fn memory_bytes(&self) -> usize {
        let streams: usize = self.connections.iter().map(|connection| connection.crypto.memory_bytes()).sum();
        streams + self.connections.capacity() * size_of::<Connection>() + self.scratch.capacity()
    }

    fn given_up(&self) -> Parsed<ClientHello> {
        match (self.unfinished(), self.absence()) {
            (Some(hello), _) => Parsed::Done(hello),
            (None, Absence::Incomplete) => Parsed::No(Absence::TooLarge),
            (None, absence) => Parsed::No(absence),
        }
    }

    /// None: no key opens it.
    fn initial(&mut self, packet: &Initial<'_>) -> Option<Parsed<ClientHello>> {
        let (connection, frames) = self.open(packet)?;
        read_frames(frames, &mut connection.crypto);
        Some(client_hello(connection.crypto.contiguous()))
    }

    /// The frames of a packet and the connection that they belong to: one whose keys are known (a server's connection
    /// id is in the client's later packets, the keys stay those of the first), else that of the packet's own id.
    fn open(&mut self, packet: &Initial<'_>) -> Option<(&mut Connection, &[u8])> {
        for at in 0..self.connections.len() {
            let connection = self.connections.get(at)?;
            if connection.version != packet.version {
                continue;
            }
            self.attempts += 1;
            if let Some((number, frames)) =
                open_copy(&mut self.scratch, packet, &connection.keys, connection.expected)
            {
                return self.opened(at, number, frames);
            }
        }
        self.attempts += 1;
        let keys = Keys::of_client(packet.version, packet.destination)?;
        let (number, frames) = open_copy(&mut self.scratch, packet, &keys, 0)?;
        if self.connections.len() == CONNECTIONS_MAX {
            let oldest = self.connections.remove(0);
            self.ambiguous = self.ambiguous.saturating_add(oldest.crypto.ambiguous());
        }
        self.connections.push(Connection {
            version: packet.version,
            keys,
            expected: 0,
            crypto: CryptoStream::new(),
        });
        self.opened(self.connections.len() - 1, number, frames)
    }

    fn opened(&mut self, at: usize, number: u64, frames: Frames) -> Option<(&mut Connection, &[u8])> {
        let connection = self.connections.get_mut(at)?;
        connection.expected = connection.expected.max(number + 1);
        Some((connection, self.scratch.get(frames)?))
    }
}

/// Whether an Initial may stand in a datagram, of any version, in front or behind other packets.
pub fn could_be_initial(datagram: &[u8]) -> bool {
    if datagram.len() < INITIAL_DATAGRAM_BYTES_MIN {
        return false;
    }
    let mut rest = Reader::new(datagram);
    for _ in 0..PACKETS_MAX {
        let Some(header) = Header::read(&mut Reader::new(rest.rest())) else { return false };
        match Version::of(header.number) {
            None => return header.number != 0, // Version Negotiation: a server's
            Some(version) if header.kind == version.initial_type() => return true,
            Some(_) => {}
        }
        if let Packet::End = Packet::next(&mut rest) {
            return false;
        }
    }
    false
}

/// Whether a flow that begins with this datagram is to be read as QUIC: an Initial may be here, or follow what overtook
/// it. To be asked of each datagram of a flow that is not known to be something else.
pub fn could_be_client(datagram: &[u8]) -> bool {
    let Some(header) = Header::read(&mut Reader::new(datagram)) else { return false };
    match Version::of(header.number) {
        Some(version) => header.kind != version.retry_type(),
        None => could_be_initial(datagram),
    }
}

/// Reads the frames that an Initial may hold, up to the first that it may not, into `crypto`.
pub fn read_frames(frames: &[u8], crypto: &mut CryptoStream) {
    let mut reader = Reader::new(frames);
    while let Some(kind) = varint(&mut reader) {
        let read = match kind {
            PADDING => skip_padding(&mut reader),
            PING => Some(()),
            ACK | ACK_ECN => skip_ack(&mut reader, kind),
            CRYPTO => read_crypto(&mut reader, crypto),
            CONNECTION_CLOSE => skip_close(&mut reader),
            _ => None,
        };
        if read.is_none() {
            return;
        }
    }
}

// ---- packets

enum Packet<'a> {
    Initial(Initial<'a>),
    /// Of no interest; the next may be.
    Skipped,
    OtherVersion,
    End,
}

struct Initial<'a> {
    version: Version,
    destination: &'a [u8],
    bytes: &'a [u8],
    number_at: usize,
}

impl<'a> Packet<'a> {
    fn next(rest: &mut Reader<'a>) -> Self {
        let start = *rest;
        let mut reader = Reader::new(start.rest());
        let Some(header) = Header::read(&mut reader) else { return Packet::End };
        let Some(version) = Version::of(header.number) else {
            *rest = Reader::new(&[]); // where it ends is its version's to say
            return if header.number == 0 { Packet::End } else { Packet::OtherVersion };
        };
        Packet::after(header, version, reader, rest).unwrap_or(Packet::End)
    }

    fn after(
        header: Header<'a>,
        version: Version,
        mut reader: Reader<'a>,
        rest: &mut Reader<'a>,
    ) -> Option<Self> {
        if header.kind == version.retry_type() {
            return None; // a server's
        }
        let initial = header.kind == version.initial_type();
        if initial {
            let token = varint(&mut reader)?;
            reader.take(usize::try_from(token).ok()?)?;
        }
        let length = usize::try_from(varint(&mut reader)?).ok()?;
        let number_at = reader.position();
        let bytes = rest.take(number_at.checked_add(length)?)?;
        let destination = header.destination;
        Some(if initial {
            Packet::Initial(Initial { version, destination, bytes, number_at })
        } else {
            Packet::Skipped
        })
    }
}

/// What long headers of all versions share, RFC 8999 §5.1.
struct Header<'a> {
    kind: u8,
    number: u32,
    destination: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let first = reader.u8()?;
        let number = reader.u32()?;
        // RFC 9287: a client that knows its server may clear the fixed bit. Of a version that is not known, the bit is
        // what tells it from noise.
        let bits = if Version::of(number).is_some() { LONG_BIT } else { LONG_BIT | FIXED_BIT };
        if first & bits != bits {
            return None;
        }
        let destination = connection_id(reader)?;
        let _source = connection_id(reader)?;
        Some(Header { kind: first >> 4 & 0x03, number, destination })
    }
}

const LONG_BIT: u8 = 0x80;
const FIXED_BIT: u8 = 0x40;

fn connection_id<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u8().filter(|length| *length <= CONNECTION_ID_BYTES_MAX)?;
    reader.take(usize::from(length))
}

/// Where in the scratch the frames of an opened packet are.
type Frames = std::ops::Range<usize>;

/// Opens a copy of the packet, since a wrong key spoils what it is tried on.
fn open_copy(
    scratch: &mut Vec<u8>,
    packet: &Initial<'_>,
    keys: &Keys,
    expected: u64,
) -> Option<(u64, Frames)> {
    scratch.clear();
    scratch.extend_from_slice(packet.bytes);
    let opened = keys.open(scratch, packet.number_at, expected)?;
    let (number, length) = (opened.number, opened.frames.len());
    let end = scratch.len().checked_sub(TAG_BYTES)?;
    Some((number, end.checked_sub(length)?..end))
}

/// Of AES-128-GCM, at a packet's end.
const TAG_BYTES: usize = 16;

// ---- frames

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;
const CONNECTION_CLOSE: u64 = 0x1c;

/// A thousand zeros are usual: most of them go by the block.
fn skip_padding(reader: &mut Reader<'_>) -> Option<()> {
    let is_zero = |block: &&[u8]| block.iter().fold(0, |any, byte| any | byte) == 0;
    let blocks = reader.rest().chunks_exact(ZEROS_AT_ONCE).take_while(is_zero).count();
    reader.take(blocks * ZEROS_AT_ONCE)?;
    let zeros = reader.rest().iter().take_while(|byte| **byte == 0).count();
    reader.take(zeros).map(|_| ())
}

const ZEROS_AT_ONCE: usize = 32;

fn read_crypto(reader: &mut Reader<'_>, crypto: &mut CryptoStream) -> Option<()> {
    let offset = varint(reader)?;
    let length = varint(reader)?;
    crypto.insert(offset, reader.take(usize::try_from(length).ok()?)?);
    Some(())
}

fn skip_ack(reader: &mut Reader<'_>, kind: u64) -> Option<()> {
    let _largest = varint(reader)?;
    let _delay = varint(reader)?;
    let ranges = varint(reader)?;
    let _first = varint(reader)?;
    for _ in 0..ranges {
        let _gap = varint(reader)?; // ends with the bytes, however many ranges it names
        let _length = varint(reader)?;
    }
    if kind == ACK_ECN {
        for _count in 0..3 {
            varint(reader)?;
        }
    }
    Some(())
}

fn skip_close(reader: &mut Reader<'_>) -> Option<()> {
    let _code = varint(reader)?;
    let _frame = varint(reader)?;
    let reason = varint(reader)?;
    reader.take(usize::try_from(reason).ok()?).map(|_| ())
}

/// RFC 9000 §16: the first two bits say how many bytes.
fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let mut value = u64::from(first & 0x3f);
    for byte in reader.take((1 << (first >> 6)) - 1)? {
        value = value << 8 | u64::from(*byte);
    }
    Some(value)
}
