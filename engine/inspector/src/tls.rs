//! ClientHello: RFC 8446 §4.1.2, server_name by RFC 6066 §3. From TLS records (TCP) or from a bare handshake message
//! (QUIC). Called by the flow machine, by quic.rs and by the fuzz target.
//!
//! The record layer and the handshake layer are put together apart: a hello may lie in any number of records, a record
//! in any number of segments. The answer is `Done` only when all of the hello is there, so that the same hello states
//! the same facts however it was cut; what an unfinished one already says is a question of its own (`unfinished`),
//! asked when the flow is given up.
//!
//! It reads what a server would read, not what a strict one would accept: the first server_name decides, whatever
//! stands behind it, as in the kernel's reader, which sees no further. What a strict server would refuse is stated as a
//! `Flaw`.

use std::borrow::Cow;

use crate::name::{escaped, Name};
use crate::observation::Absence;
use crate::reader::{Parsed, Reader};

/// Bytes of a handshake message, its header among them. A hello that says it is longer is read up to here: a name in
/// front is found, one behind is not. Costs this much a flow, while it is held.
pub const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
/// Alerts and ChangeCipherSpecs before the end of the hello: OpenSSL's servers accept five warnings.
pub const RECORDS_ASIDE_MAX: usize = 8;
/// Protocols of an ALPN list that are kept; a browser offers two.
pub const ALPN_MAX: usize = 16;

/// What a ClientHello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The first host_name of the first server_name, or why there is none.
    pub name: Result<Name, Absence>,
    /// The host as it stood there where it is no name; else empty.
    pub odd: String,
    /// What the client offers, in its order; GREASE left out.
    pub alpn: Vec<String>,
    /// encrypted_client_hello is present.
    pub ech: bool,
    /// A key share of a post-quantum group is present.
    pub post_quantum: bool,
    /// The first thing for which a strict server would refuse it.
    pub flaw: Option<Flaw>,
}

/// Where a hello contradicts itself; the structure is named as in RFC 8446.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An extension of this type stands there twice; the first was read.
    Repeated(u16),
    /// server_name has two host_names; the first was read.
    RepeatedName,
    /// Bytes are left over behind this structure.
    LeftOver(&'static str),
    /// This structure is shorter than it says.
    Short(&'static str),
}

/// The hello in `stream`, the client's bytes from the flow's start; `More` until all of it is there.
pub fn client_hello_of_records(stream: &[u8]) -> Parsed<ClientHello> {
    match opening(stream) {
        Opening::Undecided => return Parsed::More,
        Opening::Foreign => return Parsed::No(Absence::OtherProtocol),
        Opening::Ssl2 => return Parsed::No(Absence::OtherVersion),
        Opening::Records => {}
    }
    let (handshake, broken) = handshake_of(stream);
    match (client_hello(&handshake), broken) {
        (Parsed::More, Some(absence)) => Parsed::No(absence),
        (answer, _) => answer,
    }
}

/// What an unfinished hello in `stream` already says: to be asked when the flow is given up (deadline, bound, end),
/// so that a client can't hide a name by never sending the last byte. None: its name has not come yet.
pub fn unfinished_of_records(stream: &[u8]) -> Option<ClientHello> {
    matches!(opening(stream), Opening::Records).then(|| unfinished(&handshake_of(stream).0)).flatten()
}

/// The hello in `handshake`, a handshake message with its header.
pub fn client_hello(handshake: &[u8]) -> Parsed<ClientHello> {
    let mut reader = Reader::new(handshake);
    match reader.u8() {
        None => return Parsed::More,
        Some(CLIENT_HELLO) => {}
        Some(_) => return Parsed::No(Absence::OtherProtocol),
    }
    let Some(length) = reader.u24() else { return Parsed::More };
    if HEADER_BYTES + length as usize <= HANDSHAKE_BYTES_MAX {
        let Some(body) = reader.sub(length as usize) else { return Parsed::More };
        return Parsed::Done(read(body, Extent::Whole).said());
    }
    match handshake.get(..HANDSHAKE_BYTES_MAX) {
        None => Parsed::More,
        Some(start) => unfinished(start).map_or(Parsed::No(Absence::TooLarge), Parsed::Done),
    }
}

/// As `unfinished_of_records`, of a handshake message with its header.
pub fn unfinished(handshake: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader::new(handshake);
    let (CLIENT_HELLO, length) = (reader.u8()?, reader.u24()?) else { return None };
    let there = reader.len().min(length as usize).min(HANDSHAKE_BYTES_MAX - HEADER_BYTES);
    let reading = read(reader.sub(there)?, Extent::Start);
    reading.name.is_some().then(|| reading.said())
}

/// Whether a flow that begins so may be TLS (or SSL 2); true while undecided.
pub fn could_be_tls(start: &[u8]) -> bool {
    !matches!(opening(start), Opening::Foreign)
}

/// What must hold for any bytes: an answer to a part is the answer to the whole, and an unfinished hello has the name
/// of the finished one. Called by the fuzz target and the tests; `parts` are the lengths to try.
pub fn invariant(stream: &[u8], parts: impl Iterator<Item = usize>) {
    let whole = client_hello_of_records(stream);
    let name_of_whole = unfinished_of_records(stream).map(|hello| hello.name);
    for part in parts.filter_map(|length| stream.get(..length)) {
        let answer = client_hello_of_records(part);
        assert!(
            answer == Parsed::More || answer == whole,
            "{answer:?} of {} bytes, then {whole:?}",
            part.len()
        );
        if let Some(early) = unfinished_of_records(part) {
            assert_eq!(Some(&early.name), name_of_whole.as_ref(), "the name of {} bytes", part.len());
        }
        assert!(could_be_tls(part) || answer == Parsed::No(Absence::OtherProtocol));
    }
    if let Parsed::Done(hello) = whole {
        assert!(hello.odd.is_empty() || hello.name.is_err());
        assert!(hello.alpn.len() <= ALPN_MAX);
    }
}

// ---- records

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const MAJOR_VERSION: u8 = 3;
/// RFC 5246 §6.2.3: no record of any version is longer.
const RECORD_BYTES_MAX: u16 = (1 << 14) + 2048;

enum Opening {
    Records,
    Ssl2,
    Undecided,
    Foreign,
}

/// What the first record header allows; the same for every longer start, once it is decided.
fn opening(start: &[u8]) -> Opening {
    let mut reader = Reader::new(start);
    match reader.u8() {
        None => return Opening::Undecided,
        Some(CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE) => {}
        Some(0x80..) => return ssl2_opening(reader),
        Some(_) => return Opening::Foreign,
    }
    match reader.u8() {
        Some(MAJOR_VERSION) => {}
        Some(_) => return Opening::Foreign,
        None => return Opening::Undecided,
    }
    match reader.u8().and_then(|_minor| reader.u16()) {
        None => Opening::Undecided,
        Some(length) if length > RECORD_BYTES_MAX => Opening::Foreign,
        Some(_) => Opening::Records,
    }
}

/// RFC 5246 §E.2: two bytes of length with the top bit set, client_hello, then 0.2 or 3.x.
fn ssl2_opening(mut reader: Reader<'_>) -> Opening {
    let Some(_) = reader.u8() else { return Opening::Undecided };
    match (reader.u8(), reader.u8(), reader.u8()) {
        (Some(kind), ..) if kind != CLIENT_HELLO => Opening::Foreign,
        (_, Some(major), _) if major != 0 && major != MAJOR_VERSION => Opening::Foreign,
        (_, Some(0), Some(minor)) if minor != 2 => Opening::Foreign,
        (.., None) => Opening::Undecided,
        _ => Opening::Ssl2,
    }
}

/// The handshake bytes that are there, as many as the first message needs, and why the records can't go on. One record
/// is borrowed, the usual case; several are copied.
fn handshake_of(stream: &[u8]) -> (Cow<'_, [u8]>, Option<Absence>) {
    let mut gathered = Cow::Borrowed(&[][..]);
    let mut reader = Reader::new(stream);
    let mut aside = 0;
    while let Some((kind, major, length)) = record_header(&mut reader) {
        if major != MAJOR_VERSION || length > RECORD_BYTES_MAX {
            return (gathered, Some(Absence::Malformed));
        }
        let fragment = reader.take(reader.len().min(usize::from(length))).unwrap_or_default();
        match kind {
            HANDSHAKE if gathered.is_empty() => gathered = Cow::Borrowed(fragment),
            HANDSHAKE => gathered.to_mut().extend_from_slice(fragment),
            ALERT | CHANGE_CIPHER_SPEC if aside < RECORDS_ASIDE_MAX => aside += 1,
            ALERT | CHANGE_CIPHER_SPEC => return (gathered, Some(Absence::TooLarge)),
            _ => return (gathered, Some(Absence::Malformed)),
        }
        if suffices(&gathered) {
            break;
        }
    }
    (gathered, None)
}

fn record_header(reader: &mut Reader<'_>) -> Option<(u8, u8, u16)> {
    let [kind, major, _minor, high, low] = reader.array()?;
    Some((kind, major, u16::from_be_bytes([high, low])))
}

/// The first message is whole, is longer than we read, or is no hello.
fn suffices(handshake: &[u8]) -> bool {
    let mut reader = Reader::new(handshake);
    match (reader.u8(), reader.u24()) {
        (Some(CLIENT_HELLO), Some(length)) => {
            handshake.len() >= HANDSHAKE_BYTES_MAX.min(HEADER_BYTES + length as usize)
        }
        (Some(kind), _) => kind != CLIENT_HELLO,
        (None, _) => false,
    }
}

// ---- the hello

const CLIENT_HELLO: u8 = 1;
/// Type and length of a handshake message.
const HEADER_BYTES: usize = 4;
const RANDOM_BYTES: usize = 32;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const KEY_SHARE: u16 = 51;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const HOST_NAME: u8 = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of the hello: what doesn't fit contradicts itself.
    Whole,
    /// Its start: what doesn't fit has not come yet.
    Start,
}

/// A hello being read. `name` is None until a server_name was read.
#[derive(Default)]
struct Reading {
    name: Option<Result<Name, Absence>>,
    odd: String,
    alpn: Vec<String>,
    ech: bool,
    post_quantum: bool,
    flaw: Option<Flaw>,
    /// A bit for each extension type below 64, and one for encrypted_client_hello.
    seen: u128,
}

impl Reading {
    fn said(self) -> ClientHello {
        let Reading { name, odd, alpn, ech, post_quantum, flaw, .. } = self;
        // Cut short before its server_name, it may or may not have had one.
        let missing = if matches!(flaw, Some(Flaw::Short(CLIENT_HELLO_WORD | EXTENSION_WORD))) {
            Absence::Malformed
        } else {
            Absence::NotSent
        };
        ClientHello { name: name.unwrap_or(Err(missing)), odd, alpn, ech, post_quantum, flaw }
    }

    fn flawed(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    fn extension(&mut self, kind: u16, data: Reader<'_>) {
        let bit = match kind {
            ENCRYPTED_CLIENT_HELLO => 1 << 64,
            0..64 => 1_u128 << kind,
            _ => return,
        };
        if self.seen & bit != 0 {
            return self.flawed(Flaw::Repeated(kind));
        }
        self.seen |= bit;
        match kind {
            SERVER_NAME => self.server_name(data),
            ALPN => self.alpn(data),
            KEY_SHARE => self.key_share(data),
            ENCRYPTED_CLIENT_HELLO => self.ech = true,
            _ => {}
        }
    }

    fn server_name(&mut self, data: Reader<'_>) {
        let mut host = None;
        let complete = self.list(data, "server_name", |reading, list| {
            let (kind, length) = (list.u8()?, list.u16()?);
            let bytes = list.take(usize::from(length))?;
            if kind == HOST_NAME && host.is_some() {
                reading.flawed(Flaw::RepeatedName);
            } else if kind == HOST_NAME {
                host = Some(bytes);
            }
            Some(())
        });
        self.name = Some(match host {
            None if complete => Err(Absence::NotSent),
            None => Err(Absence::Malformed),
            Some(bytes) => Name::parse(bytes).inspect_err(|_| self.odd = escaped(bytes)),
        });
    }

    fn alpn(&mut self, data: Reader<'_>) {
        self.list(data, "protocol_name_list", |reading, list| {
            let length = list.u8()?;
            let protocol = list.take(usize::from(length))?;
            if reading.alpn.len() < ALPN_MAX && !is_grease(protocol) {
                reading.alpn.push(protocol.escape_ascii().to_string());
            }
            Some(())
        });
    }

    fn key_share(&mut self, data: Reader<'_>) {
        self.list(data, "key_share", |reading, list| {
            let (group, length) = (list.u16()?, list.u16()?);
            reading.post_quantum |= is_post_quantum(group);
            list.take(usize::from(length)).map(|_| ())
        });
    }

    /// Each entry of a list with two bytes of length; false where the list or an entry is shorter than it says.
    fn list<'a>(
        &mut self,
        mut data: Reader<'a>,
        word: &'static str,
        mut entry: impl FnMut(&mut Self, &mut Reader<'a>) -> Option<()>,
    ) -> bool {
        let length = data.u16().map_or(usize::MAX, usize::from);
        let fits = length <= data.len();
        let mut list = data.sub(length.min(data.len())).unwrap_or(data);
        if !fits {
            self.flawed(Flaw::Short(word));
        } else if !data.is_empty() {
            self.flawed(Flaw::LeftOver(word));
        }
        while !list.is_empty() {
            if entry(self, &mut list).is_none() {
                self.flawed(Flaw::Short(word));
                return false;
            }
        }
        fits
    }
}

const CLIENT_HELLO_WORD: &str = "client_hello";
const EXTENSION_WORD: &str = "extension";

fn read(body: Reader<'_>, extent: Extent) -> Reading {
    let mut reading = Reading::default();
    let mut body = body;
    let short = if before_extensions(&mut body).is_none() {
        Some(CLIENT_HELLO_WORD)
    } else {
        extensions(&mut reading, body)
    };
    if let (Some(word), Extent::Whole) = (short, extent) {
        reading.flawed(Flaw::Short(word));
    }
    reading
}

fn before_extensions(body: &mut Reader<'_>) -> Option<()> {
    let _legacy_version = body.u16()?;
    body.take(RANDOM_BYTES)?;
    let session_id = body.u8()?;
    body.take(usize::from(session_id))?;
    let cipher_suites = body.u16()?;
    body.take(usize::from(cipher_suites))?;
    let compression_methods = body.u8()?;
    body.take(usize::from(compression_methods))?;
    Some(())
}

/// Reads each extension that is all there; the structure that is not.
fn extensions(reading: &mut Reading, mut body: Reader<'_>) -> Option<&'static str> {
    if body.is_empty() {
        return None; // TLS 1.2 and older may have none
    }
    let Some(length) = body.u16() else { return Some(CLIENT_HELLO_WORD) };
    let there = body.len().min(usize::from(length));
    let Some(mut list) = body.sub(there) else { return Some(CLIENT_HELLO_WORD) };
    while !list.is_empty() {
        let mut next = || {
            let (kind, length) = (list.u16()?, list.u16()?);
            Some((kind, list.sub(usize::from(length))?))
        };
        let Some((kind, data)) = next() else { return Some(EXTENSION_WORD) };
        reading.extension(kind, data);
    }
    if !body.is_empty() {
        reading.flawed(Flaw::LeftOver(CLIENT_HELLO_WORD));
    }
    (there < usize::from(length)).then_some(CLIENT_HELLO_WORD)
}

/// RFC 8701: both bytes are the same 0x?a.
fn is_grease(protocol: &[u8]) -> bool {
    matches!(protocol, [a, b] if a == b && a & 0x0f == 0x0a)
}

/// Groups with ML-KEM, alone or beside a curve, and those with Kyber that browsers used before.
fn is_post_quantum(group: u16) -> bool {
    matches!(group, 0x0200..=0x0202 | 0x11eb..=0x11ed | 0x6399 | 0x639a)
}
