//! What bpf/abi.h says, as the build script read it from BTF.

include!(concat!(env!("OUT_DIR"), "/abi.rs"));

/// The TCX object.
pub static TCX_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcx.bpf.o"));
/// The same, for kernels without may_goto: it holds each name that it would read.
pub static TCX_HELD_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcx-held.bpf.o"));
/// What the inspector writes back: on the TAPs.
pub static HOLD_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hold.bpf.o"));
/// The XDP object.
pub static XDP_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xdp.bpf.o"));
/// Frames for measurements: see frames.rs.
pub static GENERATOR_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/generator.bpf.o"));
/// Their end: see frames.rs.
pub static SINK_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sink.bpf.o"));
/// The reader of names alone: see name_cost.rs.
pub static NAME_COST_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/name_cost.bpf.o"));
