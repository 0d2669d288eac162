//! Upstream: the endpoints of backends, and the connections to them.
//!
//! | module | |
//! |---|---|
//! | [`cluster`] | a backend with its candidates, made when a configuration is committed; choosing an endpoint |
//! | [`connect`] | opening a connection: plain, TLS, or through HBONE |
//! | [`dialled`] | the sockets that are open for bytes and datagrams, by which a proxy knows itself |
//! | [`health_check`] | the active check of an endpoint whose ejection is over |
//! | `pool` | open connections of one worker, and taking one for a request |
//! | [`tls`] | TLS towards backends (BackendTLSPolicy) |
//!
//! Load, health and the choice itself are in [`fairway_balance`].

pub mod caller;
pub mod cluster;
pub mod connect;
pub mod dialled;
pub mod health_check;
mod http1;
pub mod http2;
mod lease;
mod pool;
pub mod tls;

pub use http1::Taken;
pub use lease::{Lease, Unsent};
pub use pool::Pool;
