//! The Internet checksum, RFC 1071, and the pseudo headers that it covers.

use std::net::IpAddr;

/// A sum under way. Pieces but the last must have an even number of bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Checksum(u64);

impl Checksum {
    /// With IP's addresses, the protocol and the length in it: what TCP, UDP and ICMPv6 cover beside themselves. The
    /// sum is the same for both versions, since the fields that differ in width are zero where they are wider.
    pub(super) fn of_transport(source: IpAddr, destination: IpAddr, protocol: u8, length: u32) -> Self {
        Checksum::default()
            .address(source)
            .address(destination)
            .bytes(&length.to_be_bytes())
            .bytes(&[0, protocol])
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.bytes(&v4.octets()),
            IpAddr::V6(v6) => self.bytes(&v6.octets()),
        }
    }

    /// Adds bytes; an odd last one counts as if a zero followed.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(2).map(|pair| match pair {
            [high, low] => u64::from(u16::from_be_bytes([*high, *low])),
            [high] => u64::from(*high) << 8,
            _ => 0,
        });
        Checksum(self.0 + words.sum::<u64>())
    }

    /// The value for the header's field.
    pub(super) fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }
}
