//! Knocking at an endpoint that is held back: a connection with nothing on it, before a request is risked.

use super::connect::{Connector, Link, Route};
use super::tls::Protocol;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// For how long an endpoint that is well keeps a silent connection, at least. One that resets whoever connects does so
/// in the time a packet takes.
const SILENCE: Duration = Duration::from_millis(50);

/// Whether the endpoint takes a connection and keeps it.
pub async fn opens(connector: &Connector, route: &Route<'_>, protocol: Protocol) -> bool {
    let Ok(Link { mut io, .. }) = connector.connect(route, protocol).await else { return false };
    let mut byte = [0];
    // It may speak first, but not hang up.
    match timeout(SILENCE, io.read(&mut byte)).await {
        Ok(read) => matches!(read, Ok(1)),
        Err(_) => true,
    }
}
