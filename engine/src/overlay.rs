//! Overlay and grants: entries that change one at a time. What should be there is remembered here; the kernel is made
//! to hold it, compared with it, mended to it.
//!
//! The order is what makes it exact: an entry's touch bits stand before the entry, and are cleared after it is gone,
//! and only those that no other entry wants. So at no moment is an entry there and not asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::abi::limit;
use crate::difference::Difference;
use crate::error::{Error, Result};
use crate::green_lines;
use crate::mapped::Mapped;
use crate::overlay_maps::{each_word, OverlayMaps, Until};
use crate::touch::{masks, Prefix, Touched, Touches, V4_WIDE};

/// What should be there, and the maps that hold it.
#[derive(Debug)]
pub struct Overlay {
    maps: Arc<OverlayMaps>,
    wanted: HashMap<Prefix, Until>,
    wanted_green: HashMap<Prefix, u64>,
    touches: Touches,
}

impl Overlay {
    /// Remembers what it finds in the maps, until reconcile() says otherwise.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<Self> {
        let maps = Arc::new(OverlayMaps::open(fds)?);
        let wanted = maps.read()?.into_iter().filter_map(|(prefix, until)| Some((prefix, until?))).collect();
        let wanted_green =
            maps.read_green()?.into_iter().filter_map(|(prefix, until)| Some((prefix, until?)));
        let wanted_green = wanted_green.collect();
        let mut overlay = Overlay { maps, wanted, wanted_green, touches: Touches::default() };
        overlay.touches = overlay.touches_of_wanted();
        Ok(overlay)
    }

    /// Writes one entry, new or not.
    pub fn put(&mut self, prefix: Prefix, until: Until) -> Result<()> {
        check_until(prefix, until.block_ns | until.exception_ns)?;
        let fresh = !self.wanted.contains_key(&prefix);
        if fresh {
            check_room("overlay entries", self.wanted.len() + 1, limit::OVERLAY_ENTRIES_MAX)?;
            self.touch(prefix);
        }
        if let Err(error) = self.maps.put(prefix, until) {
            if fresh {
                self.untouch(prefix);
            }
            return Err(error);
        }
        self.wanted.insert(prefix, until);
        Ok(())
    }

    /// Removes one entry; it need not be there.
    pub fn remove(&mut self, prefix: Prefix) -> Result<()> {
        self.maps.remove(prefix)?;
        if self.wanted.remove(&prefix).is_some() {
            self.untouch(prefix);
        }
        Ok(())
    }

    /// Writes one grant, new or not.
    pub fn put_green(&mut self, prefix: Prefix, until_ns: u64) -> Result<()> {
        check_until(prefix, until_ns)?;
        let fresh = !self.wanted_green.contains_key(&prefix);
        if fresh {
            check_room("grants", self.wanted_green.len() + 1, limit::GREEN_ENTRIES_MAX)?;
            self.touch(prefix);
        }
        if let Err(error) = self.maps.put_green(prefix, until_ns) {
            if fresh {
                self.untouch(prefix);
            }
            return Err(error);
        }
        self.wanted_green.insert(prefix, until_ns);
        self.write_lines(prefix);
        Ok(())
    }

    /// Removes one grant; it need not be there.
    pub fn remove_green(&mut self, prefix: Prefix) -> Result<()> {
        self.maps.remove_green(prefix)?;
        if self.wanted_green.remove(&prefix).is_some() {
            self.write_lines(prefix);
            self.untouch(prefix);
        }
        Ok(())
    }

    /// Exactly this is to be there from now on. Refused whole before anything is written.
    pub fn reconcile(&mut self, overlay: HashMap<Prefix, Until>, green: HashMap<Prefix, u64>) -> Result<()> {
        for (prefix, until) in &overlay {
            check_until(*prefix, until.block_ns | until.exception_ns)?;
        }
        for (prefix, until) in &green {
            check_until(*prefix, *until)?;
        }
        check_room("overlay entries", overlay.len(), limit::OVERLAY_ENTRIES_MAX)?;
        check_room("grants", green.len(), limit::GREEN_ENTRIES_MAX)?;
        self.wanted = overlay;
        self.wanted_green = green;
        self.touches = self.touches_of_wanted();
        self.mend()
    }

    /// Makes the kernel hold what is remembered, touching only what differs.
    pub fn mend(&mut self) -> Result<()> {
        let (v4, v6) = (self.touches.v4_words(), self.touches.v6_words());
        each_word(&self.maps.touch_v4, &v4, |held, wanted| held | wanted);
        each_word(&self.maps.touch_v6, &v6, |held, wanted| held | wanted);
        self.mend_entries()?;
        self.mend_green()?;
        let lines = green_lines::lines_of(&self.wanted_green, None);
        for place in 0..limit::GREEN_LINES {
            green_lines::write(&self.maps.green_lines, place, lines.get(&place));
        }
        each_word(&self.maps.touch_v4, &v4, |_, wanted| wanted);
        each_word(&self.maps.touch_v6, &v6, |_, wanted| wanted);
        Ok(())
    }

    fn mend_entries(&self) -> Result<()> {
        let held: HashMap<Prefix, Option<Until>> = self.maps.read()?.into_iter().collect();
        let foreign: Vec<Prefix> =
            held.keys().copied().filter(|prefix| !self.wanted.contains_key(prefix)).collect();
        // New ones first, so that nothing is open between an entry and its successor; unless there is no room for both
        let crowded = foreign.len() + self.wanted.len() > limit::OVERLAY_ENTRIES_MAX as usize;
        if crowded {
            foreign.iter().try_for_each(|prefix| self.maps.remove(*prefix))?;
        }
        for (prefix, until) in &self.wanted {
            if held.get(prefix) != Some(&Some(*until)) {
                self.maps.put(*prefix, *until)?;
            }
        }
        if !crowded {
            foreign.iter().try_for_each(|prefix| self.maps.remove(*prefix))?;
        }
        Ok(())
    }

    fn mend_green(&self) -> Result<()> {
        let held: HashMap<Prefix, Option<u64>> = self.maps.read_green()?.into_iter().collect();
        // Foreign grants go first: open for too short is the safe side here
        for prefix in held.keys().filter(|prefix| !self.wanted_green.contains_key(prefix)) {
            self.maps.remove_green(*prefix)?;
        }
        for (prefix, until_ns) in &self.wanted_green {
            if held.get(prefix) != Some(&Some(*until_ns)) {
                self.maps.put_green(*prefix, *until_ns)?;
            }
        }
        Ok(())
    }

    /// The lines that a grant at this prefix changes.
    fn write_lines(&self, prefix: Prefix) {
        let places = green_lines::places_of(prefix);
        let lines = green_lines::lines_of(&self.wanted_green, Some(&places));
        for place in places {
            green_lines::write(&self.maps.green_lines, place, lines.get(&place));
        }
    }

    fn touches_of_wanted(&self) -> Touches {
        let mut touches = Touches::default();
        for prefix in self.wanted.keys().chain(self.wanted_green.keys()) {
            touches.add(*prefix);
        }
        touches
    }

    /// Counts an entry and sets its bits in the kernel.
    fn touch(&mut self, prefix: Prefix) {
        match self.touches.add(prefix) {
            Touched::V4(cells) => {
                let (wide, fine) = self.maps.touch_v4.words().split_at(V4_WIDE);
                set(wide, *cells.start() >> 8..=*cells.end() >> 8);
                set(fine, cells);
            }
            Touched::V6(bits) => set(self.maps.touch_v6.words(), bits),
        }
    }

    /// Counts an entry no longer and clears those of its bits that no other wants.
    fn untouch(&mut self, prefix: Prefix) {
        match self.touches.remove(prefix) {
            Touched::V4(cells) if cells.start() == cells.end() && self.touches.wants_v4(*cells.start()) => {}
            Touched::V6(bits) if bits.start() == bits.end() && self.touches.wants_v6(*bits.start()) => {}
            Touched::V4(cells) if cells.start() == cells.end() => {
                let (wide, fine) = self.maps.touch_v4.words().split_at(V4_WIDE);
                clear(fine, cells.clone(), |_| 0);
                let network = *cells.start() >> 8;
                if fine[network as usize * 4..][..4].iter().all(|word| word.load(Ordering::Relaxed) == 0) {
                    clear(wide, network..=network, |_| 0);
                }
            }
            Touched::V4(cells) => {
                let wanted = self.touches.v4_words();
                let (wide, fine) = self.maps.touch_v4.words().split_at(V4_WIDE);
                let networks = *cells.start() >> 8..=*cells.end() >> 8;
                clear(fine, cells, |word| wanted[V4_WIDE + word]);
                clear(wide, networks, |word| wanted[word]);
            }
            Touched::V6(bits) => {
                let wanted = self.touches.v6_words();
                clear(self.maps.touch_v6.words(), bits, |word| wanted[word]);
            }
        }
    }
}

fn set(words: &[AtomicU64], bits: RangeInclusive<u32>) {
    for (word, mask) in masks(bits) {
        words[word].fetch_or(mask, Ordering::SeqCst);
    }
}

/// `wanted`: what of a word others still want.
fn clear(words: &[AtomicU64], bits: RangeInclusive<u32>, wanted: impl Fn(usize) -> u64) {
    for (word, mask) in masks(bits) {
        words[word].fetch_and(!mask | wanted(word), Ordering::SeqCst);
    }
}

/// Reads everything back. The maps are read without the lock, so that no grant waits for a hundred thousand entries;
/// what then looks wrong may only have changed meanwhile, and is looked at again under it.
pub fn compare(overlay: &Mutex<Overlay>) -> Result<Difference> {
    let locked = || overlay.lock().unwrap_or_else(PoisonError::into_inner);
    let (maps, wanted, wanted_green, touches) = {
        let now = locked();
        (Arc::clone(&now.maps), now.wanted.clone(), now.wanted_green.clone(), now.touches.clone())
    };
    let entries = suspects(maps.read()?, &wanted);
    let grants = suspects(maps.read_green()?, &wanted_green);
    let lines = green_lines::suspects(&maps.green_lines, &wanted_green);
    let v4 = suspect_words(&maps.touch_v4, &touches.v4_words());
    let v6 = suspect_words(&maps.touch_v6, &touches.v6_words());

    let now = locked();
    let mut found =
        Difference { wanted: (now.wanted.len() + now.wanted_green.len()) as u64, ..Difference::default() };
    for prefix in entries {
        judge("overlay", prefix, maps.get(prefix)?, now.wanted.get(&prefix).copied(), &mut found);
    }
    for prefix in grants {
        judge("green", prefix, maps.get_green(prefix)?, now.wanted_green.get(&prefix).copied(), &mut found);
    }
    green_lines::compare(&maps.green_lines, &lines, &now.wanted_green, &mut found);
    if !v4.is_empty() {
        compare_words("touch_v4", &v4, &maps.touch_v4, &now.touches.v4_words(), &mut found);
    }
    if !v6.is_empty() {
        compare_words("touch_v6", &v6, &maps.touch_v6, &now.touches.v6_words(), &mut found);
    }
    Ok(found)
}

/// Prefixes that are not in both with the same value.
fn suspects<V: PartialEq + Copy>(held: Vec<(Prefix, Option<V>)>, wanted: &HashMap<Prefix, V>) -> Vec<Prefix> {
    let mut seen = HashSet::with_capacity(held.len());
    let mut found = Vec::new();
    for (prefix, value) in held {
        if value.is_none() || wanted.get(&prefix).copied() != value {
            found.push(prefix);
        }
        seen.insert(prefix);
    }
    found.extend(wanted.keys().filter(|prefix| !seen.contains(prefix)));
    found
}

fn judge<V: PartialEq>(
    map: &str,
    prefix: Prefix,
    held: Option<Option<V>>,
    wanted: Option<V>,
    found: &mut Difference,
) {
    let what = || format!("{prefix} in {map}");
    match (held, wanted) {
        (None, None) => {}
        (None, Some(_)) => found.missing(what),
        (Some(_), None) => found.foreign(what),
        (Some(held), wanted) => found.value(&held, &wanted, what),
    }
}

fn suspect_words(map: &Mapped, wanted: &[u64]) -> Vec<usize> {
    let words = map.words().iter().zip(wanted).enumerate();
    let differing = words.filter(|(_, (held, wanted))| held.load(Ordering::Relaxed) != **wanted);
    differing.map(|(number, _)| number).collect()
}

fn compare_words(name: &str, numbers: &[usize], map: &Mapped, wanted: &[u64], found: &mut Difference) {
    for number in numbers {
        if let (Some(held), Some(wanted)) = (map.words().get(*number), wanted.get(*number)) {
            found.bits(held.load(Ordering::Relaxed), *wanted, || format!("word {number} of {name}"));
        }
    }
}

fn check_until(prefix: Prefix, until_ns: u64) -> Result<()> {
    if until_ns == 0 {
        return Err(Error::Misuse(format!("an entry for {prefix} that ends at 0 says nothing: remove it")));
    }
    Ok(())
}

fn check_room(what: &str, needed: usize, room: u32) -> Result<()> {
    if needed > room as usize {
        return Err(Error::Capacity { what: what.to_owned(), needed: needed as u64, room: room.into() });
    }
    Ok(())
}
