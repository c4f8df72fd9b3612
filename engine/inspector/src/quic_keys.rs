//! Keys of a client's Initial packets: RFC 9001 §5, RFC 9369 §3.3. They follow from the connection id of the client's
//! first packet, which everybody on the path sees; nothing secret is opened here.

use std::sync::LazyLock;

use ring::aead::{quic, Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, NONCE_LEN};
use ring::hkdf::{KeyType, Prk, Salt, HKDF_SHA256};

/// A version whose Initial packets can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369: other salt, labels and numbers of packet types.
    Two,
}

impl Version {
    /// None: a version that can't be read.
    pub const fn of(number: u32) -> Option<Version> {
        match number {
            0x0000_0001 => Some(Version::One),
            0x6b33_43cf => Some(Version::Two),
            _ => None,
        }
    }

    /// The type bits of an Initial's first byte.
    pub const fn initial_type(self) -> u8 {
        match self {
            Version::One => 0,
            Version::Two => 1,
        }
    }

    /// The type bits of a Retry's first byte; the only long packet of these versions that has no length.
    pub const fn retry_type(self) -> u8 {
        match self {
            Version::One => 3,
            Version::Two => 0,
        }
    }
}

/// What opens the Initials of one client. Some 800 bytes.
pub struct Keys {
    packet: LessSafeKey,
    iv: [u8; NONCE_LEN],
    header: quic::HeaderProtectionKey,
}

/// An opened packet.
pub struct Opened<'a> {
    /// Its number.
    pub number: u64,
    /// Its frames.
    pub frames: &'a [u8],
}

impl Keys {
    /// Of the client whose first Initial went to `connection_id`. None never comes: ring says no to overlong keys only.
    pub fn of_client(version: Version, connection_id: &[u8]) -> Option<Keys> {
        let (salt, labels) = match version {
            Version::One => (&*SALT_ONE, &LABELS_ONE),
            Version::Two => (&*SALT_TWO, &LABELS_TWO),
        };
        let initial = salt.extract(connection_id);
        let client = Prk::from(initial.expand(&[CLIENT_LABEL], HKDF_SHA256).ok()?);
        let mut iv = [0; NONCE_LEN];
        client.expand(&[labels.iv], IvLength).ok()?.fill(&mut iv).ok()?;
        Some(Keys {
            packet: LessSafeKey::new(UnboundKey::from(client.expand(&[labels.key], &AES_128_GCM).ok()?)),
            iv,
            header: quic::HeaderProtectionKey::from(client.expand(&[labels.header], &quic::AES_128).ok()?),
        })
    }

    /// Opens `packet` in place, if these are its keys; `number_at` is where its protected number stands, `expected` the
    /// number after the largest that was opened. If they are not, its bytes are spoilt.
    pub fn open<'a>(&self, packet: &'a mut [u8], number_at: usize, expected: u64) -> Option<Opened<'a>> {
        let sample = packet.get(number_at + NUMBER_BYTES_MAX..)?.get(..quic::AES_128.sample_len())?;
        let [first_mask, number_mask @ ..] = self.header.new_mask(sample).ok()?;
        let first = packet.first_mut()?;
        *first ^= first_mask & PROTECTED_BITS;
        if *first & RESERVED_BITS != 0 {
            return None; // three of four wrong keys end here
        }
        let number_bytes = usize::from(*first & NUMBER_LENGTH_BITS) + 1;
        let (header, sealed) = packet.split_at_mut_checked(number_at + number_bytes)?;
        let mut truncated = 0;
        for (byte, mask) in header.iter_mut().skip(number_at).zip(number_mask) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = full_number(truncated, number_bytes, expected);
        let nonce = Nonce::assume_unique_for_key(self.nonce(number));
        let frames = self.packet.open_in_place(nonce, Aad::from(&*header), sealed).ok()?;
        Some(Opened { number, frames })
    }

    fn nonce(&self, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, of_number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= of_number;
        }
        nonce
    }
}

/// The longest packet number; the sample begins this far behind its start, RFC 9001 §5.4.2.
const NUMBER_BYTES_MAX: usize = 4;
/// Of a long header's first byte.
const PROTECTED_BITS: u8 = 0x0f;
const RESERVED_BITS: u8 = 0x0c;
const NUMBER_LENGTH_BITS: u8 = 0x03;

/// RFC 9000 §A.3: the number that ends in `truncated` and is nearest to `expected`.
fn full_number(truncated: u64, bytes: usize, expected: u64) -> u64 {
    let window = 1_u64 << (8 * bytes);
    let candidate = expected & !(window - 1) | truncated;
    if candidate + window / 2 <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

static SALT_ONE: LazyLock<Salt> = LazyLock::new(|| {
    Salt::new(
        HKDF_SHA256,
        b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
    )
});
static SALT_TWO: LazyLock<Salt> = LazyLock::new(|| {
    Salt::new(
        HKDF_SHA256,
        b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
    )
});

/// HkdfLabels, RFC 8446 §7.1, ready made: length of the key, length of the label, the label, no context.
struct Labels {
    key: &'static [u8],
    iv: &'static [u8],
    header: &'static [u8],
}

const CLIENT_LABEL: &[u8] = b"\x00\x20\x0ftls13 client in\x00";
const LABELS_ONE: Labels = Labels {
    key: b"\x00\x10\x0etls13 quic key\x00",
    iv: b"\x00\x0c\x0dtls13 quic iv\x00",
    header: b"\x00\x10\x0dtls13 quic hp\x00",
};
const LABELS_TWO: Labels = Labels {
    key: b"\x00\x10\x10tls13 quicv2 key\x00",
    iv: b"\x00\x0c\x0ftls13 quicv2 iv\x00",
    header: b"\x00\x10\x0ftls13 quicv2 hp\x00",
};

struct IvLength;

impl KeyType for IvLength {
    fn len(&self) -> usize {
        NONCE_LEN
    }
}
