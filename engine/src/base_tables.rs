//! The base in the kernel's memory: fill the idle copy, flip, compare the live one. The programs read the copy that the
//! epoch names; the other is nobody's but ours from the grace period after a flip until the next flip.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::abi::{limit, BaseMeta, Bitmap, FrontLine, V6Bucket, V6Slot};
use crate::base::{Base, Capacity};
use crate::clock;
use crate::control::Control;
use crate::difference::Difference;
use crate::error::{Error, Result};
use crate::mapped::{of_fds, Mapped};
use crate::v6_bits::{self, Bits};

const FRONT_WORDS: usize = limit::V4_FRONT_WORDS as usize;
const FILTER_WORDS: usize = (limit::V6_SHORT_WORDS + limit::V6_BASE_LONG_WORDS) as usize;

/// The maps whose names begin with base_.
#[derive(Debug)]
pub struct BaseTables {
    control: Arc<Control>,
    capacity: Capacity,
    front: Mapped,
    bitmaps: Mapped,
    observed: Mapped,
    v6_filter: Mapped,
    v6_buckets: Mapped,
    v6_slots: Mapped,
    meta: Mapped,
    /// A flip may have been the last act of a process that did not live to wait.
    grace_owed: bool,
}

impl BaseTables {
    /// `capacity`: what the loaded programs were told.
    pub fn open<F: AsFd>(
        fds: &BTreeMap<String, F>,
        capacity: Capacity,
        control: Arc<Control>,
    ) -> Result<Self> {
        capacity.check()?;
        let twice = |elements: u32| 2 * elements as usize;
        Ok(BaseTables {
            capacity,
            front: of_fds(fds, "base_front", size_of::<FrontLine>(), twice(limit::V4_FRONT_LINES))?,
            bitmaps: of_fds(fds, "base_bitmaps", size_of::<Bitmap>(), twice(capacity.bitmaps))?,
            observed: of_fds(fds, "base_observed", size_of::<Bitmap>(), twice(capacity.observed))?,
            v6_filter: of_fds(fds, "base_v6_filter", 8, 2 * FILTER_WORDS)?,
            v6_buckets: of_fds(fds, "base_v6_buckets", size_of::<V6Bucket>(), twice(capacity.v6_buckets))?,
            v6_slots: of_fds(fds, "base_v6_slots", size_of::<V6Slot>(), twice(capacity.v6_slots))?,
            meta: of_fds(fds, "base_meta", size_of::<BaseMeta>(), 2)?,
            grace_owed: control.epoch() != 0,
            control,
        })
    }

    /// Writes the idle copy whole. Refused before anything is written.
    pub fn fill(&mut self, base: &Base<'_>) -> Result<()> {
        self.check_room(base)?;
        if std::mem::take(&mut self.grace_owed) {
            clock::membarrier()?;
        }
        let copy = self.control.epoch().wrapping_add(1) & 1;
        let capacity = self.capacity;
        fill_front(half(self.front.slice_mut(), copy, limit::V4_FRONT_LINES)?, base);
        let bitmaps: &mut [Bitmap] = half(self.bitmaps.slice_mut(), copy, capacity.bitmaps)?;
        for (into, bitmap) in bitmaps.iter_mut().zip(base.kernel_bitmaps()) {
            *into = bitmap;
        }
        let observed: &mut [Bitmap] = half(self.observed.slice_mut(), copy, capacity.observed)?;
        for (into, bitmap) in observed.iter_mut().zip(base.kernel_observed()) {
            *into = bitmap;
        }
        let filter = half(self.v6_filter.slice_mut(), copy, FILTER_WORDS as u32)?;
        filter.fill(0);
        fill_filter(filter, base);
        let buckets = half(self.v6_buckets.slice_mut(), copy, capacity.v6_buckets)?;
        put_front(buckets, &[V6Bucket { first: 0, count: 0 }]); // what an empty base has
        put_front(buckets, &base.buckets);
        put_front(half(self.v6_slots.slice_mut(), copy, capacity.v6_slots)?, &base.slots);
        put_front(half(self.meta.slice_mut(), copy, 1)?, &[meta_of(base)]);
        Ok(())
    }

    fn check_room(&self, base: &Base<'_>) -> Result<()> {
        let needs = base.needs();
        for (what, needed, room) in [
            ("bitmaps of /24s", needs.bitmaps, self.capacity.bitmaps),
            ("buckets of IPv6 prefixes", needs.v6_buckets, self.capacity.v6_buckets),
            ("IPv6 prefixes", needs.v6_slots, self.capacity.v6_slots),
            ("bitmaps of observed lists", needs.observed, self.capacity.observed),
        ] {
            if needed > room {
                return Err(Error::Capacity {
                    what: what.to_owned(),
                    needed: needed.into(),
                    room: room.into(),
                });
            }
        }
        Ok(())
    }

    /// Which copy the next flip publishes; nobody reads it once fill() has waited.
    pub fn idle_copy(&self) -> u32 {
        self.control.epoch().wrapping_add(1) & 1
    }

    /// Publishes the idle copy and, with `grace`, waits until no program reads the other one. The new epoch.
    pub fn flip(&mut self, grace: bool) -> Result<u32> {
        let epoch = self.control.next_epoch();
        self.grace_owed = grace;
        if grace {
            clock::membarrier()?;
            self.grace_owed = false;
        }
        Ok(epoch)
    }

    /// The live copy, every cell of it.
    pub fn compare(&self, base: &Base<'_>) -> Result<Difference> {
        let copy = self.control.epoch() & 1;
        let mut found = Difference {
            wanted: (2 * base.cells.len() + base.buckets.len() + base.slots.len()) as u64,
            ..Difference::default()
        };
        if let Err(Error::Capacity { needed, room, .. }) = self.check_room(base) {
            // What has no room cannot be there
            found.missing = needed - room;
            found.examples.push(format!("the maps have room for {room} of {needed}"));
            return Ok(found);
        }
        let capacity = self.capacity;
        compare_front(half_of(self.front.slice(), copy, limit::V4_FRONT_LINES)?, base, &mut found);
        let bitmaps: &[Bitmap] = half_of(self.bitmaps.slice(), copy, capacity.bitmaps)?;
        for ((held, wanted), number) in
            bitmaps.iter().zip(base.kernel_bitmaps()).zip(base.cell_numbers.iter())
        {
            found.value(held, &wanted, || format!("bitmap of {}", v4_text(*number)));
        }
        let observed: &[Bitmap] = half_of(self.observed.slice(), copy, capacity.observed)?;
        for ((held, wanted), number) in
            observed.iter().zip(base.kernel_observed()).zip(base.cell_numbers.iter())
        {
            found.value(held, &wanted, || format!("observed bits of {}", v4_text(*number)));
        }
        let mut filter = vec![0; FILTER_WORDS];
        fill_filter(&mut filter, base);
        let held: &[u64] = half_of(self.v6_filter.slice(), copy, FILTER_WORDS as u32)?;
        for (number, (held, wanted)) in held.iter().zip(&filter).enumerate() {
            found.bits(*held, *wanted, || format!("word {number} of the IPv6 filter"));
        }
        let buckets = half_of(self.v6_buckets.slice(), copy, capacity.v6_buckets)?;
        compare_each(buckets, &base.buckets, "IPv6 bucket", &mut found);
        let slots = half_of(self.v6_slots.slice(), copy, capacity.v6_slots)?;
        compare_each(slots, &base.slots, "IPv6 slot", &mut found);
        compare_each(half_of(self.meta.slice(), copy, 1)?, &[meta_of(base)], "description", &mut found);
        Ok(found)
    }
}

/// One copy of a map of two.
fn half<T>(elements: &mut [T], copy: u32, size: u32) -> Result<&mut [T]> {
    let first = copy as usize * size as usize;
    elements.get_mut(first..first + size as usize).ok_or_else(too_small)
}

fn half_of<T>(elements: &[T], copy: u32, size: u32) -> Result<&[T]> {
    let first = copy as usize * size as usize;
    elements.get(first..first + size as usize).ok_or_else(too_small)
}

fn too_small() -> Error {
    Error::Misuse("a map of the base is smaller than it was said to be".to_owned())
}

fn put_front<T: Pod>(into: &mut [T], elements: &[T]) {
    for (into, element) in into.iter_mut().zip(elements) {
        *into = *element;
    }
}

fn fill_front(front: &mut [FrontLine], base: &Base<'_>) {
    front.fill(FrontLine::zeroed());
    for number in base.cell_numbers.iter() {
        let word = *number as usize / 64;
        let line = front.get_mut(word / FRONT_WORDS);
        if let Some(word) = line.and_then(|line| line.present.get_mut(word % FRONT_WORDS)) {
            *word |= 1 << (number % 64);
        }
    }
    let mut rank = 0;
    for line in front {
        line.rank = rank;
        for (within, word) in line.within.iter_mut().zip(line.present) {
            *within = (rank - line.rank) as u16;
            rank += word.count_ones();
        }
    }
}

fn compare_front(front: &[FrontLine], base: &Base<'_>, found: &mut Difference) {
    let mut wanted = vec![FrontLine::zeroed(); front.len()];
    fill_front(&mut wanted, base);
    for (number, (held, wanted)) in front.iter().zip(&wanted).enumerate() {
        let what =
            || format!("front of {} and the 383 behind it", v4_text((number * FRONT_WORDS * 64) as u32));
        for (held, wanted) in held.present.iter().zip(wanted.present) {
            found.bits(*held, wanted, what);
        }
        found.value(&(held.rank, held.within), &(wanted.rank, wanted.within), what);
    }
}

fn v4_text(cell_number: u32) -> String {
    format!("{}/24", std::net::Ipv4Addr::from(cell_number << 8))
}

fn compare_each<T: Pod + PartialEq>(held: &[T], wanted: &[T], what: &str, found: &mut Difference) {
    for (number, (held, wanted)) in held.iter().zip(wanted).enumerate() {
        found.value(held, wanted, || format!("{what} {number}"));
    }
}

fn fill_filter(filter: &mut [u64], base: &Base<'_>) {
    for slot in base.slots.iter() {
        let (first, last) = match v6_bits::bits(slot.high, slot.length.into(), limit::V6_BASE_LONG_WORDS) {
            Bits::Short(bits) => (*bits.start(), *bits.end()),
            Bits::Long(bit) => (v6_bits::SHORT_BITS + bit, v6_bits::SHORT_BITS + bit),
        };
        for bit in first..=last {
            if let Some(word) = filter.get_mut(bit as usize / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }
}

fn meta_of(base: &Base<'_>) -> BaseMeta {
    let mut meta = BaseMeta {
        v6_seed: base.seed,
        v6_bucket_mask: base.needs().v6_buckets - 1,
        v6_length_count: base.lengths.len() as u32,
        v6_length: [0; 136],
    };
    put_front(&mut meta.v6_length, base.lengths);
    meta
}
