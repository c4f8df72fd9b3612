//! The hold loop: reads what the programs put into the two TAPs, reads names in it, writes it back in order, or
//! answers.
//!
//! Order, without which packets overtake each other: the program raises `held` before it redirects to the TAP; here
//! `released` is raised only after write() has returned, which is when the frame is in the far port's transmit. A
//! decided flow goes direct only while both are equal. A packet that completes no name is written at once: nothing
//! is kept here beyond the frame in hand, so a killed inspector loses one packet. What it keeps of a flow is bounded by
//! the programs (HELD_FLOWS_MAX flows), by `flow` (FLOW_BYTES_MAX) and by hold_memory.rs (READING_BYTES_MAX of all).
//!
//! Long because the order of its steps is what it is about. No capability, no allocation that an outsider sizes, no
//! lock that somebody holds for long. Called by python_hold.rs in the inspector process; it must not be called twice at
//! the same time.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clearway_inspector::answers::Standing;
use clearway_inspector::flow::{Flow, Step, Transport};
use clearway_inspector::frame::{self, flags, LinkType, Packet};
use clearway_inspector::observation::{Observation, Protocol};

use crate::abi::{hold_state, inspector_count, limit, name_class};
use crate::clock;
use crate::error::{Error, Result};
use crate::hold_answers::{answer, spoken};
use crate::hold_company::{Company, COMPANY};
use crate::hold_events::{key_of, Refusals, Refused};
use crate::hold_flows::{Flows, REFUSED_NS};
use crate::hold_live::{bytes_of, Between, KeyBytes, Kind, Live, UDP};
use crate::hold_packet::{ends, read_packet, segments, Held};
use crate::hold_rules::{Hit, Rules};
use crate::hold_tables::HoldTables;
use crate::tap::{self, VNET_HEADER_BYTES};

/// Frames of one TAP before the other's turn, and before the next heartbeat: a few hundred µs.
const BATCH_FRAMES_MAX: usize = 64;
/// A heartbeat at least this often: an eighth of HEARTBEAT_STALE_MS.
const BEAT_MS: libc::c_int = 8;
/// How often the TAPs' own drops are looked at.
const DROPS_LOOK_NS: u64 = 100_000_000;
/// Slots that a predecessor left over are looked for once, so long after the start.
const ABANDONED_LOOK_NS: u64 = 1_000_000_000;
/// At the end: so long for what is in the TAPs to leave them.
const DRAIN_NS: u64 = 100_000_000;
/// `released_total` that trails without a packet in any TAP for so long is brought up to `held_total`.
const TOTAL_STUCK_NS: u64 = 200_000_000;

const DNS_PORT: u16 = 53;
const TCP: u8 = 6;

/// With `released_first`: between the two steps, so that another packet finds its way past.
const OVERTAKING: Duration = Duration::from_millis(1);

/// For tests: the loop with one thing wrong, or slow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conduct {
    /// Raises `released` before it writes: packets then overtake each other.
    pub released_first: bool,
    /// Each decision takes so long.
    pub decision: Duration,
}

/// See the file's head. Everything but run() may be called while it runs.
#[derive(Debug)]
pub struct Hold {
    taps: [OwnedFd; 2],
    tables: HoldTables,
    rules: Mutex<Arc<Rules>>,
    /// What was refused.
    pub refusals: Refusals,
    begun: AtomicBool,
    ending: AtomicBool,
    conduct: Conduct,
}

impl Hold {
    /// `taps` by enum direction, `maps` by name.
    pub fn new(taps: [OwnedFd; 2], maps: &BTreeMap<String, OwnedFd>, conduct: Conduct) -> Result<Self> {
        Ok(Hold {
            taps,
            tables: HoldTables::open(maps)?,
            rules: Mutex::default(),
            refusals: Refusals::default(),
            begun: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            conduct,
        })
    }

    /// Changes what names are judged by, as a whole; the loop sees it at its next batch.
    pub fn change<T>(&self, change: impl FnOnce(&mut Rules) -> Result<T>) -> Result<T> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Rules::clone(&rules);
        let answer = change(&mut changed)?;
        *rules = Arc::new(changed);
        Ok(answer)
    }

    /// What names are judged by just now.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It knows what to judge by: from here on it reads, and its heart beats.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Lets run() return, once what is held has passed.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// The loop's whole life.
    pub fn run(&self) -> Result<()> {
        while !self.begun.load(Ordering::Acquire) {
            if self.ending.load(Ordering::Acquire) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // Where one was taken away no heart may beat: programs would send packets to nowhere
        for tap in &self.taps {
            tap::name(tap.as_fd()).map_err(|error| Error::kernel("find a TAP", error))?;
        }
        Turn::new(self)?.run()
    }
}

/// What the loop itself has.
struct Turn<'a> {
    hold: &'a Hold,
    tables: &'a HoldTables,
    flows: Flows,
    rules: Arc<Rules>,
    found: Vec<Observation>,
    now_ns: u64,
    /// When both TAPs were last seen empty.
    empty_ns: u64,
    dropped: u64,
    /// `held_total` that was not reached by `released_total`, and since when.
    trailing: (u64, u64),
    /// See write_withheld().
    withheld: Vec<(usize, Vec<u8>)>,
}

impl<'a> Turn<'a> {
    fn new(hold: &'a Hold) -> Result<Self> {
        let now_ns = clock::boot_ns()?;
        let mut flows = Flows::none();
        flows.adopt(&hold.tables, now_ns)?;
        Ok(Turn {
            hold,
            tables: &hold.tables,
            flows,
            rules: hold.rules(),
            found: Vec::new(),
            now_ns,
            empty_ns: 0,
            dropped: dropped(hold),
            trailing: (0, now_ns),
            withheld: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<()> {
        let mut buffer = vec![0; tap::FRAME_BYTES_MAX];
        let (mut drops_ns, begun_ns) = (self.now_ns, self.now_ns);
        let (mut collected, mut ending_ns) = (false, None);
        let (mut ready, mut company, mut waited_ns) = ([true; 2], Company::default(), self.now_ns);
        loop {
            self.now_ns = clock::boot_ns()?;
            self.tables.beat(self.now_ns);
            self.rules = self.hold.rules();
            let (mut read, mut drained) = (0, true);
            for (direction, has_some) in ready.into_iter().enumerate() {
                // What poll() did not name was empty
                if has_some {
                    let of_tap = self.batch(direction, &mut buffer)?;
                    read += of_tap;
                    drained &= of_tap < BATCH_FRAMES_MAX;
                    self.now_ns = clock::boot_ns()?;
                    self.tables.beat(self.now_ns);
                }
            }
            if drained {
                // What was in a TAP before the wait was read, or poll() would have named it
                self.empty_ns = waited_ns;
            }
            self.write_withheld();
            self.move_on()?;
            if self.now_ns - drops_ns > DROPS_LOOK_NS {
                drops_ns = self.now_ns;
                self.look_at_drops();
            }
            if !collected && self.now_ns - begun_ns > ABANDONED_LOOK_NS {
                collected = true;
                self.flows.collect_abandoned(self.tables)?;
            }
            if self.hold.ending.load(Ordering::Acquire) {
                let since_ns = *ending_ns.get_or_insert(self.now_ns);
                self.flows.let_all_pass(self.tables, self.now_ns);
                if read == 0 || self.now_ns - since_ns > DRAIN_NS {
                    return self.last(&mut buffer);
                }
            }
            waited_ns = self.now_ns;
            ready = if drained { self.wait(company.after(read as u32, self.now_ns)) } else { [true; 2] };
        }
    }

    /// Nothing is held any more from the moment the heart stops; what came before that is written still.
    fn last(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.tables.beat(0);
        // Twice: a program that saw it beat may just be putting its packet in
        for pause in [Duration::ZERO, Duration::from_millis(2)] {
            std::thread::sleep(pause);
            for direction in 0..2 {
                while self.batch(direction, buffer)? > 0 {
                    self.flows.let_all_pass(self.tables, self.now_ns);
                }
            }
        }
        Ok(())
    }

    /// Which TAPs have something.
    fn wait(&self, company: bool) -> [bool; 2] {
        if company {
            std::thread::sleep(COMPANY);
        }
        let mut waiting = [0, 1].map(|direction: usize| libc::pollfd {
            fd: self.hold.taps[direction].as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: two pollfds of ours. A signal ends the wait early, which does no harm.
        unsafe { libc::poll(waiting.as_mut_ptr(), 2, BEAT_MS) };
        waiting.map(|tap| tap.revents != 0)
    }

    fn move_on(&mut self) -> Result<()> {
        let (hold, rules, found, now_ns) = (self.hold, &self.rules, &mut self.found, self.now_ns);
        self.flows.turn(self.tables, now_ns, self.empty_ns, |live, flow| {
            given_up(hold, rules, found, now_ns, live, *flow)
        })?;
        self.tables.tell_live(self.flows.count());
        self.mend_total();
        Ok(())
    }

    /// Queries over UDP have no slot: one that a dead inspector had in hand shows only in the sum.
    fn mend_total(&mut self) {
        let (held, released) = (self.tables.held_total(), self.tables.released_total());
        if released.load(Ordering::Acquire) == held || self.trailing.0 != held {
            self.trailing = (held, self.now_ns);
        } else if self.now_ns - self.trailing.1 > TOTAL_STUCK_NS
            && self.empty_ns > self.trailing.1 + TOTAL_STUCK_NS / 2
        {
            let lost = held.wrapping_sub(released.swap(held, Ordering::AcqRel));
            let lost = if lost < 1 << 32 { lost } else { 0 };
            self.tables.count(inspector_count::LOST, lost);
            self.flows.sum_was_mended(lost, self.now_ns);
        }
    }

    fn look_at_drops(&mut self) {
        let dropped = dropped(self.hold);
        if dropped > self.dropped {
            self.tables.count(inspector_count::TAP_DROPPED, dropped - self.dropped);
            self.flows.look_at_all(self.tables, self.now_ns);
        }
        self.dropped = dropped;
    }

    /// Reads and handles frames of one TAP. How many.
    fn batch(&mut self, direction: usize, buffer: &mut [u8]) -> Result<usize> {
        for count in 0..BATCH_FRAMES_MAX {
            let read = tap::read(self.hold.taps[direction].as_fd(), buffer);
            match read.map_err(|error| Error::kernel("read a TAP", error))? {
                Some(whole) => self.handle(direction, whole)?,
                None => return Ok(count),
            }
        }
        Ok(BATCH_FRAMES_MAX)
    }

    fn handle(&mut self, direction: usize, whole: &[u8]) -> Result<()> {
        let frame = whole.get(VNET_HEADER_BYTES..).unwrap_or_default();
        let mut held = Held { whole, frame, direction, key: [0; size_of::<KeyBytes>()], segments: 1 };
        let Ok(packet) = frame::read(LinkType::Ethernet, frame) else {
            self.pass(&held);
            return Ok(());
        };
        let datagrams = packet.transport == Transport::Udp;
        held.segments = segments(whole, packet.payload.len());
        if datagrams && packet.destination_port == DNS_PORT {
            self.query(&held, &packet);
            return Ok(());
        }
        held.key = bytes_of(&key_of(ends(&packet).0, ends(&packet).1, if datagrams { UDP } else { TCP }));
        if self.flows.get(&held.key).is_none() && !self.take_in(&held, &packet)? {
            self.pass(&held);
            return Ok(());
        }
        self.packet_of_flow(&held, &packet);
        self.bound_memory(&held.key);
        Ok(())
    }

    /// A packet of that flow was read: now all flows together may keep too much.
    fn bound_memory(&mut self, key: &KeyBytes) {
        self.flows.weigh(key);
        let (hold, rules, found, now_ns) = (self.hold, &self.rules, &mut self.found, self.now_ns);
        self.flows
            .make_room(self.tables, now_ns, |live, flow| given_up(hold, rules, found, now_ns, live, *flow));
    }

    /// The first packet of a flow that the inspector sees. False: the flow has no entry.
    fn take_in(&mut self, held: &Held<'_>, packet: &Packet<'_>) -> Result<bool> {
        let Some(entry) = self.tables.find(&bytemuck::cast(held.key))? else { return Ok(false) };
        let Some(slot) = self.tables.slot(entry.slot) else { return Ok(false) };
        let flow = Flow::new(packet.transport, packet.destination_port, slot.start());
        let datagrams = packet.transport == Transport::Udp;
        let (client, server) = ends(packet);
        let between = (client, server, held.direction as u32);
        let kind = Kind { for_life: !datagrams && packet.destination_port == DNS_PORT, datagrams, between };
        self.flows.watch(held.key, entry, flow, slot.start(), kind, self.now_ns);
        self.tables.count(inspector_count::FLOWS_HELD, 1);
        Ok(true)
    }

    fn packet_of_flow(&mut self, held: &Held<'_>, packet: &Packet<'_>) {
        let now_ns = self.now_ns;
        let Some(live) = self.flows.get(&held.key) else { return self.pass(held) };
        let Some(slot) = self.tables.slot(live.number) else { return self.pass(held) };
        live.last_ns = now_ns;
        if slot.state() == hold_state::REFUSED {
            return self.drop_refused(held);
        }
        self.found.clear();
        let ends = packet.flags & (flags::RST | flags::FIN) != 0 && live.is_in_place(packet);
        let Some(flow) = live.watched.as_mut() else { return self.pass(held) };
        let mut step = read_packet(flow, held, packet, &mut self.found);
        if packet.transport == Transport::Tcp && ends && step == Step::More {
            flow.end(&mut self.found);
            step = Step::Done;
        }
        if packet.transport == Transport::Tcp {
            live.remember(packet);
        }
        if step == Step::Done && !self.hold.conduct.decision.is_zero() {
            std::thread::sleep(self.hold.conduct.decision);
        }
        match self.judged() {
            Some((seen, hit)) if !hit.observed => self.refuse(held, packet, &seen, hit),
            judged => {
                self.observe(held, packet, judged);
                self.pass(held);
                if let Some(live) = self.flows.get(&held.key) {
                    live.passed(packet);
                }
                if step == Step::Done {
                    slot.set_state(hold_state::PASSING);
                    self.flows.decided(&held.key, now_ns);
                }
            }
        }
    }

    /// A query over UDP stands alone: it has no entry.
    fn query(&mut self, held: &Held<'_>, packet: &Packet<'_>) {
        self.found.clear();
        let mut flow = Flow::new(Transport::Udp, DNS_PORT, None);
        read_packet(&mut flow, held, packet, &mut self.found);
        match self.judged() {
            Some((seen, hit)) if !hit.observed => self.refuse(held, packet, &seen, hit),
            judged => {
                self.observe(held, packet, judged);
                self.pass(held);
            }
        }
    }

    /// Counts what was found, and gives the first of it that is refused, else one that would be.
    fn judged(&mut self) -> Option<(Observation, Hit)> {
        self.found.iter().for_each(|seen| count_class(self.tables, &self.rules, seen));
        self.rules.first_hit(&self.found, self.now_ns).map(|(seen, hit)| (seen.clone(), hit))
    }

    /// Tells of what only observed lists would refuse; the packet goes on as one of no list.
    fn observe(&mut self, held: &Held<'_>, packet: &Packet<'_>, judged: Option<(Observation, Hit)>) {
        if let Some((seen, hit)) = judged {
            self.tables.count(inspector_count::OBSERVED, 1);
            self.tell(held, packet, &seen, hit, ("", true));
        }
    }

    fn refuse(&mut self, held: &Held<'_>, packet: &Packet<'_>, seen: &Observation, hit: Hit) {
        let answering = Arc::clone(&self.rules.answering);
        self.tables.count(refused_by(seen.protocol), 1);
        let name = seen.name.as_ref().map_or("", |name| name.as_str());
        let mut answered = "";
        if answering.observe {
            self.pass(held);
            if let Some(slot) = self.flows.get(&held.key).and_then(|live| self.tables.slot(live.number)) {
                slot.set_state(hold_state::PASSING);
                self.flows.decided(&held.key, self.now_ns);
            }
        } else {
            let mut so_far = (Standing::of(packet), Vec::new());
            if let Some(live) = self.flows.get(&held.key) {
                so_far = (live.standing(packet), live.opening.take());
                if let Some(slot) = self.tables.slot(live.number) {
                    slot.set_refused_until(self.now_ns + REFUSED_NS, hit.told.reason_number);
                    slot.set_state(hold_state::REFUSED);
                }
                self.flows.refused(&held.key, self.now_ns);
            }
            self.drop_refused(held);
            if answering.on {
                let so_far = (so_far.0, so_far.1.as_slice());
                let told = spoken(held.direction, packet.transport, seen.protocol).and_then(|protocol| {
                    answer(held.frame, packet, protocol, name, so_far, &hit.told, &answering)
                });
                answered = self.send(held.direction, told);
            }
        }
        self.tell(held, packet, seen, hit, (answered, answering.observe));
    }

    fn tell(
        &self,
        held: &Held<'_>,
        packet: &Packet<'_>,
        seen: &Observation,
        hit: Hit,
        became: (&'static str, bool),
    ) {
        let (client, server) = ends(packet);
        let between = (client, server, held.direction as u32);
        let datagrams = packet.transport == Transport::Udp;
        let event = event_of(self.now_ns, seen, hit, between, datagrams, became);
        if !self.hold.refusals.put(event) {
            self.tables.count(inspector_count::EVENTS_LOST, 1);
        }
    }

    fn send(&self, direction: usize, told: Option<crate::hold_answers::Answer>) -> &'static str {
        let Some(told) = told else {
            self.tables.count(inspector_count::NOT_ANSWERED, 1);
            return "";
        };
        for (towards, frames) in
            [(1 - direction, &told.ending.to_client), (direction, &told.ending.to_server)]
        {
            for frame in frames {
                let mut whole = vec![0; VNET_HEADER_BYTES];
                whole.extend_from_slice(frame);
                if tap::write(self.hold.taps[towards].as_fd(), &whole).is_ok() {
                    self.tables.count(inspector_count::ANSWER_PACKETS + towards as u32, 1);
                    self.tables.count(inspector_count::ANSWER_BYTES + towards as u32, frame.len() as u64);
                }
            }
        }
        self.tables.count(told.counted, 1);
        told.word
    }

    /// Writes a frame back; it has left the TAP when that has returned, and not before.
    fn pass(&mut self, held: &Held<'_>) {
        if self.hold.conduct.released_first {
            self.release(held);
            self.withheld.push((held.direction, held.whole.to_vec()));
            return;
        }
        if tap::write(self.hold.taps[held.direction].as_fd(), held.whole).is_err() {
            self.tables.count(inspector_count::LOST, 1);
        }
        self.release(held);
    }

    /// For tests only: what was released before it was written.
    fn write_withheld(&mut self) {
        if self.withheld.is_empty() {
            return;
        }
        std::thread::sleep(OVERTAKING);
        for (direction, whole) in self.withheld.drain(..) {
            let _ = tap::write(self.hold.taps[direction].as_fd(), &whole);
        }
    }

    fn drop_refused(&mut self, held: &Held<'_>) {
        let direction = held.direction as u32;
        self.tables.count(inspector_count::REFUSED_PACKETS + direction, held.segments);
        self.tables.count(inspector_count::REFUSED_BYTES + direction, held.frame.len() as u64);
        self.release(held);
    }

    fn release(&mut self, held: &Held<'_>) {
        if let Some(slot) = self.flows.get(&held.key).and_then(|live| self.tables.slot(live.number)) {
            slot.released(held.direction).fetch_add(1, Ordering::Release);
        }
        self.tables.released_total().fetch_add(1, Ordering::Release);
    }
}

/// A flow is read no further: its time is up, or there is no room. Why it is refused (enum reason), if what it has named
/// so far is.
fn given_up(
    hold: &Hold,
    rules: &Rules,
    found: &mut Vec<Observation>,
    now_ns: u64,
    live: &Live,
    mut flow: Flow,
) -> Option<u32> {
    let tables = &hold.tables;
    found.clear();
    flow.end(found);
    tables.count(inspector_count::GAVE_UP, 1);
    found.iter().for_each(|seen| count_class(tables, rules, seen));
    // Nobody hides a name by never sending the last byte. There is no packet in hand to answer
    let (seen, hit) = rules.first_hit(found, now_ns)?;
    let (reason, observe) = (hit.told.reason_number, rules.answering.observe || hit.observed);
    if hit.observed {
        tables.count(inspector_count::OBSERVED, 1);
    } else {
        tables.count(refused_by(seen.protocol), 1);
        tables.count(inspector_count::NOT_ANSWERED, 1);
    }
    if let Some(between) = live.between {
        let event = event_of(now_ns, seen, hit, between, live.datagrams, ("", observe));
        if !hold.refusals.put(event) {
            tables.count(inspector_count::EVENTS_LOST, 1);
        }
    }
    (!observe).then_some(reason)
}

/// What is told of a refusal; last, what was answered, and whether it was only observed.
fn event_of(
    boot_ns: u64,
    seen: &Observation,
    hit: Hit,
    (client, server, direction): Between,
    datagrams: bool,
    (answered, observed): (&'static str, bool),
) -> Refused {
    Refused {
        boot_ns,
        protocol: seen.protocol,
        name: seen.name.as_ref().map_or("", |name| name.as_str()).to_owned(),
        entry: hit.entry,
        scope: hit.scope,
        list: hit.list,
        told: hit.told,
        client,
        server,
        transport: if datagrams { UDP } else { TCP },
        direction,
        answered,
        observed,
    }
}

fn count_class(tables: &HoldTables, rules: &Rules, seen: &Observation) {
    let class = match &seen.name {
        Ok(name) if seen.ech && rules.public_ech.iter().any(|public| public == name.as_str()) => {
            name_class::PUBLIC_ECH
        }
        Ok(_) => name_class::SEEN,
        Err(_) => name_class::NONE,
    };
    tables.count(seen.protocol as u32 * limit::NAME_CLASSES + class, 1);
    if seen.ambiguous > 0 {
        tables.count(inspector_count::AMBIGUOUS, 1);
    }
}

fn refused_by(protocol: Protocol) -> u32 {
    inspector_count::REFUSED_DNS + (protocol as u32).min(3)
}

/// What both TAPs have dropped, as the kernel counts it.
fn dropped(hold: &Hold) -> u64 {
    hold.taps.iter().map(|tap| tap::dropped(tap.as_fd()).unwrap_or(0)).sum()
}
