//! How many bytes of a stream are relayed, and how the stream ends.

use std::cell::Cell;

/// Bytes relayed so far.
#[derive(Debug, Default)]
pub struct Moved {
    /// Bytes from the client to the endpoint.
    pub received: Cell<u64>,
    /// Bytes from the endpoint to the client.
    pub sent: Cell<u64>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Both sides have closed in an orderly way.
    Whole,
    /// The connection to the client has failed.
    ClientBroke,
    /// The connection to the endpoint has failed.
    EndpointBroke,
    /// The proxy has cut it off, because its drain was over.
    CutOff,
    /// The configuration no longer sends it to this endpoint.
    Moved,
    /// It was ended to make room for new clients.
    Displaced,
}
