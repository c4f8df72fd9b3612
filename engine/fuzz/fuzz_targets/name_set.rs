//! Any lines make a set that answers as a search through all of them does; any bytes that open as a set are safe to ask.
//! `cargo +nightly fuzz run name_set` in engine/.

#![no_main]

use clearway_inspector::name_hash::Keys;
use clearway_inspector::name_lines::parse;
use clearway_inspector::name_set::{invariant, Listed, NameSet, Scope};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(set) = NameSet::open(data) {
        let _ = set.find_text("a.b.example");
    }
    // The first line is asked; each NUL begins another list, whose first byte says what kind of list
    let (asked, lists) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let Ok(asked) = std::str::from_utf8(asked) else { return };
    let read: Vec<_> = lists
        .split(|byte| *byte == 0)
        .take(8)
        .map(|list| {
            let kind = list.first().copied().unwrap_or(0);
            let found =
                parse(list.get(1..).unwrap_or_default(), Scope::ALL[usize::from(kind % 3)], Scope::Below);
            (found, kind & 4 != 0)
        })
        .collect();
    let listed: Vec<Listed<'_>> = read
        .iter()
        .enumerate()
        .flat_map(|(number, (found, exception))| {
            found.names.iter().zip(Scope::ALL).map(move |(names, scope)| Listed {
                list: number as u16,
                scope,
                exception: *exception,
                names,
            })
        })
        .collect();
    let keys = Keys { k0: data.len() as u64, k1: 0x9e37_79b9_7f4a_7c15 };
    for asked in [asked, "a.b", "a.a.b", "b.a.a.b"] {
        invariant(&listed, keys, asked);
    }
});
