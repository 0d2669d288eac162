//! One byte stream that nobody looks into: route by listener and SNI → backend by weight → endpoint → copy both ways.

mod carry;
mod decide;
mod refusal;
mod serve;

pub use carry::{Carried, Moved};
pub use decide::{Decision, Undecided, decide, draw, locate};
pub use refusal::Refusal;
pub use serve::{Arrived, Outward, relay, serve_stream};
