//! Everything that can go wrong here. python.rs turns each kind into an exception of clearway.errors.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Message texts are finished sentences without a full stop: a person reads them as they are.
#[derive(Debug)]
pub enum Error {
    /// The kernel refused a program, a map, an attachment.
    Kernel {
        /// What was asked of it, as the end of "the kernel refused to …".
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// Something does not fit the maps that are loaded.
    Capacity {
        /// Of what there are too many.
        what: String,
        /// How many there are.
        needed: u64,
        /// How many fit.
        room: u64,
    },
    /// Pins that this version cannot go on with.
    Pins {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A part of a compiled base with a wrong shape.
    Part {
        /// Its name, as Base takes it.
        part: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The caller's mistake, never a user's.
    Misuse(String),
}

impl Error {
    /// The kernel's refusal.
    pub fn kernel(what: impl Into<String>, source: io::Error) -> Self {
        Error::Kernel { what: what.into(), source }
    }

    /// A libbpf-rs error; its chain is one line.
    pub fn libbpf(what: impl Into<String>, error: &libbpf_rs::Error) -> Self {
        Error::Kernel { what: what.into(), source: io::Error::other(format!("{error:#}")) }
    }

    /// Pins that cannot be used.
    pub fn pins(path: &Path, why: impl Into<String>) -> Self {
        Error::Pins { path: path.to_owned(), why: why.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kernel { what, source } => write!(f, "the kernel refused to {what}: {source}"),
            Error::Capacity { what, needed, room } => {
                write!(f, "{needed} {what} do not fit: there is room for {room}")
            }
            Error::Pins { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Part { part, why } => write!(f, "{part}: {why}"),
            Error::Misuse(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
