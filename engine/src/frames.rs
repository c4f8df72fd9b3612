//! For measurements: frames sent by the kernel itself as fast as one core can, and an end that counts and drops them.
//!
//! XDP live frames (BPF_F_TEST_XDP_LIVE_FRAMES, kernel ≥ 5.18) go out of a port as if its driver had redirected them:
//! no socket, no buffer. A veth takes them only while the port and its peer poll (generic receive offload on, or an XDP
//! program there).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use libbpf_sys as sys;

use crate::abi::{Draw, Pair, GENERATOR_OBJECT, SINK_OBJECT};
use crate::error::{Error, Result};
use crate::kernel;
use crate::mapped;
use crate::object::Object;

/// What may be sent: Ethernet and IPv4 headers at least, one page at most.
const FRAME_BYTES: std::ops::RangeInclusive<usize> = 34..=3000;
/// The kernel's own limit (XDP_BATCH_MAX in net/bpf/test_run.c).
const BATCH_MAX: u32 = 256;
const PAIRS_MAX: usize = 1 << 26;

/// Which addresses of a frame are drawn anew for each copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Randomize {
    /// The IPv4 source.
    pub source: bool,
    /// The IPv4 destination.
    pub destination: bool,
}

impl Randomize {
    /// "", "source", "destination" or "both".
    pub fn parse(word: &str) -> Result<Self> {
        let (source, destination) = match word {
            "" => (false, false),
            "source" => (true, false),
            "destination" => (false, true),
            "both" => (true, true),
            _ => return Err(Error::Misuse(format!("{word} names no addresses to draw"))),
        };
        Ok(Randomize { source, destination })
    }
}

/// Sends `count` copies of a frame out of a port of this thread's network namespace, from this thread's core. How long
/// it took, without loading. Copies that the port's queue had no room for are lost in it.
pub fn send(
    ifindex: u32,
    frame: &[u8],
    count: u32,
    batch: u32,
    randomize: Randomize,
    seed: u64,
    pairs: &[Pair],
) -> Result<Duration> {
    if !FRAME_BYTES.contains(&frame.len()) {
        return Err(Error::Misuse(format!("a frame of {} bytes", frame.len())));
    }
    if pairs.is_empty() || pairs.len() > PAIRS_MAX {
        return Err(Error::Misuse(format!("{} pairs to draw addresses from", pairs.len())));
    }
    let program = load(randomize, seed, pairs)?;
    let context =
        sys::xdp_md { data_end: frame.len() as u32, ingress_ifindex: ifindex, ..Default::default() };
    let context: *const sys::xdp_md = &context;
    let mut options = sys::bpf_test_run_opts {
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        ctx_in: context.cast(),
        ctx_size_in: size_of::<sys::xdp_md>() as u32,
        repeat: i32::try_from(count.max(1)).unwrap_or(i32::MAX),
        flags: sys::BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size: batch.clamp(1, BATCH_MAX),
        ..Default::default()
    };
    let began = Instant::now();
    kernel::test_run(program.as_fd(), &mut options).map_err(refused)?;
    Ok(began.elapsed())
}

fn load(randomize: Randomize, seed: u64, pairs: &[Pair]) -> Result<OwnedFd> {
    let mut object = Object::open("generator", GENERATOR_OBJECT)?;
    let draw = Draw {
        seed,
        pairs: pairs.len() as u32,
        source: randomize.source.into(),
        destination: randomize.destination.into(),
        unused: 0,
    };
    object.set_constant("draw", bytemuck::bytes_of(&draw))?;
    object.set_entries("pairs", pairs.len() as u32)?;
    let loaded = object.load()?;
    let mut memory = mapped::of_fds(&loaded.maps, "pairs", size_of::<Pair>(), pairs.len())?;
    if let Some(room) = memory.slice_mut::<Pair>().get_mut(..pairs.len()) {
        room.copy_from_slice(pairs);
    }
    Ok(loaded.program)
}

fn refused(error: io::Error) -> Error {
    Error::kernel("send live frames (BPF_PROG_TEST_RUN)", error)
}

/// A program on a port that counts every frame and drops it; it goes when this does.
#[derive(Debug)]
pub struct Sink {
    arrived: OwnedFd,
    cpus: usize,
    _link: OwnedFd,
}

impl Sink {
    /// On a port of this thread's network namespace that has no XDP program.
    pub fn attach(ifindex: u32) -> Result<Self> {
        let mut loaded = Object::open("sink", SINK_OBJECT)?.load()?;
        let arrived = loaded.maps.remove("arrived").ok_or_else(|| Error::Misuse("no counter".to_owned()))?;
        let link = kernel::link_create(loaded.program.as_fd(), ifindex, sys::BPF_XDP)?;
        Ok(Sink { arrived, cpus: kernel::possible_cpus()?, _link: link })
    }

    /// Frames that arrived since.
    pub fn packets(&self) -> Result<u64> {
        Ok(kernel::per_cpu::<u64>(self.arrived.as_fd(), 0, self.cpus)?.iter().sum())
    }
}
