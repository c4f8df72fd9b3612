//! Any bytes as a client's datagrams (each behind two bytes of length), and as the frames of an opened packet: no hello
//! that was not sealed, memory within its bounds.
//! `cargo +nightly fuzz run quic` in engine/.

#![no_main]

use clearway_inspector::crypto_stream::{CryptoStream, CRYPTO_BYTES_MAX};
use clearway_inspector::quic::{could_be_initial, read_frames, Initials, CONNECTIONS_MAX};
use clearway_inspector::reader::Reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut initials = Initials::new();
    let mut reader = Reader::new(data);
    while let Some(length) = reader.u16() {
        let Some(datagram) = reader.take(usize::from(length).min(reader.len())) else { break };
        let _ = could_be_initial(datagram);
        let _ = initials.datagram(datagram);
        let _ = (initials.absence(), initials.unfinished());
    }
    assert!(initials.memory_bytes() <= data.len() * 2 + CONNECTIONS_MAX * (2 * CRYPTO_BYTES_MAX + 4096));

    let mut crypto = CryptoStream::new();
    read_frames(data, &mut crypto);
    assert!(crypto.contiguous().len() <= data.len().min(CRYPTO_BYTES_MAX));
});
