//! The flows that the inspector knows, from their first held packet until their slot is free again:
//!
//! ```text
//! HELD ──a name, or none, or its time is up──▶ PASSING ──nothing left in a TAP──▶ a grace period ──▶ entry taken away
//!  └──refused──▶ REFUSED ──REFUSED_SECONDS──▶ entry taken away ──▶ a grace period ──▶ slot free
//! ```
//!
//! The first grace period lets every program end that saw the flow before it was PASSING; the second every one that
//! still found its entry. Both are waited for in a thread of their own: they take up to 90 ms.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::mpsc::{channel, Receiver, Sender};

use clearway_inspector::answers::Standing;
use clearway_inspector::flow::Flow;
use clearway_inspector::frame::Packet;

use crate::abi::{hold_state, inspector_count, limit, FlowKey, HeldFlow};
use crate::clock;
use crate::error::Result;
use crate::hold_events::End;
use crate::hold_tables::HoldTables;

/// A flow whose name is not complete by then passes as unknown. Its packets aren't kept back meanwhile.
const WATCHED_NS: u64 = 2_000_000_000;
/// DNS over TCP, where each query is judged: as long as clients keep a connection idle (RFC 7766 wants seconds).
const DNS_IDLE_NS: u64 = 60_000_000_000;
/// Datagrams keep their entry, or a client's next Initials would be held again.
const DATAGRAMS_PASS_NS: u64 = 500_000_000;
/// A refused flow stays refused; a new attempt after that is judged anew.
pub const REFUSED_NS: u64 = 30_000_000_000;
/// How often what is on its way out is looked at.
const LOOK_AGAIN_NS: u64 = 5_000_000;
/// What is counted as held, isn't in a TAP and stays so this long is lost: it ended with an inspector, or in a full TAP.
const LOST_NS: u64 = 50_000_000;
/// With more flows than this, those of datagrams go as soon as they are decided.
const CROWDED: usize = limit::HELD_FLOWS_MAX as usize * 3 / 4;
/// Bytes of a flow's start that are kept for an answer.
const OPENING_BYTES_MAX: usize = 256;
/// Bytes of queries over TCP that are kept until they are whole; a longer one is answered with a reset.
const QUERY_BYTES_MAX: usize = 4096;

/// A flow's key as bytes, which hash.
pub type KeyBytes = [u8; size_of::<FlowKey>()];

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
    pub opening: Vec<u8>,
    /// TCP: the sequence number that the server expects next, as far as what was passed tells.
    pub server_expects: Option<u32>,
    /// TCP: the sequence number behind the last byte that the client sent.
    pub client_next: Option<u32>,
    /// Boot clock of its last packet from a TAP, or of its decision.
    pub last_ns: u64,
    /// `held` of both directions when it was last looked at, and since when it was that.
    stuck: ([u32; 2], u64),
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
    /// Keeps of a packet what an answer needs to know of those before it.
    pub fn remember(&mut self, packet: &Packet<'_>) {
        let most = if self.for_life { QUERY_BYTES_MAX } else { OPENING_BYTES_MAX };
        let room = most.saturating_sub(self.opening.len());
        self.opening.extend(packet.payload.iter().take(room));
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
            self.opening = behind_whole_queries(&self.opening).to_vec();
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

/// What stands behind the queries that are whole, each with its length before it.
fn behind_whole_queries(stream: &[u8]) -> &[u8] {
    let mut rest = stream;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let Some(next) = behind.get(usize::from(u16::from_be_bytes(*length))..) else { break };
        rest = next;
    }
    rest
}

/// A slot on its way back, with the entry's key as long as the entry is there.
#[derive(Debug)]
struct Leaving {
    number: u32,
    /// And the generation; None: the entry is gone.
    entry: Option<(KeyBytes, u32)>,
}

/// See the file's head.
pub struct Flows {
    live: HashMap<KeyBytes, Live>,
    due: BinaryHeap<Reverse<(u64, KeyBytes, u32)>>,
    /// Without an entry; something of them may still be in a TAP.
    owned: HashSet<u32>,
    /// Is gathered until the grace thread is free.
    waiting: Vec<Leaving>,
    in_grace: bool,
    to_grace: Sender<Vec<Leaving>>,
    from_grace: Receiver<Vec<Leaving>>,
}

impl Flows {
    /// None yet. The grace thread ends with this.
    pub fn none() -> Self {
        let (to_grace, asked) = channel::<Vec<Leaving>>();
        let (answers, from_grace) = channel();
        std::thread::spawn(move || {
            while let Ok(batch) = asked.recv() {
                // Without membarrier(2) a pause longer than any program runs
                if clock::membarrier().is_err() {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                if answers.send(batch).is_err() {
                    return;
                }
            }
        });
        Flows {
            live: HashMap::new(),
            due: BinaryHeap::new(),
            owned: HashSet::new(),
            waiting: Vec::new(),
            in_grace: false,
            to_grace,
            from_grace,
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// The flow of that key.
    pub fn get(&mut self, key: &KeyBytes) -> Option<&mut Live> {
        self.live.get_mut(key)
    }

    /// Takes in a flow that the programs hold.
    pub fn add(&mut self, key: KeyBytes, live: Live, due_ns: u64) {
        self.due.push(Reverse((due_ns, key, live.generation)));
        self.live.insert(key, live);
    }

    /// A flow that is held from now on. `start`: as the slot has it.
    pub fn watch(
        &mut self,
        key: KeyBytes,
        entry: HeldFlow,
        flow: Flow,
        start: Option<u32>,
        kind: Kind,
        now_ns: u64,
    ) {
        let due_ns = now_ns + if kind.for_life { DNS_IDLE_NS } else { WATCHED_NS };
        let live = Live {
            number: entry.slot,
            generation: entry.generation,
            watched: Some(Box::new(flow)),
            for_life: kind.for_life,
            datagrams: kind.datagrams,
            between: Some(kind.between),
            opening: Vec::new(),
            server_expects: start,
            client_next: start,
            last_ns: now_ns,
            stuck: ([0; 2], 0),
        };
        self.add(key, live, due_ns);
    }

    /// What a predecessor left: it passes from now on, unless it is refused.
    pub fn adopt(&mut self, tables: &HoldTables, now_ns: u64) -> Result<()> {
        for (key, entry) in tables.all()? {
            let Some(slot) = tables.slot(entry.slot) else { continue };
            if slot.state() == hold_state::HELD {
                slot.set_state(hold_state::PASSING);
                tables.count(inspector_count::ADOPTED, 1);
            }
            let due_ns = match slot.state() {
                hold_state::REFUSED => slot.refused_until_ns(),
                _ => now_ns + LOOK_AGAIN_NS,
            };
            let live = Live {
                number: entry.slot,
                generation: entry.generation,
                watched: None,
                for_life: false,
                datagrams: false,
                between: None,
                opening: Vec::new(),
                server_expects: None,
                client_next: None,
                last_ns: now_ns,
                stuck: ([0; 2], 0),
            };
            self.add(bytes_of(&key), live, due_ns);
        }
        Ok(())
    }

    /// Slots that a predecessor had taken from their flows and not given back yet. A second after it was adopted: what
    /// a program has just taken has its entry by then.
    pub fn collect_abandoned(&mut self, tables: &HoldTables) -> Result<()> {
        let mut owned: HashSet<u32> = self.live.values().map(|live| live.number).collect();
        owned.extend(self.owned.iter());
        let candidates = tables.abandoned(&owned);
        // Read after them: what a program was just taking has its entry now
        let entered: HashSet<u32> = tables.all()?.iter().map(|(_, entry)| entry.slot).collect();
        for number in candidates.into_iter().filter(|number| !entered.contains(number)) {
            self.owned.insert(number);
            self.waiting.push(Leaving { number, entry: None });
        }
        Ok(())
    }

    /// Is decided: its packets go straight once those before them have left the TAP.
    pub fn decided(&mut self, key: &KeyBytes, now_ns: u64) {
        let crowded = self.live.len() > CROWDED;
        if let Some(live) = self.live.get_mut(key) {
            live.watched = None;
            live.opening = Vec::new();
            live.last_ns = now_ns;
            let stays = live.datagrams && !crowded;
            let due_ns = now_ns + if stays { DATAGRAMS_PASS_NS } else { 0 };
            self.due.push(Reverse((due_ns, *key, live.generation)));
        }
    }

    /// Is refused until REFUSED_NS from now.
    pub fn refused(&mut self, key: &KeyBytes, now_ns: u64) {
        if let Some(live) = self.live.get_mut(key) {
            live.watched = None;
            live.opening = Vec::new();
            self.due.push(Reverse((now_ns + REFUSED_NS, *key, live.generation)));
        }
    }

    /// Something was lost in a TAP: each flow that waits for a packet is looked at soon.
    pub fn look_at_all(&mut self, tables: &HoldTables, now_ns: u64) {
        for (key, live) in &mut self.live {
            let Some(slot) = tables.slot(live.number) else { continue };
            if !slot.is_equal() {
                live.stuck = ([slot.held(0), slot.held(1)], now_ns);
                self.due.push(Reverse((now_ns + LOST_NS, *key, live.generation)));
            }
        }
    }

    /// Moves on what is due. `empty_ns`: when both TAPs were last seen empty. `gave_up` hears of flows whose time is up,
    /// and says (enum reason) when what they have named so far is refused.
    pub fn turn(
        &mut self,
        tables: &HoldTables,
        now_ns: u64,
        empty_ns: u64,
        mut gave_up: impl FnMut(&Live, Box<Flow>) -> Option<u32>,
    ) -> Result<()> {
        while let Ok(batch) = self.from_grace.try_recv() {
            self.in_grace = false;
            self.after_grace(tables, batch)?;
        }
        while self.due.peek().is_some_and(|Reverse((due_ns, ..))| *due_ns <= now_ns) {
            let Some(Reverse((_, key, generation))) = self.due.pop() else { break };
            let Some(live) = self.live.get_mut(&key).filter(|live| live.generation == generation) else {
                continue;
            };
            let Some(slot) = tables.slot(live.number) else { continue };
            mend(tables, live, now_ns, empty_ns);
            let again_ns = match slot.state() {
                hold_state::REFUSED if slot.refused_until_ns() <= now_ns => {
                    let number = live.number;
                    tables.forget(&typed(&key), slot)?;
                    self.live.remove(&key);
                    self.owned.insert(number);
                    self.waiting.push(Leaving { number, entry: None });
                    continue;
                }
                hold_state::REFUSED => slot.refused_until_ns(),
                hold_state::PASSING if slot.is_equal() => {
                    self.waiting.push(Leaving { number: live.number, entry: Some((key, generation)) });
                    continue;
                }
                hold_state::PASSING => now_ns + LOOK_AGAIN_NS,
                _ if live.for_life && live.last_ns + DNS_IDLE_NS > now_ns => live.last_ns + DNS_IDLE_NS,
                _ if !live.for_life && slot.born_ns() + WATCHED_NS > now_ns => slot.born_ns() + WATCHED_NS,
                _ => match live.watched.take().and_then(|flow| gave_up(live, flow)) {
                    Some(reason) => {
                        slot.set_refused_until(now_ns + REFUSED_NS, reason);
                        slot.set_state(hold_state::REFUSED);
                        now_ns + REFUSED_NS
                    }
                    None => {
                        slot.set_state(hold_state::PASSING);
                        now_ns
                    }
                },
            };
            self.due.push(Reverse((again_ns.max(now_ns + 1), key, generation)));
        }
        if !self.in_grace && !self.waiting.is_empty() {
            self.in_grace = self.to_grace.send(std::mem::take(&mut self.waiting)).is_ok();
        }
        Ok(())
    }

    fn after_grace(&mut self, tables: &HoldTables, batch: Vec<Leaving>) -> Result<()> {
        for Leaving { number, entry } in batch {
            let Some(slot) = tables.slot(number) else { continue };
            match entry {
                // Two of its times were due together, and the first has taken it out
                Some((key, generation))
                    if self
                        .live
                        .get(&key)
                        .is_none_or(|live| live.generation != generation || live.number != number) => {}
                // Every program that ran before has ended: equal now is equal for good
                Some((key, _)) if slot.is_equal() && slot.state() == hold_state::PASSING => {
                    tables.forget(&typed(&key), slot)?;
                    self.live.remove(&key);
                    self.owned.insert(number);
                    self.waiting.push(Leaving { number, entry: None });
                }
                Some((key, generation)) => self.due.push(Reverse((0, key, generation))),
                None => {
                    for direction in 0..2 {
                        let held = slot.held(direction);
                        slot.released(direction).store(held, std::sync::atomic::Ordering::Release);
                    }
                    self.owned.remove(&number);
                    tables.give_back(number)?;
                }
            }
        }
        Ok(())
    }

    /// Everything that is watched passes: the inspector ends.
    pub fn let_all_pass(&mut self, tables: &HoldTables, now_ns: u64) {
        let watched: Vec<KeyBytes> =
            self.live.iter().filter(|(_, live)| live.watched.is_some()).map(|(key, _)| *key).collect();
        for key in watched {
            if let Some(slot) = self.live.get(&key).and_then(|live| tables.slot(live.number)) {
                slot.set_state(hold_state::PASSING);
            }
            self.decided(&key, now_ns);
        }
    }
}

/// Makes the counters of a flow meet where a packet is gone.
fn mend(tables: &HoldTables, live: &mut Live, now_ns: u64, empty_ns: u64) {
    let Some(slot) = tables.slot(live.number) else { return };
    let held = [slot.held(0), slot.held(1)];
    if slot.is_equal() || live.stuck.0 != held {
        live.stuck = (held, now_ns);
        return;
    }
    let since_ns = live.stuck.1;
    // What was put into the TAP before `since` would have been read before it was seen empty so much later
    if now_ns.saturating_sub(since_ns) < LOST_NS || empty_ns < since_ns + LOST_NS / 2 {
        return;
    }
    for (direction, held) in held.into_iter().enumerate() {
        let released = slot.released(direction);
        let lost = held.wrapping_sub(released.load(std::sync::atomic::Ordering::Acquire));
        released.store(held, std::sync::atomic::Ordering::Release);
        tables.released_total().fetch_add(lost.into(), std::sync::atomic::Ordering::Release);
        tables.count(inspector_count::LOST, lost.into());
    }
}

/// A key as bytes.
pub fn bytes_of(key: &FlowKey) -> KeyBytes {
    bytemuck::cast(*key)
}

fn typed(key: &KeyBytes) -> FlowKey {
    bytemuck::cast(*key)
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
        let mut live = Live {
            number: 0,
            generation: 1,
            watched: None,
            for_life: false,
            datagrams: false,
            between: None,
            opening: Vec::new(),
            server_expects: Some(1000),
            client_next: Some(1000),
            last_ns: 0,
            stuck: ([0; 2], 0),
        };
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
    fn whole_queries_are_cut_off_and_a_part_of_one_is_kept() {
        assert_eq!(behind_whole_queries(&[0, 2, 8, 9, 0, 1, 7, 0, 3, 1]), [0, 3, 1]);
        assert_eq!(behind_whole_queries(&[0]), [0]);
        assert!(behind_whole_queries(&[0, 0, 0, 1, 5]).is_empty());
    }
}
