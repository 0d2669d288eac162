//! Where objects come from, as a stream of edits: a watched directory, or a cluster.

mod certificate_periods;
pub mod cluster;
mod directory;
mod document;
mod last_good;
mod object;
mod rules;
mod scan;
mod schema;
mod stand_in;
mod standalone;

pub use certificate_periods::CertificatePeriods;
pub use cluster::Cluster;
pub(crate) use directory::read_once;
pub use directory::{Batch, Directory, DirectoryOptions, WatchError};
pub use last_good::LastGood;
pub use scan::{FileChange, Scan};
pub use standalone::{Completion, Standalone};

use crate::resources::Edit;
use std::future::Future;

/// A stream of edits, each batch to be taken in at once.
pub trait Source {
    /// Waits for the next batch. None when there will be no more. The first is everything there is.
    fn next(&mut self) -> impl Future<Output = Option<Vec<Edit>>>;
}

/// A directory that cannot be listed, as it is reported.
#[cfg(test)]
pub(crate) fn unlisted_directory(why: &str) -> crate::diagnostic::Diagnostic {
    directory::unlisted("apps".as_ref(), why, false)
}

/// The objects of a text, which must be in order.
#[cfg(test)]
pub(crate) fn objects(yaml: &str) -> Vec<crate::resources::Object> {
    let mut scan = Scan::default();
    let edits = scan.apply([("test.yaml".into(), FileChange::Text(yaml.to_owned()))]);
    let problems: Vec<String> = scan.problems().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let object = |edit| match edit {
        Edit::Upsert(it) => it,
        Edit::Remove(it) => panic!("{it} removed"),
    };
    edits.into_iter().map(object).collect()
}
