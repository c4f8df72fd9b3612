//! name_lines
