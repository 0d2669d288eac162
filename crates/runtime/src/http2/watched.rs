//! A peer's byte stream whose control frames are counted.

use super::ControlFrames;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A peer's HTTP/2 byte stream. It breaks when the peer sends too many control frames.
#[derive(Debug)]
pub struct Watched<Io> {
    io: Io,
    frames: ControlFrames,
}

// === impl Watched ===

impl<Io> Watched<Io> {
    /// From the client's first byte.
    pub fn client(io: Io) -> Self {
        Self { io, frames: ControlFrames::of_client(Instant::now()) }
    }

    /// From the server's first byte.
    pub fn server(io: Io) -> Self {
        Self { io, frames: ControlFrames::of_server(Instant::now()) }
    }

    /// The stream below, for its addresses and options.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if this.frames.received(read, Instant::now).is_err() {
            return Poll::Ready(Err(this.frames.calm_down(&mut this.io, cx)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.frames.sent(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        this.frames.sent_vectored(bufs, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_ping_flood_ends_the_connection_with_enhance_your_calm() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let mut server = Watched::client(server);
        let serving = tokio::spawn(async move {
            let mut read = vec![0; 4096];
            loop {
                match server.read(&mut read).await {
                    Ok(0) => panic!("the client is not refused"),
                    Ok(_) => {}
                    Err(error) => return error.to_string(),
                }
            }
        });
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut sent = 0;
        while client.write_all(b"\0\0\x08\x06\x01\0\0\0\0whatever").await.is_ok() && sent < 100_000 {
            sent += 1;
        }
        assert_eq!(serving.await.unwrap(), "the peer sends too many HTTP/2 control frames");
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        assert_eq!((told.get(3), told.last()), (Some(&7), Some(&11)), "{told:?}");
    }
}
