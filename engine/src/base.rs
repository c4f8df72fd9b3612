//! One compiled base in memory: views on the parts of a snapshot, checked for shape. base_tables.rs writes it.

use std::borrow::Cow;

use bytemuck::Pod;

use crate::abi::{cell, limit, Bitmap, V6Bucket, V6Slot};
use crate::error::{Error, Result};
use crate::v6_bits;

/// /24s of IPv4.
pub const V4_CELLS: u32 = 1 << 24;

/// Elements a copy of the maps that grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of base_bitmaps: one for each /24 that the base says anything about.
    pub bitmaps: u32,
    /// Of base_v6_buckets: a power of two.
    pub v6_buckets: u32,
    /// Of base_v6_slots.
    pub v6_slots: u32,
    /// Of name_filter.
    pub name_words: u32,
    /// Of base_observed: as bitmaps, and more than 1, where some list is only observed.
    pub observed: u32,
}

impl Capacity {
    /// The least that a map can have.
    pub const LEAST: Capacity =
        Capacity { bitmaps: 1, v6_buckets: 1, v6_slots: 1, name_words: 1, observed: 1 };

    /// Refuses what no map can have.
    pub fn check(&self) -> Result<()> {
        let all = [self.bitmaps, self.v6_buckets, self.v6_slots, self.name_words, self.observed];
        // Two copies, and 2 GB of the largest element
        if all.iter().any(|elements| *elements == 0 || *elements > 1 << 26) {
            return Err(Error::Misuse(format!("a capacity is 1 to 67108864 elements a copy: {self:?}")));
        }
        if !self.v6_buckets.is_power_of_two() {
            return Err(Error::Misuse(format!("v6_buckets is a power of two, not {}", self.v6_buckets)));
        }
        Ok(())
    }

    /// Does this hold the other?
    pub fn holds(&self, other: &Capacity) -> bool {
        self.bitmaps >= other.bitmaps
            && self.v6_buckets >= other.v6_buckets
            && self.v6_slots >= other.v6_slots
            && self.name_words >= other.name_words
            && self.observed >= other.observed
    }
}

/// The parts as bytes, as a snapshot has them.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// u32, ascending: /24s whose cell isn't CELL_NOTHING.
    pub v4_cell_numbers: &'a [u8],
    /// u32: CELL_LISTED, CELL_OBSERVED or CELL_BITMAP + n.
    pub v4_cells: &'a [u8],
    /// struct bitmap.
    pub v4_bitmaps: &'a [u8],
    /// struct bitmap: of each one, the bits that only observed lists set. Empty: of none.
    pub v4_observed: &'a [u8],
    /// struct v6_bucket.
    pub v6_buckets: &'a [u8],
    /// struct v6_slot.
    pub v6_slots: &'a [u8],
    /// Longest first.
    pub v6_lengths: &'a [u8],
    /// Of the hash.
    pub v6_seed: u64,
}

/// The parts as what they are.
#[derive(Debug)]
pub struct Base<'a> {
    /// See Parts.
    pub cell_numbers: Cow<'a, [u32]>,
    /// See Parts.
    pub cells: Cow<'a, [u32]>,
    /// See Parts.
    pub bitmaps: Cow<'a, [Bitmap]>,
    /// See Parts.
    pub observed: Cow<'a, [Bitmap]>,
    /// See Parts.
    pub buckets: Cow<'a, [V6Bucket]>,
    /// See Parts.
    pub slots: Cow<'a, [V6Slot]>,
    /// See Parts.
    pub lengths: &'a [u8],
    /// See Parts.
    pub seed: u64,
}

impl<'a> Base<'a> {
    /// Cheap; copies a part only where its memory isn't aligned. Says nothing of what stands in them: see check().
    pub fn view(parts: Parts<'a>) -> Result<Self> {
        Ok(Base {
            cell_numbers: elements("v4_cell_numbers", parts.v4_cell_numbers)?,
            cells: elements("v4_cells", parts.v4_cells)?,
            bitmaps: elements("v4_bitmaps", parts.v4_bitmaps)?,
            observed: elements("v4_observed", parts.v4_observed)?,
            buckets: elements("v6_buckets", parts.v6_buckets)?,
            slots: elements("v6_slots", parts.v6_slots)?,
            lengths: parts.v6_lengths,
            seed: parts.v6_seed,
        })
    }

    /// Every element of every part: what a program reads from it can only be an answer.
    pub fn check(&self) -> Result<()> {
        self.check_v4()?;
        self.check_v6_lengths()?;
        self.check_v6()
    }

    fn check_v4(&self) -> Result<()> {
        if self.cells.len() != self.cell_numbers.len() {
            return Err(part(
                "v4_cells",
                format!("{} for {} numbers", self.cells.len(), self.cell_numbers.len()),
            ));
        }
        if !self.cell_numbers.is_sorted_by(|a, b| a < b) {
            return Err(part("v4_cell_numbers", "not ascending".to_owned()));
        }
        if let Some(last) = self.cell_numbers.last().filter(|last| **last >= V4_CELLS) {
            return Err(part("v4_cell_numbers", format!("{last} is no /24")));
        }
        let bitmaps = u32::try_from(self.bitmaps.len()).unwrap_or(u32::MAX);
        let good = |cell: u32| {
            [cell::LISTED, cell::OBSERVED].contains(&cell)
                || cell.checked_sub(cell::BITMAP).is_some_and(|n| n < bitmaps)
        };
        if let Some(bad) = self.cells.iter().find(|cell| !good(**cell)) {
            return Err(part("v4_cells", format!("{bad} is no class and no bitmap of {bitmaps}")));
        }
        self.check_observed()
    }

    fn check_observed(&self) -> Result<()> {
        if !self.observed.is_empty() && self.observed.len() != self.bitmaps.len() {
            let (held, wanted) = (self.observed.len(), self.bitmaps.len());
            return Err(part("v4_observed", format!("{held} for {wanted} bitmaps")));
        }
        let within = |(observed, bitmap): (&Bitmap, &Bitmap)| {
            observed.word.iter().zip(bitmap.word).all(|(observed, word)| observed & !word == 0)
        };
        if !self.observed.iter().zip(self.bitmaps.iter()).all(within) {
            return Err(part("v4_observed", "a bit that its bitmap does not have".to_owned()));
        }
        Ok(())
    }

    fn check_v6_lengths(&self) -> Result<()> {
        if self.lengths.iter().any(|length| *length > 128) || !self.lengths.is_sorted_by(|a, b| a > b) {
            return Err(part("v6_lengths", "not descending from 128 at most".to_owned()));
        }
        Ok(())
    }

    fn check_v6(&self) -> Result<()> {
        if !self.buckets.is_empty() && !self.buckets.len().is_power_of_two() {
            return Err(part("v6_buckets", format!("{} of them are no power of two", self.buckets.len())));
        }
        let mut known = [false; 256];
        for length in self.lengths {
            known[usize::from(*length)] = true;
        }
        let mask = (self.buckets.len() as u64).wrapping_sub(1);
        let mut seen = 0;
        for (number, bucket) in self.buckets.iter().enumerate() {
            let slots = (bucket.first as usize)
                .checked_add(bucket.count as usize)
                .and_then(|end| self.slots.get(bucket.first as usize..end))
                .filter(|_| bucket.count <= limit::V6_BUCKET_SLOTS_MAX)
                .ok_or_else(|| part("v6_buckets", format!("bucket {number} reaches past its slots")))?;
            seen += slots.len();
            for slot in slots {
                let hash = v6_bits::hash(self.seed, slot.high, slot.low, slot.length.into());
                if !is_slot(slot) || hash & mask != number as u64 || !known[usize::from(slot.length)] {
                    return Err(part("v6_slots", format!("a slot of bucket {number} does not belong there")));
                }
            }
        }
        if seen != self.slots.len() {
            return Err(part("v6_slots", format!("{} of them, {seen} in buckets", self.slots.len())));
        }
        Ok(())
    }

    /// The bitmap of each /24, in their order, as the kernel holds them: a /24 listed whole has one too.
    pub fn kernel_bitmaps(&self) -> impl Iterator<Item = Bitmap> + '_ {
        let of_cell = |cell: &u32| {
            let n = cell.checked_sub(cell::BITMAP).and_then(|n| self.bitmaps.get(n as usize));
            n.copied().unwrap_or(Bitmap { word: [u64::MAX; 4] })
        };
        self.cells.iter().map(of_cell)
    }

    /// For each /24, in their order, which bits of its bitmap only observed lists set.
    pub fn kernel_observed(&self) -> impl Iterator<Item = Bitmap> + '_ {
        let of_cell = |cell: &u32| match *cell {
            cell::OBSERVED => Bitmap { word: [u64::MAX; 4] },
            cell => {
                let n = cell.checked_sub(cell::BITMAP).and_then(|n| self.observed.get(n as usize));
                n.copied().unwrap_or(Bitmap { word: [0; 4] })
            }
        };
        self.cells.iter().map(of_cell)
    }

    fn any_observed(&self) -> bool {
        !self.observed.is_empty()
            || self.cells.contains(&cell::OBSERVED)
            || self.slots.iter().any(|slot| slot.listed == SLOT_OBSERVED)
    }

    /// The least capacity that holds it.
    pub fn needs(&self) -> Capacity {
        let count = |elements: usize| u32::try_from(elements).unwrap_or(u32::MAX).max(1);
        let observed = if self.any_observed() { count(self.cells.len()).max(2) } else { 1 };
        Capacity {
            bitmaps: count(self.cells.len()),
            v6_buckets: count(self.buckets.len()),
            v6_slots: count(self.slots.len()),
            name_words: 1,
            observed,
        }
    }
}

/// `listed` of a struct v6_slot: by lists alone that are only observed.
const SLOT_OBSERVED: u8 = 2;

/// Bits past the length are 0, and only what abi.h says stands in it.
fn is_slot(slot: &V6Slot) -> bool {
    let address = u128::from(slot.high) << 64 | u128::from(slot.low);
    let past = u128::MAX.checked_shr(slot.length.into()).unwrap_or(0);
    slot.length <= 128 && address & past == 0 && slot.listed <= SLOT_OBSERVED && slot.unused == [0; 6]
}

fn part(part: &'static str, why: String) -> Error {
    Error::Part { part, why }
}

fn elements<'a, T: Pod>(name: &'static str, bytes: &'a [u8]) -> Result<Cow<'a, [T]>> {
    if bytes.len() % size_of::<T>() != 0 {
        return Err(part(name, format!("{} bytes are no multiple of {}", bytes.len(), size_of::<T>())));
    }
    match bytemuck::try_cast_slice(bytes) {
        Ok(elements) => Ok(Cow::Borrowed(elements)),
        Err(_) => Ok(Cow::Owned(bytemuck::allocation::pod_collect_to_vec(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Parts<'static> = Parts {
        v4_cell_numbers: &[],
        v4_cells: &[],
        v4_bitmaps: &[],
        v4_observed: &[],
        v6_buckets: &[],
        v6_slots: &[],
        v6_lengths: &[],
        v6_seed: 7,
    };

    fn refused(parts: Parts<'_>) -> Option<&'static str> {
        match Base::view(parts).and_then(|base| base.check()) {
            Err(Error::Part { part, .. }) => Some(part),
            _ => None,
        }
    }

    #[test]
    fn an_empty_base_is_one() {
        assert_eq!(refused(EMPTY), None);
    }

    #[test]
    fn each_part_with_a_wrong_shape_is_named() {
        let numbers: Vec<u8> = [5u32, 5].iter().flat_map(|n| n.to_le_bytes()).collect();
        let cells: Vec<u8> = [1u32, 1].iter().flat_map(|n| n.to_le_bytes()).collect();
        let bitmap_cell = 256u32.to_le_bytes();
        let far = (1u32 << 24).to_le_bytes();
        assert_eq!(refused(Parts { v4_cell_numbers: &[1, 2, 3], ..EMPTY }), Some("v4_cell_numbers"));
        assert_eq!(refused(Parts { v4_cell_numbers: &numbers, ..EMPTY }), Some("v4_cells"));
        let unsorted = Parts { v4_cell_numbers: &numbers, v4_cells: &cells, ..EMPTY };
        assert_eq!(refused(unsorted), Some("v4_cell_numbers"));
        let outside = Parts { v4_cell_numbers: &far, v4_cells: &cells[..4], ..EMPTY };
        assert_eq!(refused(outside), Some("v4_cell_numbers"));
        let bitmap: Vec<u8> = [1u64, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
        let other: Vec<u8> = [2u64, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
        let mixed = Parts {
            v4_cell_numbers: &numbers[..4],
            v4_cells: &bitmap_cell,
            v4_bitmaps: &bitmap,
            v4_observed: &bitmap,
            ..EMPTY
        };
        assert_eq!(refused(mixed), None);
        assert_eq!(refused(Parts { v4_observed: &other, ..mixed }), Some("v4_observed"));
        assert_eq!(refused(Parts { v4_observed: &bitmap, ..EMPTY }), Some("v4_observed"));
        let no_bitmap = Parts { v4_cell_numbers: &numbers[..4], v4_cells: &bitmap_cell, ..EMPTY };
        assert_eq!(refused(no_bitmap), Some("v4_cells"));
        assert_eq!(refused(Parts { v6_lengths: &[32, 48], ..EMPTY }), Some("v6_lengths"));
        assert_eq!(refused(Parts { v6_lengths: &[129], ..EMPTY }), Some("v6_lengths"));
        assert_eq!(refused(Parts { v6_buckets: &[0; 24], ..EMPTY }), Some("v6_buckets"));
        assert_eq!(refused(Parts { v6_slots: &[0; 24], ..EMPTY }), Some("v6_slots"));
    }

    #[test]
    fn a_slot_stands_in_the_bucket_of_its_hash() {
        let slot = V6Slot { high: 0x2001_0db8 << 32, low: 0, length: 32, listed: 1, unused: [0; 6] };
        let home = (v6_bits::hash(7, slot.high, 0, 32) & 1) as u32;
        for bucket in 0..2 {
            let mut buckets = [V6Bucket { first: 0, count: 0 }; 2];
            buckets[bucket as usize].count = 1;
            let parts = Parts {
                v6_buckets: bytemuck::cast_slice(&buckets),
                v6_slots: bytemuck::bytes_of(&slot),
                v6_lengths: &[32],
                ..EMPTY
            };
            assert_eq!(refused(parts).is_none(), bucket == home);
        }
    }

    #[test]
    fn memory_that_is_not_aligned_is_copied() {
        let bytes = [0u8, 9, 0, 0, 0];
        let view = Base::view(Parts { v4_cell_numbers: &bytes[1..], ..EMPTY });
        assert!(view.is_ok_and(|base| *base.cell_numbers == [9]));
    }
}
