//! Measures every published figure.
#![forbid(unsafe_code)]
