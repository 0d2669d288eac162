//! `fairway check` of a cluster: whether Fairway can be installed there, and how it is when it is.
//!
//! [`read`] looks at the cluster, once, and changes nothing. [`judge`] says what is to be said of what was seen: pure.

mod judge;
mod picture;
mod read;
mod report;
mod right;
#[cfg(test)]
mod tests;

pub use judge::judge;
pub use picture::Picture;
pub use read::{Access, NoCluster, read};
pub use report::{Chapter, ClusterReport, Grade, Tally, Verdict};
