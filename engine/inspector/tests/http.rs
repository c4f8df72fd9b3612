//! Heads of HTTP/1 requests: what clients and odd clients send, whole, byte by byte, and with a tail.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use clearway_inspector::http::{
    could_be_request, invariant, request, Head, Request, HEAD_BYTES_MAX, HOSTS_MAX, METHOD_BYTES_MAX,
};
use clearway_inspector::observation::Absence;
use clearway_inspector::reader::Parsed;
use proptest::prelude::*;

/// The methods that IANA has registered, and three that clients of Windows send.
const METHODS: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE \
    MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PROPFIND PROPPATCH PUT \
    REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL \
    CCM_POST RPC_IN_DATA BITS_POST";

fn read(head: &str) -> Request {
    invariant(head.as_bytes());
    match request(head.as_bytes()) {
        Parsed::Done(request) => request,
        other => panic!("{other:?} of {head:?}"),
    }
}

/// Each host, in order: the name, or the reason and what stood there.
fn hosts(head: &str) -> Vec<String> {
    let hosts = read(head).hosts().into_iter();
    hosts
        .map(|host| {
            host.name.map_or_else(|why| format!("{} {}", why.word(), host.odd), |name| name.to_string())
        })
        .collect()
}

fn is_other(head: &str) -> bool {
    invariant(head.as_bytes());
    request(head.as_bytes()) == Parsed::No(Absence::OtherProtocol)
}

#[test]
fn the_host_is_read_without_its_port_dot_and_capitals() {
    for (value, expected) in [
        ("example.com", "example.com"),
        ("  WWW.Example.COM:8080\t", "www.example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("example.com:", "example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1:80", "literal 192.0.2.1"),
        ("[2001:DB8::1]:8000", "literal [2001:db8::1]"),
        ("[::1]", "literal [::1]"),
        ("::1", "literal ::1"),
        ("bücher.example", "not-a-name b\\195\\188cher.example"),
        ("example.com:http", "example.com"),
        ("example.com.:80:80", "example.com"),
        ("fe80::1", "literal fe80::1"),
        ("[::1]:http", "not-a-name [::1]:http"),
        ("192.0.2.1:http", "not-a-name 192.0.2.1:http"),
        (":80", "not-sent "),
        ("user@example.com", "not-a-name user@example.com"),
        ("a.example, b.example", "not-a-name a.example,\\032b.example"),
        ("a\0b", "not-a-name a\\000b"),
        ("", "not-sent "),
    ] {
        assert_eq!(
            hosts(&format!("GET / HTTP/1.1\r\nAccept: */*\r\nHost:{value}\r\n\r\n")),
            [expected],
            "{value:?}"
        );
    }
}

#[test]
fn the_method_and_the_length_of_the_head_are_kept() {
    let head = "POST /x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let found = read(&format!("{head}body\r\nHost: b.example\r\n\r\n"));
    assert_eq!((found.method.as_str(), found.head_bytes), ("POST", head.len()));
    assert!(found.others.is_empty());
}

#[test]
fn lines_may_end_in_a_line_feed_alone_and_empty_ones_may_come_first() {
    assert_eq!(hosts("GET / HTTP/1.1\nHost: a.example\n\n"), ["a.example"]);
    assert_eq!(hosts("\r\n\r\n\nGET / HTTP/1.1\r\nhost:a.example\n\r\n"), ["a.example"]);
    assert!(is_other("\r\r\nGET / HTTP/1.1\r\n\r\n"));
}

#[test]
fn a_folded_value_is_put_together() {
    assert_eq!(hosts("GET / HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n"), ["a.example"]);
    assert_eq!(hosts("GET / HTTP/1.1\r\nHost: a.example\r\n \t\r\nX: y\r\n\r\n"), ["a.example"]);
    assert_eq!(hosts("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n"), ["not-a-name a\\032b"]);
    // The fold of another field, and what folds the start line
    assert_eq!(
        hosts("GET / HTTP/1.1\r\n Host: a.example\r\nX: y\r\n Host: b.example\r\n\r\n"),
        ["not-sent "]
    );
}

#[test]
fn the_field_is_host_and_no_other() {
    for field in ["Host", "host", "HOST", "Host ", "hOsT\t"] {
        assert_eq!(
            hosts(&format!("GET / HTTP/1.1\r\n{field}: a.example\r\n\r\n")),
            ["a.example"],
            "{field:?}"
        );
    }
    for field in ["X-Host", "Hosts", "Forwarded: host", "Hos", ":Host"] {
        assert_eq!(
            hosts(&format!("GET / HTTP/1.1\r\n{field}: a.example\r\n\r\n")),
            ["not-sent "],
            "{field:?}"
        );
    }
    assert_eq!(hosts("GET / HTTP/1.1\r\nHost a.example\r\n\r\n"), ["not-sent "]);
}

#[test]
fn several_hosts_are_each_a_name_of_the_flow() {
    assert_eq!(
        hosts("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nHost: A.example\r\n\r\n"),
        ["a.example", "b.example"]
    );
    assert_eq!(hosts("GET / HTTP/1.1\r\nHost:\r\nHost: b.example\r\n\r\n"), ["b.example"]);
    let many: String = (0..100).map(|number| format!("Host: n{number}.example\r\n")).collect();
    let found = hosts(&format!("GET / HTTP/1.1\r\n{many}\r\n"));
    assert_eq!(
        (found.len(), found[0].as_str(), found[HOSTS_MAX - 1].as_str()),
        (HOSTS_MAX, "n0.example", "n99.example")
    );
}

#[test]
fn a_target_in_absolute_form_is_a_name_beside_host() {
    for target in [
        "http://B.example/x",
        "HTTP://b.example",
        "http://b.example:8080?q",
        "https://u:p@b.example/#a@c",
        "ftp://b.example./",
        "ws://b.example/",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(hosts(&head), ["a.example", "b.example"], "{target}");
        assert_eq!(hosts(&format!("GET {target} HTTP/1.0\r\n\r\n")), ["b.example"], "{target}");
    }
    for target in
        ["/http://b.example/", "/?u=http://b.example", "http:///x", "http:b.example", "*", "data:b.example"]
    {
        assert_eq!(
            hosts(&format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")),
            ["a.example"],
            "{target}"
        );
    }
    assert_eq!(hosts("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"), ["a.example"]);
    assert_eq!(hosts("GET http://[::1]:80/ HTTP/1.1\r\n\r\n"), ["literal [::1]"]);
}

#[test]
fn the_target_of_connect_is_a_name() {
    assert_eq!(
        hosts("CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        ["a.example", "b.example"]
    );
    assert_eq!(hosts("CONNECT b.example:443 HTTP/1.1\r\n\r\n"), ["b.example"]);
    assert_eq!(hosts("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n"), ["literal [2001:db8::1]"]);
    assert_eq!(hosts("CONNECT /HTTP/1.1\nHost: a.example\n\n"), ["a.example", "not-a-name /http/1.1"]);
}

#[test]
fn every_registered_method_and_unknown_ones_begin_a_request() {
    let longest = "A".repeat(METHOD_BYTES_MAX);
    let odd =
        "QUERY PURGE M-SEARCH X-MS-ENUMATTS A get Post GET! G3T _X -GET PRI !#$%&'*+-.^_`|~ SSH-2.0-x 7";
    let odd = odd.split_whitespace().chain([longest.as_str()]);
    for method in METHODS.split_whitespace().chain(odd) {
        assert!((0..=method.len()).all(|length| could_be_request(&method.as_bytes()[..length])), "{method}");
        assert_eq!(
            hosts(&format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n"))[0],
            "a.example",
            "{method}"
        );
    }
    assert!(could_be_request(b"\r\n\r") && could_be_request(b""));
    for start in [
        "GET/ HTTP/1.1",
        "OPTIONSHTTP/1.1\n",
        " GET /",
        "G(T / HTTP/1.1",
        "\x16\x03\x01",
        "SSH-2.0-x\r\n",
        "8=FIX.4.4\x01",
        "*1\r\n$4\r\nPING\r\n",
        "A234567890123456789012345",
    ] {
        assert!(!could_be_request(start.as_bytes()) && is_other(start), "{start:?}");
    }
}

#[test]
fn a_line_without_version_is_a_request_where_servers_take_it_for_one() {
    for line in [
        "GET /",
        "GET / HTTP/1.",
        "GET /HTTP/1.1",
        "OPTIONS HTTP/1.1",
        "OPTIONS",
        "CCM_POST /HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / http/1.1",
    ] {
        assert_eq!(hosts(&format!("{line}\nHost: a.example\n\n")), ["a.example"], "{line:?}");
    }
}

#[test]
fn other_protocols_that_look_alike_are_told_apart() {
    for start in [
        "EHLO mail.example\r\n",
        "USER alice\r\n",
        "NICK a\r\n",
        "HELP\r\n",
        "QUIT\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n",
        "OPTIONS rtsp://a.example/x RTSP/1.0\r\n",
        "INVITE sip:b@a.example SIP/2.0\r\n",
        "REQMOD icap://a.example/ ICAP/1.0\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    ] {
        assert!(is_other(&format!("{start}Host: a.example\r\n\r\n")), "{start:?}");
    }
}

#[test]
fn a_head_that_stops_states_what_came_so_far() {
    let mut head = Head::default();
    let stream = b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\nAccept: x";
    assert_eq!(head.read(stream), Parsed::More);
    let names: Vec<_> =
        head.so_far().unwrap().hosts().into_iter().map(|host| host.name.unwrap().to_string()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    for without in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a.exam", "GET / HTTP/1.1\r\nHost:\r\n"]
    {
        let mut head = Head::default();
        assert_eq!((head.read(without.as_bytes()), head.so_far()), (Parsed::More, None), "{without:?}");
    }
}

#[test]
fn a_head_past_the_bound_gives_the_host_it_stated_or_is_too_large() {
    let padding = "X: y\r\n".repeat(20_000);
    assert_eq!(hosts(&format!("GET / HTTP/1.1\r\nHost: a.example\r\n{padding}")), ["a.example"]);
    let late = format!("GET / HTTP/1.1\r\n{padding}Host: a.example\r\n\r\n");
    assert_eq!(request(late.as_bytes()), Parsed::No(Absence::TooLarge));
    let start = "GET / HTTP/1.1\r\nHost: a.example\r\nX: ";
    let exact = format!("{start}{}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX - start.len() - 4));
    assert_eq!(read(&exact).head_bytes, HEAD_BYTES_MAX);
}

/// The invariant asserts that no byte is searched twice; so each of these 64 KiB, handed over byte by byte, must end
/// soon.
#[test]
fn hostile_streams_of_64_kib_are_read_byte_by_byte() {
    for unit in [
        "\n",
        "\r\n",
        "\r",
        "GET ",
        "GET / HTTP/1.1\r\n",
        "Host: a\r\n",
        "Host:\r\n a",
        ":",
        " ",
        "\r\n\r\nGET",
        "A",
        "Host: a",
        "http://",
    ] {
        for start in ["", "GET / HTTP/1.1\r\nHost: ", "GET "] {
            invariant(format!("{start}{}", unit.repeat(65_536 / unit.len())).as_bytes());
        }
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        Just("\r\n".into()),
        Just("\n".into()),
        Just("\r".into()),
        Just(" ".into()),
        Just(":".into()),
        Just("Host: a.example".into()),
        Just("GET / HTTP/1.1\r\n".into()),
        Just("\r\nHost:".into()),
        Just("CONNECT a:1 HTTP/1.0".into()),
        Just("GET http://".into()),
        Just("\0\u{e9}".into()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        invariant(&data);
    }

    #[test]
    fn almost_requests_give_an_answer(pieces in proptest::collection::vec(piece(), 0..30), is_request in any::<bool>()) {
        invariant(format!("{}{}", if is_request { "GET / HTTP/1.1\r\n" } else { "" }, pieces.concat()).as_bytes());
    }

    #[test]
    fn what_is_asked_is_read_with_any_fields_and_tail(
        method in "[!#-'*+.^_`|~A-Za-z0-9-]{1,24}", host in "[a-z][a-z0-9-]{0,10}(\\.[a-z][a-z0-9-]{0,10}){1,4}", port in 0_u16..,
        before in proptest::collection::vec("[A-Za-z]{5,9}: ?[ -~]{0,30}", 0..6), tail in "\\PC{0,40}",
    ) {
        let fields: String = before.iter().map(|field| format!("{field}\r\n")).collect();
        let head = format!("{method} /a?b HTTP/1.1\r\n{fields}HOST: {host}:{port}\r\n\r\n");
        let found = read(&format!("{head}{tail}"));
        prop_assert_eq!(found.host.unwrap().to_string(), host);
        prop_assert_eq!((found.method, found.head_bytes), (method, head.len()));
    }
}
