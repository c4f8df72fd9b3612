//! What can be read of a flow without decrypting it: names in DNS, HTTP, TLS and QUIC; and what is said to somebody
//! who was refused. The pure half of packet time.
//!
//! Bytes and times in, values out: no socket, no clock, no kernel, no `unsafe`, no panic on any input. It states facts
//! (`Observation`), never verdicts. Work and memory are bounded for any input; each bound is a named constant. Called
//! by the gateway's hold loop (`engine/src/hold.rs`), by `clearway inspect` and `replay`, and by the fuzz targets.

pub mod answers;
pub mod capture;
pub mod crypto_stream;
pub mod dns;
pub mod finding;
pub mod flow;
mod flow_table;
pub mod fragments;
pub mod frame;
pub mod hpack;
pub mod http;
pub mod http2;
pub mod inspect;
pub mod link;
pub mod name;
pub mod name_filter;
pub mod name_hash;
pub mod name_lines;
pub mod name_set;
pub mod observation;
pub mod quic;
pub mod quic_keys;
pub mod reader;
pub mod reassembly;
pub mod tls;
