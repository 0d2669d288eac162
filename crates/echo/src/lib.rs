//! An echo server (HTTP/1.1, h2c, gRPC, WebSocket, raw TCP) that names its pod, the request and the peer it saw, and behaves
//! as the request asks: slowly, wrongly, or not at all. And small clients for it, over any stream.
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
