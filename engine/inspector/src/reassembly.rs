//! The first bytes of a TCP flow, put together from segments in any order.
//!
//! The first copy of a byte wins; a later copy that says something else is counted. Bounded in bytes whatever comes;
//! what lies beyond the bound is left out, and `overflowed` says so. Called by `flow` alone.

/// The stream's length that is kept: a 16 KiB handshake message with its record headers. Memory per flow that is read.
pub const STREAM_BYTES_MAX: usize = 18 * 1024;

/// What is kept for further bytes where all were taken off: room for one segment.
const EMPTY_BYTES_MAX: usize = 2 * 1024;

/// What a segment changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Nothing at the front: a copy, or behind a gap.
    None,
    /// There is more to read at the front.
    Front,
    /// It lies before what was taken for the start: everything has moved, read again from the first byte.
    Restarted,
}

/// Bytes from a flow's start.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of `bytes[0]`.
    start: Option<u32>,
    /// Nobody saw the flow begin, so an earlier segment may still come.
    floating: bool,
    bytes: Vec<u8>,
    whole_bytes: usize,
    /// A bit for each byte that is known; empty while there is no gap, so all of `bytes` is.
    known: Vec<u64>,
    ambiguous: u32,
    overflowed: bool,
}

impl Stream {
    /// Begins at sequence number `start`; None: where the first segment begins, or one before it.
    pub fn new(start: Option<u32>) -> Stream {
        Stream { start, floating: start.is_none(), ..Stream::default() }
    }

    /// Adds a segment.
    pub fn push(&mut self, sequence: u32, payload: &[u8]) -> Growth {
        if payload.is_empty() {
            return Growth::None;
        }
        let start = *self.start.get_or_insert(sequence);
        let offset = sequence.wrapping_sub(start) as i32;
        let (offset, payload, restarted) = match usize::try_from(offset) {
            Ok(offset) => (offset, payload, false),
            Err(_) if self.floating => match self.move_back(offset.unsigned_abs() as usize) {
                true => (0, payload, true),
                false => return Growth::None,
            },
            Err(_) => match payload.get(offset.unsigned_abs() as usize..) {
                Some(rest) => (0, rest, false),
                None => return Growth::None, // a copy of what was read long ago, or a keep-alive
            },
        };
        let room_bytes = STREAM_BYTES_MAX.saturating_sub(offset);
        let kept = payload.get(..room_bytes).unwrap_or(payload);
        self.overflowed |= kept.len() < payload.len();
        if kept.is_empty() {
            return Growth::None; // a place that far off is not made room for
        }
        let before = self.whole_bytes;
        self.place(offset, kept);
        match (restarted, self.whole_bytes > before) {
            (true, _) => Growth::Restarted,
            (false, true) => Growth::Front,
            (false, false) => Growth::None,
        }
    }

    /// Takes `count` bytes off the front; they were read and won't be asked for again.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.whole_bytes);
        let first_known = self.known_from(count);
        self.start = self.start.map(|start| start.wrapping_add(count as u32));
        self.floating = false;
        self.bytes.drain(..count);
        if self.bytes.is_empty() && self.bytes.capacity() > EMPTY_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.whole_bytes -= count;
        self.known = first_known;
    }

    /// What stands whole from the start on.
    pub fn whole(&self) -> &[u8] {
        self.bytes.get(..self.whole_bytes).unwrap_or(&[])
    }

    /// Nothing has been kept yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A segment at `sequence` would be the stream's first bytes.
    pub fn begins_at(&self, sequence: u32) -> bool {
        self.bytes.is_empty() && self.start.is_none_or(|start| start == sequence)
    }

    /// Bytes that a later copy gave another value.
    pub fn ambiguous(&self) -> u32 {
        self.ambiguous
    }

    /// Something lay beyond the bound and was left out.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Heap held.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.known.capacity() * 8
    }

    fn place(&mut self, offset: usize, payload: &[u8]) {
        let end = offset + payload.len();
        if self.known.is_empty() && offset <= self.whole_bytes {
            let (copy, fresh) = payload.split_at(payload.len().min(self.whole_bytes - offset));
            let first = self.bytes.get(offset..).unwrap_or(&[]);
            self.ambiguous += first.iter().zip(copy).filter(|(first, later)| first != later).count() as u32;
            self.bytes.extend_from_slice(fresh);
            self.whole_bytes = self.bytes.len();
            return;
        }
        if self.known.is_empty() {
            self.known = vec![0; WORDS];
            mark(&mut self.known, 0..self.whole_bytes);
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        for (at, (byte, later)) in (offset..).zip(self.bytes.iter_mut().skip(offset).zip(payload)) {
            if !is_marked(&self.known, at) {
                *byte = *later;
            } else if byte != later {
                self.ambiguous += 1;
            }
        }
        mark(&mut self.known, offset..end);
        self.whole_bytes += marked_from(&self.known, self.whole_bytes);
        if self.whole_bytes == self.bytes.len() {
            self.known = Vec::new();
        }
    }

    /// Makes room for `count` unknown bytes before the start. False: too far before it to belong to it.
    fn move_back(&mut self, count: usize) -> bool {
        if count >= STREAM_BYTES_MAX {
            return false;
        }
        let mut known = vec![0; WORDS];
        if self.known.is_empty() {
            mark(&mut known, count..count + self.bytes.len());
        } else {
            let (words, bits) = (count / WORD_BITS, count % WORD_BITS);
            let carried = [0].iter().chain(&self.known);
            for (into, (word, below)) in known.iter_mut().skip(words).zip(self.known.iter().zip(carried)) {
                *into = word << bits | below.checked_shr((WORD_BITS - bits) as u32).unwrap_or(0);
            }
        }
        self.bytes.truncate(STREAM_BYTES_MAX - count);
        self.bytes.splice(0..0, std::iter::repeat_n(0, count));
        self.start = self.start.map(|start| start.wrapping_sub(count as u32));
        self.whole_bytes = 0;
        self.known = known;
        true
    }

    fn known_from(&self, count: usize) -> Vec<u64> {
        if self.known.is_empty() {
            return Vec::new();
        }
        let (words, bits) = (count / WORD_BITS, count % WORD_BITS);
        let mut known = vec![0; WORDS];
        let rest = self.known.get(words..).unwrap_or(&[]);
        let above = rest.iter().skip(1).chain(&[0]);
        for (into, (word, above)) in known.iter_mut().zip(rest.iter().zip(above)) {
            *into = word >> bits | above.checked_shl((WORD_BITS - bits) as u32).unwrap_or(0);
        }
        known
    }
}

const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = STREAM_BYTES_MAX / WORD_BITS;

/// Word by word: a segment of one byte may have thousands before it marked.
fn mark(known: &mut [u64], range: std::ops::Range<usize>) {
    for (number, word) in known.iter_mut().enumerate().skip(range.start / WORD_BITS) {
        let first = number * WORD_BITS;
        let (from, to) = (range.start.saturating_sub(first), range.end.saturating_sub(first).min(WORD_BITS));
        if to <= from {
            return;
        }
        *word |= u64::MAX >> (WORD_BITS - (to - from)) << from;
    }
}

/// How many are marked without a gap, from `at` on.
fn marked_from(known: &[u64], at: usize) -> usize {
    let mut count = 0;
    for word in known.iter().skip(at / WORD_BITS) {
        let bit = (at + count) % WORD_BITS;
        let ones = (word >> bit).trailing_ones() as usize;
        count += ones;
        if bit + ones < WORD_BITS {
            break;
        }
    }
    count
}

fn is_marked(known: &[u64], at: usize) -> bool {
    known.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(start: Option<u32>, segments: &[(u32, &[u8])]) -> Stream {
        let mut stream = Stream::new(start);
        for (sequence, payload) in segments {
            stream.push(*sequence, payload);
        }
        stream
    }

    #[test]
    fn puts_segments_in_order_across_the_wrap_of_sequence_numbers() {
        let stream = stream_of(Some(u32::MAX - 1), &[(1, b"de"), (u32::MAX, b"bc"), (u32::MAX - 1, b"a")]);
        assert_eq!(stream.whole(), b"abcde");
        assert_eq!(stream.ambiguous(), 0);
    }

    #[test]
    fn believes_the_first_copy_and_counts_what_differs() {
        let stream = stream_of(Some(10), &[(12, b"cd"), (10, b"abXX"), (10, b"aZcdef")]);
        assert_eq!(stream.whole(), b"abcdef");
        assert_eq!(stream.ambiguous(), 3);
    }

    #[test]
    fn a_flow_nobody_saw_begin_starts_at_its_lowest_segment() {
        let mut stream = Stream::new(None);
        assert_eq!(stream.push(103, b"def"), Growth::Front);
        assert_eq!(stream.push(100, b"a"), Growth::Restarted);
        assert_eq!(stream.whole(), b"a");
        assert_eq!(stream.push(101, b"bc"), Growth::Front);
        assert_eq!(stream.whole(), b"abcdef");
    }

    #[test]
    fn a_byte_before_a_known_start_is_no_part_of_it() {
        let stream = stream_of(Some(10), &[(9, b"\0"), (8, b"\0\0ab")]);
        assert_eq!(stream.whole(), b"ab");
    }

    #[test]
    fn nothing_beyond_the_bound_is_kept() {
        let mut stream = Stream::new(Some(0));
        stream.push(STREAM_BYTES_MAX as u32 - 1, b"ab");
        assert!(stream.overflowed());
        stream.push(STREAM_BYTES_MAX as u32 + 5, b"ab");
        stream.push(1 << 30, b"ab");
        assert!(stream.memory_bytes() <= 2 * STREAM_BYTES_MAX);
        assert_eq!(stream.whole(), b"");
    }

    #[test]
    fn what_was_dropped_from_the_front_leaves_the_rest_in_place() {
        let mut stream = stream_of(Some(0), &[(0, b"abc"), (5, b"f")]);
        stream.drop_front(2);
        stream.push(3, b"de");
        assert_eq!(stream.whole(), b"cdef");
    }

    #[test]
    fn much_that_was_dropped_takes_no_room_for_life() {
        let mut stream = stream_of(Some(0), &[(0, &[7; 10_000])]);
        assert!(stream.memory_bytes() >= 10_000);
        stream.drop_front(usize::MAX);
        assert!(stream.memory_bytes() <= EMPTY_BYTES_MAX);
        stream.push(10_000, b"next");
        assert_eq!(stream.whole(), b"next");
    }
}
