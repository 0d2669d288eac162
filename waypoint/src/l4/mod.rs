//! PURE: what becomes of a connection or of datagrams that nobody looks into. A listener and the SNI give the route, the weights
//! its backend; a connection without either is refused.

mod carried;
mod decide;
mod refusal;

pub use carried::{Carried, Moved};
pub use decide::{Decision, Undecided, decide, draw, locate};
pub use refusal::L4Refusal;
