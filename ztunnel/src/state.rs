//! The configuration in force: one immutable index, replaced as a whole at each commit.

use crate::decide::Index;
use arc_swap::ArcSwap;
use fairway_config::model::Locality;
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use std::sync::Arc;
use tokio::sync::watch;

/// The configuration in force, for all threads. Clones share the same state.
#[derive(Clone, Debug)]
pub struct State {
    index: Arc<ArcSwap<Index>>,
    changed: watch::Receiver<()>,
}

/// Applies each commit: builds the next index and replaces the current one.
#[derive(Debug)]
pub struct Applier {
    index: Arc<ArcSwap<Index>>,
    changed: watch::Sender<()>,
}

/// An empty configuration for a node of this locality, and its applier.
pub fn channel(locality: Locality) -> (Applier, State) {
    let index = Arc::new(ArcSwap::from_pointee(Index::empty(locality)));
    let (sender, changed) = watch::channel(());
    (Applier { index: index.clone(), changed: sender }, State { index, changed })
}

impl State {
    /// The current index. A connection loads it once and decides by it.
    pub fn load(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// A receiver that is notified at each commit from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.clone()
    }
}

impl Apply for Applier {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        // Nothing is rejected here: a missing authorization or a waypoint without endpoints refuses connections one by one.
        let index = self.index.load().update(next, changes);
        self.index.store(Arc::new(index));
        self.changed.send_replace(());
        Ok(())
    }
}
