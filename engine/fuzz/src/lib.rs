//! What fuzzing calls: one function a target. Each binary in fuzz_targets/ is one of them behind libFuzzer; the tests
//! of the engine (engine/tests/cases.rs) feed the same functions with every seed and every case, without
//! instrumentation.

/// The engine's files themselves, so that fuzzing needs neither libbpf nor clang.
#[path = "../../src/list_lines.rs"]
pub mod list_lines;
#[path = "../../src/prefix_lines.rs"]
#[allow(dead_code)] // what only the engine asks
pub mod prefix_lines;
pub mod targets;
