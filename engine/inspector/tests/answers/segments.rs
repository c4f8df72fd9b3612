//! Answers in a connection: the page, DNS over TCP, resets.

use clearway_inspector::answers::{
    dns_reply, dns_tcp_reply, http_page, resets, DnsAnswer, Ending, Refusal, Standing, MSS_DEFAULT,
};
use clearway_inspector::frame::flags;

use crate::wire::{self, Version, CLIENT_ACK, OPT, PLAIN};
use crate::{AT, REFUSAL};

const REQUEST: &[u8] = b"GET /secret/path HTTP/1.1\r\nHost: files.bad.example\r\n\r\n";
const SEQUENCE: u32 = u32::MAX - 10; // goes round within the request

fn page_for(request: &[u8], refusal: &Refusal<'_>, options: &[u8], mss: u16) -> Ending {
    let frame = wire::tcp_with(&PLAIN, Version::V6, SEQUENCE, flags::ACK, options, request);
    let packet = wire::read(&frame);
    http_page(&frame, &packet, Standing::of(&packet), request, refusal, AT, mss).expect("an answer")
}

/// The content of segments that follow one another from `CLIENT_ACK` on and end with the only FIN.
fn joined(to_client: &[Vec<u8>], acknowledged: u32) -> Vec<u8> {
    let mut content = Vec::new();
    for (index, frame) in to_client.iter().enumerate() {
        let opened = wire::open(frame, &PLAIN);
        let segment = opened.tcp();
        assert_eq!(segment.sequence_number(), CLIENT_ACK.wrapping_add(content.len() as u32));
        assert_eq!((segment.ack(), segment.acknowledgment_number()), (true, acknowledged));
        assert_eq!((segment.syn(), segment.rst()), (false, false));
        assert_eq!(segment.fin(), index + 1 == to_client.len());
        content.extend_from_slice(segment.payload());
    }
    content
}

fn text(ending: &Ending, request: &[u8]) -> String {
    let content = joined(&ending.to_client, SEQUENCE.wrapping_add(request.len() as u32));
    String::from_utf8(content).expect("UTF-8")
}

fn assert_one_reset(frames: &[Vec<u8>], sequence: u32, acknowledged: u32) {
    let [frame] = frames else { panic!("{} frames", frames.len()) };
    let opened = wire::open(frame, &PLAIN);
    let segment = opened.tcp();
    assert!(segment.rst() && segment.ack() && !segment.fin() && !segment.syn());
    assert_eq!((segment.sequence_number(), segment.acknowledgment_number()), (sequence, acknowledged));
    assert!(segment.payload().is_empty());
}

#[test]
fn a_request_gets_the_page_and_its_server_a_reset() {
    let ending = page_for(REQUEST, &REFUSAL, &[], MSS_DEFAULT);
    let response = text(&ending, REQUEST);
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    for field in ["Content-Type: text/html; charset=utf-8", "Cache-Control: no-store", "Connection: close"] {
        assert!(head.lines().any(|line| line == field), "{field}");
    }
    assert!(head.lines().any(|line| line == format!("Content-Length: {}", body.len())));
    assert!(response.len() < 5 * 1024, "{} bytes", response.len());
    assert_one_reset(&ending.to_server, SEQUENCE, CLIENT_ACK);
}

#[test]
fn the_page_tells_the_rule_and_nothing_of_its_reader() {
    let page = text(&page_for(REQUEST, &REFUSAL, &[], MSS_DEFAULT), REQUEST);
    for told in [
        "files.bad.example",
        "serves or spreads malicious software",
        "نقصان دہ سافٹ ویئر",
        ">urlhaus<",
        "urlhaus/48213",
        "2026-12-01T00:00:00Z",
        AT,
        "href=\"https://status.isp.example/appeal\"",
        "noc@isp.example",
        "lang=\"ur\" dir=\"rtl\"",
    ] {
        assert!(page.contains(told), "{told}");
    }
    for kept in ["secret", "script", "cookie", "Cookie", "src=", "@import", "url(", "2001:db8"] {
        assert!(!page.contains(kept), "{kept}");
    }
}

#[test]
fn a_page_whose_operator_gave_no_contact_says_so() {
    let cases = [
        (None, None, "nor a contact, so this page cannot say whom to ask"),
        (None, Some("noc@isp.example"), "has not given an address for appeals."),
        (Some("https://status.isp.example/"), None, "has not given a contact."),
    ];
    for (appeal_url, contact, sentence) in cases {
        let refusal = Refusal { appeal_url, contact, ..REFUSAL };
        let page = text(&page_for(REQUEST, &refusal, &[], MSS_DEFAULT), REQUEST);
        assert!(page.contains(sentence), "{sentence}");
    }
}

#[test]
fn values_are_escaped_and_only_links_become_links() {
    let refusal = Refusal {
        name: "<b>&\"'",
        source: &"<i>".repeat(1000),
        appeal_url: Some("javascript:alert(1)"),
        contact: Some("https://x.example/\" onclick=\"x"),
        ..REFUSAL
    };
    let page = text(&page_for(REQUEST, &refusal, &[], MSS_DEFAULT), REQUEST);
    assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;"));
    assert!(!page.contains("<b>") && !page.contains("<i>") && !page.contains("\" onclick"));
    assert!(!page.contains("href=\"javascript"));
    assert!(page.len() < 10 * 1024, "{} bytes", page.len());
}

#[test]
fn a_reason_without_a_sentence_is_shown_as_its_word() {
    let refusal = Refusal { reason: "later-word", ..REFUSAL };
    let page = text(&page_for(REQUEST, &refusal, &[], MSS_DEFAULT), REQUEST);
    assert!(page.contains(">later-word<") && !page.contains("According to"));
}

#[test]
fn head_gets_the_head_of_the_same_answer_alone() {
    let page = text(&page_for(REQUEST, &REFUSAL, &[], MSS_DEFAULT), REQUEST);
    let request = b"HEAD / HTTP/1.1\r\nHost: files.bad.example\r\n\r\n";
    let head = text(&page_for(request, &REFUSAL, &[], MSS_DEFAULT), request);
    assert!(head.ends_with("\r\n\r\n") && page.starts_with(&head));
}

#[test]
fn http2_without_an_upgrade_is_reset() {
    let request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let ending = page_for(request, &REFUSAL, &[], MSS_DEFAULT);
    assert_one_reset(&ending.to_client, CLIENT_ACK, SEQUENCE.wrapping_add(request.len() as u32));
    assert_one_reset(&ending.to_server, SEQUENCE, CLIENT_ACK);
}

#[test]
fn segments_keep_to_the_clients_mss_options_included() {
    let whole = text(&page_for(REQUEST, &REFUSAL, &[], MSS_DEFAULT), REQUEST);
    for mss in [536, 1200, 1440, 9000, u16::MAX] {
        for options in [&[][..], &wire::TIMESTAMPS[..]] {
            let ending = page_for(REQUEST, &REFUSAL, options, mss);
            assert_eq!(text(&ending, REQUEST), whole);
            for frame in &ending.to_client {
                let opened = wire::open(frame, &PLAIN);
                let segment = opened.tcp();
                assert!(segment.payload().len() + segment.options().len() <= usize::from(mss), "{mss}");
            }
        }
    }
    assert!(page_for(REQUEST, &REFUSAL, &[], 1).to_client.len() < 40, "a silly MSS is not followed");
}

#[test]
fn timestamps_are_answered_with_the_other_ends_newest() {
    let ending = page_for(REQUEST, &REFUSAL, &wire::TIMESTAMPS, MSS_DEFAULT);
    for frame in &ending.to_client {
        assert_eq!(wire::open(frame, &PLAIN).tcp().options(), [1, 1, 8, 10, 0, 0, 0, 4, 0, 0, 0, 9]);
    }
    assert_eq!(wire::open(&ending.to_server[0], &PLAIN).tcp().options(), wire::TIMESTAMPS);
    let other_options = [2, 4, 5, 0xb4, 4, 2, 1, 1];
    let ending = page_for(REQUEST, &REFUSAL, &other_options, MSS_DEFAULT);
    assert!(ending.to_client.iter().all(|frame| wire::open(frame, &PLAIN).tcp().options().is_empty()));
}

#[test]
fn a_query_over_tcp_gets_the_message_of_udp_behind_its_length_and_the_connection_ends() {
    let query = wire::query(&wire::question("files.bad.example", 1), OPT);
    let frame = wire::udp(&PLAIN, Version::V4, 53, &query);
    let over_udp = dns_reply(&frame, &wire::read(&frame), &REFUSAL, DnsAnswer::Nxdomain).expect("an answer");
    let message = wire::open(&over_udp, &PLAIN).message().to_vec();

    let stream = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    let frame = wire::tcp(&PLAIN, Version::V4, SEQUENCE, flags::ACK, &stream);
    let packet = wire::read(&frame);
    let standing = Standing::of(&packet);
    let ending = dns_tcp_reply(&frame, &packet, standing, &query, &REFUSAL, DnsAnswer::Nxdomain, MSS_DEFAULT)
        .expect("one");
    let content = joined(&ending.to_client, SEQUENCE.wrapping_add(stream.len() as u32));
    assert_eq!(content, [&(message.len() as u16).to_be_bytes()[..], &message].concat());
    assert_one_reset(&ending.to_server, SEQUENCE, CLIENT_ACK);
}

#[test]
fn resets_stand_where_each_end_expects_the_next_byte() {
    let first = wire::tcp(&PLAIN, Version::V4, SEQUENCE, flags::ACK, &[0x16; 30]);
    let second =
        wire::tcp(&PLAIN, Version::V4, SEQUENCE.wrapping_add(30), flags::ACK | flags::FIN, &[0x16; 70]);
    let (earlier, later) = (wire::read(&first), wire::read(&second));
    for standing in [Standing::of(&earlier).and(&later), Standing::of(&later).and(&earlier)] {
        let ending = resets(&second, &later, standing).expect("resets");
        assert_one_reset(&ending.to_client, CLIENT_ACK, SEQUENCE.wrapping_add(30 + 70 + 1));
        assert_one_reset(&ending.to_server, SEQUENCE, CLIENT_ACK);
    }
}

#[test]
fn a_segment_that_opens_is_reset_at_the_client_alone() {
    let frame = wire::tcp(&PLAIN, Version::V6, SEQUENCE, flags::SYN, &[0x16; 30]);
    let packet = wire::read(&frame);
    let standing = Standing::of(&packet);
    let ending = resets(&frame, &packet, standing).expect("a reset");
    assert_one_reset(&ending.to_client, 0, SEQUENCE.wrapping_add(31));
    assert!(ending.to_server.is_empty());
    let page = http_page(&frame, &packet, standing, REQUEST, &REFUSAL, AT, MSS_DEFAULT);
    assert_eq!(page, Some(ending));
}
