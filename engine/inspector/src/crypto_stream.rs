//! The bytes of CRYPTO frames, RFC 9000 §19.6, put in order. Called by quic.rs, a stream a connection.
//!
//! The first copy of a byte is believed; later copies that differ are counted. Which bytes are there is kept as a bit
//! for each, so that a million tiny frames cost no more a byte than one large one.

use crate::tls::HANDSHAKE_BYTES_MAX;

/// Bytes from the stream's start that are kept; what lies behind is not looked at. With the bits 18 KiB a stream.
pub const CRYPTO_BYTES_MAX: usize = HANDSHAKE_BYTES_MAX;

/// A stream with holes.
#[derive(Default)]
pub struct CryptoStream {
    bytes: Vec<u8>,
    /// A bit for each byte: it is there.
    there: Vec<u64>,
    contiguous: usize,
    ambiguous: u32,
}

impl CryptoStream {
    /// Nothing there.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more frame.
    pub fn insert(&mut self, offset: u64, data: &[u8]) {
        let Ok(start) = usize::try_from(offset) else { return };
        let Some(data) = data.get(..data.len().min(CRYPTO_BYTES_MAX.saturating_sub(start))) else { return };
        if data.is_empty() {
            return;
        }
        let end = start + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.there.resize(end.div_ceil(WORD_BITS), 0);
        }
        self.fill(start, data);
        self.advance();
    }

    /// The bytes before the first hole.
    pub fn contiguous(&self) -> &[u8] {
        self.bytes.get(..self.contiguous).unwrap_or_default()
    }

    /// Nothing has come.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that a later copy gave another value.
    pub fn ambiguous(&self) -> u32 {
        self.ambiguous
    }

    /// Heap held.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.there.capacity() * size_of::<u64>()
    }

    /// Word by word of bits: where none of a word's bytes was there, they are copied at once.
    fn fill(&mut self, start: usize, data: &[u8]) {
        let Some(mut room) = self.bytes.get_mut(start..) else { return };
        let mut data = data;
        let (first_word, mut bit) = (start / WORD_BITS, start % WORD_BITS);
        for word in self.there.iter_mut().skip(first_word) {
            let count = data.len().min(WORD_BITS - bit);
            let Some((came, later)) = data.split_at_checked(count) else { return };
            let Some((kept, beyond)) = room.split_at_mut_checked(count) else { return };
            let mask = (u64::MAX >> (WORD_BITS - count)) << bit;
            if *word & mask == 0 {
                kept.copy_from_slice(came);
            } else {
                self.ambiguous = self.ambiguous.saturating_add(merge(kept, came, *word >> bit));
            }
            *word |= mask;
            (data, room, bit) = (later, beyond, 0);
            if data.is_empty() {
                return;
            }
        }
    }

    fn advance(&mut self) {
        for word in self.there.iter().skip(self.contiguous / WORD_BITS) {
            let bit = self.contiguous % WORD_BITS;
            let ones = (word >> bit).trailing_ones() as usize;
            self.contiguous += ones;
            if bit + ones < WORD_BITS {
                return;
            }
        }
    }
}

const WORD_BITS: usize = u64::BITS as usize;

/// Copies the bytes whose bit is not set; how many of the others differ.
fn merge(kept: &mut [u8], came: &[u8], there: u64) -> u32 {
    let mut differ = 0;
    for (at, (kept, &came)) in kept.iter_mut().zip(came).enumerate() {
        if there >> at & 1 == 0 {
            *kept = came;
        } else if *kept != came {
            differ += 1;
        }
    }
    differ
}
