//! User space at packet time: one crate, whose face to Python is `clearway._engine`.
//!
//! | file | what |
//! |---|---|
//! | abi.rs | bpf/abi.h, by way of BTF |
//! | prefix_lines.rs | lines of a list → prefixes; pure |
//! | clock.rs | the boot clock, and the grace period after a flip |
//! | error.rs | everything that can go wrong |
//! | python.rs | the only file that names pyo3 |

pub mod abi;
pub mod clock;
pub mod error;
pub mod prefix_lines;
#[cfg(feature = "python")]
mod python;
