//! Segments in the name of either end of a refused connection.

use super::Ending;
use crate::frame::Packet;

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
    /// By one segment of the client.
    pub fn of(packet: &Packet<'_>) -> Self {
        let _ = packet;
        Standing { server_expects: 0, client_next: 0, client_expects: 0 }
    }

    /// Widened by another segment of the client that is held too, in any order.
    pub fn and(self, packet: &Packet<'_>) -> Self {
        let _ = packet;
        self
    }
}

/// Resets both ends: `frame` and `packet` are any held segment of the client.
pub fn resets(frame: &[u8], packet: &Packet<'_>, standing: Standing) -> Option<Ending> {
    let _ = (frame, packet, standing);
    None
}
