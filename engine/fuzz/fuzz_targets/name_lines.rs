//! Any bytes are lines: each is counted once, and the names that were found read back as themselves.
//! `cargo +nightly fuzz run name_lines` in engine/.

#![no_main]

use clearway_inspector::name_lines::{invariant, parse};
use clearway_inspector::name_set::Scope;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    invariant(data, &parse(data, Scope::Subtree, Scope::Below));
});
