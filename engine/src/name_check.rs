//! The kernel's reader of names held to the inspector's: on frames that a caller has, and on any number of generated
//! ones. What the kernel says is to be what the inspector says, or "not here". For tests and `clearway bench`.

use std::os::fd::BorrowedFd;

use clearway_inspector::flow::{Flow, Transport, DNS_PORT};
use clearway_inspector::frame::{self, LinkType};
use clearway_inspector::name_hash::{self, Keys};
use clearway_inspector::observation::Observation;

use crate::abi::{name_answer, NameMeta, NameWindow};
use crate::error::Result;
use crate::name_samples::Samples;
use crate::probe;

/// Differences kept as text.
const EXAMPLES_MAX: usize = 10;
/// Frames that run before what was said of them is compared.
const BATCH: usize = 256;
/// TCP's flags in its header, and SYN alone: a first packet whose data is read at once (RFC 7413).
const FLAGS_OFFSET: usize = 13;
const SYN: u8 = 2;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// By enum name_answer, frames of a TCP flow's start or a DNS query.
    pub answers: [u64; 4],
    /// Frames where the two say different things.
    pub differences: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// Where the frames run.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The TCX program.
    pub program: BorrowedFd<'a>,
    /// name_window
    pub window: BorrowedFd<'a>,
    /// Of the port that they come in at.
    pub ifindex: u32,
    /// Under which a name's key is made.
    pub meta: NameMeta,
}

impl Reader<'_> {
    /// Frames as they are, but for TCP's flags: each is read as the first of its flow. Those that have no name to read
    /// (DNS over TCP, what is no query over UDP, an empty packet) are left out.
    pub fn check(&self, frames: &[&[u8]]) -> Result<Check> {
        let first = frames.iter().filter_map(|frame| first_of_its_flow(frame));
        let mut check = Check::default();
        let mut batch: Vec<Vec<u8>> = Vec::with_capacity(BATCH);
        for frame in first {
            batch.push(frame);
            if batch.len() == BATCH {
                self.run(&batch, &mut check)?;
                batch.clear();
            }
        }
        self.run(&batch, &mut check)?;
        Ok(check)
    }

    /// As many generated ones; the same seed gives the same.
    pub fn check_generated(&self, seed: u64, count: u64) -> Result<Check> {
        let mut samples = Samples::new(seed);
        let mut check = Check::default();
        for first in (0..count).step_by(BATCH) {
            let frames: Vec<Vec<u8>> =
                (first..count.min(first + BATCH as u64)).map(|_| samples.frame()).collect();
            self.run(&frames, &mut check)?;
        }
        Ok(check)
    }

    fn run(&self, frames: &[Vec<u8>], check: &mut Check) -> Result<()> {
        let views: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let windows = probe::read_names(self.program, self.window, self.ifindex, &views)?;
        for (frame, window) in views.iter().zip(&windows).filter(|(frame, window)| was_read(frame, window)) {
            if let Some(answers) = check.answers.get_mut(window.read.answer as usize) {
                *answers += 1;
            }
            if let Some(why) = self.difference(frame, window) {
                check.differences += 1;
                if check.examples.len() < EXAMPLES_MAX {
                    check.examples.push(format!("{why}: {}", hex(frame)));
                }
            }
        }
        Ok(())
    }

    /// What the inspector says otherwise.
    fn difference(&self, frame: &[u8], window: &NameWindow) -> Option<String> {
        let read = window.read;
        if read.answer != name_answer::CLEAN && read.answer != name_answer::NONE {
            return None; // the inspector has the last word
        }
        let found = observed(frame);
        if read.answer == name_answer::NONE {
            let named = found.iter().find(|one| one.name.is_ok());
            return named.map(|one| format!("the kernel says that there is no name, the inspector {one:?}"));
        }
        let place = read.at as usize..read.at as usize + read.length as usize;
        let text = window.bytes.get(place).unwrap_or_default().to_ascii_lowercase();
        let text = String::from_utf8_lossy(&text).into_owned();
        let same = |one: &Observation| {
            one.protocol as u32 == read.protocol && one.name.as_ref().is_ok_and(|name| name.as_str() == text)
        };
        if found.len() != 1 || !found.iter().all(same) {
            return Some(format!(
                "the kernel says {text:?} of protocol {}, the inspector {found:?}",
                read.protocol
            ));
        }
        let keys = Keys { k0: self.meta.key0, k1: self.meta.key1 };
        let key = name_hash::tagged(name_hash::hash(text.as_bytes(), &keys));
        (key != read.key).then(|| format!("the key of {text:?} is {:#x}, not {:#x}", key, read.key))
    }
}

/// The frame with SYN as TCP's only flag; None: nothing of it is read.
fn first_of_its_flow(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = frame::read(LinkType::Ethernet, frame).ok().filter(|packet| !packet.payload.is_empty())?;
    let is_tcp = packet.transport == Transport::Tcp;
    if is_tcp == (packet.destination_port == DNS_PORT) {
        return None;
    }
    let mut first = frame.to_vec();
    if is_tcp {
        *first.get_mut(packet.l4_offset + FLAGS_OFFSET)? = SYN;
    }
    Some(first)
}

/// Is it this frame's payload that stands in the window? Labels of a query are written over there, behind its header.
fn was_read(frame: &[u8], window: &NameWindow) -> bool {
    let payload = frame::read(LinkType::Ethernet, frame).map_or(&[][..], |packet| packet.payload);
    window.bytes.iter().zip(payload.iter().take(12)).all(|(held, sent)| held == sent)
}

/// Everything that the inspector says of a flow that consists of this packet.
fn observed(frame: &[u8]) -> Vec<Observation> {
    let mut found = Vec::new();
    let Ok(packet) = frame::read(LinkType::Ethernet, frame) else { return found };
    let start = Some(packet.sequence.wrapping_add(1));
    let mut flow = Flow::new(packet.transport, packet.destination_port, start);
    if packet.transport == Transport::Tcp {
        flow.segment(packet.sequence.wrapping_add(1), packet.payload, &mut found);
    } else {
        flow.datagram(packet.payload, &mut found);
    }
    if found.is_empty() {
        flow.end(&mut found);
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
