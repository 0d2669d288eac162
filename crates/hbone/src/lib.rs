//! The tunnel protocol HBONE: a TCP connection as an HTTP/2 CONNECT stream inside mTLS between two proved identities.
//!
//! Wire-compatible with Istio's: TLS 1.3 with ALPN `h2` and no SNI, port 15008, `:authority` names the destination,
//! 200 only after the destination was reached, END_STREAM is a half-close, RST_STREAM a reset.
//! One connection and all its streams live on one thread; nothing here takes a lock of another thread.
#![forbid(unsafe_code)]

mod authority;
pub mod client;
pub mod copy;
mod forwarded;
mod http2;
mod request;
pub mod server;
#[cfg(test)]
mod testing;
mod traceparent;
mod tunnel;
mod windows;

pub use authority::{Authority, InvalidAuthority};
pub use client::{Carrier, Connect, OpenError, Pool, Target, TcpConnector};
pub use copy::{Ended, Side, Transfer, bidirectional};
pub use forwarded::{Forwarded, InvalidForwarded};
pub use request::{ConnectRequest, Routing};
pub use server::{Request, ServeError, serve, serve_known};
pub use traceparent::{InvalidTraceparent, Traceparent};
pub use tunnel::Tunnel;
pub use windows::WindowBudget;

/// The port on which HBONE is accepted.
pub const PORT: u16 = 15008;
