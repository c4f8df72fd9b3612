//! What the programs are told at load: struct settings, and what the guard map holds.

use std::collections::HashMap;

use crate::abi::{self, limit, Address, GuardValue, PrefixKey};
use crate::base::Capacity;
use crate::error::{Error, Result};
use crate::touch::Prefix;

/// Of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The port that outbound packets come in at.
    pub inside_ifindex: u32,
    /// The other one.
    pub outside_ifindex: u32,
    /// Count, drop nothing.
    pub observe: bool,
    /// The XDP program forwards too.
    pub xdp_forward: bool,
    /// Inside prefixes are configured.
    pub guard_inside: bool,
    /// --drop-bogons
    pub guard_bogons: bool,
    /// Prefix and its own flags (enum guard_flag).
    pub guard: Vec<(Prefix, u32)>,
    /// Names are held, not read. The loader sets it on kernels before 6.9.
    pub names_held: bool,
}

impl Settings {
    /// struct settings for maps of that capacity.
    pub fn for_programs(&self, capacity: Capacity) -> abi::Settings {
        abi::Settings {
            inside_ifindex: self.inside_ifindex,
            outside_ifindex: self.outside_ifindex,
            observe: self.observe.into(),
            guard_inside: self.guard_inside.into(),
            guard_bogons: self.guard_bogons.into(),
            xdp_forward: self.xdp_forward.into(),
            bitmaps: capacity.bitmaps,
            v6_buckets: capacity.v6_buckets,
            v6_slots: capacity.v6_slots,
            name_words: capacity.name_words,
            observed: capacity.observed,
        }
    }

    /// Rows of the guard map: each prefix with the flags of all that cover it, so that the longest one says everything.
    pub fn guard_rows(&self) -> Result<Vec<(PrefixKey, GuardValue)>> {
        let mut own: HashMap<Prefix, u32> = HashMap::new();
        for (prefix, flags) in &self.guard {
            *own.entry(*prefix).or_default() |= flags;
        }
        if own.len() > limit::GUARD_ENTRIES_MAX as usize {
            let room = limit::GUARD_ENTRIES_MAX.into();
            return Err(Error::Capacity {
                what: "inside prefixes".to_owned(),
                needed: own.len() as u64,
                room,
            });
        }
        let row = |prefix: &Prefix| {
            let flags = (0..=prefix.length)
                .filter_map(|length| {
                    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                    let covering = Prefix { address: prefix.address & mask, length };
                    own.get(&covering).filter(|_| is_v4(*prefix) == is_v4(covering))
                })
                .fold(0, |all, flags| all | flags);
            let address = Address { octet: prefix.address.to_be_bytes() };
            (
                PrefixKey { length: prefix.length.into(), address },
                GuardValue { flags, length: prefix.length.into() },
            )
        };
        Ok(own.keys().map(row).collect())
    }
}

/// An IPv6 prefix that covers ::ffff:0:0/96 says nothing of IPv4.
fn is_v4(prefix: Prefix) -> bool {
    prefix.length >= 96 && prefix.address >> 32 == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::guard_flag;

    #[test]
    fn a_prefix_has_the_flags_of_all_that_cover_it_in_its_family() {
        let v4 = |address: u128, length| Prefix { address: 0xffff << 32 | address, length };
        let guard = vec![
            (Prefix { address: 0, length: 8 }, guard_flag::BOGON), // ::/8
            (v4(0x0a00_0000, 104), guard_flag::BOGON),
            (v4(0x0a01_0000, 112), guard_flag::INSIDE),
            (v4(0xc000_0200, 120), guard_flag::INSIDE),
        ];
        let rows = Settings { guard, ..Settings::default() }.guard_rows().unwrap_or_default();
        let flags: HashMap<u32, u32> = rows.iter().map(|(key, value)| (key.length, value.flags)).collect();
        assert_eq!(flags.get(&112), Some(&(guard_flag::BOGON | guard_flag::INSIDE)));
        assert_eq!(flags.get(&120), Some(&guard_flag::INSIDE));
        assert_eq!(rows.len(), 4);
    }
}
