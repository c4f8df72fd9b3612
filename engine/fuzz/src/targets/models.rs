//! Three things that put bytes together, each held against the plainest model of it: a row of places, each empty or
//! with the first byte that came for it.

use std::net::IpAddr;

use clearway_inspector::crypto_stream::{CryptoStream, CRYPTO_BYTES_MAX};
use clearway_inspector::fragments::Fragments;
use clearway_inspector::frame::Fragment;
use clearway_inspector::reader::Reader;
use clearway_inspector::reassembly::{Growth, Stream, STREAM_BYTES_MAX};

/// Places from a stream's start; bytes that lie behind the last are not kept.
struct Places {
    places: Vec<Option<u8>>,
    /// Bytes that came later for a place that was taken, and differ.
    ambiguous: u32,
}

impl Places {
    fn new(count: usize) -> Places {
        Places { places: vec![None; count], ambiguous: 0 }
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (place, byte) in self.places.iter_mut().skip(offset).zip(bytes) {
            match place {
                None => *place = Some(*byte),
                Some(first) => self.ambiguous += u32::from(first != byte),
            }
        }
    }

    /// Before the first empty place.
    fn whole(&self) -> Vec<u8> {
        self.places.iter().map_while(|place| *place).collect()
    }

    /// Moves everything by `count`: towards the end where it is negative.
    fn drop_front(&mut self, count: usize) {
        self.places.rotate_left(count);
        self.places.iter_mut().rev().take(count).for_each(|place| *place = None);
    }

    fn move_back(&mut self, count: usize) {
        self.places.rotate_right(count);
        self.places.iter_mut().take(count).for_each(|place| *place = None);
    }
}

/// A piece of a script: where it belongs, and its bytes, which the script need not hold in full.
struct Piece {
    mark: u8,
    offset: usize,
    bytes: Vec<u8>,
}

/// A mark, two bytes of place and one of length; of a mark with the highest bit the bytes are one byte, 16 times the
/// length.
fn piece(reader: &mut Reader<'_>) -> Option<Piece> {
    let (mark, offset, length) = (reader.u8()?, usize::from(reader.u16()?), usize::from(reader.u8()?));
    let bytes = if mark & 0x80 != 0 {
        vec![mark; 16 * length]
    } else {
        reader.take(length.min(reader.len()))?.to_vec()
    };
    Some(Piece { mark, offset, bytes })
}

/// A TCP stream from segments in any order. The first byte says whether its start is known; a piece's mark may take
/// what is whole off the front, or place it before the start.
pub fn reassembly(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Some(first) = reader.u8() else { return };
    // So that sequence numbers wrap within the script
    let mut start = u32::MAX - 0x100;
    let mut floating = first & 1 != 0;
    let mut stream = Stream::new((!floating).then_some(start));
    let mut model = Places::new(STREAM_BYTES_MAX);
    let mut overflowed = false;
    let mut begun = !floating;
    while let Some(Piece { mark, offset, bytes }) = piece(&mut reader) {
        if mark & 1 != 0 && !stream.is_empty() {
            let count = offset.min(model.whole().len());
            stream.drop_front(offset);
            model.drop_front(count);
            start = start.wrapping_add(count as u32);
            floating = false;
        }
        let before = mark & 2 != 0;
        let sequence =
            if before { start.wrapping_sub(offset as u32) } else { start.wrapping_add(offset as u32) };
        let before_bytes = model.whole();
        let growth = stream.push(sequence, &bytes);
        if bytes.is_empty() {
            assert_eq!(growth, Growth::None);
            continue;
        }
        if !begun {
            (start, begun) = (sequence, true);
        }
        let offset = sequence.wrapping_sub(start) as i32;
        let behind = usize::try_from(offset).ok();
        match behind {
            Some(offset) => {
                model.put(offset, &bytes);
                overflowed |= offset + bytes.len() > STREAM_BYTES_MAX;
            }
            None if floating && offset.unsigned_abs() < STREAM_BYTES_MAX as u32 => {
                model.move_back(offset.unsigned_abs() as usize);
                model.put(0, &bytes);
                overflowed |= bytes.len() > STREAM_BYTES_MAX;
                start = sequence;
                assert_eq!(growth, Growth::Restarted);
            }
            None if floating => assert_eq!(growth, Growth::None),
            None => {
                let rest = bytes.get(offset.unsigned_abs() as usize..).unwrap_or(&[]);
                model.put(0, rest);
                overflowed |= rest.len() > STREAM_BYTES_MAX;
            }
        }
        let whole = model.whole();
        assert!(stream.whole() == whole, "{} bytes stand whole, not {}", stream.whole().len(), whole.len());
        assert_eq!((stream.ambiguous(), stream.overflowed()), (model.ambiguous, overflowed));
        assert!(
            growth == Growth::Restarted || (growth == Growth::Front) == (whole.len() > before_bytes.len())
        );
        assert!(stream.memory_bytes() <= 2 * STREAM_BYTES_MAX + STREAM_BYTES_MAX / 8);
    }
}

/// QUIC's stream from CRYPTO frames in any order.
pub fn crypto(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut stream = CryptoStream::new();
    let mut model = Places::new(CRYPTO_BYTES_MAX);
    while let Some(Piece { mark, offset, bytes }) = piece(&mut reader) {
        // Where a 64-bit offset would overflow
        let far = if mark & 1 != 0 { u64::MAX - 0xffff } else { 0 };
        stream.insert(far + offset as u64, &bytes);
        if far == 0 {
            model.put(offset, &bytes);
        }
        assert!(stream.contiguous() == model.whole(), "{} bytes stand whole", stream.contiguous().len());
        assert_eq!(stream.ambiguous(), model.ambiguous);
        assert!(stream.memory_bytes() <= 2 * CRYPTO_BYTES_MAX + CRYPTO_BYTES_MAX / 4);
    }
}

/// An IP packet from fragments in any order, two packets at once: each is handed over when its places up to the end are
/// taken, and the end is where the first last fragment said.
pub fn fragments(data: &[u8]) {
    const PACKET_BYTES_MAX: usize = 65_535;
    let end = IpAddr::from([192, 0, 2, 1]);
    let mut reader = Reader::new(data);
    let mut fragments = Fragments::default();
    let mut models = [(Places::new(PACKET_BYTES_MAX), None), (Places::new(PACKET_BYTES_MAX), None)];
    while let Some(Piece { mark, offset, bytes }) = piece(&mut reader) {
        let (more, identification) = (mark & 1 != 0, u32::from(mark >> 1 & 1));
        let offset = offset / 8 * 8;
        let part = Fragment {
            source: end,
            destination: end,
            protocol: 17,
            identification,
            offset,
            more,
            payload: &bytes,
        };
        let whole = fragments.push(&part, 0);
        let Some((model, total)) = models.get_mut(identification as usize) else { return };
        let fits =
            !bytes.is_empty() && offset + bytes.len() <= PACKET_BYTES_MAX && !(more && bytes.len() % 8 != 0);
        if fits {
            put_by_eights(model, offset, &bytes);
            *total = total.or((!more).then_some(offset + bytes.len()));
        }
        let expected = total.filter(|total| fits && model.places.iter().take(*total).all(Option::is_some));
        assert_eq!(whole.as_ref().map(Vec::len), expected);
        if let Some(whole) = whole {
            assert!(whole == model.places.iter().take(whole.len()).flatten().copied().collect::<Vec<_>>());
            (*model, *total) = (Places::new(PACKET_BYTES_MAX), None);
        }
    }
}

/// Eight bytes are one place: the first fragment that holds any of them has them all, and zeros stand for what it
/// lacks.
fn put_by_eights(model: &mut Places, offset: usize, bytes: &[u8]) {
    for (at, part) in (offset..).step_by(8).zip(bytes.chunks(8)) {
        let Some(room) = model.places.get_mut(at..) else { return };
        if room.first() == Some(&None) {
            let padded = part.iter().copied().chain(std::iter::repeat(0));
            room.iter_mut().take(8).zip(padded).for_each(|(place, byte)| *place = Some(byte));
        }
    }
}
