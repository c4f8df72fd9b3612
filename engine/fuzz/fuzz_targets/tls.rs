//! Any bytes as the start of a client's stream: an answer to a part is the answer to the whole.
//! `cargo +nightly fuzz run tls` in engine/.

#![no_main]

use clearway_inspector::tls::{client_hello, invariant, unfinished};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    invariant(data, (0..data.len()).step_by(1 + data.len() / 64));
    let _ = client_hello(data);
    let _ = unfinished(data);
});
