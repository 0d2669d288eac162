//! The end of an HTTP/1 connection whose client may still be sending.
//!
//! A socket that is closed with bytes unread resets the connection, and the client loses the answer it has not read yet. So
//! the proxy ends its own side, and takes what still comes for a while (RFC 9112 §9.6).

use crate::listen::connection::{Connection, Order};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a client may take to hear the end of a connection.
pub const LAST_WORDS: Duration = Duration::from_secs(5);
/// As long as a client sends; an upload that is longer is cut off.
const LONGEST: Duration = Duration::from_secs(10);
/// As long as it is silent.
const QUIET: Duration = Duration::from_secs(1);

/// Closes a connection, after its client has, or has stopped sending.
pub async fn close(connection: &Connection, mut io: impl AsyncRead + AsyncWrite + Unpin) {
    // TLS has something to say at the end, which a client may not take.
    if !matches!(timeout(LAST_WORDS, io.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let until = Instant::now() + LONGEST;
    let drain = async {
        let mut unwanted = [0; 4096];
        loop {
            let deadline = until.min(Instant::now() + QUIET);
            match timeout_at(deadline, io.read(&mut unwanted)).await {
                Ok(Ok(count)) if count > 0 => {}
                _ => return,
            }
        }
    };
    tokio::select! {
        () = drain => {}
        _ = connection.ordered(Order::TooSlow) => {}
    }
}
