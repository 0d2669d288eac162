//! The compiled configuration: resources, validation, snapshot, and the stream that carries it.
#![forbid(unsafe_code)]

pub mod model;
mod snapshot;

pub use snapshot::{Changes, Delta, Snapshot, Table};
