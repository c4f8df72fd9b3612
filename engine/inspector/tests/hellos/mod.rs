//! ClientHellos to test with, built by the letter of RFC 8446 and cut as a test says.

/// An extension: type and data.
pub type Extension = (u16, Vec<u8>);

/// `bytes` behind their length in `width` bytes.
pub fn sized(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

pub fn server_name(host: &[u8]) -> Extension {
    (0, sized(2, &host_entry(0, host)))
}

pub fn host_entry(kind: u8, host: &[u8]) -> Vec<u8> {
    [&[kind], &sized(2, host)[..]].concat()
}

pub fn alpn(protocols: &[&[u8]]) -> Extension {
    let list: Vec<u8> = protocols.iter().flat_map(|protocol| sized(1, protocol)).collect();
    (16, sized(2, &list))
}

/// A share of `bytes` bytes for a group.
pub fn key_share(group: u16, bytes: usize) -> Extension {
    let share = [&group.to_be_bytes()[..], &sized(2, &vec![7; bytes])].concat();
    (51, sized(2, &share))
}

pub fn ech() -> Extension {
    (0xfe0d, vec![0; 186])
}

/// What a browser sends: GREASE, the name in the middle, a post-quantum share of 1216 bytes.
pub fn of_a_browser(host: &[u8]) -> Vec<u8> {
    handshake(&[
        (0x1a1a, vec![]),
        key_share(0x11ec, 1216),
        alpn(&[b"\x2a\x2a", b"h2", b"http/1.1"]),
        ech(),
        server_name(host),
        (0x5a5a, vec![0]),
    ])
}

/// A handshake message with its header.
pub fn handshake(extensions: &[Extension]) -> Vec<u8> {
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &sized(2, data)].concat())
        .collect();
    handshake_of_body(&[&before_extensions()[..], &sized(2, &list)].concat())
}

pub fn handshake_of_body(body: &[u8]) -> Vec<u8> {
    [&[1], &sized(3, body)[..]].concat()
}

/// Version, random, session id, cipher suites, compression methods.
pub fn before_extensions() -> Vec<u8> {
    let suites = [0x0a, 0x0a, 0x13, 0x01, 0x13, 0x02, 0xc0, 0x2b];
    [&[3, 3][..], &[0x55; 32], &sized(1, &[9; 32]), &sized(2, &suites), &sized(1, &[0])].concat()
}

/// Records of one type, cut at most `bytes` each.
#[allow(dead_code)] // QUIC has no records
pub fn records(kind: u8, message: &[u8], bytes: usize) -> Vec<u8> {
    message.chunks(bytes).flat_map(|chunk| [&[kind, 3, 1], &sized(2, chunk)[..]].concat()).collect()
}
