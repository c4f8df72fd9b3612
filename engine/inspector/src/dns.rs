//! Queries of DNS (RFC 1035, 6891), over UDP and TCP: what is asked, never what is answered. Called by the flow machine
//! and by the maker of answers; fuzz target `dns`.
//!
//! Each byte is looked at once or, where a name is no host name, twice. Names in the question section stand in full:
//! nothing comes before them that a pointer could sensibly mean, so a pointer there is `Malformed` and is not followed.

use crate::name::{push_escaped, Name};
use crate::observation::Absence;
use crate::reader::{Parsed, Reader};

/// Questions of one message; more is `TooLarge`. Resolvers answer one and refuse two.
pub const QUESTIONS_MAX: u16 = 32;
/// Records behind the questions that are searched for OPT.
pub const RECORDS_MAX: u32 = 64;
/// Bytes of a message over TCP that are kept while it is incomplete, and so the memory of a flow. Of a longer message
/// the questions are read from as many.
pub const TCP_MESSAGE_BYTES_MAX: usize = 4096;
/// A name on the wire, with its lengths and the root's.
const WIRE_NAME_BYTES_MAX: usize = 255;
const TYPE_OPT: u16 = 41;

/// A query: header, questions, and what its OPT record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// To be repeated in an answer.
    pub id: u16,
    /// 0: an ordinary query. Others (NOTIFY 4, UPDATE 5) name a zone in their question section.
    pub opcode: u8,
    /// RD.
    pub recursion_desired: bool,
    /// AD.
    pub authentic_data: bool,
    /// CD.
    pub checking_disabled: bool,
    /// In their order; may be none.
    pub questions: Vec<Question>,
    /// Of the OPT record, where there is one and it was whole.
    pub edns: Option<Edns>,
    /// Bytes of header and question section: what an answer repeats.
    pub end_of_questions: usize,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked for, or why that is no host name.
    pub name: Result<Name, Absence>,
    /// The name in RFC 1035 master-file form, lower case, where it is no host name; the root is ".".
    pub odd: String,
    /// QTYPE.
    pub kind: u16,
    /// QCLASS.
    pub class: u16,
}

/// RFC 6891.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram that the asker takes.
    pub udp_size: u16,
    /// DO.
    pub dnssec_ok: bool,
    /// 0 is the only one there is.
    pub version: u8,
}

/// Reads a message (without the length that TCP puts before it). `More`: it ends within its question section, so a
/// datagram is cut. What follows the questions never changes them: where it is cut or wrong, there is no `edns`. An
/// answer (QR = 1) is `No(OtherProtocol)`.
pub fn query(message: &[u8]) -> Parsed<Query> {
    let mut reader = Reader::new(message);
    let (Some(id), Some(flags)) = (reader.u16(), reader.u16()) else {
        return Parsed::More;
    };
    if flags & 0x8000 != 0 {
        return Parsed::No(Absence::OtherProtocol);
    }
    let [Some(count), Some(answers), Some(authorities), Some(additional)] = [(); 4].map(|()| reader.u16())
    else {
        return Parsed::More;
    };
    if count > QUESTIONS_MAX {
        return Parsed::No(Absence::TooLarge);
    }
    let mut questions = Vec::with_capacity(count.into());
    for _ in 0..count {
        match question(&mut reader) {
            Parsed::Done(question) => questions.push(question),
            Parsed::More => return Parsed::More,
            Parsed::No(absence) => return Parsed::No(absence),
        }
    }
    let end_of_questions = reader.position();
    Parsed::Done(Query {
        id,
        opcode: (flags >> 11) as u8 & 15,
        recursion_desired: flags & 0x0100 != 0,
        authentic_data: flags & 0x0020 != 0,
        checking_disabled: flags & 0x0010 != 0,
        questions,
        edns: edns(reader, u32::from(answers) + u32::from(authorities), additional.into()),
        end_of_questions,
    })
}

fn question(reader: &mut Reader<'_>) -> Parsed<Question> {
    let start = *reader;
    let mut text = Vec::with_capacity(64);
    let (mut wire_bytes, mut pointer, mut plain) = (0, false, true);
    loop {
        let Some(length) = reader.u8() else { return Parsed::More };
        wire_bytes += 1;
        match length {
            0 => break,
            1..=63 => {
                let Some(label) = reader.take(length.into()) else { return Parsed::More };
                wire_bytes += label.len();
                if wire_bytes < WIRE_NAME_BYTES_MAX {
                    // A dot within a label would become a border that is not there.
                    plain &= !label.contains(&b'.');
                    text.extend_from_slice(label);
                    text.push(b'.');
                }
            }
            0xc0.. => {
                pointer = true;
                if reader.u8().is_none() {
                    return Parsed::More;
                }
                break;
            }
            _ => return Parsed::No(Absence::Malformed),
        }
    }
    let (Some(kind), Some(class)) = (reader.u16(), reader.u16()) else {
        return Parsed::More;
    };
    let name = if pointer {
        Err(Absence::Malformed)
    } else if plain && wire_bytes <= WIRE_NAME_BYTES_MAX {
        Name::parse(&text)
    } else {
        Err(Absence::NotAName)
    };
    let odd = if name.is_ok() || pointer { String::new() } else { master_file_form(start) };
    Parsed::Done(Question { name, odd, kind, class })
}

/// The name at the reader, each byte that no host has as \DDD; cut where it is too long to be a name.
fn master_file_form(start: Reader<'_>) -> String {
    let mut reader = Reader::new(start.rest());
    let mut text = String::new();
    while reader.position() < WIRE_NAME_BYTES_MAX {
        let Some(label) =
            reader.u8().filter(|length| (1..=63).contains(length)).and_then(|n| reader.take(n.into()))
        else {
            break;
        };
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            push_escaped(&mut text, *byte, byte.is_ascii_alphanumeric() || b"_*-".contains(byte));
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// The first OPT record among the additional ones.
fn edns(mut reader: Reader<'_>, before: u32, additional: u32) -> Option<Edns> {
    for number in 0..(before + additional).min(RECORDS_MAX) {
        skip_name(&mut reader)?;
        let (kind, class, ttl, length) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.u16()?);
        reader.take(length.into())?;
        if kind == TYPE_OPT && number >= before {
            return Some(Edns { udp_size: class, dnssec_ok: ttl & 0x8000 != 0, version: (ttl >> 16) as u8 });
        }
    }
    None
}

fn skip_name(reader: &mut Reader<'_>) -> Option<()> {
    loop {
        match reader.u8()? {
            0 => return Some(()),
            length @ 1..=63 => reader.take(length.into()).map(|_| ())?,
            0xc0.. => return reader.u8().map(|_| ()),
            _ => return None,
        }
    }
}

/// The queries of a TCP stream: each behind two bytes of length (RFC 7766 §8). A message that is no query is reported
/// and the next one is read: a server would answer it too.
#[derive(Clone, Debug, Default)]
pub struct TcpQueries {
    /// Of the message that is not complete: its length and what came of it.
    waiting: Vec<u8>,
    /// Bytes that are still to come of a message that was read already.
    skipped: usize,
}

impl TcpQueries {
    /// Takes the stream's next bytes; every message that they complete is added to `found`.
    pub fn push(&mut self, bytes: &[u8], found: &mut Vec<Result<Query, Absence>>) {
        let mut reader = Reader::new(bytes);
        loop {
            self.skipped -= reader.take(self.skipped.min(reader.len())).map_or(0, <[u8]>::len);
            if reader.is_empty() {
                return;
            }
            if self.waiting.is_empty() {
                if let Some(message) = whole_message(&mut reader) {
                    found.push(read_message(message));
                    continue;
                }
            }
            let length = Reader::new(&self.waiting).u16().map(usize::from);
            let kept = length.map_or(2, |length| 2 + length.min(TCP_MESSAGE_BYTES_MAX));
            let wanted = kept.saturating_sub(self.waiting.len()).min(reader.len());
            self.waiting.extend_from_slice(reader.take(wanted).unwrap_or_default());
            if let Some((length, message)) = complete(&self.waiting) {
                found.push(read_message(message));
                self.skipped = length - message.len();
                self.waiting.clear();
            }
        }
    }

    /// A message has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        !self.waiting.is_empty() || self.skipped > 0
    }

    /// Bytes held for it.
    pub fn memory_bytes(&self) -> usize {
        self.waiting.capacity()
    }
}

/// The message at the reader, or `None` and nothing is taken.
fn whole_message<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut ahead = *reader;
    let length = ahead.u16()?;
    let message = ahead.take(length.into())?;
    *reader = ahead;
    Some(message)
}

/// The length that a waiting message states and as much of it as is kept, once that is there.
fn complete(waiting: &[u8]) -> Option<(usize, &[u8])> {
    let mut reader = Reader::new(waiting);
    let length = usize::from(reader.u16()?);
    (reader.len() == length.min(TCP_MESSAGE_BYTES_MAX)).then(|| (length, reader.rest()))
}

/// A message, or of a long one at least what is kept.
fn read_message(message: &[u8]) -> Result<Query, Absence> {
    let kept = message.get(..TCP_MESSAGE_BYTES_MAX).unwrap_or(message);
    match query(kept) {
        Parsed::Done(query) => Ok(query),
        Parsed::No(absence) => Err(absence),
        Parsed::More if kept.len() == TCP_MESSAGE_BYTES_MAX => Err(Absence::TooLarge),
        Parsed::More => Err(Absence::Malformed),
    }
}

/// What holds of every message, and of the same bytes as a TCP stream, for tests and the fuzz target. Panics where it
/// does not.
#[doc(hidden)]
pub fn invariant(bytes: &[u8]) {
    let whole = query(bytes);
    if let Parsed::Done(whole) = &whole {
        assert!(whole.questions.len() <= QUESTIONS_MAX.into() && whole.end_of_questions <= bytes.len());
        for question in &whole.questions {
            let is_refused = question.name == Err(Absence::Malformed);
            assert_eq!(question.name.is_ok() || is_refused, question.odd.is_empty());
        }
        // The questions are known with their last byte, not before.
        let questions = bytes.get(..whole.end_of_questions).unwrap_or_default();
        let Parsed::Done(cut) = query(questions) else {
            panic!("questions without what follows them: no query")
        };
        assert_eq!(cut.questions, whole.questions);
        assert_eq!(query(questions.split_last().map_or(questions, |(_, rest)| rest)), Parsed::More);
    }
    // Over TCP: whole, byte by byte and in uneven pieces, the same queries.
    let (mut found, mut dripped, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    let mut stream = TcpQueries::default();
    stream.push(bytes, &mut found);
    let mut dripping = TcpQueries::default();
    for byte in bytes {
        dripping.push(&[*byte], &mut dripped);
        assert!(dripping.waiting.len() < 2 + TCP_MESSAGE_BYTES_MAX);
    }
    let mut uneven = TcpQueries::default();
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        uneven.push(piece, &mut pieces);
    }
    assert_eq!((&found, stream.is_partial()), (&dripped, dripping.is_partial()));
    assert_eq!((&found, stream.is_partial()), (&pieces, uneven.is_partial()));
}
