//! name_filter
