//! Any bytes are lines: each is counted once, and what was found reads back as itself.
//! `cargo +nightly fuzz run prefix_lines` in engine/.

#![no_main]

use clearway_engine::prefix_lines::{invariant, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let separators: &[u8] = if data.first().is_some_and(|byte| byte % 2 == 0) { b"" } else { b";," };
    invariant(data, &parse(data, separators));
});
