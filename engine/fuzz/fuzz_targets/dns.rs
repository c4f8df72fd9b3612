//! Any bytes are a message, and a TCP stream: questions do not depend on what follows them, queries not on how the
//! stream is cut.
//! `cargo +nightly fuzz run dns fuzz/corpus/dns fuzz/seeds/dns` in engine/.

#![no_main]

use clearway_inspector::dns::invariant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    invariant(data);
});
