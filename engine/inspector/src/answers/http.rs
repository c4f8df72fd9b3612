//! A refused request's answer: 403 and the page.

use super::{Ending, Refusal, Standing};
use crate::frame::Packet;

/// The page, cut into segments, the last with FIN; and a reset to the server. `request` is the start of the client's
/// stream, as much of it as is at hand: to HEAD goes the head alone, to HTTP/2 without an upgrade a reset. `at` is the
/// time of the refusal, RFC 3339, UTC.
pub fn http_page(
    frame: &[u8],
    packet: &Packet<'_>,
    standing: Standing,
    request: &[u8],
    refusal: &Refusal<'_>,
    at: &str,
    client_mss: u16,
) -> Option<Ending> {
    let _ = (frame, packet, standing, request, refusal, at, client_mss);
    None
}
