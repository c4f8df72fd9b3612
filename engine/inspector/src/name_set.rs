//! name_set
