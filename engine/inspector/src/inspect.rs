//! Frames of a capture in, findings out: which flow asked for which name, each name of a flow once, and why a flow has
//! none.
//!
//! Bounded for any file: flows in the table, bytes held for flows that are being read, names remembered of a flow.
//! Whoever has been quiet longest is ended to make room. Knows no file and no clock. Called by `clearway inspect` and
//! `replay`.

use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::capture::{Capture, Record};
use crate::finding::{Finding, FlowTotal};
use crate::flow::{Flow, Step, Transport};
use crate::flow_table::{FlowKey, FlowTable, Keyed};
use crate::fragments::Fragments;
use crate::frame::{self, flags, LinkType, Packet, Unread};
use crate::observation::{Absence, Observation, Protocol};

/// Flows at once; about 176 bytes each with their index: 46 MB.
pub const FLOWS_MAX: usize = 1 << 18;
/// Bytes held for flows whose first message is not complete.
pub const READING_BYTES_MAX: usize = 64 << 20;
/// Names of one flow that are remembered to say each once, 8 bytes each; of more, the newest.
pub const NAMES_MAX: usize = 1024;
/// The same of all flows that have several: 16 MB at most, since a list grows by doubling. Beyond, a flow's new name
/// takes the place of its oldest.
pub const NAMES_KEPT_MAX: usize = 1 << 20;

const DNS_PORT: u16 = crate::flow::DNS_PORT;

/// Reads a capture's frames.
pub struct Inspection {
    flows: FlowTable<Entry>,
    fragments: Fragments,
    hasher: Keyed,
    frames: u64,
    unread_frames: u64,
    reading_bytes: usize,
    names_kept: usize,
    said: Vec<Observation>,
    findings: Vec<Finding>,
    counts: bool,
    totals: Vec<FlowTotal>,
}

#[derive(Default)]
struct Entry {
    /// The side that asks, as far as the flow itself tells: it sent SYN, was sent SYN and ACK, or sent the first
    /// datagram.
    client: Option<Place>,
    sides: [Side; 2],
    names: Names,
    /// What was said of a flow without a name, held back until it is sure that none comes.
    absence: Option<Box<(Place, Observation, u64)>>,
    first_frame: u64,
    last_frame: u64,
    packets: u64,
    bytes: u64,
    told: bool,
    /// Sequence number of the first byte, of the last handshake that was seen.
    opened: Option<u32>,
}

#[derive(Default)]
enum Side {
    #[default]
    Fresh,
    /// TCP: the sequence number of its first byte is known, no byte has come.
    Expecting(u32),
    Reading(Box<Flow>),
    Over,
}

/// Names of a flow by hash.
#[derive(Default)]
enum Names {
    #[default]
    None,
    One(u64),
    Many(Vec<u64>),
}

/// Which of a key's ends a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Lower,
    Higher,
}

impl Place {
    fn other(self) -> Place {
        match self {
            Place::Lower => Place::Higher,
            Place::Higher => Place::Lower,
        }
    }

    fn of(self, [lower, higher]: &mut [Side; 2]) -> &mut Side {
        match self {
            Place::Lower => lower,
            Place::Higher => higher,
        }
    }
}

impl Default for Inspection {
    fn default() -> Self {
        Inspection::new(false)
    }
}

impl Inspection {
    /// Nothing read yet. `counts`: it also tells each flow's packets and bytes when the flow ends.
    pub fn new(counts: bool) -> Self {
        Inspection {
            flows: FlowTable::new(FLOWS_MAX),
            fragments: Fragments::default(),
            hasher: Keyed::drawn(),
            frames: 0,
            unread_frames: 0,
            reading_bytes: 0,
            names_kept: 0,
            said: Vec::new(),
            findings: Vec::new(),
            counts,
            totals: Vec::new(),
        }
    }

    /// The capture's next frame. `link`: None if it begins in a way that can't be read; it counts all the same.
    pub fn frame(&mut self, link: Option<LinkType>, time_ns: u64, frame: &[u8]) {
        self.frames += 1;
        let Some(link) = link else {
            self.unread_frames += 1;
            return;
        };
        match frame::read(link, frame) {
            Ok(packet) => self.packet(&packet),
            Err(Unread::Fragment(fragment)) => {
                if let Some(whole) = self.fragments.push(&fragment, time_ns) {
                    let read =
                        frame::of_fragments(fragment.source, fragment.destination, fragment.protocol, &whole);
                    if let Ok(packet) = read {
                        self.packet(&packet);
                    }
                }
            }
            Err(_) => {}
        }
    }

    /// The capture ends: what its flows still have to say.
    pub fn end(&mut self) {
        while let Some((key, entry)) = self.flows.take_one() {
            self.end_flow(key, entry);
        }
    }

    /// What was found since it was last asked.
    pub fn findings(&mut self) -> std::vec::Drain<'_, Finding> {
        self.findings.drain(..)
    }

    /// Flows that ended since it was last asked; empty unless it counts.
    pub fn totals(&mut self) -> std::vec::Drain<'_, FlowTotal> {
        self.totals.drain(..)
    }

    /// Findings that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.findings.len()
    }

    /// Names that are remembered of flows with several.
    pub fn names_kept(&self) -> usize {
        self.names_kept
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Those of them that begin in a way that can't be read.
    pub fn unread_frames(&self) -> u64 {
        self.unread_frames
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let (key, from_lower) = FlowKey::of(packet);
        let place = if from_lower { Place::Lower } else { Place::Higher };
        while self.reading_bytes > READING_BYTES_MAX {
            let Some((key, entry)) = self.flows.take_quiet() else { break };
            self.end_flow(key, entry);
        }
        let (entry, evicted) = self.flows.entry(key);
        if entry.packets == 0 {
            entry.first_frame = self.frames;
        }
        entry.last_frame = self.frames;
        entry.packets += 1;
        entry.bytes += (packet.payload.len() + packet.missing_bytes) as u64;
        self.said.clear();
        let (before, after) = match packet.transport {
            Transport::Tcp => read_segment(entry, place, packet, &mut self.said),
            Transport::Udp => read_datagram(entry, place, packet, &mut self.said),
        };
        self.reading_bytes = self.reading_bytes.saturating_sub(before) + after;
        for observation in self.said.drain(..) {
            let absence =
                observation.name.as_ref().err().filter(|_| !observation.is_address_for_name()).copied();
            if let Some(absence) = absence {
                // An answer where a query could have stood says nothing of the flow, unless its client sent it.
                let is_answer = absence == Absence::OtherProtocol && observation.protocol == Protocol::Dns;
                if entry.absence.is_none() && (!is_answer || entry.client == Some(place)) {
                    entry.absence = Some(Box::new((place, observation, self.frames)));
                }
                continue;
            }
            let hash = self.hasher.hash_one((observation.protocol, &observation.name, &observation.odd));
            let kept_before = entry.names.kept();
            if entry.names.add(hash, self.names_kept < NAMES_KEPT_MAX) {
                self.findings.push(finding(&key, place, observation, self.frames));
            }
            self.names_kept = self.names_kept.saturating_sub(kept_before) + entry.names.kept();
            entry.told = true;
        }
        // A flow that is sure to have no name is told where it stands, if it is sure which side asks.
        if !entry.told && entry.client == Some(place) && matches!(place.of(&mut entry.sides), Side::Over) {
            if let Some(absence) = entry.absence.take() {
                let (place, observation, frame) = *absence;
                entry.told = true;
                self.findings.push(finding(&key, place, observation, frame));
            }
        }
        if let Some((key, entry)) = evicted {
            self.end_flow(key, entry);
        }
    }

    /// The name of a message that never became whole is not told: nobody answers it, and other readers don't name it.
    fn end_flow(&mut self, key: FlowKey, mut entry: Entry) {
        self.names_kept = self.names_kept.saturating_sub(entry.names.kept());
        let asks = entry.client.unwrap_or(if key.lower_port >= key.higher_port {
            Place::Lower
        } else {
            Place::Higher
        });
        for place in [asks.other(), asks] {
            let Side::Reading(flow) = place.of(&mut entry.sides) else { continue };
            self.reading_bytes = self.reading_bytes.saturating_sub(flow.memory_bytes());
            self.said.clear();
            flow.end(&mut self.said);
            if let Some(mut observation) = self.said.pop() {
                if observation.name.is_ok() || observation.is_address_for_name() {
                    observation = Observation::new(observation.protocol, Err(Absence::Incomplete));
                }
                entry.absence = Some(Box::new((place, observation, entry.last_frame)));
            }
        }
        if self.counts {
            let ((source, source_port), (destination, destination_port)) = ends(&key, asks);
            self.totals.push(FlowTotal {
                source,
                source_port,
                destination,
                destination_port,
                transport: key.transport,
                packets: entry.packets,
                bytes: entry.bytes,
                frame: entry.first_frame,
            });
        }
        if entry.told {
            return;
        }
        let (observation, frame) = match entry.absence {
            Some(absence) => (absence.1, absence.2),
            None => (Observation::new(Protocol::Other, Err(Absence::Empty)), entry.last_frame),
        };
        self.findings.push(finding(&key, asks, observation, frame));
    }
}

fn finding(key: &FlowKey, place: Place, said: Observation, frame: u64) -> Finding {
    let ((source, source_port), (destination, destination_port)) = ends(key, place);
    Finding { source, source_port, destination, destination_port, transport: key.transport, frame, said }
}

/// The end that asks, then the other.
fn ends(key: &FlowKey, asks: Place) -> ((IpAddr, u16), (IpAddr, u16)) {
    let lower = (key.lower, key.lower_port);
    let higher = (key.higher, key.higher_port);
    match asks {
        Place::Lower => (lower, higher),
        Place::Higher => (higher, lower),
    }
}

/// Answers the bytes held for this side before and after.
fn read_segment(
    entry: &mut Entry,
    place: Place,
    packet: &Packet<'_>,
    said: &mut Vec<Observation>,
) -> (usize, usize) {
    let mut sequence = packet.sequence;
    if packet.flags & flags::SYN != 0 {
        let (client, first) = match packet.flags & flags::ACK {
            0 => (place, packet.sequence.wrapping_add(1)),
            _ => (place.other(), packet.acknowledgement),
        };
        sequence = sequence.wrapping_add(1); // SYN takes one; what it carries comes behind (RFC 7413)
        let before = held(place.of(&mut entry.sides)) + held(place.other().of(&mut entry.sides));
        open(entry, client, first, packet.flags & flags::ACK == 0);
        let after = held(place.of(&mut entry.sides)) + held(place.other().of(&mut entry.sides));
        if packet.payload.is_empty() || client != place {
            return (before, after);
        }
    }
    let side = place.of(&mut entry.sides);
    if packet.payload.is_empty() {
        return (0, 0);
    }
    let before = held(side);
    let server_port = packet.destination_port;
    let mut first = match side {
        Side::Over => return (0, 0),
        Side::Reading(flow) => {
            if flow.segment(sequence, packet.payload, said) == Step::Done {
                *side = Side::Over;
            } else if packet.missing_bytes > 0 {
                cut(side, said);
            }
            return (before, held(side));
        }
        Side::Fresh => Flow::new(Transport::Tcp, server_port, None),
        Side::Expecting(start) => Flow::new(Transport::Tcp, server_port, Some(*start)),
    };
    *side = match first.segment(sequence, packet.payload, said) {
        Step::Done => Side::Over,
        Step::More => Side::Reading(Box::new(first)),
    };
    if packet.missing_bytes > 0 {
        cut(side, said);
    }
    (before, held(side))
}

/// A handshake: the flow begins, or begins again on the same ports.
fn open(entry: &mut Entry, client: Place, first: u32, is_syn: bool) {
    let known = match client.of(&mut entry.sides) {
        Side::Expecting(start) => *start == first,
        Side::Fresh => false,
        Side::Reading(_) | Side::Over => {
            !is_syn || entry.client == Some(client) && entry.opened == Some(first)
        }
    };
    entry.client = Some(client);
    if !known {
        entry.opened = Some(first);
        *client.of(&mut entry.sides) = Side::Expecting(first);
    }
    *client.other().of(&mut entry.sides) = Side::Over;
}

/// The capture kept only the front of a segment, so the rest never comes: what is there counts.
fn cut(side: &mut Side, said: &mut Vec<Observation>) {
    if let Side::Reading(flow) = side {
        flow.end(said);
        *side = Side::Over;
    }
}

fn read_datagram(
    entry: &mut Entry,
    place: Place,
    packet: &Packet<'_>,
    said: &mut Vec<Observation>,
) -> (usize, usize) {
    let is_answer = packet.source_port == DNS_PORT && packet.destination_port != DNS_PORT;
    let client = *entry.client.get_or_insert(if is_answer { place.other() } else { place });
    let read_other = client != place && !packet.payload.is_empty();
    let side = place.of(&mut entry.sides);
    // Who did not begin is read only where it could be the client after all: a query between two servers, an Initial.
    let reads = !read_other
        || packet.destination_port == DNS_PORT
        || !entry.told && crate::quic::could_be_initial(packet.payload);
    if is_answer || !reads || matches!(side, Side::Over) {
        return (0, 0);
    }
    let before = held(side);
    if let Side::Fresh | Side::Expecting(_) = side {
        let mut first = Flow::new(Transport::Udp, packet.destination_port, None);
        *side = match first.datagram(packet.payload, said) {
            Step::Done => Side::Over,
            Step::More => Side::Reading(Box::new(first)),
        };
    } else if let Side::Reading(flow) = side {
        if flow.datagram(packet.payload, said) == Step::Done {
            *side = Side::Over;
        }
    }
    (before, held(side))
}

fn held(side: &Side) -> usize {
    match side {
        Side::Reading(flow) => flow.memory_bytes(),
        _ => 0,
    }
}

impl Names {
    /// True if it was not among them. Without `room` the oldest makes way.
    fn add(&mut self, hash: u64, room: bool) -> bool {
        match self {
            Names::None => *self = Names::One(hash),
            Names::One(one) if *one == hash => return false,
            Names::One(one) if !room => *one = hash,
            Names::One(one) => *self = Names::Many(vec![*one, hash]),
            Names::Many(many) if many.contains(&hash) => return false,
            Names::Many(many) => {
                if many.len() == NAMES_MAX || !room {
                    many.remove(0);
                }
                many.push(hash);
            }
        }
        true
    }

    /// Those that count towards the bound.
    fn kept(&self) -> usize {
        match self {
            Names::Many(many) => many.len(),
            _ => 0,
        }
    }
}

/// Holds for any bytes as a capture file: each record moves on, and each finding has a frame.
pub fn invariant(file: &[u8]) {
    let mut capture = Capture::new();
    let mut inspection = Inspection::new(true);
    let mut rest = file;
    let mut resting = false; // a file's own header takes no bytes when it is recognised; nothing else may do so
    while let Ok((record, bytes)) = capture.next(rest) {
        match record {
            Record::More => break,
            Record::Passed => {}
            Record::Frame(captured) => inspection.frame(captured.link.ok(), captured.time_ns, captured.frame),
        }
        assert!(bytes > 0 || !resting, "stands still");
        resting |= bytes == 0;
        rest = rest.get(bytes..).unwrap_or(&[]);
    }
    inspection.end();
    let frames = inspection.frames();
    let mut line = String::new();
    for finding in inspection.findings() {
        assert!(finding.frame >= 1 && finding.frame <= frames);
        line.clear();
        finding.write_json(&mut line);
        assert!(line.is_ascii() && line.find('\n') == Some(line.len() - 1));
    }
}
