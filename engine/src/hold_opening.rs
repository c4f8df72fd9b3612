//! How a client's TCP stream begins, for the answer that is built from it; of DNS over TCP, what of a query has come so
//! far. In the order of the stream, whichever way its segments come. Called by hold_live.rs alone.

use clearway_inspector::reassembly::{Stream, STREAM_BYTES_MAX};

/// Bytes of a flow's start that an answer looks at.
const OPENING_BYTES_MAX: usize = 256;
/// Of queries over TCP, until they are whole and have passed: as many as the flow itself keeps. A longer query is
/// answered with a reset.
const QUERY_BYTES_MAX: usize = STREAM_BYTES_MAX;

/// See the file's head. By default it keeps nothing.
#[derive(Debug, Default)]
pub struct Opening {
    /// Sequence number of the first byte that is kept.
    start: Option<u32>,
    bytes_max: usize,
    stream: Stream,
}

impl Opening {
    /// Of a stream that begins at `start`; None: where the first segment begins.
    pub fn new(start: Option<u32>, of_queries: bool) -> Self {
        let bytes_max = if of_queries { QUERY_BYTES_MAX } else { OPENING_BYTES_MAX };
        Opening { start, bytes_max, stream: Stream::new(start) }
    }

    /// The same stream from its first byte.
    pub fn begin_anew(&mut self, start: u32) {
        (self.start, self.stream) = (Some(start), Stream::new(Some(start)));
    }

    /// Takes in a segment's payload, as far as there is room for it.
    pub fn push(&mut self, sequence: u32, payload: &[u8]) {
        if self.bytes_max == 0 || payload.is_empty() {
            return;
        }
        let start = self.start.unwrap_or(sequence);
        if self.start.is_none() {
            self.begin_anew(start);
        }
        let offset = i64::from(sequence.wrapping_sub(start) as i32);
        let room_bytes = usize::try_from(self.bytes_max as i64 - offset).unwrap_or(0);
        self.stream.push(sequence, payload.get(..room_bytes).unwrap_or(payload));
    }

    /// That segment has gone on to the server, and the queries that are whole with it: what stands behind them is kept.
    pub fn pass_queries(&mut self, sequence: u32, payload: &[u8]) {
        while self.drop_whole_queries() {
            self.push(sequence, payload); // what there was no room for
        }
    }

    /// What has come without a gap.
    pub fn whole(&self) -> &[u8] {
        self.stream.whole()
    }

    /// The same, which then is kept no longer.
    pub fn take(&mut self) -> Vec<u8> {
        let whole = self.whole().to_vec();
        *self = Opening::default();
        whole
    }

    /// Heap held.
    pub fn memory_bytes(&self) -> usize {
        self.stream.memory_bytes()
    }

    /// False: there was none.
    fn drop_whole_queries(&mut self) -> bool {
        let Some(start) = self.start else { return false };
        let (whole, rest) = (self.whole(), behind_whole_queries(self.whole()));
        let done = whole.len() - rest.len();
        let next_bytes = rest.first_chunk().map_or(0, |length| 2 + usize::from(u16::from_be_bytes(*length)));
        if next_bytes > self.bytes_max {
            // Never whole here; where it ends is known all the same
            self.begin_anew(start.wrapping_add((done + next_bytes) as u32));
            return true;
        }
        self.start = Some(start.wrapping_add(done as u32));
        self.stream.drop_front(done);
        if self.stream.is_empty() {
            self.stream = Stream::new(self.start); // with the room that it took
        }
        done > 0
    }
}

/// What stands behind the queries that are whole, each with its length before it.
fn behind_whole_queries(stream: &[u8]) -> &[u8] {
    let mut rest = stream;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let Some(next) = behind.get(usize::from(u16::from_be_bytes(*length))..) else { break };
        rest = next;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of that length, and each byte of it.
    fn query(bytes: u16, of: u8) -> Vec<u8> {
        let mut query = bytes.to_be_bytes().to_vec();
        query.resize(2 + usize::from(bytes), of);
        query
    }

    #[test]
    fn whole_queries_are_cut_off_and_a_part_of_one_is_kept() {
        assert_eq!(behind_whole_queries(&[0, 2, 8, 9, 0, 1, 7, 0, 3, 1]), [0, 3, 1]);
        assert_eq!(behind_whole_queries(&[0]), [0]);
        assert!(behind_whole_queries(&[0, 0, 0, 1, 5]).is_empty());
    }

    #[test]
    fn a_query_whose_pieces_come_out_of_order_and_twice_is_kept_as_it_was_sent() {
        let stream = [query(30, 1), query(40, 2), query(50, 3)].concat();
        for start in [1000, u32::MAX - 20] {
            let mut opening = Opening::new(Some(start), true);
            for (from, to) in
                [(20, 32), (0, 9), (20, 32), (5, 20), (50, 74), (0, 32), (32, 40), (40, 50), (30, 60)]
            {
                let (sequence, payload) = (start.wrapping_add(from as u32), &stream[from..to]);
                opening.push(sequence, payload);
                opening.pass_queries(sequence, payload);
            }
            // Both have passed: the third stands first, as it comes
            assert!(opening.whole().is_empty());
            opening.push(start.wrapping_add(100), &stream[100..]);
            opening.push(start.wrapping_add(74), &stream[74..100]);
            assert_eq!(opening.whole(), query(50, 3));
        }
    }

    #[test]
    fn many_queries_in_one_buffer_and_one_too_long_to_keep_leave_it_in_step() {
        let last = query(20, 4);
        let before =
            [query(9000, 1), query(9000, 2), query(9000, 3), query(QUERY_BYTES_MAX as u16, 0), query(0, 0)]
                .concat();
        for a_piece in [before.len(), 1448] {
            let mut opening = Opening::new(Some(7), true);
            let mut sequence = 7;
            for piece in before.chunks(a_piece) {
                opening.push(sequence, piece);
                opening.pass_queries(sequence, piece);
                sequence += piece.len() as u32;
            }
            assert_eq!(opening.memory_bytes(), 0);
            opening.push(sequence, &last);
            assert_eq!(opening.whole(), last);
        }
    }

    #[test]
    fn of_other_streams_the_first_bytes_are_kept_and_no_more() {
        let stream: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut opening = Opening::new(Some(1), false);
        for (from, to) in [(500, 1000), (100, 500), (0, 100), (0, 1000)] {
            opening.push(1 + from as u32, &stream[from..to]);
        }
        assert_eq!(opening.whole(), &stream[..OPENING_BYTES_MAX]);
        assert_eq!(opening.take(), &stream[..OPENING_BYTES_MAX]);
        opening.push(1, &stream);
        assert!(opening.whole().is_empty());
    }
}
