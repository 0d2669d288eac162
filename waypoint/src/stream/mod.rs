//! One byte stream that nobody looks into: route by listener and SNI → backend by weight → endpoint → copy both ways.

mod carry;
mod serve;

pub use serve::{Arrived, Outward, relay, serve_stream};
