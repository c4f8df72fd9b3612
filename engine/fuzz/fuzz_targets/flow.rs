//! Any segments and datagrams, in any order: no panic, bounded memory, nothing said after the end.
//! `cargo +nightly fuzz run flow` in engine/.

#![no_main]

use clearway_inspector::flow::invariant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| invariant(data));
