//! The active health check of an endpoint whose ejection is over: a connection without a request.

use super::connect::{Connector, Link, Route};
use super::tls::Protocol;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// The check succeeds if the endpoint keeps the connection open for this time. An endpoint that resets every connection does
/// so within one round trip.
const OBSERVATION: Duration = Duration::from_millis(50);

/// Whether the endpoint accepts a connection and keeps it open.
pub async fn succeeds(connector: &Connector, route: &Route<'_>, protocol: Protocol) -> bool {
    let Ok(Link { mut io, .. }) = connector.connect(route, protocol).await else { return false };
    let mut byte = [0];
    match timeout(OBSERVATION, io.read(&mut byte)).await {
        // Some protocols begin with a byte of the server. Zero bytes mean that it has closed the connection.
        Ok(read) => matches!(read, Ok(1)),
        Err(_) => true,
    }
}
