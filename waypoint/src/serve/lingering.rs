//! The end of an HTTP/1 connection whose client may still be sending.
//!
//! A socket that is closed with bytes unread resets the connection, and the client loses the answer it has not read yet. So
//! the proxy ends its own side, and takes what still comes for a while (RFC 9112 §9.6).

use crate::connection::{Connection, Order};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{ConnectionState, Connections};
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// A client that takes the end or does not, and is silent.
    struct Peer {
        takes_the_end: bool,
    }

    impl AsyncRead for Peer {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.takes_the_end { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_the_end_of_its_connection_is_left() {
        for (takes_the_end, expected) in [(false, LAST_WORDS), (true, QUIET)] {
            let connection = Connections::new().open(ConnectionState::Http1);
            let began = Instant::now();
            close(&connection, Peer { takes_the_end }).await;
            assert_eq!(began.elapsed().as_secs(), expected.as_secs(), "takes the end: {takes_the_end}");
        }
    }
}
