//! Any bytes begin a stream: read byte by byte it gives the same answer, and no byte is searched twice.
//! `cargo +nightly fuzz run http fuzz/corpus/http fuzz/seeds/http` in engine/.

#![no_main]

use clearway_inspector::http::invariant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    invariant(data);
});
