//! A capture file read front to back through one buffer, its frames given to the inspector's crate.
//!
//! Memory does not grow with the file. Reads any file that can be read forward, a pipe too; opens nothing but the path
//! it is given, and writes nothing. Called by `clearway inspect` and `replay` through python_inspect.rs.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use clearway_inspector::capture::{Broken, Capture, Record, RECORD_BYTES_MAX};
use clearway_inspector::inspect::Inspection;

/// The buffer: two of the longest records, so that the next one can always be completed behind the last.
const BUFFER_BYTES: usize = 4 * RECORD_BYTES_MAX;

/// Why a file ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its first bytes are not those of a capture.
    NotACapture,
    /// A capture of a link layer that can't be read, by its number.
    Link(u32),
    /// A record with a length that none has.
    Damaged,
    /// It ends within a record.
    Truncated,
}

impl Trouble {
    /// Its word for Python.
    pub fn word(self) -> &'static str {
        match self {
            Trouble::NotACapture => "not-a-capture",
            Trouble::Link(_) => "link",
            Trouble::Damaged => "damaged",
            Trouble::Truncated => "truncated",
        }
    }
}

/// A file that is being read.
pub struct CaptureFile {
    file: File,
    capture: Capture,
    buffer: Vec<u8>,
    /// What of the buffer has not been used yet.
    from: usize,
    to: usize,
    /// Bytes of the file that lie between the buffer's end and the next record.
    skip_bytes: usize,
    ended: bool,
    /// Bytes of the file so far.
    pub read_bytes: u64,
    /// Why it ended early.
    pub trouble: Option<Trouble>,
    /// The first link layer of a frame that could not be read, by its number.
    pub unread_link: Option<u16>,
}

impl CaptureFile {
    /// Opens it.
    pub fn open(path: &Path) -> std::io::Result<CaptureFile> {
        Ok(CaptureFile {
            file: File::open(path)?,
            capture: Capture::new(),
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            to: 0,
            skip_bytes: 0,
            ended: false,
            read_bytes: 0,
            trouble: None,
            unread_link: None,
        })
    }

    /// Gives the frames of the next buffer to `inspection`; at the file's end, ends it. False: there was nothing more.
    pub fn read_some(&mut self, inspection: &mut Inspection) -> std::io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let at_end = !self.refill()?;
        self.read_buffer(inspection);
        if at_end
            && self.trouble.is_none()
            && (self.from < self.to || self.skip_bytes > 0 || self.read_bytes == 0)
        {
            self.trouble = Some(if self.read_bytes < 4 { Trouble::NotACapture } else { Trouble::Truncated });
        }
        let all_unread = inspection.frames() > 0 && inspection.unread_frames() == inspection.frames();
        if let (true, true, None, Some(number)) = (at_end, all_unread, self.trouble, self.unread_link) {
            self.trouble = Some(Trouble::Link(number.into()));
        }
        if at_end || self.trouble.is_some() {
            self.ended = true;
            inspection.end();
        }
        Ok(true)
    }

    /// False: the file has no more bytes.
    fn refill(&mut self) -> std::io::Result<bool> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        while self.to < self.buffer.len() {
            let Some(room) = self.buffer.get_mut(self.to..) else { break };
            match self.file.read(room) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.read_bytes += count as u64;
                    let skipped = count.min(self.skip_bytes);
                    self.skip_bytes -= skipped;
                    room.copy_within(skipped..count, 0);
                    self.to += count - skipped;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read_buffer(&mut self, inspection: &mut Inspection) {
        while self.from < self.to {
            let rest = self.buffer.get(self.from..self.to).unwrap_or(&[]);
            match self.capture.next(rest) {
                Ok((Record::More, _)) => return,
                Ok((record, bytes)) => {
                    if let Record::Frame(captured) = record {
                        self.unread_link = self.unread_link.or(captured.link.err().flatten());
                        inspection.frame(captured.link.ok(), captured.time_ns, captured.frame);
                    }
                    self.skip_bytes = bytes.saturating_sub(rest.len());
                    self.from += bytes.min(rest.len());
                }
                Err(broken) => {
                    self.trouble = Some(match broken {
                        Broken::NotACapture => Trouble::NotACapture,
                        Broken::Link(number) => Trouble::Link(number),
                        Broken::Length => Trouble::Damaged,
                    });
                    return;
                }
            }
        }
    }
}
