#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clearway_engine_fuzz::targets::run("list_lines", data));
