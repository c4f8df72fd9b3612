//! A refused request's answer: 403 and the page. Not 451, which is for a legal demand (RFC 7725); this is a security
//! rule.

use super::page::page;
use super::tcp::Connection;
use super::{resets, Ending, Refusal, Standing};
use crate::frame::Packet;

/// How HTTP/2 without an upgrade begins (RFC 9113 §3.4): such a client understands no answer in HTTP/1.
const PREFACE_START: &[u8] = b"PRI * HTTP/2";
const HEAD_START: &[u8] = b"HEAD ";

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
    if request.starts_with(PREFACE_START) {
        return resets(frame, packet, standing);
    }
    let body = page(refusal, at);
    let mut response = head(body.len());
    if !request.starts_with(HEAD_START) {
        response.push_str(&body);
    }
    Connection::of(frame, packet, standing)?.last_words(response.as_bytes(), client_mss)
}

/// The page may load nothing and run nothing, whatever stands in it.
fn head(body_bytes: usize) -> String {
    format!(
        "HTTP/1.1 403 Forbidden\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {body_bytes}\r\n\
         Content-Language: en, ur\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n"
    )
}
