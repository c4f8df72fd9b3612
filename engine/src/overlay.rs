//! Overlay and grants: entries that change one at a time. What should be there is remembered here; the kernel is made to
//! hold it, compared with it, mended to it.
//!
//! The order is what makes it exact: an entry's touch bits stand before the entry, and are cleared after it is gone, and
//! only those that no other entry wants. So at no moment is an entry there and not asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;

use crate::abi::{limit, Address, GreenLine, GreenValue, OverlayValue, PrefixKey};
use crate::difference::Difference;
use crate::error::{Error, Result};
use crate::green_lines;
use crate::kernel::{self, Keyed};
use crate::mapped::{of_fds, Mapped};
use crate::touch::{masks, Prefix, Touched, Touches};

/// Boot clock in ns, 0: none. A live exception beats a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// The prefix is refused until then.
    pub block_ns: u64,
    /// The prefix is not refused until then, whatever a list says.
    pub exception_ns: u64,
}

/// The maps overlay_hosts, overlay_prefixes, green, green_lines, touch_v4 and touch_v6.
#[derive(Debug)]
pub struct Overlay {
    hosts: Keyed<Address, OverlayValue>,
    prefixes: Keyed<PrefixKey, OverlayValue>,
    green: Keyed<PrefixKey, GreenValue>,
    green_lines: Mapped,
    touch_v4: Mapped,
    touch_v6: Mapped,
    wanted: HashMap<Prefix, Until>,
    wanted_green: HashMap<Prefix, u64>,
    touches: Touches,
}

impl Overlay {
    /// Remembers what it finds in the maps, until reconcile() says otherwise.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<Self> {
        let mut overlay = Overlay {
            hosts: keyed(fds, "overlay_hosts")?,
            prefixes: keyed(fds, "overlay_prefixes")?,
            green: keyed(fds, "green")?,
            green_lines: of_fds(fds, "green_lines", size_of::<GreenLine>(), limit::GREEN_LINES as usize)?,
            touch_v4: of_fds(fds, "touch_v4", 8, limit::V4_TOUCH_WORDS as usize)?,
            touch_v6: of_fds(
                fds,
                "touch_v6",
                8,
                (limit::V6_SHORT_WORDS + limit::V6_TOUCH_LONG_WORDS) as usize,
            )?,
            wanted: HashMap::new(),
            wanted_green: HashMap::new(),
            touches: Touches::default(),
        };
        for (prefix, value) in overlay.read_overlay()? {
            let until = Until { block_ns: value.block_until_ns, exception_ns: value.exception_until_ns };
            overlay.wanted.insert(prefix, until);
        }
        for (prefix, value) in overlay.read_green()? {
            overlay.wanted_green.insert(prefix, value.until_ns);
        }
        overlay.touches = overlay.touches_of_wanted();
        Ok(overlay)
    }

    /// Writes one entry, new or not.
    pub fn put(&mut self, prefix: Prefix, until: Until) -> Result<()> {
        check_until(prefix, until.block_ns | until.exception_ns)?;
        if !self.wanted.contains_key(&prefix) {
            check_room("overlay entries", self.wanted.len() + 1, limit::OVERLAY_ENTRIES_MAX)?;
            self.set(&prefix, true);
        }
        if let Err(error) = self.write(prefix, until) {
            if !self.wanted.contains_key(&prefix) {
                self.set(&prefix, false);
            }
            return Err(error);
        }
        self.wanted.insert(prefix, until);
        Ok(())
    }

    /// Removes one entry; it need not be there.
    pub fn remove(&mut self, prefix: Prefix) -> Result<()> {
        self.erase(prefix)?;
        if self.wanted.remove(&prefix).is_some() {
            self.set(&prefix, false);
        }
        Ok(())
    }

    /// Writes one grant, new or not.
    pub fn put_green(&mut self, prefix: Prefix, until_ns: u64) -> Result<()> {
        check_until(prefix, until_ns)?;
        if !self.wanted_green.contains_key(&prefix) {
            check_room("grants", self.wanted_green.len() + 1, limit::GREEN_ENTRIES_MAX)?;
            self.set(&prefix, true);
        }
        if let Err(error) = self.write_green(prefix, until_ns) {
            if !self.wanted_green.contains_key(&prefix) {
                self.set(&prefix, false);
            }
            return Err(error);
        }
        self.wanted_green.insert(prefix, until_ns);
        self.write_lines(prefix);
        Ok(())
    }

    /// Removes one grant; it need not be there.
    pub fn remove_green(&mut self, prefix: Prefix) -> Result<()> {
        self.green.remove(&key_of(prefix))?;
        if self.wanted_green.remove(&prefix).is_some() {
            self.write_lines(prefix);
            self.set(&prefix, false);
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
        each_word(&self.touch_v4, &v4, |held, wanted| held | wanted);
        each_word(&self.touch_v6, &v6, |held, wanted| held | wanted);
        self.mend_overlay_entries()?;
        self.mend_green_entries()?;
        let lines = green_lines::lines_of(&self.wanted_green, None);
        for place in 0..limit::GREEN_LINES {
            green_lines::write(&self.green_lines, place, lines.get(&place));
        }
        each_word(&self.touch_v4, &v4, |_, wanted| wanted);
        each_word(&self.touch_v6, &v6, |_, wanted| wanted);
        Ok(())
    }

    fn mend_overlay_entries(&self) -> Result<()> {
        let held: HashMap<Prefix, OverlayValue> = self.read_overlay()?.into_iter().collect();
        let foreign: Vec<Prefix> =
            held.keys().copied().filter(|prefix| !self.wanted.contains_key(prefix)).collect();
        // New ones first, so that nothing is open between an entry and its successor; unless there is no room for both
        let crowded = foreign.len() + self.wanted.len() > limit::OVERLAY_ENTRIES_MAX as usize;
        if crowded {
            foreign.iter().try_for_each(|prefix| self.erase(*prefix))?;
        }
        for (prefix, until) in &self.wanted {
            if held.get(prefix) != Some(&overlay_value(*prefix, *until)) {
                self.write(*prefix, *until)?;
            }
        }
        if !crowded {
            foreign.iter().try_for_each(|prefix| self.erase(*prefix))?;
        }
        Ok(())
    }

    fn mend_green_entries(&self) -> Result<()> {
        let held: HashMap<Prefix, GreenValue> = self.read_green()?.into_iter().collect();
        let foreign: Vec<Prefix> =
            held.keys().copied().filter(|prefix| !self.wanted_green.contains_key(prefix)).collect();
        // Foreign grants go first: open for too short is the safe side here
        foreign.iter().try_for_each(|prefix| self.green.remove(&key_of(*prefix)).map(|_| ()))?;
        for (prefix, until_ns) in &self.wanted_green {
            if held.get(prefix) != Some(&green_value(*prefix, *until_ns)) {
                self.write_green(*prefix, *until_ns)?;
            }
        }
        Ok(())
    }

    /// Reads everything back.
    pub fn compare(&self) -> Result<Difference> {
        let mut found = Difference {
            wanted: (self.wanted.len() + self.wanted_green.len()) as u64,
            ..Difference::default()
        };
        let wanted =
            self.wanted.iter().map(|(prefix, until)| (*prefix, overlay_value(*prefix, *until))).collect();
        compare_entries("overlay", self.read_overlay()?, &wanted, &mut found);
        let wanted =
            self.wanted_green.iter().map(|(prefix, until)| (*prefix, green_value(*prefix, *until))).collect();
        compare_entries("green", self.read_green()?, &wanted, &mut found);
        green_lines::compare(&self.green_lines, &self.wanted_green, &mut found);
        compare_words("touch_v4", &self.touch_v4, &self.touches.v4_words(), &mut found);
        compare_words("touch_v6", &self.touch_v6, &self.touches.v6_words(), &mut found);
        Ok(found)
    }

    fn touches_of_wanted(&self) -> Touches {
        let mut touches = Touches::default();
        for prefix in self.wanted.keys().chain(self.wanted_green.keys()) {
            touches.add(*prefix);
        }
        touches
    }

    /// Counts an entry, and sets or clears its bits in the kernel.
    fn set(&mut self, prefix: &Prefix, there: bool) {
        let touched = if there { self.touches.add(*prefix) } else { self.touches.remove(*prefix) };
        let (map, bits, v4) = match touched {
            Touched::V4(bits) => (&self.touch_v4, bits, true),
            Touched::V6(bits) => (&self.touch_v6, bits, false),
        };
        let words = map.words();
        if there {
            for (word, mask) in masks(bits) {
                words[word].fetch_or(mask, Ordering::SeqCst);
            }
            return;
        }
        if bits.start() == bits.end() {
            let bit = *bits.start();
            let wanted = if v4 { self.touches.wants_v4(bit) } else { self.touches.wants_v6(bit) };
            if !wanted {
                words[bit as usize / 64].fetch_and(!(1 << (bit % 64)), Ordering::SeqCst);
            }
            return;
        }
        let wanted = if v4 { self.touches.v4_words() } else { self.touches.v6_words() };
        for (word, mask) in masks(bits) {
            words[word].fetch_and(!mask | wanted[word], Ordering::SeqCst);
        }
    }

    /// The lines that a grant at this prefix changes.
    fn write_lines(&self, prefix: Prefix) {
        let places = green_lines::places_of(prefix);
        if places.is_empty() {
            return;
        }
        let lines = green_lines::lines_of(&self.wanted_green, Some(&places));
        for place in places {
            green_lines::write(&self.green_lines, place, lines.get(&place));
        }
    }

    fn write(&self, prefix: Prefix, until: Until) -> Result<()> {
        let value = overlay_value(prefix, until);
        if prefix.length == 128 {
            return self.hosts.put(&address_of(prefix), &value);
        }
        self.prefixes.put(&key_of(prefix), &value)
    }

    fn write_green(&self, prefix: Prefix, until_ns: u64) -> Result<()> {
        self.green.put(&key_of(prefix), &green_value(prefix, until_ns))
    }

    fn erase(&self, prefix: Prefix) -> Result<()> {
        let removed = if prefix.length == 128 {
            self.hosts.remove(&address_of(prefix))
        } else {
            self.prefixes.remove(&key_of(prefix))
        };
        removed.map(|_| ())
    }

    fn read_overlay(&self) -> Result<Vec<(Prefix, OverlayValue)>> {
        let hosts =
            self.hosts.read_all()?.into_iter().map(|(address, value)| (prefix_of(&address, 128), value));
        let prefixes = self.prefixes.read_all()?.into_iter().map(|(key, value)| (prefix_of_key(&key), value));
        Ok(hosts.chain(prefixes).collect())
    }

    fn read_green(&self) -> Result<Vec<(Prefix, GreenValue)>> {
        Ok(self.green.read_all()?.into_iter().map(|(key, value)| (prefix_of_key(&key), value)).collect())
    }
}

fn keyed<F: AsFd, K: Pod, V: Pod>(fds: &BTreeMap<String, F>, name: &str) -> Result<Keyed<K, V>> {
    let fd =
        fds.get(name).ok_or_else(|| Error::Misuse(format!("the map {name} is not among the descriptors")))?;
    Keyed::new(kernel::duplicate(fd.as_fd())?, name)
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

fn address_of(prefix: Prefix) -> Address {
    Address { octet: prefix.address.to_be_bytes() }
}

fn key_of(prefix: Prefix) -> PrefixKey {
    PrefixKey { length: prefix.length.into(), address: address_of(prefix) }
}

fn prefix_of(address: &Address, length: u8) -> Prefix {
    Prefix { address: u128::from_be_bytes(address.octet), length }
}

fn prefix_of_key(key: &PrefixKey) -> Prefix {
    prefix_of(&key.address, key.length.min(128) as u8)
}

fn overlay_value(prefix: Prefix, until: Until) -> OverlayValue {
    OverlayValue {
        block_until_ns: until.block_ns,
        exception_until_ns: until.exception_ns,
        length: prefix.length.into(),
        unused: 0,
    }
}

fn green_value(prefix: Prefix, until_ns: u64) -> GreenValue {
    GreenValue { until_ns, length: prefix.length.into(), unused: 0 }
}

/// Writes the words that a rule changes, one by one, as programs read them.
fn each_word(map: &Mapped, wanted: &[u64], rule: impl Fn(u64, u64) -> u64) {
    for (held, wanted) in map.words().iter().zip(wanted) {
        let (before, after) = (held.load(Ordering::Relaxed), *wanted);
        let after = rule(before, after);
        if before != after {
            held.store(after, Ordering::SeqCst);
        }
    }
}

fn compare_words(name: &str, map: &Mapped, wanted: &[u64], found: &mut Difference) {
    let words: &[AtomicU64] = map.words();
    for (number, (held, wanted)) in words.iter().zip(wanted).enumerate() {
        found.bits(held.load(Ordering::Relaxed), *wanted, || format!("word {number} of {name}"));
    }
}

fn compare_entries<V: PartialEq>(
    map: &str,
    held: Vec<(Prefix, V)>,
    wanted: &HashMap<Prefix, V>,
    found: &mut Difference,
) {
    let mut seen = HashSet::with_capacity(held.len());
    for (prefix, value) in held {
        match wanted.get(&prefix) {
            Some(wanted) => found.value(&value, wanted, || format!("{prefix} in {map}")),
            None => found.foreign(|| format!("{prefix} in {map}")),
        }
        seen.insert(prefix);
    }
    for prefix in wanted.keys().filter(|prefix| !seen.contains(prefix)) {
        found.missing(|| format!("{prefix} in {map}"));
    }
}
