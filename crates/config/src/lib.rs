//! The compiled configuration: resources, validation, snapshot, and the stream that carries it.
#![forbid(unsafe_code)]

mod apply;
pub mod model;
mod snapshot;

pub use apply::{Apply, Rejected};
pub use snapshot::{Changes, Delta, Snapshot, Table};
