//! crypto_stream
