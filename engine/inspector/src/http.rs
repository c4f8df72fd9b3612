//! Heads of HTTP/1.x requests (RFC 9112): which host is asked for. Called by the flow machine; fuzz target `http`.
//!
//! As lenient as servers are: lines may end in LF alone, empty lines may come first, a value may be folded, a space may
//! stand before the colon. A request that states several hosts is not refused but believed in each: servers differ in
//! which they take. Each byte is searched for a line's end once and read once.

use crate::name::{escaped, Name};
use crate::observation::Absence;
use crate::reader::Parsed;

/// Bytes of a head, and of the lines before it. Servers take 8 to 32 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a method. The longest registered one has 17. As in bpf/names.h.
pub const METHOD_BYTES_MAX: usize = 24;
/// Distinct hosts of one head that are kept: the first ones, and the last one. Each takes up to 1 KiB.
pub const HOSTS_MAX: usize = 8;
/// Bytes that a `Head` holds, at most.
pub const HEAD_MEMORY_MAX: usize = HOSTS_MAX * 1200 + 2 * HOST_BYTES_MAX;
/// Bytes of one value that are looked at: more is no name.
const HOST_BYTES_MAX: usize = 512;

/// Methods for whose sake a line is a request that does not say so with a version: servers answer them too.
const PLAIN_METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];
/// Of targets in absolute form.
const SCHEMES: [&[u8]; 5] = [b"http", b"https", b"ws", b"wss", b"ftp"];

/// A host as a request states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Without its port.
    pub name: Result<Name, Absence>,
    /// The same, where it is no name: as it stood, without its port; see `name::escaped`.
    pub odd: String,
}

impl Host {
    /// `host`, `host:port`, `[address]` or `[address]:port`, and space around it. Behind a name, whatever stands there
    /// counts as the port: servers look at it, or don't.
    pub fn read(value: &[u8]) -> Host {
        let value = value.get(..HOST_BYTES_MAX).unwrap_or(value);
        let host = without_port(value.trim_ascii());
        let name = if host.is_empty() { Err(Absence::NotSent) } else { Name::parse(host) };
        let odd = if name.is_ok() { String::new() } else { escaped(host) };
        Host { name, odd }
    }

    /// Not empty.
    pub fn is_stated(&self) -> bool {
        self.name != Err(Absence::NotSent)
    }
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The first Host that is not empty; `NotSent` where there is none.
    pub host: Result<Name, Absence>,
    /// It, where it is no name.
    pub odd: String,
    /// The host in an absolute-form target, or CONNECT's.
    pub target: Option<Host>,
    /// Further Hosts that differ from the first.
    pub others: Vec<Host>,
    /// As sent.
    pub method: String,
    /// Bytes up to and with the blank line; of a head that never ended, those that were read.
    pub head_bytes: usize,
}

impl Request {
    /// Every host that the request states, each once: Host, the target, further Hosts. Without any: one that is
    /// `NotSent`. Each is a name of the flow.
    pub fn hosts(&self) -> Vec<Host> {
        let first = Host { name: self.host.clone(), odd: self.odd.clone() };
        let mut hosts = Vec::new();
        for host in [&first].into_iter().chain(&self.target).chain(&self.others) {
            if host.is_stated() && !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        if hosts.is_empty() {
            hosts.push(first);
        }
        hosts
    }
}

/// Reads the head at the start of a stream. `Done` at its blank line, or at the bound if a host was stated by then.
pub fn request(stream: &[u8]) -> Parsed<Request> {
    Head::default().read(stream)
}

/// Could a stream that begins so be a request? True while undecided. A method is any token (RFC 9110 §5.6.2) of up to
/// `METHOD_BYTES_MAX`: a registered one, or an unknown one, which some servers answer as GET. Most other protocols are told
/// by their first line's end at the latest.
pub fn could_be_request(start: &[u8]) -> bool {
    let mut start = start;
    while let Some(rest) = start.strip_prefix(b"\r\n").or_else(|| start.strip_prefix(b"\n")) {
        start = rest; // RFC 9112 §2.2
    }
    start == b"\r" || method(start) != Method::None
}

/// A head that is being read: `read` is asked again with the same stream, grown, until it answers.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Where the line begins that is not complete.
    line: usize,
    /// No line ends between it and here.
    searched: usize,
    start: Option<StartLine>,
    /// The value of a Host line, which the next line may continue.
    open: Option<Vec<u8>>,
    hosts: Vec<Host>,
}

#[derive(Clone, Debug)]
struct StartLine {
    method: String,
    target: Option<Host>,
}

impl Head {
    /// `stream`: from its first byte, each time.
    pub fn read(&mut self, stream: &[u8]) -> Parsed<Request> {
        let window = stream.get(..HEAD_BYTES_MAX).unwrap_or(stream);
        while let Some(length) =
            window.get(self.searched..).and_then(|unsearched| memchr::memchr(b'\n', unsearched))
        {
            let end = self.searched + length;
            let line = window.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.line = end + 1;
            self.searched = self.line;
            if self.start.is_some() {
                if line.is_empty() {
                    self.close_host();
                    return Parsed::Done(self.request());
                }
                self.field_line(line);
            } else if !line.is_empty() {
                match start_line(line) {
                    Some(start) => self.start = Some(start),
                    None => return Parsed::No(Absence::OtherProtocol),
                }
            }
        }
        self.searched = window.len();
        if self.start.is_none() && !could_be_request(window.get(self.line..).unwrap_or_default()) {
            return Parsed::No(Absence::OtherProtocol);
        }
        if window.len() < HEAD_BYTES_MAX {
            return Parsed::More;
        }
        match self.so_far() {
            Some(request) => Parsed::Done(request),
            None => Parsed::No(Absence::TooLarge),
        }
    }

    /// What the complete lines so far state, for a head that will not go on (deadline, reset, end of capture); `None`
    /// if they state no host.
    pub fn so_far(&self) -> Option<Request> {
        self.start.as_ref()?;
        let mut whole = self.clone();
        whole.close_host();
        let request = whole.request();
        request.hosts().first().is_some_and(Host::is_stated).then_some(request)
    }

    /// Bytes that it holds.
    pub fn memory_bytes(&self) -> usize {
        let hosts = self.hosts.iter().map(|host| {
            let text = host.name.as_ref().map_or(host.odd.len(), |name| name.as_str().len());
            size_of::<Host>() + text
        });
        hosts.sum::<usize>() + self.open.as_ref().map_or(0, Vec::capacity)
    }

    fn field_line(&mut self, line: &[u8]) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            // Folded (RFC 9112 §5.2). Before the first field such a line belongs to nothing (§2.2).
            if let Some(value) = &mut self.open {
                push_folded(value, line);
            }
            return;
        }
        self.close_host();
        let colon = memchr::memchr(b':', line);
        if let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) {
            if name.trim_ascii_end().eq_ignore_ascii_case(b"host") {
                let mut open = Vec::new();
                push_folded(&mut open, value.strip_prefix(b":").unwrap_or(value));
                self.open = Some(open);
            }
        }
    }

    fn close_host(&mut self) {
        let Some(host) = self.open.take().map(|value| Host::read(&value)) else {
            return;
        };
        if !host.is_stated() || self.hosts.contains(&host) {
            return;
        }
        if self.hosts.len() == HOSTS_MAX {
            self.hosts.pop();
        }
        self.hosts.push(host);
    }

    fn request(&mut self) -> Request {
        let start = self.start.take();
        let (method, target) = start.map_or((String::new(), None), |start| (start.method, start.target));
        let mut hosts = std::mem::take(&mut self.hosts).into_iter();
        let first = hosts.next().unwrap_or(Host { name: Err(Absence::NotSent), odd: String::new() });
        Request {
            host: first.name,
            odd: first.odd,
            target,
            others: hosts.collect(),
            method,
            head_bytes: self.line,
        }
    }
}

/// Adds a line's part of a value, without the space around it; parts are kept apart by one space.
fn push_folded(value: &mut Vec<u8>, part: &[u8]) {
    let part = part.trim_ascii();
    if !value.is_empty() && !part.is_empty() {
        value.push(b' ');
    }
    let room = HOST_BYTES_MAX.saturating_sub(value.len());
    value.extend_from_slice(part.get(..room).unwrap_or(part));
}

#[derive(Debug, PartialEq, Eq)]
enum Method {
    /// Not complete.
    Begun,
    /// Of so many bytes; what follows it ends a word.
    Bytes(usize),
    /// No request begins so.
    None,
}

fn method(start: &[u8]) -> Method {
    let length = start.iter().take(METHOD_BYTES_MAX + 1).take_while(|byte| is_method_byte(**byte)).count();
    let (word, rest) = start.split_at_checked(length).unwrap_or_default();
    match rest.first() {
        _ if length > METHOD_BYTES_MAX => Method::None,
        None => Method::Begun,
        Some(b' ' | b'\t') if length > 0 => Method::Bytes(length),
        Some(b'\r' | b'\n') if PLAIN_METHODS.contains(&word) => Method::Bytes(length),
        Some(_) => Method::None,
    }
}

const fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// `None`: another protocol's, or the preface of HTTP/2.
fn start_line(line: &[u8]) -> Option<StartLine> {
    // The line stands without its end, at which alone a method may end too.
    let length = match method(line) {
        Method::Bytes(length) => length,
        Method::Begun if PLAIN_METHODS.contains(&line) => line.len(),
        Method::Begun | Method::None => return None,
    };
    let (method, rest) = line.split_at_checked(length)?;
    let is_plain = PLAIN_METHODS.contains(&method);
    let rest = rest.trim_ascii();
    let last = rest.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    let is_http = starts_with_ignoring_case(last, b"HTTP/");
    if (!is_http && names_a_version(last)) || !(is_plain || is_http || has_version(rest)) {
        return None;
    }
    let target = rest.split(u8::is_ascii_whitespace).next();
    let target = target.filter(|first| !(is_http && first.len() == rest.len())).unwrap_or_default();
    if method == b"PRI" && target == b"*" && last.starts_with(b"HTTP/2") {
        return None;
    }
    Some(StartLine {
        method: String::from_utf8_lossy(method).into_owned(),
        target: target_host(method, target),
    })
}

/// `RTSP/1.0`, `SIP/2.0`, `ICAP/1.0`: protocols whose requests look alike.
fn names_a_version(word: &[u8]) -> bool {
    let letters = word.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let rest = word.get(letters..).unwrap_or_default();
    letters > 0 && rest.strip_prefix(b"/").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

fn has_version(line: &[u8]) -> bool {
    line.windows(5).any(|word| word.eq_ignore_ascii_case(b"HTTP/"))
}

fn target_host(method: &[u8], target: &[u8]) -> Option<Host> {
    let authority = if method == b"CONNECT" {
        target
    } else {
        let scheme = memchr::memchr(b':', target)?;
        let (scheme, rest) = target.split_at_checked(scheme)?;
        if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            return None;
        }
        let authority = rest.strip_prefix(b"://")?;
        let authority = authority.split(|byte| b"/?#".contains(byte)).next()?;
        authority.rsplit(|byte| *byte == b'@').next()?
    };
    Some(Host::read(authority)).filter(Host::is_stated)
}

/// Takes off what begins with the first colon, where the rest of it is a name; else `:` and digits.
fn without_port(host: &[u8]) -> &[u8] {
    let Some((name, _)) = memchr::memchr(b':', host).and_then(|colon| host.split_at_checked(colon)) else {
        return host;
    };
    // `fe80::1` begins like a name.
    if Name::parse(name).is_ok() && Name::parse(host) != Err(Absence::Literal) {
        return name;
    }
    let Some((name, port)) = memchr::memrchr(b':', host).and_then(|colon| host.split_at_checked(colon))
    else {
        return host;
    };
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    let is_whole = !name.contains(&b':') || (name.starts_with(b"[") && name.ends_with(b"]"));
    if is_port && is_whole {
        name
    } else {
        host
    }
}

fn starts_with_ignoring_case(word: &[u8], start: &[u8]) -> bool {
    word.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

/// What holds of every stream, for tests and the fuzz target. Panics where it does not.
#[doc(hidden)]
pub fn invariant(stream: &[u8]) {
    let whole = request(stream);
    // Byte by byte, it is the same answer, and none before it. No byte is searched twice.
    let mut head = Head::default();
    let mut answer = Parsed::More;
    for end in 0..=stream.len() {
        let searched = head.searched;
        answer = head.read(stream.get(..end).unwrap_or_default());
        if answer != Parsed::More {
            break;
        }
        assert!(searched <= head.searched && head.searched == end.min(HEAD_BYTES_MAX));
        assert!(head.memory_bytes() <= HEAD_MEMORY_MAX);
    }
    assert_eq!(answer, whole);
    assert!(could_be_request(stream) || whole == Parsed::No(Absence::OtherProtocol));
    if let Parsed::Done(request) = whole {
        assert!(request.head_bytes <= stream.len().min(HEAD_BYTES_MAX));
        let hosts = request.hosts();
        assert!(!hosts.is_empty() && hosts.len() <= HOSTS_MAX + 1);
        for host in hosts {
            assert_eq!(host.name.is_ok() || !host.is_stated(), host.odd.is_empty());
        }
    }
}
