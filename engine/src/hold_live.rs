//! A flow that the inspector has, and what it keeps of it: what was read so far, and where both ends stand.

use clearway_inspector::answers::Standing;
use clearway_inspector::flow::Flow;
use clearway_inspector::frame::{flags, Packet};

use crate::abi::{FlowKey, HeldFlow};
use crate::hold_events::End;
use crate::hold_opening::Opening;

/// Its number in IP.
pub const UDP: u8 = 17;

/// A flow's key as bytes, which hash.
pub type KeyBytes = [u8; size_of::<FlowKey>()];

/// A key as bytes.
pub fn bytes_of(key: &FlowKey) -> KeyBytes {
    bytemuck::cast(*key)
}

/// And back.
pub fn typed(key: &KeyBytes) -> FlowKey {
    bytemuck::cast(*key)
}

/// One flow that has a slot.
pub struct Live {
    /// Its slot.
    pub number: u32,
    /// Goes up with each new user of a slot.
    pub generation: u32,
    /// What was read of it so far; None: it is decided.
    pub watched: Option<Box<Flow>>,
    /// Stays HELD while it lives: each query is judged.
    pub for_life: bool,
    /// Over UDP.
    pub datagrams: bool,
    /// Client, server, enum direction of the client's packets; None: adopted.
    pub between: Option<Between>,
    /// How its client's stream begins; of DNS over TCP, what of a query has come so far.
    pub opening: Opening,
    /// TCP: the sequence number that the server expects next, as far as what was passed tells.
    pub server_expects: Option<u32>,
    /// TCP: the sequence number behind the last byte that the client sent.
    pub client_next: Option<u32>,
    /// Boot clock of its last packet from a TAP, or of its decision.
    pub last_ns: u64,
    /// Boot clock of the first packet of it that came here.
    pub since_ns: u64,
    /// `held` of both directions when it was last looked at, and since when it was that.
    pub stuck: ([u32; 2], u64),
    /// memory_bytes() as hold_memory.rs has it.
    pub weighed_bytes: usize,
}

/// What a flow is held as.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// DNS over TCP.
    pub for_life: bool,
    /// Over UDP.
    pub datagrams: bool,
    /// Whose it is.
    pub between: Between,
}

/// Client and server, and enum direction of the client's packets.
pub type Between = (End, End, u32);

impl Live {
    /// Of that entry; nothing is known of it.
    pub fn new(entry: HeldFlow, now_ns: u64) -> Self {
        Live {
            number: entry.slot,
            generation: entry.generation,
            watched: None,
            for_life: false,
            datagrams: false,
            between: None,
            opening: Opening::default(),
            server_expects: None,
            client_next: None,
            last_ns: now_ns,
            since_ns: now_ns,
            stuck: ([0; 2], 0),
            weighed_bytes: 0,
        }
    }

    /// Nothing of it is read any more, and nothing kept of what was.
    pub fn unwatch(&mut self) -> Option<Box<Flow>> {
        self.opening = Opening::default();
        self.watched.take()
    }

    /// What of its client's bytes is kept, and what reads them.
    pub fn memory_bytes(&self) -> usize {
        self.watched.as_ref().map_or(0, |flow| flow.memory_bytes()) + self.opening.memory_bytes()
    }

    /// Keeps of a packet what an answer needs to know of those before it.
    pub fn remember(&mut self, packet: &Packet<'_>) {
        if packet.flags & flags::SYN != 0 {
            self.opening.begin_anew(first_byte(packet));
        }
        self.opening.push(first_byte(packet), packet.payload);
        let next = Standing::of(packet).client_next;
        self.client_next = Some(self.client_next.map_or(next, |before| later(before, next)));
    }

    /// Does this packet stand where the client's stream does? An end (FIN, RST) elsewhere may be anybody's.
    pub fn is_in_place(&self, packet: &Packet<'_>) -> bool {
        let Some(expected) = self.server_expects else { return true };
        expected.wrapping_sub(packet.sequence) as usize <= packet.payload.len()
    }

    /// A packet has gone on to the server.
    pub fn passed(&mut self, packet: &Packet<'_>) {
        let next = Standing::of(packet).client_next;
        let expected = self.server_expects.unwrap_or(packet.sequence);
        let in_order = later(packet.sequence, expected) == expected;
        self.server_expects = Some(if in_order { later(expected, next) } else { expected });
        if self.for_life {
            self.opening.pass_queries(first_byte(packet), packet.payload);
        }
    }

    /// Where both ends stand when this packet is refused.
    pub fn standing(&self, packet: &Packet<'_>) -> Standing {
        let of_packet = Standing::of(packet);
        Standing {
            server_expects: self.server_expects.unwrap_or(of_packet.server_expects),
            client_next: self.client_next.unwrap_or(of_packet.client_next),
            ..of_packet
        }
    }
}

/// Of two sequence numbers the one that is less than half a circle ahead.
fn later(one: u32, other: u32) -> u32 {
    if (other.wrapping_sub(one) as i32) > 0 {
        other
    } else {
        one
    }
}

/// Sequence number of a packet's first byte: a SYN takes one.
fn first_byte(packet: &Packet<'_>) -> u32 {
    packet.sequence.wrapping_add(u32::from(packet.flags & flags::SYN != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, payload: &[u8]) -> Packet<'_> {
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        Packet {
            source: address,
            destination: address,
            transport: clearway_inspector::flow::Transport::Tcp,
            source_port: 1,
            destination_port: 2,
            sequence,
            acknowledgement: 0,
            flags: 0,
            window: 0,
            payload,
            missing_bytes: 0,
            l3_offset: 14,
            l4_offset: 34,
            payload_offset: 54,
            vlan_tags: 0,
            pppoe: false,
            labelled: false,
        }
    }

    #[test]
    fn an_end_is_believed_only_where_the_stream_stands() {
        let entry = HeldFlow { slot: 0, generation: 1 };
        let mut live = Live { server_expects: Some(1000), client_next: Some(1000), ..Live::new(entry, 0) };
        live.remember(&segment(1000, &[1; 100]));
        live.passed(&segment(1000, &[1; 100]));
        assert!(live.is_in_place(&segment(1100, &[])));
        assert!(live.is_in_place(&segment(1050, &[0; 50])));
        assert!(!live.is_in_place(&segment(1100 + (1 << 24), &[])));
        assert!(!live.is_in_place(&segment(1099, &[])));
        let standing = live.standing(&segment(1040, &[0; 80]));
        assert_eq!((standing.server_expects, standing.client_next), (1100, 1100));
    }

    #[test]
    fn sequence_numbers_go_round() {
        assert_eq!(later(5, 7), 7);
        assert_eq!(later(7, 5), 7);
        assert_eq!(later(u32::MAX, 3), 3);
    }

    #[test]
    fn a_query_that_comes_in_pieces_the_wrong_way_round_stands_whole_for_its_answer() {
        let entry = HeldFlow { slot: 0, generation: 1 };
        let mut live = Live { for_life: true, opening: Opening::new(Some(11), true), ..Live::new(entry, 0) };
        let syn = Packet { flags: flags::SYN, ..segment(10, &[0, 3]) };
        // Each passes but the last, which is the one that completes it
        for packet in [syn, segment(15, &[9]), segment(15, &[9]), segment(11, &[0, 3, 7])] {
            live.remember(&packet);
            live.passed(&packet);
        }
        live.remember(&segment(14, &[8]));
        assert_eq!(live.opening.whole(), [0, 3, 7, 8, 9]);
        live.passed(&segment(14, &[8]));
        live.remember(&segment(16, &[0, 1, 5]));
        assert_eq!(live.opening.whole(), [0, 1, 5]);
    }
}
