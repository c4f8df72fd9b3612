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
use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, Receiver, Sender};

use clearway_inspector::flow::Flow;

use crate::abi::{hold_state, inspector_count, limit, FlowKey, HeldFlow};
use crate::clock;
use crate::error::Result;
use crate::hold_live::{bytes_of, typed, KeyBytes, Kind, Live, UDP};
use crate::hold_memory::Memory;
use crate::hold_opening::Opening;
use crate::hold_tables::{HoldTables, Slot};

/// A flow whose name is not complete by then passes as unknown. Its packets aren't kept back meanwhile.
const WATCHED_NS: u64 = 2_000_000_000;
/// DNS over TCP, where each query is judged: as long as clients keep a connection idle (RFC 7766 wants seconds).
const DNS_IDLE_NS: u64 = 60_000_000_000;
/// Datagrams keep their entry, or a client's next Initials would be held again.
const DATAGRAMS_PASS_NS: u64 = 500_000_000;
/// A refused flow stays refused; a new attempt after that is judged anew.
pub const REFUSED_NS: u64 = 30_000_000_000;
/// How often it is looked whether there is an entry whose flow nobody watches.
const WALK_NS: u64 = 2_000_000_000;
/// How often it is looked whether refused flows of datagrams have to make room.
const CROWDED_LOOK_NS: u64 = 1_000_000_000;
/// How often what is on its way out is looked at.
const LOOK_AGAIN_NS: u64 = 5_000_000;
/// What is counted as held, isn't in a TAP and stays so this long is lost: it ended with an inspector, or in a full
/// TAP.
const LOST_NS: u64 = 50_000_000;
/// So long after the sum of all flows was made to meet, the flow that it was for may be found: WATCHED_NS, WALK_NS and
/// LOST_NS, with some room.
const MENDED_NS: u64 = 5_000_000_000;
/// With more flows than this, those of datagrams go as soon as they are decided, refused ones within CROWDED_LOOK_NS:
/// their client's next Initial is judged anew. A refused flow of TCP stays, or its next segment would pass unread.
const CROWDED: usize = limit::HELD_FLOWS_MAX as usize * 3 / 4;

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
    /// What they keep.
    memory: Memory,
    due: BinaryHeap<Reverse<(u64, KeyBytes, u32)>>,
    /// Without an entry; something of them may still be in a TAP.
    owned: HashSet<u32>,
    /// Is gathered until the grace thread is free.
    waiting: Vec<Leaving>,
    in_grace: bool,
    /// When entries were last walked.
    walked_ns: u64,
    /// Lost packets that the sum of all flows has been told of already, and until when a flow may be found for them.
    mended: (u64, u64),
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
            memory: Memory::default(),
            due: BinaryHeap::new(),
            owned: HashSet::new(),
            waiting: Vec::new(),
            in_grace: false,
            walked_ns: 0,
            mended: (0, 0),
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
        if let Some(before) = self.live.insert(key, live) {
            self.memory.forget(&key, &before);
        }
        self.weigh(&key);
    }

    fn remove(&mut self, key: &KeyBytes) {
        if let Some(live) = self.live.remove(key) {
            self.memory.forget(key, &live);
        }
    }

    /// A packet of it was read: it may keep more now, or less.
    pub fn weigh(&mut self, key: &KeyBytes) {
        if let Some(live) = self.live.get_mut(key) {
            self.memory.weigh(key, live);
        }
    }

    /// Gives up flows while all together keep more than READING_BYTES_MAX, as turn() does those whose time is up.
    pub fn make_room(
        &mut self,
        tables: &HoldTables,
        now_ns: u64,
        mut gave_up: impl FnMut(&Live, Box<Flow>) -> Option<u32>,
    ) {
        self.give_back(|live| match tables.slot(live.number) {
            Some(slot) => give_up(live, slot, now_ns, &mut gave_up),
            None => {
                live.unwatch();
                now_ns
            }
        });
    }

    /// `give_up` ends the reading of a flow, and says when it is looked at again.
    fn give_back(&mut self, mut give_up: impl FnMut(&mut Live) -> u64) {
        while let Some(key) = self.memory.to_give_back() {
            let Some(live) = self.live.get_mut(&key) else { return };
            self.due.push(Reverse((give_up(live), key, live.generation)));
            self.memory.weigh(&key, live);
        }
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
            watched: Some(Box::new(flow)),
            for_life: kind.for_life,
            datagrams: kind.datagrams,
            between: Some(kind.between),
            opening: if kind.datagrams { Opening::default() } else { Opening::new(start, kind.for_life) },
            server_expects: start,
            client_next: start,
            ..Live::new(entry, now_ns)
        };
        self.add(key, live, due_ns);
    }

    /// What a predecessor left: it passes from now on, unless it is refused.
    pub fn adopt(&mut self, tables: &HoldTables, now_ns: u64) -> Result<()> {
        self.walked_ns = now_ns;
        for (key, entry) in tables.all()? {
            self.adopt_one(tables, &key, entry, now_ns);
        }
        Ok(())
    }

    /// Flows that a program holds and that never came here: the packet with which they began found the TAP full, or
    /// its bound reached, or an inspector away, just after their slot was taken. If nothing followed, nobody would ever
    /// give that back.
    fn walk(&mut self, tables: &HoldTables, now_ns: u64) -> Result<()> {
        self.walked_ns = now_ns;
        for (key, entry) in tables.all()? {
            let Some(slot) = tables.slot(entry.slot) else { continue };
            // One that was taken just now has its packet on the way
            if !self.live.contains_key(&bytes_of(&key)) && slot.born_ns() + WATCHED_NS < now_ns {
                self.adopt_one(tables, &key, entry, now_ns);
            }
        }
        Ok(())
    }

    fn adopt_one(&mut self, tables: &HoldTables, key: &FlowKey, entry: HeldFlow, now_ns: u64) {
        let Some(slot) = tables.slot(entry.slot) else { return };
        if slot.state() == hold_state::HELD {
            slot.set_state(hold_state::PASSING);
            tables.count(inspector_count::ADOPTED, 1);
        }
        let due_ns = match slot.state() {
            hold_state::REFUSED => slot.refused_until_ns(),
            _ => now_ns + LOOK_AGAIN_NS,
        };
        let live = Live { datagrams: key.protocol == UDP, ..Live::new(entry, now_ns) };
        self.add(bytes_of(key), live, due_ns);
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
            live.unwatch();
            self.memory.weigh(key, live);
            live.last_ns = now_ns;
            let stays = live.datagrams && !crowded;
            let due_ns = now_ns + if stays { DATAGRAMS_PASS_NS } else { 0 };
            self.due.push(Reverse((due_ns, *key, live.generation)));
        }
    }

    /// Is refused until REFUSED_NS from now.
    pub fn refused(&mut self, key: &KeyBytes, now_ns: u64) {
        if let Some(live) = self.live.get_mut(key) {
            live.unwatch();
            self.memory.weigh(key, live);
            let look_ns = if live.datagrams { CROWDED_LOOK_NS } else { REFUSED_NS };
            self.due.push(Reverse((now_ns + look_ns, *key, live.generation)));
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

    /// The sum of all flows was made to meet: so many packets are lost. A flow that is found to lack them later isn't
    /// told to the sum again, or more would seem to have left the TAPs than went in.
    pub fn sum_was_mended(&mut self, lost: u64, now_ns: u64) {
        let before = if now_ns < self.mended.1 { self.mended.0 } else { 0 };
        self.mended = (before + lost, now_ns + MENDED_NS);
    }

    /// Moves on what is due. `empty_ns`: when both TAPs were last seen empty. `gave_up` hears of flows whose time is
    /// up, and says (enum reason) when what they have named so far is refused.
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
        if now_ns - self.walked_ns > WALK_NS {
            self.walk(tables, now_ns)?;
        }
        while self.due.peek().is_some_and(|Reverse((due_ns, ..))| *due_ns <= now_ns) {
            let Some(Reverse((_, key, generation))) = self.due.pop() else { break };
            let crowded = self.live.len() > CROWDED;
            let Some(live) = self.live.get_mut(&key).filter(|live| live.generation == generation) else {
                continue;
            };
            let Some(slot) = tables.slot(live.number) else { continue };
            let lost = mend(tables, live, now_ns, empty_ns);
            if lost > 0 {
                let told = if now_ns < self.mended.1 { lost.min(self.mended.0) } else { 0 };
                self.mended.0 -= told;
                tables.released_total().fetch_add(lost - told, Ordering::Release);
                tables.count(inspector_count::LOST, lost - told);
            }
            let again_ns = match slot.state() {
                hold_state::REFUSED if slot.refused_until_ns() <= now_ns || (crowded && live.datagrams) => {
                    let number = live.number;
                    tables.forget(&typed(&key), slot)?;
                    self.remove(&key);
                    self.owned.insert(number);
                    self.waiting.push(Leaving { number, entry: None });
                    continue;
                }
                hold_state::REFUSED if live.datagrams => {
                    slot.refused_until_ns().min(now_ns + CROWDED_LOOK_NS)
                }
                hold_state::REFUSED => slot.refused_until_ns(),
                hold_state::PASSING if slot.is_equal() => {
                    self.waiting.push(Leaving { number: live.number, entry: Some((key, generation)) });
                    continue;
                }
                hold_state::PASSING => now_ns + LOOK_AGAIN_NS,
                _ if live.for_life && live.last_ns + DNS_IDLE_NS > now_ns => live.last_ns + DNS_IDLE_NS,
                _ if !live.for_life && slot.born_ns() + WATCHED_NS > now_ns => slot.born_ns() + WATCHED_NS,
                _ => {
                    let again_ns = give_up(live, slot, now_ns, &mut gave_up);
                    self.memory.weigh(&key, live);
                    again_ns
                }
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
                    self.remove(&key);
                    self.owned.insert(number);
                    self.waiting.push(Leaving { number, entry: None });
                }
                Some((key, generation)) => self.due.push(Reverse((0, key, generation))),
                None => {
                    for direction in 0..2 {
                        let held = slot.held(direction);
                        slot.released(direction).store(held, Ordering::Release);
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

/// Ends the reading of a flow: it passes from now on, unless what it has named so far is refused. When to look at it
/// again.
fn give_up(
    live: &mut Live,
    slot: Slot<'_>,
    now_ns: u64,
    gave_up: &mut impl FnMut(&Live, Box<Flow>) -> Option<u32>,
) -> u64 {
    match live.unwatch().and_then(|flow| gave_up(live, flow)) {
        Some(reason) => {
            slot.set_refused_until(now_ns + REFUSED_NS, reason);
            slot.set_state(hold_state::REFUSED);
            now_ns + CROWDED_LOOK_NS
        }
        None => {
            slot.set_state(hold_state::PASSING);
            now_ns
        }
    }
}

/// Makes the counters of a flow meet where a packet is gone. How many are.
fn mend(tables: &HoldTables, live: &mut Live, now_ns: u64, empty_ns: u64) -> u64 {
    let Some(slot) = tables.slot(live.number) else { return 0 };
    let held = [slot.held(0), slot.held(1)];
    if slot.is_equal() || live.stuck.0 != held {
        live.stuck = (held, now_ns);
        return 0;
    }
    let since_ns = live.stuck.1;
    // What was put into the TAP before `since` would have been read before it was seen empty so much later
    if now_ns.saturating_sub(since_ns) < LOST_NS || empty_ns < since_ns + LOST_NS / 2 {
        return 0;
    }
    (0..2).zip(held).fold(0, |lost, (direction, held)| {
        let released = slot.released(direction);
        let of_direction = held.wrapping_sub(released.load(Ordering::Acquire));
        released.store(held, Ordering::Release);
        lost + u64::from(of_direction)
    })
}

#[cfg(test)]
mod tests {
    use clearway_inspector::flow::Transport;

    use super::*;
    use crate::hold_memory::{READING_BYTES_MAX, SHARE_BYTES};

    /// A flow of which nothing came but `byte_at`, a byte so far behind its start.
    fn begin(flows: &mut Flows, number: u32, byte_at: u32) -> KeyBytes {
        let mut key: KeyBytes = [0; size_of::<KeyBytes>()];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let mut flow = Flow::new(Transport::Tcp, 53, Some(0));
        flow.segment(byte_at, b"x", &mut Vec::new());
        let kind = Kind { for_life: true, datagrams: false, between: (([0; 16], 0), ([0; 16], 0), 0) };
        let entry = HeldFlow { slot: number, generation: 1 };
        flows.watch(key, entry, flow, Some(0), kind, u64::from(number));
        key
    }

    #[test]
    fn as_many_flows_as_there_can_be_with_all_that_each_may_keep_stay_within_the_bound() {
        let mut flows = Flows::none();
        let (small, mut given_up) = (begin(&mut flows, 0, 0), Vec::new());
        for number in 1..limit::HELD_FLOWS_MAX {
            begin(&mut flows, number, 18_000);
            flows.give_back(|live| {
                given_up.push(live.number);
                live.unwatch();
                0
            });
            assert!(flows.memory.bytes() <= READING_BYTES_MAX);
        }
        let kept: usize = flows.live.values().map(Live::memory_bytes).sum();
        assert_eq!(kept, flows.memory.bytes());
        assert!(kept > READING_BYTES_MAX - 3 * SHARE_BYTES * 3, "{kept}");
        // The oldest first, and no more than had to be; one that holds little isn't pushed out, however old
        assert!(given_up.iter().copied().eq(1..=given_up.len() as u32));
        assert!(flows.get(&small).is_some_and(|live| live.watched.is_some()));
        for number in 0..limit::HELD_FLOWS_MAX {
            let mut key = small;
            key[..4].copy_from_slice(&number.to_be_bytes());
            flows.decided(&key, 0);
        }
        assert_eq!((flows.memory.bytes(), flows.memory.to_give_back()), (0, None));
    }
}
