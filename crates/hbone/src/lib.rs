//! The tunnel protocol HBONE: a TCP connection as an HTTP/2 CONNECT stream inside mTLS between two proved identities.
//!
//! Wire-compatible with Istio's: TLS 1.3 with ALPN `h2` and no SNI, port 15008, `:authority` names the destination,
//! 200 only after the destination was reached, END_STREAM is a half-close, RST_STREAM a reset.
//!
//! # Guarantees
//!
//! - Both ends know the other's SPIFFE identity before a byte of a stream is read ([`Request::peer`]).
//! - A half-close stays a half-close and a reset a reset: [`bidirectional`] never turns one into the other.
//! - A reader that stops delays no other stream: every stream has a receive window of its own that grows while it is read
//!   ([`WindowBudget`] is what they may have together).
//! - One connection and all its streams live on one thread; nothing here takes a lock of another thread.
//!
//! # Example
//!
//! The destination of a CONNECT is an address or a name, always with a port. An IPv4 address inside an IPv6 one is the IPv4
//! address, so that no policy is passed by another spelling.
//!
//! ```
//! use fairway_hbone::Authority;
//!
//! let mapped: Authority = "[::ffff:10.0.0.1]:80".parse()?;
//! assert_eq!(mapped, "10.0.0.1:80".parse()?);
//!
//! let name: Authority = "Reviews.shop.svc.cluster.local:80".parse()?;
//! assert_eq!(name.to_string(), "reviews.shop.svc.cluster.local:80");
//! assert!("reviews.shop".parse::<Authority>().is_err(), "a port is missing");
//! # Ok::<(), fairway_hbone::InvalidAuthority>(())
//! ```
#![forbid(unsafe_code)]

mod authority;
pub mod client;
pub mod copy;
mod forwarded;
mod http2;
mod request;
pub mod server;
#[cfg(test)]
mod skew;
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
