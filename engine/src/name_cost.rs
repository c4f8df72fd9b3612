//! For measurements: nanoseconds that the programs' reader of names and the filter take, by BPF_PROG_TEST_RUN of
//! name_cost.bpf.c. Each run writes another name into the frame; what that takes is measured alone and taken off.

use std::os::fd::{AsFd, OwnedFd};

use bytemuck::Zeroable;
use libbpf_sys as sys;

use crate::abi::{NameDraw, Settings, NAME_COST_OBJECT};
use crate::error::{Error, Result};
use crate::kernel;
use crate::mapped::{of_fds, Mapped};
use crate::name_tables::{NameTables, Names};
use crate::object::Object;

/// What name_cost.bpf.c draws at most.
const NAME_BYTES_MAX: usize = 80;

/// A frame with a name in it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Ethernet and all.
    pub frame: &'a [u8],
    /// The name's place in it; the bytes there are a pattern, with '?' for any letter.
    pub name_at: usize,
    /// Its length.
    pub name_bytes: usize,
    /// Where the payload begins.
    pub payload_at: usize,
    /// A DNS query, not the first bytes of a TCP flow.
    pub is_dns: bool,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of a run that draws, writes, reads and asks.
    pub all_ns: u32,
    /// Of a run that draws and writes.
    pub drawing_ns: u32,
    /// Names that the filter did not know.
    pub clean: u64,
    /// Names that it took for listed, or that were not found in the frame.
    pub other: u64,
}

/// The loaded program, and tables of its own.
#[derive(Debug)]
pub struct NameCost {
    program: OwnedFd,
    draw: Mapped,
}

impl NameCost {
    /// Asks about these names. Needs the rights of a loader.
    pub fn load(names: &Names<'_>) -> Result<Self> {
        names.check()?;
        let mut object = Object::open("name_cost", NAME_COST_OBJECT)?;
        let words = names.needs();
        object.set_constant(
            "settings",
            bytemuck::bytes_of(&Settings { name_words: words, ..Settings::zeroed() }),
        )?;
        object.set_entries("name_filter", 2 * words)?;
        let loaded = object.load()?;
        NameTables::open(&loaded.maps, words)?.fill(0, names)?;
        let draw = of_fds(&loaded.maps, "name_draw", size_of::<NameDraw>(), 1)?;
        Ok(NameCost { program: loaded.program, draw })
    }

    /// `repeat` runs with names drawn from `seed`, and as many that only draw.
    pub fn measure(&mut self, case: &Case<'_>, repeat: u32, seed: u64) -> Result<Cost> {
        let pattern = case.frame.get(case.name_at..).and_then(|rest| rest.get(..case.name_bytes));
        let pattern = pattern
            .filter(|pattern| (1..=NAME_BYTES_MAX).contains(&pattern.len()))
            .ok_or_else(|| Error::Misuse(format!("a name of {} bytes in this frame", case.name_bytes)))?;
        let payload_bytes = case.frame.len().checked_sub(case.payload_at);
        let mut draw = NameDraw {
            seed,
            name_at: case.name_at as u32,
            name_length: pattern.len() as u32,
            payload_at: case.payload_at as u32,
            payload_length: payload_bytes.unwrap_or(0) as u32,
            is_dns: case.is_dns.into(),
            ..NameDraw::zeroed()
        };
        draw.text.iter_mut().zip(pattern).for_each(|(into, byte)| *into = *byte);
        let drawing_ns = self.run(draw, case.frame, repeat)?;
        draw.read = 1;
        let all_ns = self.run(draw, case.frame, repeat)?;
        let after = self.draw.slice::<NameDraw>().first().copied().unwrap_or(draw);
        Ok(Cost { all_ns, drawing_ns, clean: after.clean, other: after.other })
    }

    fn run(&mut self, draw: NameDraw, frame: &[u8], repeat: u32) -> Result<u32> {
        if let Some(into) = self.draw.slice_mut::<NameDraw>().first_mut() {
            *into = draw;
        }
        let mut options = sys::bpf_test_run_opts {
            data_in: frame.as_ptr().cast(),
            data_size_in: frame.len() as u32,
            repeat: i32::try_from(repeat.max(1)).unwrap_or(i32::MAX),
            ..Default::default()
        };
        kernel::test_run(self.program.as_fd(), &mut options)
            .map_err(|error| Error::kernel("read names (BPF_PROG_TEST_RUN)", error))?;
        Ok(options.duration)
    }
}
