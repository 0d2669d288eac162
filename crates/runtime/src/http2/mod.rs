//! What an HTTP/2 peer may send beside requests and bodies: a budget of control frames.
//!
//! RFC 9113 §10.5 asks for limits on frames that cost the receiver and carry nothing: PING (CVE-2019-9512), SETTINGS
//! (CVE-2019-9515), PRIORITY (CVE-2019-9513), WINDOW_UPDATE, empty DATA (CVE-2019-9518) and frames of unknown types. The
//! libraries below have no hook for them, so the bytes are watched as they pass.

mod budget;
mod frames;
mod watched;

pub use budget::{ControlFrames, TooManyControlFrames};
pub use frames::{FrameHead, FrameHeads};
pub use watched::Watched;
