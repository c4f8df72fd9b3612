//! Lines of a list → sorted, distinct names. Pure: bytes in, a value out.
