//! An echo server (HTTP/1.1, h2c, gRPC, WebSocket, raw TCP) that names its pod, the request and the peer it saw, and behaves
//! as the request asks: slowly, wrongly, or not at all. And small clients for it, over any stream.
//!
//! For the demo and the end-to-end tests, never for production: whoever may send it requests may have it wait or break off.
//!
//! # Guarantees
//!
//! - **It says what it saw.** Headers come back in the order in which they came, those of one name together, with the peer's address and
//!   the length, checksum and trailers of the body.
//! - **A request says how it is answered**, in its query. Names that are not known mean nothing; a value that cannot be followed is
//!   answered with what is wrong with it.
//! - **Bounded memory.** The last 10,000 requests are remembered; [`Recorded::total`] counts all of them.
//!
//! # Example
//!
//! ```
//! use fairway_echo::{EchoServer, client::Client};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = EchoServer::new("reviews-v1-1");
//! tokio::spawn(server.clone().serve_http(listener, std::future::pending()));
//!
//! let mut client = Client::http1(TcpStream::connect(address).await?).await?;
//! let answer = client.get("reviews", "/?status=503").await?;
//! assert_eq!(answer.status, 503);
//! assert_eq!(server.recorded().requests[0].host, "reviews");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod behaviour;
pub mod client;
mod grpc;
pub mod program;
mod raw;
mod request;
mod seen;
mod server;
#[cfg(test)]
mod tests;
pub mod websocket;

pub use seen::{BodySeen, Recorded, Seen};
pub use server::EchoServer;

/// The gRPC service `fairway.echo.v1.Echo`.
#[allow(missing_docs, unused_qualifications)] // generated; the proto file says what things are
pub mod proto {
    tonic::include_proto!("fairway.echo.v1");
}
