//! "Port unreachable" to a client whose QUIC Initial was refused, so that it falls back to TCP at once.

use super::checksum::Checksum;
use super::envelope::{protocol, Envelope, From};
use crate::frame::Packet;

/// Type 3, code 3: RFC 792.
const PORT_UNREACHABLE_V4: [u8; 2] = [3, 3];
/// Type 1, code 4: RFC 4443 §3.1.
const PORT_UNREACHABLE_V6: [u8; 2] = [1, 4];

/// Type, code, checksum, four unused bytes.
const HEADER_BYTES: usize = 8;
const CHECKSUM_AT: usize = 2;

/// The whole datagram may have 576 bytes (RFC 1812 §4.3.2.3), of which IP's header and this one take 28.
const QUOTED_BYTES_MAX_V4: usize = 548;
/// The whole packet may have 1280 bytes (RFC 4443 §3.1), of which IP's header and this one take 48.
const QUOTED_BYTES_MAX_V6: usize = 1232;

const UDP_HEADER_BYTES: usize = 8;
const UDP_CHECKSUM_AT: usize = 6;

/// In the server's name, with the refused datagram quoted: a frame to the client.
pub fn port_unreachable(frame: &[u8], packet: &Packet<'_>) -> Option<Vec<u8>> {
    let envelope = Envelope::of_datagram(frame, packet)?;
    let (kind, protocol, quoted_bytes_max) = if envelope.is_v4() {
        (PORT_UNREACHABLE_V4, protocol::ICMP, QUOTED_BYTES_MAX_V4)
    } else {
        (PORT_UNREACHABLE_V6, protocol::ICMP_V6, QUOTED_BYTES_MAX_V6)
    };
    let mut message = Vec::with_capacity(HEADER_BYTES + quoted_bytes_max);
    message.extend_from_slice(&kind);
    message.resize(HEADER_BYTES, 0);
    message.extend(as_sent(frame, packet)?.into_iter().take(quoted_bytes_max));
    envelope.seal(From::Server, protocol, message, CHECKSUM_AT)
}

/// The IP packet with UDP's checksum as it left the client. Read from a TAP, the field may still hold the sum of the
/// pseudo header alone, as a mark for a network card that should have done the rest.
fn as_sent(frame: &[u8], packet: &Packet<'_>) -> Option<Vec<u8>> {
    let end = packet.payload_offset.checked_add(packet.payload.len())?;
    let mut sent = frame.get(packet.l3_offset..end)?.to_vec();
    let udp = sent.get_mut(packet.l4_offset.checked_sub(packet.l3_offset)?..)?;
    let field = udp.get_mut(UDP_CHECKSUM_AT..UDP_HEADER_BYTES)?;
    let without_sum = field == [0, 0];
    if without_sum || packet.missing_bytes > 0 {
        return Some(sent);
    }
    field.fill(0);
    let length = u32::try_from(udp.len()).ok()?;
    let sum = Checksum::of_transport(packet.source, packet.destination, protocol::UDP, length);
    let sum = sum.bytes(udp).finish();
    udp.get_mut(UDP_CHECKSUM_AT..UDP_HEADER_BYTES)?.copy_from_slice(if sum == [0, 0] {
        &[0xff; 2]
    } else {
        &sum
    });
    Some(sent)
}
