//! Header compression of HTTP/2 (RFC 7541): the decoder. Called by `http2`; tested with the vectors of the RFC's
//! appendix C, and through fuzz target `http2`.
//!
//! Work and memory are bounded by the block: names and values are shared, never copied, however often a block repeats a
//! long one. The Huffman code is canonical, so its table is the symbols in the order of their codes.

use crate::observation::Absence;
use crate::reader::Reader;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes of the dynamic table at the start, RFC 9113 §6.5.2.
pub const TABLE_BYTES_DEFAULT: usize = 4096;
/// Bytes that a client may ask for: what servers allow at most. The entries come from the block, so it is not its cost.
pub const TABLE_BYTES_MAX: usize = 64 * 1024;
/// What an entry counts beside its name and value, §4.1.
const ENTRY_BYTES: usize = 32;

/// An entry of the dynamic table, or a literal.
#[derive(Clone, Debug)]
struct Field {
    name: Rc<[u8]>,
    value: Rc<[u8]>,
}

impl Field {
    fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + ENTRY_BYTES
    }
}

/// The state of one direction of a connection.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    bytes: usize,
    bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { table: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES_DEFAULT }
    }
}

impl Decoder {
    /// A table of another size at the start, up to `TABLE_BYTES_MAX`.
    pub fn with_table_bytes(bytes_max: usize) -> Self {
        Decoder { bytes_max: bytes_max.min(TABLE_BYTES_MAX), ..Decoder::default() }
    }

    /// Hands over name and value of each field of a header block in its order, until the block ends or is `Malformed`.
    pub fn decode(&mut self, block: &[u8], mut found: impl FnMut(&[u8], &[u8])) -> Result<(), Absence> {
        let mut reader = Reader::new(block);
        while let Some(first) = reader.peek() {
            self.representation(&mut reader, first, &mut found).ok_or(Absence::Malformed)?;
        }
        Ok(())
    }

    /// What the dynamic table counts.
    pub fn table_bytes(&self) -> usize {
        self.bytes
    }

    /// RFC 7541 §6. `None`: malformed.
    fn representation(
        &mut self,
        reader: &mut Reader<'_>,
        first: u8,
        found: &mut impl FnMut(&[u8], &[u8]),
    ) -> Option<()> {
        match first {
            0x80.. => {
                let (name, value) = self.entry(integer(reader, 7)?)?;
                found(name, value);
            }
            0x40.. => {
                let field = self.literal(reader, 6)?;
                found(&field.name, &field.value);
                self.insert(field);
            }
            0x20.. => {
                self.bytes_max = integer(reader, 5).filter(|bytes| *bytes <= TABLE_BYTES_MAX)?;
                self.evict(0);
            }
            _ => {
                let field = self.literal(reader, 4)?;
                found(&field.name, &field.value);
            }
        }
        Some(())
    }

    fn literal(&self, reader: &mut Reader<'_>, prefix_bits: u32) -> Option<Field> {
        let name = match integer(reader, prefix_bits)? {
            0 => string(reader)?,
            index => match self.table_entry(index) {
                Some(field) => Rc::clone(&field.name),
                None => self.entry(index)?.0.into(),
            },
        };
        Some(Field { name, value: string(reader)? })
    }

    /// From 1; the dynamic table follows the static one.
    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        match STATIC_TABLE.get(index.checked_sub(1)?) {
            Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
            None => self.table_entry(index).map(|field| (field.name.as_ref(), field.value.as_ref())),
        }
    }

    fn table_entry(&self, index: usize) -> Option<&Field> {
        self.table.get(index.checked_sub(1 + STATIC_TABLE.len())?)
    }

    /// An entry larger than the table empties it and is not kept, §4.4.
    fn insert(&mut self, field: Field) {
        self.evict(field.bytes());
        if field.bytes() <= self.bytes_max {
            self.bytes += field.bytes();
            self.table.push_front(field);
        }
    }

    fn evict(&mut self, room: usize) {
        while self.bytes + room > self.bytes_max {
            let Some(oldest) = self.table.pop_back() else { return };
            self.bytes -= oldest.bytes();
        }
    }
}

/// Bytes behind the prefix: as many as Go's server takes. Some of them may be zeros that say nothing.
const INTEGER_BYTES_MAX: u32 = 9;

/// §5.1; up to 2²¹ + 2⁸: what three further bytes say, which is more than a block has.
fn integer(reader: &mut Reader<'_>, prefix_bits: u32) -> Option<usize> {
    let prefix_max = (1 << prefix_bits) - 1;
    let mut value = usize::from(reader.u8()?) & prefix_max;
    if value < prefix_max {
        return Some(value);
    }
    for at in 0..INTEGER_BYTES_MAX {
        let byte = reader.u8()?;
        let bits = usize::from(byte & 0x7f);
        match at {
            0..3 => value += bits << (7 * at),
            _ if bits != 0 => return None,
            _ => {}
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// §5.2.
fn string(reader: &mut Reader<'_>) -> Option<Rc<[u8]>> {
    let is_coded = reader.peek()? & 0x80 != 0;
    let length = integer(reader, 7)?;
    let bytes = reader.take(length)?;
    if is_coded {
        huffman(bytes).map(Into::into)
    } else {
        Some(bytes.into())
    }
}

/// §5.2, appendix B. What is left over is under eight bits, all ones. A symbol has 5 bits or more and takes at most 21
/// comparisons.
fn huffman(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let mut rest = coded.iter();
    // Bits that were not decoded yet, at the upper end; behind them ones, as in padding.
    let (mut bits, mut count) = (u64::MAX, 0);
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else { break };
            bits &= !(0xff_u64 << (56 - count)) | u64::from(*byte) << (56 - count);
            count += 8;
        }
        let (symbol, length) = first_symbol(bits);
        if length > count {
            return (count < 8 && bits == u64::MAX).then_some(text);
        }
        text.push(symbol?);
        bits = bits << length | ((1 << length) - 1);
        count -= length;
    }
}

/// The symbol whose code `bits` begins with, and the code's length. The end of string, all ones, is no symbol.
fn first_symbol(bits: u64) -> (Option<u8>, u32) {
    let (mut code, mut length) = (0, 0);
    for (bits_more, symbols) in HUFFMAN_CODES {
        length += bits_more;
        code <<= bits_more;
        let place = (bits >> (64 - length)).saturating_sub(code);
        if let Some(symbol) = usize::try_from(place).ok().and_then(|place| symbols.get(place)) {
            return (Some(*symbol), length);
        }
        code += symbols.len() as u64;
    }
    (None, length)
}

/// How many bits longer than those before, and the symbols of that length in the order of their codes.
const HUFFMAN_CODES: [(u32, &[u8]); 21] = [
    (5, b"012aceiost"),
    (1, b" %-./3456789=A_bdfghlmnpru"),
    (1, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (1, b"&*,;XZ"),
    (2, b"!\"()?"),
    (1, b"'+|"),
    (1, b"#>"),
    (1, b"\x00$@[]~"),
    (1, b"^}"),
    (1, b"<`{"),
    (4, b"\\\xc3\xd0"),
    (1, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (1, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (1, b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9"),
    (1, b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef"),
    (1, b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (1, b"\xc7\xcf\xea\xeb"),
    (1, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (1, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (1, b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9"),
    (2, b"\x0a\x0d\x16"),
];

/// Appendix A.
const STATIC_TABLE: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
