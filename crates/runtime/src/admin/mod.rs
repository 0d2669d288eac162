//! The admin ports: health, metrics, configuration and log level of a running program.
//!
//! They run on threads of their own, so that they answer when the workers are busy or stuck. The full set is on a
//! loopback address only; beside it there may be a port for metrics alone and one for readiness alone.

mod connections;
mod pages;
mod server;

pub use pages::{Content, Pages};
pub use server::{AdminError, AdminServer};
