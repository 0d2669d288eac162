//! The compiled configuration: resources, validation, snapshot, and the stream that carries it.
#![forbid(unsafe_code)]

mod apply;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
pub mod capture;
pub mod model;
pub mod proto;
mod snapshot;
pub mod stream;
pub mod wire;

pub use apply::{Apply, Rejected};
pub use snapshot::{Changes, Delta, Snapshot, Table};
