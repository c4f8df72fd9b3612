//! A refused query's answer.

use super::{DnsAnswer, Ending, Refusal, Standing};
use crate::frame::Packet;

/// The answer to the query that `packet` carries over UDP: a frame to the client.
pub fn dns_reply(
    frame: &[u8],
    packet: &Packet<'_>,
    refusal: &Refusal<'_>,
    answer: DnsAnswer,
) -> Option<Vec<u8>> {
    let _ = (frame, packet, refusal, answer);
    None
}

/// The same over TCP: `query` is the message without its length, gathered from the stream; `frame` and `packet` any
/// held segment of the client. The answer ends the connection.
pub fn dns_tcp_reply(
    frame: &[u8],
    packet: &Packet<'_>,
    standing: Standing,
    query: &[u8],
    refusal: &Refusal<'_>,
    answer: DnsAnswer,
    client_mss: u16,
) -> Option<Ending> {
    let _ = (frame, packet, standing, query, refusal, answer, client_mss);
    None
}
