//! The maps overlay_hosts, overlay_prefixes, green, green_lines, touch_v4 and touch_v6, by prefix. They only hold:
//! overlay.rs knows what they should.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use bytemuck::Pod;

use crate::abi::{limit, Address, GreenLine, GreenValue, OverlayValue, PrefixKey};
use crate::error::{Error, Result};
use crate::kernel::{self, Keyed};
use crate::mapped::{of_fds, Mapped};
use crate::touch::{Prefix, V4_WORDS};

/// Boot clock in ns, 0: none. A live exception beats a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// The prefix is refused until then.
    pub block_ns: u64,
    /// The prefix is not refused until then, whatever a list says.
    pub exception_ns: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct OverlayMaps {
    hosts: Keyed<Address, OverlayValue>,
    prefixes: Keyed<PrefixKey, OverlayValue>,
    green: Keyed<PrefixKey, GreenValue>,
    /// See green_lines.rs.
    pub green_lines: Mapped,
    /// A bit a /16 of IPv4, then a bit a /24.
    pub touch_v4: Mapped,
    /// Laid out as base_v6_filter.
    pub touch_v6: Mapped,
}

impl OverlayMaps {
    /// From a gateway's descriptors.
    pub fn open<F: AsFd>(fds: &BTreeMap<String, F>) -> Result<Self> {
        Ok(OverlayMaps {
            hosts: keyed(fds, "overlay_hosts")?,
            prefixes: keyed(fds, "overlay_prefixes")?,
            green: keyed(fds, "green")?,
            green_lines: of_fds(fds, "green_lines", size_of::<GreenLine>(), limit::GREEN_LINES as usize)?,
            touch_v4: of_fds(fds, "touch_v4", 8, V4_WORDS)?,
            touch_v6: of_fds(
                fds,
                "touch_v6",
                8,
                (limit::V6_SHORT_WORDS + limit::V6_TOUCH_LONG_WORDS) as usize,
            )?,
        })
    }

    /// Writes an entry, new or not.
    pub fn put(&self, prefix: Prefix, until: Until) -> Result<()> {
        let value = OverlayValue {
            block_until_ns: until.block_ns,
            exception_until_ns: until.exception_ns,
            length: prefix.length.into(),
            unused: 0,
        };
        match prefix.length {
            128 => self.hosts.put(&address_of(prefix), &value),
            _ => self.prefixes.put(&key_of(prefix), &value),
        }
    }

    /// Removes an entry; it need not be there.
    pub fn remove(&self, prefix: Prefix) -> Result<()> {
        let removed = match prefix.length {
            128 => self.hosts.remove(&address_of(prefix)),
            _ => self.prefixes.remove(&key_of(prefix)),
        };
        removed.map(|_| ())
    }

    /// Every entry. None for a value: it does not say the prefix that it stands under.
    pub fn read(&self) -> Result<Vec<(Prefix, Option<Until>)>> {
        let hosts =
            self.hosts.read_all()?.into_iter().map(|(address, value)| (prefix_of(&address, 128), value));
        let prefixes = self.prefixes.read_all()?.into_iter().map(|(key, value)| (prefix_of_key(&key), value));
        Ok(hosts.chain(prefixes).map(|(prefix, value)| (prefix, until_of(prefix, &value))).collect())
    }

    /// One entry by exactly its prefix. Some(None): as read().
    pub fn get(&self, prefix: Prefix) -> Result<Option<Option<Until>>> {
        let value = match prefix.length {
            128 => self.hosts.get(&address_of(prefix))?,
            _ => exactly(prefix, self.prefixes.get(&key_of(prefix))?, |value| value.length),
        };
        Ok(value.map(|value| until_of(prefix, &value)))
    }

    /// Writes a grant, new or not.
    pub fn put_green(&self, prefix: Prefix, until_ns: u64) -> Result<()> {
        self.green.put(&key_of(prefix), &GreenValue { until_ns, length: prefix.length.into(), unused: 0 })
    }

    /// Removes a grant; it need not be there.
    pub fn remove_green(&self, prefix: Prefix) -> Result<()> {
        self.green.remove(&key_of(prefix)).map(|_| ())
    }

    /// Every grant. None for a value: as read().
    pub fn read_green(&self) -> Result<Vec<(Prefix, Option<u64>)>> {
        let read = self.green.read_all()?.into_iter().map(|(key, value)| (prefix_of_key(&key), value));
        Ok(read.map(|(prefix, value)| (prefix, until_of_green(prefix, &value))).collect())
    }

    /// One grant by exactly its prefix. Some(None): as read().
    pub fn get_green(&self, prefix: Prefix) -> Result<Option<Option<u64>>> {
        let value = exactly(prefix, self.green.get(&key_of(prefix))?, |value| value.length);
        Ok(value.map(|value| until_of_green(prefix, &value)))
    }
}

/// Writes the words that a rule changes, one by one, as programs read them.
pub fn each_word(map: &Mapped, wanted: &[u64], rule: impl Fn(u64, u64) -> u64) {
    for (held, wanted) in map.words().iter().zip(wanted) {
        let before = held.load(Ordering::Relaxed);
        let after = rule(before, *wanted);
        if before != after {
            held.store(after, Ordering::SeqCst);
        }
    }
}

fn keyed<F: AsFd, K: Pod, V: Pod>(fds: &BTreeMap<String, F>, name: &str) -> Result<Keyed<K, V>> {
    let fd =
        fds.get(name).ok_or_else(|| Error::Misuse(format!("the map {name} is not among the descriptors")))?;
    Keyed::new(kernel::duplicate(fd.as_fd())?, name)
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

fn until_of(prefix: Prefix, value: &OverlayValue) -> Option<Until> {
    let until = Until { block_ns: value.block_until_ns, exception_ns: value.exception_until_ns };
    (value.length == u32::from(prefix.length)).then_some(until)
}

fn until_of_green(prefix: Prefix, value: &GreenValue) -> Option<u64> {
    (value.length == u32::from(prefix.length)).then_some(value.until_ns)
}

/// A trie answers with the longest prefix that covers the key: one that says a shorter length is another entry.
fn exactly<V>(prefix: Prefix, value: Option<V>, length: impl Fn(&V) -> u32) -> Option<V> {
    value.filter(|value| length(value) >= prefix.length.into())
}
