//! What bpf/abi.h says, as the build script read it from BTF.

include!(concat!(env!("OUT_DIR"), "/abi.rs"));
include!(concat!(env!("OUT_DIR"), "/offsets.rs"));

/// The TCX object.
pub static TCX_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcx.bpf.o"));
/// The XDP object.
pub static XDP_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xdp.bpf.o"));
