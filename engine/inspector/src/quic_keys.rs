//! Keys of Initial packets.
