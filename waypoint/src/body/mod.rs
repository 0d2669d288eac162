//! Bodies: streamed as they come, with the little that has to be known of them on the way.

mod client;
mod interim;
mod recording;
mod request;

pub use client::{ClientBody, Http2Body};
pub use interim::{Heard, Interim, InterimResponses};
pub use recording::{Cursor, Recording};
pub use request::{Gate, Progress, RequestBody, Stream};

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer's framing or connection broke.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// An HTTP/2 client's stream or connection broke.
    #[error(transparent)]
    Stream(#[from] h2::Error),
    /// An HTTP/2 stream was reset without an error before its end. hyper takes that for the end.
    #[error("the stream ended before its body did")]
    Unfinished,
    /// The route's time limit for the whole request passed while the body was under way.
    #[error("the time limit of the route passed")]
    TimedOut,
    /// The client sends its body too slowly.
    #[error("the client sends its body too slowly")]
    TooSlow,
    /// The client's body is longer than its listener lets it be.
    #[error("the body is longer than the listener lets it be")]
    TooLarge,
    /// The body is not wanted any more: another try has taken it over, or the connection is going down.
    #[error("the body is not wanted any more")]
    Abandoned,
}
