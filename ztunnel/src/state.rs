//! The configuration in force: one immutable index, replaced as a whole at each commit.

use crate::decide::{Affected, Index};
use arc_swap::ArcSwap;
use fairway_balance::Locality;
use fairway_config::{Apply, Changes, Rejected, Snapshot};
use fairway_telemetry::{PolicySeries, Telemetry};
use std::sync::Arc;
use tokio::sync::watch;

/// The configuration in force, for all threads. Clones share the same state.
#[derive(Clone, Debug)]
pub struct State {
    index: Arc<ArcSwap<Index>>,
    policies: Arc<ArcSwap<PolicySeries>>,
    changed: watch::Receiver<()>,
}

/// Applies each commit: builds the next index and replaces the current one.
pub struct Applier {
    index: Arc<ArcSwap<Index>>,
    policies: Arc<ArcSwap<PolicySeries>>,
    telemetry: Telemetry,
    changed: watch::Sender<()>,
    review: Review,
}

/// Has the open connections that a commit affects judged again.
type Review = Box<dyn Fn(Affected) + Send + Sync>;

/// An empty configuration for a node of this locality, and its applier. `review` is told after each commit which of the
/// connections that are open have to be judged again. What policies decide is counted in `telemetry`.
pub(crate) fn channel(
    locality: Locality,
    telemetry: Telemetry,
    review: impl Fn(Affected) + Send + Sync + 'static,
) -> (Applier, State) {
    let index = Arc::new(ArcSwap::from_pointee(Index::empty(locality)));
    let policies = Arc::<ArcSwap<PolicySeries>>::default();
    let (sender, changed) = watch::channel(());
    let state = State { index: index.clone(), policies: policies.clone(), changed };
    (Applier { index, policies, telemetry, changed: sender, review: Box::new(review) }, state)
}

impl State {
    /// The current index. A connection loads it once and decides by it.
    pub fn load(&self) -> Arc<Index> {
        self.index.load_full()
    }

    /// Where what the policies of the current index decide is counted.
    pub(crate) fn policies(&self) -> arc_swap::Guard<Arc<PolicySeries>> {
        self.policies.load()
    }

    /// A receiver that is notified at each commit from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.clone()
    }
}

impl Apply for Applier {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        // Nothing is rejected here: a missing authorization or a waypoint without endpoints refuses connections one by one.
        let before = self.index.load_full();
        // First: a connection that the next index refuses has its series.
        self.policies.store(Arc::new(self.policies.load().update(next, changes, &self.telemetry)));
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
