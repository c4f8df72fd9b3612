//! CRYPTO frames put in order.
