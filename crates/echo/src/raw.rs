//! TCP without a protocol.

use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;

/// Says back every byte; the end of what the client says is the end of what it hears.
pub(crate) async fn say_back(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    let outcome = match copy(&mut read, &mut write).await {
        Ok(_) => write.shutdown().await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Greets, then says back.
pub(crate) async fn greet(mut stream: TcpStream, greeting: String) {
    if stream.write_all(greeting.as_bytes()).await.is_ok() {
        say_back(stream).await;
    }
}
