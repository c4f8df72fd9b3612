//! Any bytes follow the preface: read byte by byte they give the same answer. A stream without it is another protocol.
//! `cargo +nightly fuzz run http2 fuzz/corpus/http2 fuzz/seeds/http2` in engine/.

#![no_main]

use clearway_inspector::http2::{invariant, PREFACE};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    invariant(data);
    invariant(&[PREFACE.as_slice(), data].concat());
});
