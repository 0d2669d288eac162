//! What a proxy does with a configuration before it is in force.

use crate::model::ResourceKey;
use crate::{Changes, Snapshot};

/// Takes a configuration over.
///
/// Called on the control thread, once for each commit, in order. After `Ok` the configuration is in force and is
/// acknowledged. After `Err` the reasons go back to the controller, which sends the rest again without what is named. A
/// configuration that is wrong in itself is refused whole, and the one before stays in force. What only this machine stands in the
/// way of (a port that is taken) is named too, but everything else is in force: a Gateway does not go down with one listener.
pub trait Apply: Send {
    /// Builds what serving needs and puts it in force. `changes` names what differs from the last one applied.
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>>;
}

/// A resource that cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Rejected {
    /// The resource, as the controller named it.
    pub key: ResourceKey,
    /// Why, in words for the user who wrote the object behind it.
    pub reason: String,
}
