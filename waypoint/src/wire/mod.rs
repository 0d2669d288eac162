//! What a client's connection carries, below HTTP: which version it speaks, and the framing that hyper does not show.

mod client_stream;
mod detect;
mod framing;

pub use client_stream::{ReadAhead, Wire, WireState};
pub use detect::{PREFACE, Version, detect};
pub use framing::{Ambiguity, Framing, Refused};
