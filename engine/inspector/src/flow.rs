//! One direction of a flow, from its client's first bytes to the first name or a sure absence of one.
//!
//! Bounded in bytes (`reassembly`, and each parser's own limits) and in work; no clock: who holds the flow ends it
//! (`end`) when its time is up. What a flow begins with decides how it is read: as TLS, HTTP/1, HTTP/2 or QUIC by its
//! first bytes, whichever port it goes to; port 53 as DNS for its whole life, over TCP beside that. Called by the
//! gateway's hold loop and `inspect`.

use crate::dns::{self, Query, TcpQueries};
use crate::http::{self, Host, Request};
use crate::http2;
use crate::observation::{Absence, Observation, Protocol};
use crate::quic::{self, Initials, EARLY_DATAGRAMS_MAX};
use crate::reader::Parsed;
use crate::reassembly::{Growth, Stream, STREAM_BYTES_MAX};
use crate::tls::{self, ClientHello};

/// Queries to this port are DNS, over either transport.
pub const DNS_PORT: u16 = 53;
/// One that says nothing of what is asked there.
const ANY_PORT: u16 = 0;
/// Requests behind the first that are read when they stand complete in the same bytes. Each is one parse.
pub const PIPELINED_MAX: usize = 16;
/// Segments of a flow that nobody saw begin, that are kept in wait for an earlier one.
pub const MIDSTREAM_SEGMENTS_MAX: u8 = 4;
/// Bytes of TLS records that are parsed anew as further records complete them. A hello in 16 records costs 9 times its
/// length; what costs more has records of a few bytes, which no client sends. 2 ms at 1 GB/s.
pub const REREAD_BYTES_MAX: usize = 2 << 20;

/// What a flow may hold in memory, all parsers counted.
pub const FLOW_BYTES_MAX: usize = 160 << 10;

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A stream of bytes, by sequence number.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whether more of a flow is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The flow's next packets matter. Always so of DNS: each query is a question of its own.
    More,
    /// Nothing further of this flow needs to be read: its first name, or a sure absence, has been found.
    Done,
}

/// What was read of one direction so far.
pub struct Flow {
    reading: Reading,
    stream: Stream,
    /// TCP to port 53, as if it went to another: it may be TLS or HTTP. Its queries are read all the same, or whoever
    /// opens with a request would hide them.
    aside: Option<Box<Flow>>,
    /// TCP: its first byte was not seen to be the first.
    midstream: bool,
    /// Something was said of it.
    said: bool,
    /// Segments or datagrams that did not tell what the flow is.
    untold: u8,
    /// DNS in a flow that nobody saw begin: queries that were told, of those that stand in the stream.
    queries_said: usize,
    reread_bytes: usize,
    ambiguous: u32,
}

enum Reading {
    /// Not enough to tell.
    Start,
    DnsDatagrams,
    DnsStream(Box<TcpQueries>),
    /// Asked again when the record that ends at `record_end` is there.
    Tls {
        record_end: usize,
    },
    Http(Box<http::Head>),
    Http2(Box<http2::Connection>),
    Quic(Box<Initials>),
    Over,
}

/// What a flow begins as.
enum Kind {
    Undecided,
    Tls,
    Http,
    Http2,
    Other,
}

impl Flow {
    /// A flow to `server_port`. `start` is the sequence number of its first byte (that of SYN + 1); None: not seen, the
    /// lowest of its first segments counts as the beginning.
    pub fn new(transport: Transport, server_port: u16, start: Option<u32>) -> Flow {
        let reading = match (transport, server_port) {
            (Transport::Udp, DNS_PORT) => Reading::DnsDatagrams,
            (Transport::Tcp, DNS_PORT) => Reading::DnsStream(Box::default()),
            _ => Reading::Start,
        };
        let aside = match reading {
            Reading::DnsStream(_) => Some(Box::new(Flow::new(transport, ANY_PORT, start))),
            _ => None,
        };
        let midstream = start.is_none();
        Flow {
            reading,
            stream: Stream::new(start),
            aside,
            midstream,
            said: false,
            untold: 0,
            queries_said: 0,
            reread_bytes: 0,
            ambiguous: 0,
        }
    }

    /// Reads a TCP segment's payload; appends what it makes known.
    pub fn segment(&mut self, sequence: u32, payload: &[u8], found: &mut Vec<Observation>) -> Step {
        if matches!(self.reading, Reading::Over) {
            return Step::Done;
        }
        if payload.is_empty() {
            return Step::More;
        }
        self.read_aside(found, |aside, found| aside.segment(sequence, payload, found));
        // The usual case: the flow's first segment says everything, and nothing of it is copied.
        if matches!(self.reading, Reading::Start) && self.stream.begins_at(sequence) {
            if let Step::Done = self.read(payload, found) {
                return Step::Done;
            }
            self.stream.push(sequence, payload);
            return self.untold_segment(found);
        }
        match self.stream.push(sequence, payload) {
            Growth::None => {
                self.ambiguous = self.stream.ambiguous();
                return self.untold_segment(found);
            }
            Growth::Front => {}
            Growth::Restarted => {
                self.reading = self.restarted();
                self.queries_said = 0;
            }
        }
        self.ambiguous = self.stream.ambiguous();
        let stream = std::mem::take(&mut self.stream);
        let step = self.read(stream.whole(), found);
        self.stream = stream;
        if let Reading::DnsStream(_) = self.reading {
            self.untold = self.untold.saturating_add(1);
            if !self.may_begin_earlier() {
                self.stream.drop_front(usize::MAX);
            }
        }
        match step {
            Step::Done => self.over(),
            Step::More if self.stream.whole().len() == STREAM_BYTES_MAX => {
                self.give_up(Absence::TooLarge, found)
            }
            Step::More => self.untold_segment(found),
        }
    }

    /// Reads a UDP datagram's payload; appends what it makes known.
    pub fn datagram(&mut self, payload: &[u8], found: &mut Vec<Observation>) -> Step {
        match &mut self.reading {
            Reading::Over => Step::Done,
            Reading::DnsDatagrams => {
                let query = match dns::query(payload) {
                    Parsed::Done(query) => Ok(query),
                    Parsed::No(Absence::OtherProtocol) => Err(Absence::OtherProtocol),
                    Parsed::No(absence) => first_question(payload).ok_or(absence),
                    // A datagram holds all of it, or never will.
                    Parsed::More => first_question(payload).ok_or(Absence::Malformed),
                };
                self.say_query(query, found);
                Step::More
            }
            Reading::Quic(initials) => {
                let parsed = initials.datagram(payload);
                let ambiguous = initials.ambiguous();
                match parsed {
                    Parsed::More => Step::More,
                    Parsed::Done(hello) => self.say(of_hello(Protocol::Quic, hello, ambiguous), found),
                    Parsed::No(absence) => self.give_up(absence, found),
                }
            }
            _ if quic::could_be_client(payload) => {
                self.reading = Reading::Quic(Box::default());
                self.datagram(payload, found)
            }
            _ => {
                self.untold += 1;
                // What begins with a long header is waited for, whatever comes between: one decoy must not end the
                // look.
                let long_header = payload.first().is_some_and(|first| first & 0x80 != 0);
                if (long_header || self.untold > 1) && u32::from(self.untold) < EARLY_DATAGRAMS_MAX {
                    return Step::More;
                }
                self.say(Observation::new(Protocol::Other, Err(Absence::OtherProtocol)), found)
            }
        }
    }

    /// Its time is up (deadline, RST, end of capture). What an unfinished message already says counts, so that nobody
    /// hides a name by never sending the last byte; else, if nothing was said of the flow yet, why there is no name.
    pub fn end(&mut self, found: &mut Vec<Observation>) {
        self.read_aside(found, |aside, found| {
            aside.end(found);
            Step::Done
        });
        self.give_up(Absence::Incomplete, found);
    }

    /// What it holds in memory.
    pub fn memory_bytes(&self) -> usize {
        let parser_bytes = match &self.reading {
            Reading::DnsStream(queries) => size_of::<TcpQueries>() + queries.memory_bytes(),
            Reading::Http(head) => size_of::<http::Head>() + head.memory_bytes(),
            Reading::Http2(connection) => size_of::<http2::Connection>() + connection.memory_bytes(),
            Reading::Quic(initials) => size_of::<Initials>() + initials.memory_bytes(),
            _ => 0,
        };
        let aside_bytes = self.aside.as_ref().map_or(0, |aside| aside.memory_bytes());
        size_of::<Flow>() + self.stream.memory_bytes() + parser_bytes + aside_bytes
    }

    /// What it says counts, but for what every flow of DNS is to it: another protocol.
    fn read_aside(
        &mut self,
        found: &mut Vec<Observation>,
        read: impl FnOnce(&mut Flow, &mut Vec<Observation>) -> Step,
    ) {
        let Some(mut aside) = self.aside.take() else { return };
        let before = found.len();
        if read(&mut aside, found) == Step::More {
            self.aside = Some(aside);
        }
        let is_of_dns = |said: &Observation| {
            matches!(said.protocol, Protocol::Other) || said.name == Err(Absence::OtherProtocol)
        };
        if found.get(before..).is_some_and(|said| said.iter().any(is_of_dns)) {
            found.truncate(before);
        }
        self.said |= found.len() > before;
    }

    /// Bytes of a TCP stream from its first one, each time.
    fn read(&mut self, whole: &[u8], found: &mut Vec<Observation>) -> Step {
        if let Reading::Start = self.reading {
            self.reading = match kind(whole) {
                Kind::Undecided => return Step::More,
                Kind::Tls => Reading::Tls { record_end: 0 },
                Kind::Http => Reading::Http(Box::default()),
                Kind::Http2 => Reading::Http2(Box::default()),
                Kind::Other if self.may_begin_earlier() => return Step::More,
                Kind::Other => return self.say(Observation::new(Protocol::Other, Err(self.other())), found),
            };
        }
        let ambiguous = self.ambiguous;
        let may_begin_earlier = self.may_begin_earlier();
        match &mut self.reading {
            Reading::DnsStream(queries) => {
                let mut complete = Vec::new();
                if may_begin_earlier {
                    **queries = TcpQueries::default();
                }
                queries.push(whole, &mut complete);
                if may_begin_earlier {
                    // What is none may be the middle of one.
                    if !complete.iter().any(Result::is_ok) {
                        return Step::More;
                    }
                    complete.drain(..self.queries_said.min(complete.len()));
                    self.queries_said += complete.len();
                }
                complete.into_iter().for_each(|query| self.say_query(query, found));
                Step::More
            }
            Reading::Tls { record_end } => {
                if !is_record_complete(record_end, whole) {
                    return Step::More;
                }
                self.reread_bytes += whole.len();
                if self.reread_bytes > REREAD_BYTES_MAX {
                    return self.give_up_on(whole, Absence::TooLarge, found);
                }
                match tls::client_hello_of_records(whole) {
                    Parsed::More => Step::More,
                    Parsed::Done(hello) => self.say(of_hello(Protocol::Tls, hello, ambiguous), found),
                    Parsed::No(absence) => self.say(Observation::new(Protocol::Tls, Err(absence)), found),
                }
            }
            Reading::Http(head) => match head.read(whole) {
                Parsed::More => Step::More,
                Parsed::Done(request) => self.say_requests(request, whole, found),
                // Its first line is no request's, and may not be the first.
                Parsed::No(Absence::OtherProtocol) if may_begin_earlier => {
                    self.reading = Reading::Start;
                    Step::More
                }
                Parsed::No(Absence::OtherProtocol) => {
                    self.say(Observation::new(Protocol::Other, Err(self.other())), found)
                }
                Parsed::No(absence) => self.say(Observation::new(Protocol::Http, Err(absence)), found),
            },
            Reading::Http2(connection) => match connection.read(whole) {
                Parsed::More => Step::More,
                Parsed::Done(hosts) => {
                    say_hosts(hosts, ambiguous, found);
                    self.said = true;
                    self.over()
                }
                Parsed::No(absence) => self.say(Observation::new(Protocol::Http, Err(absence)), found),
            },
            _ => Step::More,
        }
    }

    /// A segment came and the flow's kind is still not known: of a flow that nobody saw begin only a few are waited
    /// for.
    fn untold_segment(&mut self, found: &mut Vec<Observation>) -> Step {
        if !self.midstream || !matches!(self.reading, Reading::Start) {
            return Step::More;
        }
        self.untold += 1;
        if self.untold < MIDSTREAM_SEGMENTS_MAX {
            return Step::More;
        }
        self.say(Observation::new(Protocol::Other, Err(Absence::Unseen)), found)
    }

    /// Nobody saw it begin, and an earlier segment is still waited for.
    fn may_begin_earlier(&self) -> bool {
        self.midstream && self.untold < MIDSTREAM_SEGMENTS_MAX
    }

    fn restarted(&self) -> Reading {
        match self.reading {
            Reading::DnsStream(_) => Reading::DnsStream(Box::default()),
            _ => Reading::Start,
        }
    }

    fn other(&self) -> Absence {
        if self.midstream {
            Absence::Unseen
        } else {
            Absence::OtherProtocol
        }
    }

    fn say(&mut self, observation: Observation, found: &mut Vec<Observation>) -> Step {
        found.push(observation);
        self.said = true;
        self.over()
    }

    fn over(&mut self) -> Step {
        self.reading = Reading::Over;
        self.stream = Stream::default();
        Step::Done
    }

    fn say_query(&mut self, query: Result<Query, Absence>, found: &mut Vec<Observation>) {
        self.said = true;
        match query {
            Err(absence) => found.push(Observation::new(Protocol::Dns, Err(absence))),
            // NOTIFY and UPDATE name a zone, and ask for nothing.
            Ok(query) if query.opcode != 0 => {
                found.push(Observation::new(Protocol::Dns, Err(Absence::OtherProtocol)));
            }
            Ok(query) if query.questions.is_empty() => {
                found.push(Observation::new(Protocol::Dns, Err(Absence::NotSent)));
            }
            Ok(query) => found.extend(query.questions.into_iter().map(|question| {
                let ambiguous = self.ambiguous;
                Observation { odd: question.odd, ambiguous, ..Observation::new(Protocol::Dns, question.name) }
            })),
        }
    }

    /// The first request, and those that stand complete behind it.
    fn say_requests(&mut self, request: Request, whole: &[u8], found: &mut Vec<Observation>) -> Step {
        let ambiguous = self.ambiguous;
        let mut rest = whole;
        let mut next = Some(request);
        for _ in 0..=PIPELINED_MAX {
            let Some(request) = next else { break };
            say_hosts(request.hosts(), ambiguous, found);
            let (head, behind) = rest.split_at(request.head_bytes.min(rest.len()));
            rest = behind;
            next = match may_have_body(head) || rest.is_empty() || !http::could_be_request(rest) {
                true => None,
                false => match http::request(rest) {
                    Parsed::Done(request) => Some(request),
                    _ => None,
                },
            };
        }
        self.said = true;
        self.over()
    }

    fn give_up(&mut self, absence: Absence, found: &mut Vec<Observation>) -> Step {
        let stream = std::mem::take(&mut self.stream);
        let absence = match &self.reading {
            Reading::Start if stream.is_empty() && self.untold > 0 => Absence::OtherProtocol, // datagrams
            Reading::Start if self.midstream && !stream.is_empty() => Absence::Unseen,
            _ if stream.overflowed() => Absence::TooLarge,
            Reading::Start if stream.is_empty() => Absence::Empty,
            _ => absence,
        };
        self.give_up_on(stream.whole(), absence, found)
    }

    fn give_up_on(&mut self, whole: &[u8], absence: Absence, found: &mut Vec<Observation>) -> Step {
        let ambiguous = self.ambiguous;
        let before = found.len();
        let protocol = match &self.reading {
            Reading::Over => return Step::Done,
            Reading::Tls { .. } => {
                let hello = tls::unfinished_of_records(whole);
                found.extend(hello.map(|hello| of_hello(Protocol::Tls, hello, ambiguous)));
                Protocol::Tls
            }
            Reading::Http(head) => {
                if let Some(request) = head.so_far() {
                    say_hosts(request.hosts(), ambiguous, found);
                }
                Protocol::Http
            }
            Reading::Quic(initials) => {
                let hello = initials.unfinished();
                found.extend(hello.map(|hello| of_hello(Protocol::Quic, hello, initials.ambiguous())));
                Protocol::Quic
            }
            Reading::Http2(_) => Protocol::Http,
            Reading::DnsStream(_) | Reading::DnsDatagrams => Protocol::Dns,
            Reading::Start => Protocol::Other,
        };
        if found.len() == before && !self.said {
            let absence = match &self.reading {
                Reading::Quic(initials) if absence == Absence::Incomplete => initials.absence(),
                _ => absence,
            };
            found.push(Observation::new(protocol, Err(absence)));
        }
        self.said = true;
        self.over()
    }
}

/// The query as if it had one question: its count tells of more than are there. A server refuses it, a reader need not.
fn first_question(message: &[u8]) -> Option<Query> {
    let mut message = message.to_vec();
    message.get_mut(4..6)?.copy_from_slice(&[0, 1]);
    match dns::query(&message) {
        Parsed::Done(query) => Some(query),
        _ => None,
    }
}

/// By the first bytes. They are told apart by the very first in most cases: 0x16 is no letter.
fn kind(start: &[u8]) -> Kind {
    if tls::could_be_tls(start) {
        Kind::Tls
    } else if http2::could_be_preface(start) {
        if start.len() < http2::PREFACE.len() {
            Kind::Undecided
        } else {
            Kind::Http2
        }
    } else if http::could_be_request(start) {
        Kind::Http
    } else {
        Kind::Other
    }
}

/// Walks on over record headers; true if a record was completed since it was last asked, or none was looked for yet.
fn is_record_complete(record_end: &mut usize, stream: &[u8]) -> bool {
    if *record_end > stream.len() {
        return false;
    }
    if stream.first() != Some(&0x16) {
        return true; // SSL 2 has no records
    }
    while let Some(&[_, _, _, high, low]) = stream.get(*record_end..*record_end + 5) {
        *record_end += 5 + usize::from(u16::from_be_bytes([high, low]));
        if *record_end > stream.len() {
            break;
        }
    }
    true
}

fn of_hello(protocol: Protocol, hello: ClientHello, ambiguous: u32) -> Observation {
    Observation { protocol, name: hello.name, odd: hello.odd, alpn: hello.alpn, ech: hello.ech, ambiguous }
}

fn of_host(host: Host, ambiguous: u32) -> Observation {
    Observation { odd: host.odd, ambiguous, ..Observation::new(Protocol::Http, host.name) }
}

/// Every name of a request's hosts; where there is none, why its first host is none.
fn say_hosts(mut hosts: Vec<Host>, ambiguous: u32, found: &mut Vec<Observation>) {
    if hosts.iter().any(|host| host.name.is_ok()) {
        hosts.retain(|host| host.name.is_ok());
    } else {
        hosts.truncate(1);
    }
    found.extend(hosts.into_iter().map(|host| of_host(host, ambiguous)));
}

/// A head that announces a body: what stands behind it is not looked at, since a body may look like a request.
fn may_have_body(head: &[u8]) -> bool {
    head.split(|&byte| byte == b'\n').any(|line| {
        let field = line.split(|&byte| byte == b':').next().unwrap_or(&[]);
        field.eq_ignore_ascii_case(b"content-length") || field.eq_ignore_ascii_case(b"transfer-encoding")
    })
}

/// Holds for any bytes, read as a script: a byte says which port and transport, then per segment three bytes (place,
/// length) and its payload. A flow never holds more than its bounds, and says nothing after it was done.
pub fn invariant(script: &[u8]) {
    let Some((&kind, mut rest)) = script.split_first() else { return };
    let transport = if kind & 1 == 0 { Transport::Tcp } else { Transport::Udp };
    let port = if kind & 2 == 0 { 443 } else { DNS_PORT };
    let mut flow = Flow::new(transport, port, (kind & 4 == 0).then_some(u32::from(kind) << 24));
    let mut found = Vec::new();
    let mut done = false;
    while let Some((&[high, low, length], behind)) = rest.split_first_chunk::<3>() {
        let (payload, behind) = behind.split_at(usize::from(length).min(behind.len()));
        let sequence = (u32::from(kind) << 24).wrapping_add(u32::from(u16::from_be_bytes([high, low])));
        let before = found.len();
        let step = match transport {
            Transport::Tcp => flow.segment(sequence, payload, &mut found),
            Transport::Udp => flow.datagram(payload, &mut found),
        };
        assert!(!done || step == Step::Done && found.len() == before, "said something after the end");
        done = step == Step::Done;
        assert!(flow.memory_bytes() <= FLOW_BYTES_MAX, "{} bytes held", flow.memory_bytes());
        rest = behind;
    }
    flow.end(&mut found);
    assert!(!found.is_empty(), "nothing was said of the flow");
    // Several facts at the end can only be the hosts of one unfinished head.
    let may_be_several = done || port == DNS_PORT || found.iter().all(|one| one.name.is_ok());
    assert!(found.len() == 1 || may_be_several, "a flow ends with one fact: {found:?}");
}
