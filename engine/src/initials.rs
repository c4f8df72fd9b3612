//! For measurements: a client's first QUIC datagram, sealed by the letter of RFC 9001 §5. Whoever sees it can open it.

use ring::aead::{quic, Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, NONCE_LEN};
use ring::error::Unspecified;
use ring::hkdf::{KeyType, Prk, Salt, HKDF_SHA256};

use crate::error::{Error, Result};

/// What a client's first datagram has at least, RFC 9000 §14.1.
const DATAGRAM_BYTES: usize = 1200;
const CONNECTION_ID_BYTES_MAX: usize = 20;
const NUMBER_BYTES: usize = 2;
const TAG_BYTES: usize = 16;
/// Version 1.
const SALT: [u8; 20] = *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";

/// One Initial of version 1 with the whole hello in one CRYPTO frame, padded. The hello is a handshake message.
pub fn initial(connection_id: &[u8], hello: &[u8]) -> Result<Vec<u8>> {
    if connection_id.len() > CONNECTION_ID_BYTES_MAX {
        return Err(Error::Misuse(format!("a connection id of {} bytes", connection_id.len())));
    }
    let mut header = vec![0xc0 | (NUMBER_BYTES - 1) as u8, 0, 0, 0, 1, connection_id.len() as u8];
    header.extend_from_slice(connection_id);
    header.extend_from_slice(&[0, 0]); // no connection id of its own, no token
    let number_at = header.len() + 2;
    let frame_bytes =
        (4 + hello.len()).max(DATAGRAM_BYTES.saturating_sub(number_at + NUMBER_BYTES + TAG_BYTES));
    header.extend_from_slice(&two_bytes(NUMBER_BYTES + frame_bytes + TAG_BYTES)?);
    header.extend_from_slice(&[0; NUMBER_BYTES]);
    let mut frames = vec![6, 0]; // CRYPTO from its beginning
    frames.extend_from_slice(&two_bytes(hello.len())?);
    frames.extend_from_slice(hello);
    frames.resize(frame_bytes, 0);
    seal(connection_id, header, number_at, frames)
        .map_err(|Unspecified| Error::Misuse("an Initial that can't be sealed".to_owned()))
}

/// A number below 16,384, RFC 9000 §16.
fn two_bytes(number: usize) -> Result<[u8; 2]> {
    match u16::try_from(number) {
        Ok(number) if number < 0x4000 => Ok((number | 0x4000).to_be_bytes()),
        _ => Err(Error::Misuse(format!("a hello that makes {number} bytes"))),
    }
}

fn seal(
    connection_id: &[u8],
    header: Vec<u8>,
    number_at: usize,
    mut frames: Vec<u8>,
) -> std::result::Result<Vec<u8>, Unspecified> {
    let secret = Salt::new(HKDF_SHA256, &SALT).extract(connection_id);
    let client = Prk::from(secret.expand(&[b"\x00\x20\x0ftls13 client in\x00"], HKDF_SHA256)?);
    let mut iv = [0; NONCE_LEN];
    client.expand(&[b"\x00\x0c\x0dtls13 quic iv\x00"], IvLength)?.fill(&mut iv)?; // packet 0
    let key = client.expand(&[b"\x00\x10\x0etls13 quic key\x00"], &AES_128_GCM)?;
    let key = LessSafeKey::new(UnboundKey::from(key));
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::from(&header), &mut frames)?;
    let mut packet = header;
    packet.append(&mut frames);
    let mask_key = client.expand(&[b"\x00\x10\x0dtls13 quic hp\x00"], &quic::AES_128)?;
    let sample = packet.get(number_at + 4..).and_then(|rest| rest.get(..quic::AES_128.sample_len()));
    let [first, mask @ ..] =
        quic::HeaderProtectionKey::from(mask_key).new_mask(sample.ok_or(Unspecified)?)?;
    if let Some(byte) = packet.first_mut() {
        *byte ^= first & 0x0f;
    }
    packet.iter_mut().skip(number_at).take(NUMBER_BYTES).zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    Ok(packet)
}

struct IvLength;

impl KeyType for IvLength {
    fn len(&self) -> usize {
        NONCE_LEN
    }
}

#[cfg(test)]
mod tests {
    use clearway_inspector::quic::Initials;
    use clearway_inspector::reader::Parsed;

    use super::*;

    #[test]
    fn the_inspector_opens_what_was_sealed() {
        let mut hello = vec![1, 0, 0, 43, 3, 3];
        hello.extend_from_slice(&[7; 32]);
        hello.extend_from_slice(&[0, 0, 2, 0x13, 1, 1, 0, 0, 0]);
        let datagram = initial(b"\x01\x02\x03\x04\x05\x06\x07\x08", &hello).unwrap_or_default();
        assert_eq!(datagram.len(), DATAGRAM_BYTES);
        assert!(matches!(Initials::new().datagram(&datagram), Parsed::Done(hello) if hello.name.is_err()));
    }

    #[test]
    fn refuses_what_no_initial_holds() {
        assert!(initial(&[0; 21], b"").is_err());
        assert!(initial(&[0; 8], &[0; 0x4000]).is_err());
    }
}
