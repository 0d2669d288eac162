//! The L7 proxy that every Gateway and every waypoint runs.
//!
//! Thread per core: each worker has its own listeners, connections and pools, and nothing on a request's way leaves its
//! thread. What is in force is one immutable [`worker::Serving`], replaced as a whole by a commit.
#![forbid(unsafe_code)]

mod body;
pub mod datagram;
#[cfg(test)]
mod fixtures;
pub mod host;
pub mod listen;
pub mod pipeline;
pub mod program;
pub mod route;
pub mod serve;
mod settings;
pub mod stage;
pub mod stream;
pub mod table;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;
pub mod upstream;
mod view;
mod waypoint;
mod worker;

pub use settings::{Limits, ProxySettings, Timeouts};
pub use transport::Transport;
pub use view::View;
pub use waypoint::{Applier, StartError, Waypoint};
