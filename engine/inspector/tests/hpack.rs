//! HPACK against the vectors of RFC 7541 appendix C, and against a Huffman string of every byte that python-hpack
//! wrote.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use clearway_inspector::hpack::{Decoder, TABLE_BYTES_MAX};
use clearway_inspector::observation::Absence;

const EVERY_BYTE: &str = "\
ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffeb\
fffffecfffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3f\
ffffe7fffffebfffffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58\
f265cd9f469d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7f\
fbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffb\
fffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdaff\
feeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fffff5ffffecffff07fff87fffe0fff\
f17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1fffebfffe3ffff3fff\
ff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8fffffe6fffffc1fffff87fff\
fe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdffff4ffff9ff\
ffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fff\
ffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf\
";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Decodes a block; each field as `name: value`.
fn fields(decoder: &mut Decoder, hex: &str) -> Result<Vec<String>, Absence> {
    let mut found = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let result =
        decoder.decode(&bytes(hex), |name, value| found.push(format!("{}: {}", text(name), text(value))));
    result.map(|()| found)
}

/// Blocks of one connection, what each says, and the size of the table behind it.
fn holds(table_bytes: usize, blocks: &[(&str, &[&str], usize)]) {
    let mut decoder = Decoder::with_table_bytes(table_bytes);
    for (hex, expected, size) in blocks {
        assert_eq!(fields(&mut decoder, hex).unwrap(), *expected, "{hex}");
        assert_eq!(decoder.table_bytes(), *size, "{hex}");
    }
}

const FIRST: [&str; 4] = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const SECOND: [&str; 5] =
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"];
const THIRD: [&str; 5] = [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
];

#[test]
fn the_representations_of_appendix_c_2_are_decoded() {
    holds(
        4096,
        &[("400a637573746f6d2d6b65790d637573746f6d2d686561646572", &["custom-key: custom-header"], 55)],
    );
    holds(4096, &[("040c2f73616d706c652f70617468", &[":path: /sample/path"], 0)]);
    holds(4096, &[("100870617373776f726406736563726574", &["password: secret"], 0)]);
    holds(4096, &[("82", &[":method: GET"], 0)]);
}

#[test]
fn the_requests_of_appendix_c_3_and_c_4_are_decoded() {
    holds(
        4096,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", &FIRST, 57),
            ("828684be58086e6f2d6361636865", &SECOND, 110),
            ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", &THIRD, 164),
        ],
    );
    holds(
        4096,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", &FIRST, 57),
            ("828684be5886a8eb10649cbf", &SECOND, 110),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", &THIRD, 164),
        ],
    );
}

#[test]
fn the_responses_of_appendix_c_5_and_c_6_evict_what_no_longer_fits() {
    let rest = [
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    let first = [":status: 302", rest[0], rest[1], rest[2]];
    let second = [":status: 307", rest[0], rest[1], rest[2]];
    let third = [
        ":status: 200",
        rest[0],
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        rest[2],
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ];
    holds(
        256,
        &[
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
                 6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                &first,
                222,
            ),
            ("4803333037c1c0bf", &second, 222),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970\
                 7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d\
                 333630303b2076657273696f6e3d31",
                &third,
                215,
            ),
        ],
    );
    holds(
        256,
        &[
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
                 6e919d29ad171863c78f0b97c8e9ae82ae43d3",
                &first,
                222,
            ),
            ("4883640effc1c0bf", &second, 222),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b\
                 3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                &third,
                215,
            ),
        ],
    );
}

#[test]
fn every_byte_has_its_huffman_code() {
    let coded = bytes(EVERY_BYTE);
    let mut length = vec![0xff];
    let mut more = coded.len() - 127;
    while more >= 128 {
        length.push(more as u8 & 127 | 128);
        more >>= 7;
    }
    length.push(more as u8);
    let block = [&[0x00, 0x01, b'x'][..], &length, &coded].concat();
    let mut found = Vec::new();
    Decoder::default().decode(&block, |_, value| found.extend_from_slice(value)).unwrap();
    assert_eq!(found, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn what_breaks_a_rule_is_malformed() {
    for (hex, why) in [
        ("80", "index 0"),
        ("be", "an index past the table"),
        ("7f00", "a name's index past the table"),
        ("ff80", "an integer without end"),
        ("ffffffff7f", "an integer of 2²⁸"),
        ("3f8080808001", "an integer of 2²⁸ behind zeros"),
        ("3f80808080808080808000", "ten bytes of an integer"),
        ("400161", "no value"),
        ("41827f", "a string longer than the block"),
        ("4181ff", "padding of eight bits"),
        ("418106", "a code cut short"),
        ("418118", "padding of zeros"),
        ("4184ffffffff", "the end of string as a symbol"),
        ("3fe1ff07", "a table past the bound"),
    ] {
        assert_eq!(fields(&mut Decoder::default(), hex), Err(Absence::Malformed), "{why}");
    }
}

/// As Go's server reads it.
#[test]
fn an_integer_may_go_on_with_zeros() {
    for zeros in ["00", "8000", "80808000", "808080808080808000"] {
        let block = format!("3f{zeros}82"); // a table of 31 bytes
        assert_eq!(fields(&mut Decoder::default(), &block).unwrap(), [":method: GET"], "{block}");
    }
    assert_eq!(fields(&mut Decoder::default(), "ff808080808000"), Err(Absence::Malformed), "index 127");
}

#[test]
fn a_new_size_of_the_table_evicts() {
    let mut decoder = Decoder::default();
    fields(&mut decoder, "400161016240016301644001650166").unwrap();
    assert_eq!(decoder.table_bytes(), 3 * 34);
    fields(&mut decoder, "3f25").unwrap(); // 68
    assert_eq!(decoder.table_bytes(), 2 * 34);
    assert_eq!(fields(&mut decoder, "bebf").unwrap(), ["e: f", "c: d"]);
    fields(&mut decoder, "20").unwrap();
    assert_eq!(decoder.table_bytes(), 0);
}

/// A name of 4 kB that 5 000 fields repeat: they share it, and the table keeps what fits.
#[test]
fn a_block_that_repeats_a_long_name_stays_small() {
    let mut block = vec![0x3f, 0xe1, 0xff, 0x03, 0x40, 0x7f, 0x81, 0x1f]; // the largest table; a name of 4 096 bytes
    block.extend_from_slice(&[b'n'; 4096]);
    block.push(0);
    for _ in 0..5_000 {
        block.extend_from_slice(&[0x7e, 0x00]);
    }
    let (mut decoder, mut count) = (Decoder::default(), 0);
    decoder.decode(&block, |name, _| count += usize::from(name.len() == 4096)).unwrap();
    assert_eq!(count, 5_001);
    assert!(decoder.table_bytes() <= TABLE_BYTES_MAX);
}
