//! The filter of listed names in the kernel's memory, two copies that flip with the base, and the names that a person
//! blocked, one key at a time. Which keys a name has is the inspector's business (name_hash.rs).

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use bytemuck::Pod;

use crate::abi::{limit, NameMeta};
use crate::control::Control;
use crate::difference::Difference;
use crate::error::{Error, Result};
use crate::kernel::{self, Keyed};
use crate::mapped::{of_fds, Mapped};

/// One compiled filter in memory.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Words of u64, as the map holds them.
    pub words: &'a [u8],
    /// How to ask them, and under which keys.
    pub meta: NameMeta,
}

/// No name is listed.
pub const NO_NAMES: NameMeta = NameMeta {
    key0: 0,
    key1: 0,
    filter_seed: 0,
    segment_length: 0,
    segment_length_mask: 0,
    segment_count_length: 0,
    entries: 0,
    public_ech: [0; limit::PUBLIC_ECH_MAX as usize],
};

impl Names<'_> {
    /// What a base without names has.
    pub const NONE: Names<'static> = Names { words: &[], meta: NO_NAMES };

    /// Refuses a description that would send a program past the words.
    pub fn check(&self) -> Result<()> {
        let NameMeta { segment_length, segment_length_mask, segment_count_length, entries, .. } = self.meta;
        let places = u64::from(segment_count_length) + 2 * u64::from(segment_length);
        let fits = if entries == 0 { 0 } else { places.div_ceil(4) };
        if self.words.len() as u64 != fits * 8 {
            let bytes = self.words.len();
            return Err(Error::Misuse(format!(
                "a filter of {fits} words has {} bytes, not {bytes}",
                fits * 8
            )));
        }
        if entries != 0 && (!segment_length.is_power_of_two() || segment_length_mask != segment_length - 1) {
            return Err(Error::Misuse(format!("a segment is a power of two long, not {segment_length}")));
        }
        Ok(())
    }

    /// Elements a copy that it takes.
    pub fn needs(&self) -> u32 {
        u32::try_from(self.words.len() / 8).unwrap_or(u32::MAX).max(1)
    }

    fn each_word(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.chunks_exact(8).map(bytemuck::pod_read_unaligned)
    }
}

/// name_filter, name_meta and overlay_names.
#[derive(Debug)]
pub struct NameTables {
    /// Elements a copy.
    room: u32,
    filter: Mapped,
    meta: Mapped,
    overlay: Keyed<u64, u32>,
}

impl NameTables {
    /// `room`: what the loaded programs were told.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>, room: u32) -> Result<Self> {
        let overlay = fds.get("overlay_names");
        let overlay = overlay
            .ok_or_else(|| Error::Misuse("the map overlay_names is not among the descriptors".to_owned()))?;
        Ok(NameTables {
            room,
            filter: of_fds(fds, "name_filter", 8, 2 * room as usize)?,
            meta: of_fds(fds, "name_meta", size_of::<NameMeta>(), 2)?,
            overlay: Keyed::new(kernel::duplicate(overlay.as_fd())?, "overlay_names")?,
        })
    }

    /// Refuses what has no room.
    pub fn check_room(&self, names: &Names<'_>) -> Result<()> {
        names.check()?;
        if names.needs() > self.room {
            let (needed, room) = (names.needs().into(), self.room.into());
            return Err(Error::Capacity { what: "words of the filter of names".to_owned(), needed, room });
        }
        Ok(())
    }

    /// Writes the idle copy, which nobody reads.
    pub fn fill(&mut self, copy: u32, names: &Names<'_>) -> Result<()> {
        self.check_room(names)?;
        let first = copy as usize * self.room as usize;
        let words: &mut [u64] = self.filter.slice_mut();
        let words = words.get_mut(first..).ok_or_else(too_small)?;
        words.iter_mut().zip(names.each_word()).for_each(|(into, word)| *into = word);
        *at(self.meta.slice_mut(), copy)? = names.meta;
        Ok(())
    }

    /// Adds what a copy holds otherwise.
    pub fn compare(&self, copy: u32, names: &Names<'_>, found: &mut Difference) -> Result<()> {
        found.wanted += u64::from(names.meta.entries);
        if let Err(Error::Capacity { needed, room, .. }) = self.check_room(names) {
            found.missing += needed - room;
            found.examples.push(format!("the filter of names has room for {room} of {needed} words"));
            return Ok(());
        }
        let held: &[u64] = self.filter.slice();
        let held = held.get(copy as usize * self.room as usize..).ok_or_else(too_small)?;
        for (number, (held, wanted)) in held.iter().zip(names.each_word()).enumerate() {
            found.value(held, &wanted, || format!("word {number} of the filter of names"));
        }
        let metas: &[NameMeta] = self.meta.slice();
        let meta = metas.get(copy as usize).ok_or_else(too_small)?;
        found.value(meta, &names.meta, || "description of the filter of names".to_owned());
        Ok(())
    }

    /// Makes overlay_names hold exactly these keys; entries by then. Those that are new are put first.
    pub fn set_overlay(&mut self, keys: &[u64]) -> Result<u32> {
        let wanted: std::collections::HashSet<u64> = keys.iter().copied().collect();
        if wanted.len() > limit::OVERLAY_NAMES_MAX as usize {
            let (needed, room) = (wanted.len() as u64, limit::OVERLAY_NAMES_MAX.into());
            return Err(Error::Capacity { what: "names blocked one by one".to_owned(), needed, room });
        }
        let held = self.overlay.read_all()?;
        let held: std::collections::HashSet<u64> = held.into_iter().map(|(key, _)| key).collect();
        // Room first, where both together would not fit
        for key in held.difference(&wanted) {
            self.overlay.remove(key)?;
        }
        for key in wanted.difference(&held) {
            self.overlay.put(key, &1)?;
        }
        Ok(wanted.len() as u32)
    }

    /// Puts keys and takes others away: how many fewer there are by then. `more` hears how many are new,
    /// before they are put.
    pub fn change_overlay(&mut self, added: &[u64], removed: &[u64], more: impl FnOnce(u32)) -> Result<u32> {
        let mut new = Vec::with_capacity(added.len());
        for key in added {
            if self.overlay.get(key)?.is_none() && !new.contains(key) {
                new.push(*key);
            }
        }
        more(new.len() as u32);
        for key in &new {
            self.overlay.put(key, &1)?;
        }
        let mut fewer = 0;
        for key in removed.iter().filter(|key| !added.contains(key)) {
            fewer += u32::from(self.overlay.remove(key)?);
        }
        Ok(fewer)
    }

    /// Is this key there?
    pub fn has_overlay(&self, key: u64) -> Result<bool> {
        Ok(self.overlay.get(&key)?.is_some())
    }
}

/// The description that programs read just now.
pub fn live<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<NameMeta> {
    let copy = Control::open(fds)?.epoch() & 1;
    let meta = of_fds(fds, "name_meta", size_of::<NameMeta>(), 2)?;
    meta.slice().get(copy as usize).copied().ok_or_else(too_small)
}

fn at<T: Pod>(elements: &mut [T], n: u32) -> Result<&mut T> {
    elements.get_mut(n as usize).ok_or_else(too_small)
}

fn too_small() -> Error {
    Error::Misuse("a map of names is smaller than it was said to be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_description_that_leaves_the_words() {
        let meta = NameMeta {
            segment_length: 4,
            segment_length_mask: 3,
            segment_count_length: 8,
            entries: 3,
            ..NO_NAMES
        };
        assert!(Names { words: &[0; 32], meta }.check().is_ok());
        assert!(Names { words: &[0; 24], meta }.check().is_err());
        assert!(Names { words: &[0; 32], meta: NameMeta { segment_length_mask: 7, ..meta } }
            .check()
            .is_err());
        assert!(Names { words: &[0; 32], meta: NameMeta { segment_length: 3, ..meta } }.check().is_err());
        assert!(Names::NONE.check().is_ok());
        assert!(Names { words: &[0; 8], meta: NO_NAMES }.check().is_err());
    }
}
