//! The configuration in force: one immutable index, replaced as a whole at each commit.

use crate::decide::{Affected, Index};
use arc_swap::ArcSwap;
use fairway_config::model::Locality;
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use std::sync::Arc;
use tokio::sync::watch;

/// What is in force, for all threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    index: Arc<ArcSwap<Index>>,
    changed: watch::Receiver<()>,
}

/// Puts configurations in force.
pub struct Applier {
    index: Arc<ArcSwap<Index>>,
    changed: watch::Sender<()>,
    review: Review,
}

/// Has the open connections that a commit affects judged again.
type Review = Box<dyn Fn(Affected) + Send + Sync>;

/// Nothing in force yet on a node there, and what puts something there. `review` is told after each commit which of the
/// connections that are open have to be judged again.
pub(crate) fn channel(
    locality: Locality,
    review: impl Fn(Affected) + Send + Sync + 'static,
) -> (Applier, State) {
    let index = Arc::new(ArcSwap::from_pointee(Index::empty(locality)));
    let (sender, changed) = watch::channel(());
    (Applier { index: index.clone(), changed: sender, review: Box::new(review) }, State { index, changed })
}

impl State {
    /// What is in force now; a connection asks once and decides by that.
    pub fn load(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// Marks the changes up to now as seen; then `changed` waits for the next.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.clone()
    }
}

impl Apply for Applier {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        // What this proxy cannot reach (an unknown authorization, a waypoint without endpoints) it refuses per connection.
        let before = self.index.load_full();
        self.index.store(Arc::new(before.update(next, changes)));
        self.changed.send_replace(());
        // In this order: a connection that is not open yet is judged by the new index when it is.
        let affected = Affected::by(before.snapshot(), next, changes);
        if !affected.is_empty() {
            (self.review)(affected);
        }
        Ok(())
    }
}
