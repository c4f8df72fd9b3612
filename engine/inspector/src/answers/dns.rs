//! A refused query's answer: NXDOMAIN or REFUSED, and why, as an Extended DNS Error (RFC 8914) where the query shows by
//! an OPT record that its sender knows of such things.
//!
//! The SOA of NXDOMAIN is owned by the asked name itself: in bailiwick whoever asks, and no claim about a zone above,
//! so that a cache keeps the refusal of this name and of no other, for a short time. Nothing here is signed, and AD and
//! AA are never set: a validating resolver in front sees a forgery where the zone is signed, as it should.

use super::envelope::{protocol, Envelope, From};
use super::tcp::Connection;
use super::{text, DnsAnswer, Ending, Refusal, Standing};
use crate::dns::{query, Edns, Query};
use crate::frame::Packet;
use crate::reader::Parsed;

/// How long a refusal may be remembered: what is unblocked is reachable again soon after.
const NEGATIVE_TTL_S: u32 = 30;

/// EXTRA-TEXT is cut to this: room for a rule, its reason, source and expiry.
const EXTRA_TEXT_BYTES_MAX: usize = 200;

/// Without EDNS a datagram has at most this, RFC 1035 §2.3.4.
const DATAGRAM_BYTES: usize = 512;
/// With EDNS at most what the client says, and never more than any path carries whole.
const DATAGRAM_BYTES_MAX: usize = 1232;
/// Over TCP, as its length field counts.
const MESSAGE_BYTES_MAX: usize = 65_535;

const QR: u16 = 0x8000;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const CD: u16 = 0x0010;
const OPCODE_SHIFT: u16 = 11;
const OPCODE_QUERY: u8 = 0;

const RCODE_NXDOMAIN: u16 = 3;
const RCODE_REFUSED: u16 = 5;

const HEADER_BYTES: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_SOA: u16 = 6;
const TYPE_OPT: u16 = 41;
const DNSSEC_OK: u16 = 0x8000;

/// OPT without options: root, type, size, extended flags, length.
const OPT_BYTES: usize = 11;
const OPTION_EXTENDED_ERROR: u16 = 15;
/// Option code and length, INFO-CODE.
const EXTENDED_ERROR_BYTES: usize = 6;
/// "Blocked": by the operator's own security policy. 16 (Censored) and 17 (Filtered) are others' reasons.
const INFO_BLOCKED: u16 = 15;

/// A pointer to the first question's name, right behind the header. A query's name has no pointer in it.
const FIRST_NAME: [u8; 2] = [0xc0, HEADER_BYTES as u8];
/// Whom an SOA made up on the spot gives as responsible, as RFC 6303 §3 does.
const NOBODY: &[u8] = b"\x06nobody\x07invalid\0";

const UDP_HEADER_BYTES: usize = 8;
const UDP_CHECKSUM_AT: usize = 6;

/// The answer to the query that `packet` carries over UDP: a frame to the client. None where the query is cut.
pub fn dns_reply(
    frame: &[u8],
    packet: &Packet<'_>,
    refusal: &Refusal<'_>,
    answer: DnsAnswer,
) -> Option<Vec<u8>> {
    let envelope = Envelope::of_datagram(frame, packet)?;
    let asked = whole_query(packet.payload)?;
    let bytes_max = match asked.edns {
        Some(edns) => usize::from(edns.udp_size).clamp(DATAGRAM_BYTES, DATAGRAM_BYTES_MAX),
        None => DATAGRAM_BYTES,
    };
    let message = reply_message(packet.payload, &asked, refusal, answer, bytes_max)?;

    let length = u16::try_from(UDP_HEADER_BYTES + message.len()).ok()?;
    let mut datagram = Vec::with_capacity(UDP_HEADER_BYTES + message.len());
    put(&mut datagram, packet.destination_port);
    put(&mut datagram, packet.source_port);
    put(&mut datagram, length);
    put(&mut datagram, 0);
    datagram.extend_from_slice(&message);
    envelope.seal(From::Server, protocol::UDP, datagram, UDP_CHECKSUM_AT)
}

/// The same over TCP: `query` is the message without its length, gathered from the stream; `frame` and `packet` any
/// held segment of the client. The answer ends the connection, since the server never sees what it answers: FIN behind
/// it to the client, RST to the server. A client opens another for its next query (RFC 7766 §6.2.4).
pub fn dns_tcp_reply(
    frame: &[u8],
    packet: &Packet<'_>,
    standing: Standing,
    query: &[u8],
    refusal: &Refusal<'_>,
    answer: DnsAnswer,
    client_mss: u16,
) -> Option<Ending> {
    let connection = Connection::of(frame, packet, standing)?;
    let message = reply_message(query, &whole_query(query)?, refusal, answer, MESSAGE_BYTES_MAX)?;
    let mut content = Vec::with_capacity(2 + message.len());
    put(&mut content, u16::try_from(message.len()).ok()?);
    content.extend_from_slice(&message);
    connection.last_words(&content, client_mss)
}

fn whole_query(message: &[u8]) -> Option<Query> {
    match query(message) {
        Parsed::Done(asked) => Some(asked),
        Parsed::More | Parsed::No(_) => None,
    }
}

/// The answer's message, of at most `bytes_max`: EXTRA-TEXT gives way first, then the error itself, then, with TC set,
/// authority and questions.
fn reply_message(
    message: &[u8],
    asked: &Query,
    refusal: &Refusal<'_>,
    answer: DnsAnswer,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    let questions = message.get(HEADER_BYTES..asked.end_of_questions)?;
    let authority = if rcode(asked, answer) == RCODE_NXDOMAIN { soa() } else { Vec::new() };
    let opt_bytes = if asked.edns.is_some() { OPT_BYTES } else { 0 };
    let room = bytes_max.checked_sub(HEADER_BYTES + questions.len() + authority.len() + opt_bytes);

    let (questions, authority, truncated) = match room {
        Some(_) => (questions, authority, 0),
        None => (&[][..], Vec::new(), TC),
    };
    let error = extended_error(refusal, room.unwrap_or(0));
    let lost_error = if asked.edns.is_some() && error.is_empty() { TC } else { 0 };

    let mut reply = Vec::with_capacity(bytes_max.min(DATAGRAM_BYTES_MAX));
    put(&mut reply, asked.id);
    put(&mut reply, flags(asked) | truncated | lost_error | rcode(asked, answer));
    put(&mut reply, if questions.is_empty() { 0 } else { u16::try_from(asked.questions.len()).ok()? });
    put(&mut reply, 0);
    put(&mut reply, u16::from(!authority.is_empty()));
    put(&mut reply, u16::from(asked.edns.is_some()));
    reply.extend_from_slice(questions);
    reply.extend_from_slice(&authority);
    if let Some(edns) = asked.edns {
        put_opt(&mut reply, edns, &error);
    }
    Some(reply)
}

/// NXDOMAIN can only be said of one name of the Internet: with several questions, of another class, or where something
/// else than a question is put (UPDATE, NOTIFY), the answer is REFUSED.
fn rcode(asked: &Query, answer: DnsAnswer) -> u16 {
    let one_question = matches!(asked.questions.as_slice(), [question] if question.class == CLASS_IN);
    match answer {
        DnsAnswer::Nxdomain if one_question && asked.opcode == OPCODE_QUERY => RCODE_NXDOMAIN,
        DnsAnswer::Nxdomain | DnsAnswer::Refused => RCODE_REFUSED,
    }
}

/// What an answer repeats of its query: RD and CD, and the kind of it. RA, since whoever asks for recursion believes
/// no answer without.
fn flags(asked: &Query) -> u16 {
    let recursion = if asked.recursion_desired { RD } else { 0 };
    let checking = if asked.checking_disabled { CD } else { 0 };
    QR | RA | recursion | checking | (u16::from(asked.opcode) & 0xf) << OPCODE_SHIFT
}

fn soa() -> Vec<u8> {
    let mut data = FIRST_NAME.to_vec();
    data.extend_from_slice(NOBODY);
    // Serial, refresh, retry, expire: nobody transfers this zone. The last is the negative TTL.
    for number in [1, 3600, 1200, 604_800, NEGATIVE_TTL_S] {
        data.extend_from_slice(&u32::to_be_bytes(number));
    }
    let mut record = FIRST_NAME.to_vec();
    put(&mut record, TYPE_SOA);
    put(&mut record, CLASS_IN);
    record.extend_from_slice(&NEGATIVE_TTL_S.to_be_bytes());
    put(&mut record, data.len() as u16);
    record.extend_from_slice(&data);
    record
}

fn put_opt(reply: &mut Vec<u8>, edns: Edns, options: &[u8]) {
    reply.push(0);
    put(reply, TYPE_OPT);
    put(reply, DATAGRAM_BYTES_MAX as u16);
    put(reply, 0); // extended RCODE and version: none, 0
    put(reply, if edns.dnssec_ok { DNSSEC_OK } else { 0 });
    put(reply, options.len() as u16);
    reply.extend_from_slice(options);
}

/// The option, its text cut to the room there is; empty where there is none even for the code.
fn extended_error(refusal: &Refusal<'_>, room: usize) -> Vec<u8> {
    let Some(text_room) = room.checked_sub(EXTENDED_ERROR_BYTES) else { return Vec::new() };
    let Refusal { reason, source, rule, until, .. } = refusal;
    let told = format!("{reason}; source {source}; rule {rule}; until {until}");
    let told = text::cut(&told, text_room.min(EXTRA_TEXT_BYTES_MAX));
    let mut option = Vec::with_capacity(EXTENDED_ERROR_BYTES + told.len());
    put(&mut option, OPTION_EXTENDED_ERROR);
    put(&mut option, (2 + told.len()) as u16);
    put(&mut option, INFO_BLOCKED);
    option.extend_from_slice(told.as_bytes());
    option
}

fn put(bytes: &mut Vec<u8>, value: u16) {
    bytes.extend_from_slice(&value.to_be_bytes());
}
