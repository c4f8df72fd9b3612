//! Any bytes as a capture file: every record moves on, and what it holds can be inspected.
//! `cargo +nightly fuzz run capture` in engine/.

#![no_main]

use clearway_inspector::inspect::invariant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariant(data));
