//! Initial packets to test with, sealed by the letter of RFC 9001 §5, apart from the code that opens them.

use ring::aead::{quic, Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM};
use ring::hkdf::{KeyType, Prk, Salt, HKDF_SHA256};

pub const VERSION_1: u32 = 1;
pub const VERSION_2: u32 = 0x6b33_43cf;
pub const PING: u8 = 1;

/// An Initial of a client whose first went to `keys_of`.
#[derive(Clone)]
pub struct Initial {
    pub version: u32,
    pub keys_of: Vec<u8>,
    pub destination: Vec<u8>,
    pub source: Vec<u8>,
    pub token: Vec<u8>,
    pub number: u32,
    /// How many of the number's bytes are sent.
    pub number_bytes: usize,
    /// Cleared where it is greased, RFC 9287.
    pub fixed_bit: bool,
}

impl Initial {
    pub fn new(version: u32, id: &[u8]) -> Self {
        let (keys_of, destination) = (id.to_vec(), id.to_vec());
        let (source, token) = (b"src".to_vec(), vec![]);
        let (number, number_bytes, fixed_bit) = (0, 4, true);
        Initial { version, keys_of, destination, source, token, number, number_bytes, fixed_bit }
    }

    /// A datagram of 1200 bytes or more with this packet alone.
    pub fn datagram(&self, frames: &[u8]) -> Vec<u8> {
        let overhead = self.packet(&[0; 4]).len() - 4;
        let mut frames = frames.to_vec();
        frames.resize(frames.len().max(1200 - overhead), 0);
        self.packet(&frames)
    }

    pub fn packet(&self, frames: &[u8]) -> Vec<u8> {
        let mut frames = frames.to_vec();
        frames.resize(frames.len().max(4), 0);
        let kind = if self.version == VERSION_2 { 1 } else { 0 };
        let bits = if self.fixed_bit { 0xc0 } else { 0x80 };
        let mut packet = vec![bits | kind << 4 | (self.number_bytes - 1) as u8];
        packet.extend(self.version.to_be_bytes());
        for id in [&self.destination, &self.source] {
            packet.push(id.len() as u8);
            packet.extend(id);
        }
        packet.extend(varint(self.token.len() as u64));
        packet.extend(&self.token);
        packet.extend((0x4000 | (self.number_bytes + frames.len() + 16) as u16).to_be_bytes());
        let number_at = packet.len();
        packet.extend(&self.number.to_be_bytes()[4 - self.number_bytes..]);
        self.seal(packet, number_at, frames)
    }

    fn seal(&self, header: Vec<u8>, number_at: usize, mut frames: Vec<u8>) -> Vec<u8> {
        let (salt, words): (_, [&str; 3]) = match self.version {
            VERSION_2 => {
                ("0dede3def700a6db819381be6e269dcbf9bd2ed9", ["quicv2 key", "quicv2 iv", "quicv2 hp"])
            }
            _ => ("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", ["quic key", "quic iv", "quic hp"]),
        };
        let initial = Salt::new(HKDF_SHA256, &from_hex(salt)).extract(&self.keys_of);
        let client = Prk::new_less_safe(HKDF_SHA256, &expand(&initial, "client in", 32));
        let [key, mut iv, header_key] =
            [(words[0], 16), (words[1], 12), (words[2], 16)].map(|(word, n)| expand(&client, word, n));
        for (byte, of_number) in iv[8..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= of_number;
        }
        let nonce = Nonce::try_assume_unique_for_key(&iv).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut frames).unwrap();
        let mut packet = [header, frames].concat();
        let header_key = quic::HeaderProtectionKey::new(&quic::AES_128, &header_key).unwrap();
        let mask = header_key.new_mask(&packet[number_at + 4..][..16]).unwrap();
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..][..self.number_bytes].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }
}

pub fn crypto(offset: u64, data: &[u8]) -> Vec<u8> {
    [&[6], &varint(offset)[..], &varint(data.len() as u64), data].concat()
}

/// Two ranges, with ECN counts.
pub fn ack() -> Vec<u8> {
    vec![3, 9, 0x40, 100, 1, 2, 3, 0, 1, 2, 5]
}

pub fn close() -> Vec<u8> {
    [&[0x1c, 0x0a, 6, 4][..], b"why?"].concat()
}

pub fn zero_rtt(version: u32, id: &[u8]) -> Vec<u8> {
    sealed_packet(version, id, 1)
}

pub fn handshake_packet(version: u32, id: &[u8]) -> Vec<u8> {
    sealed_packet(version, id, 2)
}

/// A packet of another type with 30 bytes that nobody can open; version 2 counts types one further.
fn sealed_packet(version: u32, id: &[u8], kind: u8) -> Vec<u8> {
    let kind = if version == VERSION_2 { kind + 1 } else { kind };
    let ids = [&[id.len() as u8], id, &[0]].concat();
    [&[0xc0 | kind << 4], &version.to_be_bytes()[..], &ids, &[30], &[0xaa; 30]].concat()
}

/// In the shortest form.
pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (0x4000 | value as u16).to_be_bytes().to_vec(),
        _ => (0x8000_0000 | value as u32).to_be_bytes().to_vec(),
    }
}

pub fn from_hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label, RFC 8446 §7.1.
fn expand(secret: &Prk, word: &str, length: usize) -> Vec<u8> {
    let label = format!("tls13 {word}");
    let info = [&(length as u16).to_be_bytes()[..], &[label.len() as u8], label.as_bytes(), &[0]].concat();
    let mut key = vec![0; length];
    secret.expand(&[&info], Length(length)).unwrap().fill(&mut key).unwrap();
    key
}
