//! The hub seen by proxies: through the real gRPC stack over in-memory connections, and through a channel.

mod channel;
mod convergence;
mod network;
mod reconnect;
mod refusal;
mod refused_needs;
mod retained;
mod scale;
mod skew;
mod sync;
pub(super) mod universe;
mod watcher;

use network::Network;
use universe::{backend, endpoints, gateway, listener, route};
use watcher::Watcher;
