//! `fairway check` of a cluster: whether Fairway can be installed there, and how it is when it is.
//!
//! [`read`] reads the cluster, once, and changes nothing. [`check_snapshot`] checks what was read: pure.

mod checks;
mod read;
mod report;
mod results;
mod right;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;

pub use checks::{NotCompiled, check_snapshot, compile_snapshot};
pub use read::{Access, NoCluster, read};
pub use report::{Category, ClusterReport, FaultCounts};
pub use snapshot::Snapshot;
