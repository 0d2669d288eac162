//! HTTP/2 as HBONE uses it: limits, and the PINGs that find a dead peer.

use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The largest DATA frame.
pub(crate) const FRAME: u32 = 1 << 20;
/// What one stream may have waiting to be sent; more is back-pressure on its writer.
pub(crate) const SEND_BUFFER: usize = 1 << 20;

/// How a dead peer is found.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// The time from one PING to the next.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(20) }
    }
}

/// Pings until the peer does not answer; then returns. Never returns while it does. The first PING goes out at once:
/// its answer, which `answered` is told of, comes after the peer's settings.
pub(crate) async fn until_dead(ping: Option<h2::PingPong>, keepalive: Keepalive, answered: impl Fn()) {
    let Some(mut ping) = ping else {
        return std::future::pending().await;
    };
    loop {
        match timeout(keepalive.timeout, ping.ping(h2::Ping::opaque())).await {
            Ok(Ok(_pong)) => answered(),
            // The connection ended; whoever drives it knows better why.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
        sleep(keepalive.interval).await;
    }
}
