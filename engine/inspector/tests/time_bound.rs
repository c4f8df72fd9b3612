//! Work is bounded by the bytes that came, for the worst input that is known of each parser.
//!
//! Each is read at 4 KiB and at 64 KiB: a byte may cost no more than three times as much in the large one (quadratic
//! work would cost sixteen times as much), and never more than a named bound. Times are the best of many, and what is
//! over is measured again, so that a busy machine only makes the test slower. `cargo test --release --test time_bound -- --nocapture` prints the figures.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

#[allow(dead_code)] // each test takes what it needs
mod hellos;
#[allow(dead_code)]
mod initials;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clearway_inspector::flow::{Flow, Transport};
use clearway_inspector::http2::PREFACE;
use clearway_inspector::inspect;
use clearway_inspector::name_lines;
use clearway_inspector::name_set::Scope;
use initials::{crypto, Initial, VERSION_1};

/// What a byte may cost whatever comes, in nanoseconds: the 16 KiB that are read of a flow, one byte a packet, then
/// cost 40 ms. The dearest that is known costs a quarter of it, most a hundredth.
const BYTE_NS_MAX: f64 = if cfg!(debug_assertions) { 100_000.0 } else { 2500.0 };
/// How many times as much a byte may cost in 64 KiB as in 4 KiB.
const GROWTH_MAX: f64 = 3.0;
const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 64 << 10;
const ATTEMPTS: usize = 15;
/// So often is measured again what was over a limit; work that is quadratic is over it each time.
const TURNS: usize = 10;
const ATTEMPT_MIN: Duration = Duration::from_micros(300);

struct Hostile {
    name: &'static str,
    /// About so many bytes of it.
    make: fn(usize) -> Vec<u8>,
    read: fn(&[u8]),
}

const HOSTILE: &[Hostile] = &[
    Hostile { name: "http: a line that never ends, byte by byte", make: endless_line, read: drip::<80> },
    Hostile { name: "http: lines of one byte, byte by byte", make: short_lines, read: drip::<80> },
    Hostile {
        name: "http: blank lines in front, byte by byte",
        make: |n| b"\r\n".repeat(n / 2),
        read: drip::<80>,
    },
    Hostile { name: "http: a host in each line", make: hosts, read: at_once::<80> },
    Hostile { name: "http: a host in each line, byte by byte", make: hosts, read: drip::<80> },
    Hostile { name: "http: a host folded without end, byte by byte", make: folded_host, read: drip::<80> },
    Hostile { name: "http: requests one behind the other", make: pipelined, read: at_once::<80> },
    Hostile { name: "hpack: a long host, named again by each byte", make: host_again, read: at_once::<80> },
    Hostile { name: "hpack: the longest codes of Huffman", make: long_codes, read: at_once::<80> },
    Hostile { name: "hpack: a table filled and emptied", make: table_emptied, read: at_once::<80> },
    Hostile { name: "http2: empty frames, byte by byte", make: empty_frames, read: drip::<80> },
    Hostile { name: "dns: 32 odd names a datagram", make: odd_questions, read: datagrams::<53> },
    Hostile { name: "dns: 32 odd names a message, byte by byte", make: odd_questions, read: drip::<53> },
    Hostile {
        name: "dns: byte by byte, before one that came early",
        make: odd_questions,
        read: drip_early::<53>,
    },
    Hostile { name: "tls: records of one byte", make: one_byte_records, read: at_once::<443> },
    Hostile { name: "tls: records of one byte, byte by byte", make: one_byte_records, read: drip::<443> },
    Hostile { name: "tls: empty extensions, byte by byte", make: empty_extensions, read: drip::<443> },
    Hostile { name: "tls: empty host names", make: empty_host_names, read: at_once::<443> },
    Hostile { name: "quic: 250 far frames a datagram", make: far_frames, read: datagrams::<443> },
    Hostile { name: "quic: packets that no key opens", make: sealed_packets, read: datagrams::<443> },
    Hostile { name: "tcp: last byte first", make: |n| hello_of(n), read: backwards::<443> },
    Hostile { name: "tcp: each second byte first", make: |n| hello_of(n), read: swapped::<443> },
    Hostile {
        name: "tcp: segments that overlap but for one byte",
        make: |n| hello_of(n),
        read: overlapping::<443>,
    },
    Hostile {
        name: "tcp: each before what seemed the start",
        make: |n| b"GET /".repeat(n / 5),
        read: before_the_start,
    },
    Hostile { name: "name lines: the shortest names", make: |n| b"a.b\n".repeat(n / 4), read: lines },
    Hostile { name: "name lines: one line", make: |n| b"a.".repeat(n / 2), read: lines },
    Hostile { name: "capture: blocks without a frame", make: empty_blocks, read: inspect::invariant },
    Hostile { name: "capture: a flow each frame", make: |n| capture(n, new_flow), read: inspect::invariant },
    Hostile {
        name: "capture: fragments that contradict",
        make: |n| capture(n, fragment),
        read: inspect::invariant,
    },
];

#[test]
fn a_byte_costs_no_more_in_a_large_input_than_in_a_small_one() {
    let mut broken = Vec::new();
    for Hostile { name, make, read } in HOSTILE {
        let inputs = [SMALL_BYTES, LARGE_BYTES].map(make);
        let (mut small_ns, mut large_ns) = (f64::MAX, f64::MAX);
        let within = (0..TURNS).any(|_| {
            small_ns = byte_ns(*read, &inputs[0]);
            large_ns = large_ns.min(byte_ns(*read, &inputs[1]));
            large_ns <= GROWTH_MAX * small_ns && small_ns.max(large_ns) <= BYTE_NS_MAX
        });
        let row = format!("{name:50} {small_ns:9.2} {large_ns:9.2} ns a byte");
        println!("{row}");
        if !within {
            broken.push(row);
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn byte_ns(read: fn(&[u8]), input: &[u8]) -> f64 {
    let time = |rounds: u32| {
        let start = Instant::now();
        (0..rounds).for_each(|_| read(black_box(input)));
        start.elapsed() / rounds
    };
    let first = time(1).max(Duration::from_nanos(1));
    let rounds = ATTEMPT_MIN.as_nanos().div_ceil(first.as_nanos()) as u32;
    let best = (0..ATTEMPTS).map(|_| time(rounds)).min().unwrap();
    best.as_nanos() as f64 / input.len() as f64
}

// ---- ways to read

const START: u32 = u32::MAX - 1000;

/// (place, bytes) of each segment.
fn segments<'a>(port: u16, start: Option<u32>, segments: impl Iterator<Item = (usize, &'a [u8])>) {
    let mut flow = Flow::new(Transport::Tcp, port, start);
    let mut found = Vec::new();
    for (place, bytes) in segments {
        flow.segment(START.wrapping_add(place as u32), bytes, &mut found);
        found.clear();
    }
    flow.end(&mut found);
    black_box(&found);
}

fn at_once<const PORT: u16>(bytes: &[u8]) {
    segments(PORT, Some(START), [(0, bytes)].into_iter());
}

fn drip<const PORT: u16>(bytes: &[u8]) {
    segments(PORT, Some(START), bytes.chunks(1).enumerate());
}

/// The last byte that is kept comes first, and again behind each.
fn drip_early<const PORT: u16>(bytes: &[u8]) {
    let both =
        bytes.chunks(1).enumerate().flat_map(|(place, byte)| [(place + 17_000, &b"x"[..]), (place, byte)]);
    segments(PORT, Some(START), both);
}

fn backwards<const PORT: u16>(bytes: &[u8]) {
    segments(PORT, Some(START), bytes.chunks(1).enumerate().rev());
}

fn swapped<const PORT: u16>(bytes: &[u8]) {
    let pairs = bytes.chunks_exact(2).enumerate();
    segments(
        PORT,
        Some(START),
        pairs.flat_map(|(at, pair)| [(2 * at + 1, &pair[1..]), (2 * at, &pair[..1])]),
    );
}

/// As many bytes as there are in `bytes`, in segments of 64.
fn overlapping<const PORT: u16>(bytes: &[u8]) {
    let count = bytes.len() / 64;
    segments(PORT, Some(START), bytes.windows(64).enumerate().take(count));
}

/// Of a flow that nobody saw begin.
fn before_the_start(bytes: &[u8]) {
    segments(80, None, bytes.chunks(5).enumerate().map(|(at, part)| (5 * at, part)).rev());
}

/// Each behind two bytes of length.
fn datagrams<const PORT: u16>(bytes: &[u8]) {
    let mut flow = Flow::new(Transport::Udp, PORT, None);
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some((&[high, low], behind)) = rest.split_first_chunk::<2>() {
        let (datagram, behind) =
            behind.split_at(usize::from(u16::from_be_bytes([high, low])).min(behind.len()));
        flow.datagram(datagram, &mut found);
        found.clear();
        rest = behind;
    }
    flow.end(&mut found);
}

fn lines(bytes: &[u8]) {
    black_box(name_lines::parse(bytes, Scope::Subtree, Scope::Below));
}

// ---- what is read

fn filled(start: &[u8], unit: &[u8], bytes: usize) -> Vec<u8> {
    [start, &unit.repeat(bytes / unit.len())].concat()
}

fn endless_line(bytes: usize) -> Vec<u8> {
    filled(b"GET / HTTP/1.1\r\nA: ", b"x", bytes)
}

fn short_lines(bytes: usize) -> Vec<u8> {
    filled(b"GET / HTTP/1.1\r\n", b":\n", bytes)
}

fn hosts(bytes: usize) -> Vec<u8> {
    let hosts: String = (0..bytes / 13).map(|number| format!("Host:a{number:05}\n")).collect();
    [b"GET / HTTP/1.1\r\n", hosts.as_bytes()].concat()
}

fn folded_host(bytes: usize) -> Vec<u8> {
    filled(b"GET / HTTP/1.1\r\nHost: a\r\n", b" b\n", bytes)
}

fn pipelined(bytes: usize) -> Vec<u8> {
    filled(b"", b"GET / HTTP/1.1\nHost:a\n\n", bytes)
}

/// One block in a HEADERS frame and CONTINUATIONs.
fn block(block: &[u8]) -> Vec<u8> {
    let mut stream = PREFACE.to_vec();
    for (number, part) in block.chunks(8000).enumerate() {
        stream.extend((part.len() as u32).to_be_bytes().into_iter().skip(1));
        stream.extend([if number == 0 { 1 } else { 9 }, 0, 0, 0, 0, 1]);
        stream.extend(part);
    }
    stream.extend([0, 0, 0, 9, 4, 0, 0, 0, 1]);
    stream
}

/// Blocks end below the bound on a connection's bytes, or they would not be read.
const BLOCK_BYTES_MAX: usize = 15 << 10;

fn host_again(bytes: usize) -> Vec<u8> {
    // :authority with a value of 2000 control bytes, indexed, then asked for
    let literal = [&[0x41, 0x7f, 0xd1, 0x0e][..], &[1; 2000]].concat();
    block(&filled(&literal, &[0xbe], bytes.min(BLOCK_BYTES_MAX) - literal.len()))
}

fn long_codes(bytes: usize) -> Vec<u8> {
    // Four times the line feed, whose code has 30 bits, is 15 bytes
    let coded = (0..4).fold(0_u128, |coded, _| coded << 30 | 0x3fff_fffc).to_be_bytes();
    let literal = [&[0x00, 0x01, b'a', 0x80 | 120][..], &coded[1..].repeat(8)].concat();
    block(&filled(b"", &literal, bytes.min(BLOCK_BYTES_MAX)))
}

fn table_emptied(bytes: usize) -> Vec<u8> {
    let fill = [0x40, 0, 0].repeat(40);
    block(&filled(b"", &[&fill[..], &[0x20, 0x3f, 0xe1, 0x1f]].concat(), bytes.min(BLOCK_BYTES_MAX)))
}

fn empty_frames(bytes: usize) -> Vec<u8> {
    filled(PREFACE, &[0, 0, 0, 4, 1, 0, 0, 0, 0], bytes)
}

fn odd_questions(bytes: usize) -> Vec<u8> {
    let label = [&[63][..], &[7; 63]].concat();
    let question = [&label.repeat(3)[..], &[61], &[7; 61], &[0, 0, 1, 0, 1]].concat();
    // As many as fit below the bound on a message over TCP
    let message = [&[0, 7, 1, 0, 0, 15, 0, 0, 0, 0, 0, 0][..], &question.repeat(15)].concat();
    filled(b"", &hellos::sized(2, &message), bytes.max(message.len() + 2))
}

/// Records with a byte each of a hello that is as long as is read.
fn one_byte_records(bytes: usize) -> Vec<u8> {
    hellos::records(22, &endless_hello(bytes / 6), 1)
}

fn hello_of(bytes: usize) -> Vec<u8> {
    hellos::records(22, &endless_hello(bytes), 16_000)
}

/// Says that it is longer than it is.
fn endless_hello(bytes: usize) -> Vec<u8> {
    let head = [&[1, 0, 0x3f, 0xf0][..], &hellos::before_extensions(), &[0x3f, 0]].concat();
    filled(&head, &[0x12, 0x34, 0, 0], bytes)
}

fn empty_extensions(bytes: usize) -> Vec<u8> {
    hello_of(bytes)
}

fn empty_host_names(bytes: usize) -> Vec<u8> {
    let names = vec![0; bytes.min(15_000) / 3 * 3];
    hellos::records(22, &hellos::handshake(&[(0, hellos::sized(2, &names))]), 16_000)
}

fn far_frames(bytes: usize) -> Vec<u8> {
    let mut sealed = Initial::new(VERSION_1, b"01234567");
    let frames: Vec<u8> = (0..250).flat_map(|place| crypto(65 * place + 1, b"x")).collect();
    let mut datagrams = Vec::new();
    while datagrams.len() < bytes {
        sealed.number += 1;
        datagrams.extend(hellos::sized(2, &sealed.datagram(&frames)));
    }
    datagrams
}

/// The first three open, so that each further one is tried with three keys before its own.
fn sealed_packets(bytes: usize) -> Vec<u8> {
    let opened = (0..3).map(|id| Initial::new(VERSION_1, &[id; 8]).datagram(&[1]));
    let mut datagrams: Vec<u8> = opened.flat_map(|datagram| hellos::sized(2, &datagram)).collect();
    let forged = [&[0xc0, 0, 0, 0, 1, 8][..], &[9; 8], &[0, 0, 24], &[9; 24]].concat();
    while datagrams.len() < bytes {
        datagrams.extend(hellos::sized(2, &forged.repeat(8)));
    }
    datagrams
}

// ---- captures

fn empty_blocks(bytes: usize) -> Vec<u8> {
    let section = [0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
    let head = [&section[..], &[0xff; 8], &[28, 0, 0, 0]].concat();
    filled(&head, &[9, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0], bytes)
}

fn capture(bytes: usize, frame: fn(u16) -> Vec<u8>) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 101, 0, 0, 0];
    for number in 0.. {
        let frame = frame(number);
        file.extend([0; 8]);
        file.extend((frame.len() as u32).to_le_bytes().repeat(2));
        file.extend(frame);
        if file.len() >= bytes {
            break;
        }
    }
    file
}

fn ipv4(number: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let (total, number) = (20 + payload.len() as u16, number.to_be_bytes());
    let ends = [192, 0, 2, 1, 198, 51, number[0], number[1]];
    [&[0x45, 0][..], &total.to_be_bytes(), &[0, 7], &fragment.to_be_bytes(), &[64, 17, 0, 0], &ends, payload]
        .concat()
}

fn new_flow(number: u16) -> Vec<u8> {
    ipv4(number, 0, &[0x10, 0, 0x10, 0, 0, 9, 0, 0, b'x'])
}

/// All but the first eight bytes, then more than there may be, and again.
fn fragment(number: u16) -> Vec<u8> {
    let place = 1 + number % 8000;
    let more = if number == 4000 { 0 } else { 0x2000 };
    ipv4(0, place | more, &[0; 8])
}
