//! name_hash
