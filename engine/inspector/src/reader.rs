//! The one reader of wire bytes: takes from the front, never indexes, never panics. Too short is `None`, and what that
//! means (wait, or malformed) is the caller's to say.

use crate::observation::Absence;

/// What a parser answers to the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// Too short to say; ask again with more.
    More,
    /// Read; further bytes would not change it.
    Done(T),
    /// Never will be, whatever follows.
    No(Absence),
}

/// A place in some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// At the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, position: 0 }
    }

    /// The next `length` bytes; or `None` and nothing is taken.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.position += length;
        Some(taken)
    }

    /// The next `length` bytes as a reader of their own.
    pub fn sub(&mut self, length: usize) -> Option<Reader<'a>> {
        self.take(length).map(Reader::new)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        self.position += N;
        Some(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, big-endian.
    pub fn u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next byte, not taken.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// What was not taken.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes that were not taken.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that were taken, from where this reader began.
    pub const fn position(&self) -> usize {
        self.position
    }
}
