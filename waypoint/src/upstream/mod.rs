//! Where requests go: endpoints and their health, and the connections to them.

pub mod caller;
pub mod cluster;
pub mod connect;
pub mod endpoint;
mod http1;
pub mod http2;
pub mod knock;
mod lease;
pub mod pick;
mod pool;
pub mod tls;

pub use http1::Taken;
pub use lease::{Lease, Unsent};
pub use pool::Pool;
