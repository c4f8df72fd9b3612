//! User space at packet time: one crate, whose face to Python is `clearway._engine`.
//!
//! | file | what |
//! |---|---|
//! | abi.rs | bpf/abi.h, by way of BTF |
//! | error.rs, difference.rs | what can go wrong; what the kernel holds against what it should |
//! | prefix_lines.rs, list_lines.rs | lines of a list → prefixes; → names and prefixes by what stands around them; pure |
//! | v6_bits.rs, touch.rs, green_lines.rs | which bits of the filters, and which lines, a prefix sets; pure |
//! | base.rs, settings.rs | a compiled base, and what programs are told at load, checked |
//! | kernel.rs, mapped.rs, clock.rs | bpf(2) on descriptors; maps as memory; the boot clock and the grace period |
//! | object.rs, pins.rs, loader.rs | embedded objects → programs and maps; pins; take-over, attach, detach |
//! | control.rs, hold_control.rs, base_tables.rs, name_tables.rs, overlay.rs, overlay_maps.rs, tables.rs | what the daemon writes and reads while packets cross |
//! | probe.rs, events.rs | one frame through the programs; sampled drops |
//! | name_check.rs, name_samples.rs | the kernel's reader of names held to the inspector's |
//! | tap.rs, hold*.rs | the inspector: held packets in, verdicts, packets and answers out, in order |
//! | capture_file.rs | a capture file, read through one buffer |
//! | frames.rs, spin.rs | for measurements: frames as fast as a core can, request and response |
//! | epoll.rs, new_flows.rs, first_data.rs, initials.rs, name_cost.rs | for measurements of names: new flows, their first data, Initials, the reader alone |
//! | python.rs, python_*.rs | the only files that name pyo3 |

pub mod abi;
pub mod base;
pub mod base_tables;
pub mod capture_file;
pub mod clock;
pub mod control;
pub mod difference;
pub mod epoll;
pub mod error;
pub mod events;
pub mod first_data;
pub mod frames;
pub mod green_lines;
pub mod hold;
pub mod hold_answers;
pub mod hold_company;
pub mod hold_control;
pub mod hold_events;
pub mod hold_flows;
pub mod hold_live;
pub mod hold_memory;
pub mod hold_opening;
pub mod hold_packet;
pub mod hold_rules;
pub mod hold_tables;
pub mod initials;
pub mod kernel;
pub mod list_lines;
pub mod loader;
pub mod mapped;
pub mod name_check;
pub mod name_cost;
pub mod name_samples;
pub mod name_tables;
pub mod new_flows;
pub mod object;
pub mod overlay;
pub mod overlay_maps;
pub mod pins;
pub mod prefix_lines;
pub mod probe;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "python")]
mod python_bench;
#[cfg(feature = "python")]
mod python_events;
#[cfg(feature = "python")]
mod python_frames;
#[cfg(feature = "python")]
mod python_hold;
#[cfg(feature = "python")]
mod python_inspect;
#[cfg(feature = "python")]
mod python_lists;
#[cfg(feature = "python")]
mod python_loader;
#[cfg(feature = "python")]
mod python_names;
#[cfg(feature = "python")]
mod python_tables;
pub mod settings;
pub mod spin;
pub mod tables;
pub mod tap;
pub mod touch;
pub mod v6_bits;
