//! First packets of flows that nobody sent: TLS hellos, HTTP requests, DNS queries and other beginnings, right ones and
//! ones that lie. For name_check.rs. The same seed gives the same frames.

/// A generator of frames.
#[derive(Debug)]
pub struct Samples {
    state: u64,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
/// What BPF_PROG_TEST_RUN takes, less the headers.
const PAYLOAD_BYTES_MAX: usize = 3300;

/// What names and headers are made of; the rarer ones are no part of a host name.
const USUAL: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-";
const UNUSUAL: &[u8] = b"ABCXYZ__**..\0 :[]%/\x7f\xc3\xa9\t";

impl Samples {
    /// Of that seed.
    pub fn new(seed: u64) -> Self {
        Samples { state: seed }
    }

    /// One frame: IPv4 or IPv6, a SYN with data or a datagram to port 53.
    pub fn frame(&mut self) -> Vec<u8> {
        let kind = self.below(10);
        let mut payload = match kind {
            0..=3 => self.hello(),
            4..=6 => self.request(),
            7..=8 => self.query(),
            _ => self.beginning(),
        };
        for _ in 0..[0, 0, 0, 1, 2, 5][self.pick(6)] {
            self.break_one(&mut payload);
        }
        payload.truncate(PAYLOAD_BYTES_MAX);
        if payload.is_empty() {
            payload.push(0x16);
        }
        let (protocol, transport) = match kind {
            7..=8 => (UDP, self.udp(&payload)),
            _ => (TCP, self.tcp(&payload)),
        };
        let mut frame = vec![2; 12];
        if self.chance(2) {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((transport.len() as u16 + 20).to_be_bytes());
            frame.extend([0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1]);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((transport.len() as u16).to_be_bytes());
            frame.extend([protocol, 64]);
            for end in [1, 2] {
                frame.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
            }
        }
        frame.extend(transport);
        frame
    }

    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn pick(&mut self, limit: usize) -> usize {
        self.below(limit as u64) as usize
    }

    /// One time in so many.
    fn chance(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn of<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        let at = self.pick(choices.len());
        choices.get(at).copied().unwrap_or_default()
    }

    fn character(&mut self) -> u8 {
        let from = if self.chance(200) { UNUSUAL } else { USUAL };
        let at = self.pick(from.len());
        from.get(at).copied().unwrap_or(b'a')
    }

    fn label(&mut self) -> Vec<u8> {
        let length = if self.chance(100) { self.below(70) } else { 1 + self.below(12) };
        (0..length).map(|_| self.character()).collect()
    }

    /// A host as people write it, or nearly.
    fn host(&mut self) -> Vec<u8> {
        if self.chance(20) {
            let hosts: [&[u8]; 8] = [
                b"192.0.2.1",
                b"[2001:db8::1]",
                b"localhost",
                b"",
                b".",
                b"a..b",
                b"1.2.3",
                b"xn--bcher-kva.example",
            ];
            return self.of(&hosts).to_vec();
        }
        let labels = if self.chance(50) { self.below(60) } else { 1 + self.below(5) };
        let mut host = self.label();
        for _ in 0..labels {
            host.push(b'.');
            host.extend(self.label());
        }
        if self.chance(10) {
            host.push(b'.');
        }
        if self.chance(10) {
            host.make_ascii_uppercase();
        }
        host
    }

    fn break_one(&mut self, payload: &mut Vec<u8>) {
        let at = self.pick(payload.len());
        match self.below(4) {
            0 => payload.truncate(at),
            1 => payload.insert(at, self.next() as u8),
            2 => drop((at < payload.len()).then(|| payload.remove(at))),
            _ => {
                let value = self.next() as u8;
                if let Some(byte) = payload.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }

    fn tcp(&mut self, payload: &[u8]) -> Vec<u8> {
        let options = 4 * self.pick(6);
        let mut segment = (40_000 + self.below(20_000) as u16).to_be_bytes().to_vec();
        segment.extend(443u16.to_be_bytes());
        segment.extend(self.bytes(4));
        segment.extend([0, 0, 0, 0, (5 + options as u8 / 4) << 4, 2, 255, 255, 0, 0, 0, 0]);
        segment.extend(vec![1; options]);
        segment.extend(payload);
        segment
    }

    fn udp(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut datagram = (40_000 + self.below(20_000) as u16).to_be_bytes().to_vec();
        datagram.extend(53u16.to_be_bytes());
        datagram.extend((payload.len() as u16 + 8).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        datagram
    }

    // ---- TLS ----

    fn extension(&mut self, kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn server_name(&mut self) -> Vec<u8> {
        let host = self.host();
        let kind = u8::from(self.chance(100));
        let mut list = vec![kind];
        list.extend((host.len() as u16).to_be_bytes());
        list.extend(&host);
        if self.chance(100) {
            list.extend([0, 0, 1, b'a']); // a second name
        }
        let content = [&(list.len() as u16).to_be_bytes()[..], &list].concat();
        self.extension(0, &content)
    }

    fn extensions(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for kind in [10, 11, 13, 16, 23, 35, 43, 45, 51, 0x0a0a, 0xfe0d] {
            if !self.chance(4) {
                let length = if kind == 51 && self.chance(2) { 1216 } else { self.pick(40) };
                let content = self.bytes(length);
                all.push(self.extension(kind, &content));
            }
        }
        let names = if self.chance(8) { self.below(3) } else { 1 };
        for _ in 0..names {
            let at = self.pick(all.len() + 1);
            let name = self.server_name();
            all.insert(at, name);
        }
        all.concat()
    }

    fn hello(&mut self) -> Vec<u8> {
        let mut body = vec![3, if self.chance(50) { self.next() as u8 } else { 3 }];
        body.extend(self.bytes(32));
        let session = if self.chance(30) { self.pick(34) } else { 32 };
        body.push(session as u8);
        body.extend(self.bytes(session));
        let suites = 2 * (1 + self.pick(20)) + usize::from(self.chance(200));
        body.extend((suites as u16).to_be_bytes());
        body.extend(self.bytes(suites));
        body.extend([1, 0]);
        if !self.chance(100) {
            let extensions = self.extensions();
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        let mut message = vec![1, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        if self.chance(100) {
            message.extend(self.bytes(9)); // in the same record
        }
        let mut records = Vec::new();
        if self.chance(20) {
            let aside: [&[u8]; 3] =
                [&[21, 3, 1, 0, 2, 1, 90], &[20, 3, 1, 0, 1, 1], &[21, 2, 1, 0, 2, 1, 90]];
            records.extend(self.of(&aside)); // in front of it: an alert, ChangeCipherSpec, what is neither
        }
        let cut = if self.chance(20) { 1 + self.pick(message.len()) } else { message.len() };
        for part in message.chunks(cut.max(1)) {
            records.extend([22, 3, 1]);
            records.extend((part.len() as u16).to_be_bytes());
            records.extend(part);
        }
        if self.chance(20) {
            records.extend([20, 3, 3, 0, 1, 1]); // and what follows it
        }
        records
    }

    // ---- HTTP ----

    fn request(&mut self) -> Vec<u8> {
        let methods: [&[u8]; 9] =
            [b"GET", b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"M-SEARCH", b"get"];
        let odd: [&[u8]; 9] = [
            b"GET!",
            b"G3T",
            b"_X",
            b"-X",
            b"X-",
            b"PRI",
            b"ABCDEFGHIJKLMNOPQRSTUVW",
            b"ABCDEFGHIJKLMNOPQRSTUVWX",
            b"ABCDEFGHIJKLMNOPQRSTUVWXY",
        ];
        let methods = if self.chance(10) { odd } else { methods };
        let mut request = self.of(&methods).to_vec();
        request.push(b' ');
        let targets: [&[u8]; 6] =
            [b"/", b"/", b"/a/b?c=d", b"*", b"http://other.example/", b"other.example:443"];
        request.extend(self.of(&targets));
        let versions: [&[u8]; 6] =
            [b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b"", b" HTTP/2.0"];
        request.extend(self.of(&versions));
        self.end_line(&mut request);
        let hosts = if self.chance(8) { self.below(3) } else { 1 };
        let at = self.pick(6);
        for number in 0..6 {
            if number == at {
                for _ in 0..hosts {
                    self.host_line(&mut request);
                }
            }
            let headers: [&[u8]; 5] = [
                b"User-Agent: somebody/1.0 (a; b)",
                b"Accept:\t*/*",
                b"Cookie: a=b; c=d",
                b"Hos: x",
                b"X-Host: y.example",
            ];
            request.extend(self.of(&headers));
            if self.chance(100) {
                request.push(self.next() as u8);
            }
            self.end_line(&mut request);
        }
        self.end_line(&mut request);
        if self.chance(20) {
            request.extend(b"GET / HTTP/1.1\r\nHost: second.example\r\n\r\n");
        }
        request
    }

    fn host_line(&mut self, request: &mut Vec<u8>) {
        let names: [&[u8]; 7] =
            [b"Host: ", b"Host: ", b"host:", b"HOST: ", b"Host:  ", b"Host :", b"Host:\t"];
        request.extend(self.of(&names));
        request.extend(self.host());
        let ends: [&[u8]; 9] = [b"", b"", b"", b":8080", b":", b" ", b":65536", b":0x50", b":http"];
        request.extend(self.of(&ends));
        self.end_line(request);
    }

    fn end_line(&mut self, request: &mut Vec<u8>) {
        let ends: [&[u8]; 4] = [b"\n", b"\r", b"\r\n ", b"\r\r\n"];
        let end = if self.chance(200) { self.of(&ends) } else { b"\r\n" };
        request.extend(end);
    }

    // ---- DNS, and what is none of these ----

    fn query(&mut self) -> Vec<u8> {
        let mut query = self.bytes(2);
        let flags = if self.chance(20) { self.next() as u16 } else { 0x0100 };
        query.extend(flags.to_be_bytes());
        let questions = if self.chance(20) { self.below(3) as u16 } else { 1 };
        query.extend(questions.to_be_bytes());
        query.extend([0, 0, 0, 0, 0, u8::from(self.chance(2))]);
        for _ in 0..questions.max(1) {
            for label in self.host().split(|byte| *byte == b'.') {
                query.push(label.len() as u8);
                query.extend(label);
            }
            if query.last() != Some(&0) || self.chance(2) {
                query.push(0);
            }
            query.extend([0, 1, 0, 1]);
        }
        if query.get(11) == Some(&1) {
            query.extend([0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0]);
        }
        query
    }

    fn beginning(&mut self) -> Vec<u8> {
        let starts: [&[u8]; 9] = [
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n",
            b"\x13BitTorrent protocol",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"EHLO mail.example\r\n",
            b"\0\0\0\x2f\xffSMB",
            b"\x80\x2e\x01\x03\x01",
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"",
        ];
        let mut start = self.of(&starts).to_vec();
        let more = self.pick(40);
        start.extend(self.bytes(more));
        start
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn the_same_seed_gives_the_same_frames() {
        let (mut one, mut other) = (Samples::new(7), Samples::new(7));
        let frames: Vec<_> = (0..100).map(|_| one.frame()).collect();
        assert!(frames.iter().all(|frame| *frame == other.frame()));
        assert!(frames.iter().any(|frame| *frame != frames[0]));
    }
}
