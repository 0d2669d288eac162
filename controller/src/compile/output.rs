//! What a change leads to.

use crate::diagnostic::Diagnostic;
use crate::provision::Proxy;
use crate::resources::ObjectRef;
use crate::status::ObjectStatus;
use fairway_config::model::{ObjectName, Resource, ResourceKey};

/// What a change leads to; whatever is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Resources that are gone.
    pub removals: Vec<ResourceKey>,
    /// Objects whose status is new or changed, each with its whole status.
    pub statuses: Vec<(ObjectRef, ObjectStatus)>,
    /// Objects that have no status of ours any more.
    pub unjudged: Vec<ObjectRef>,
    /// Proxies, new or changed.
    pub proxies: Vec<Proxy>,
    /// Proxies that are no longer needed and have not been removed yet.
    pub retired: Vec<ObjectName>,
    /// Whether other waypoints are needed than before, of those that nobody wrote a Gateway for (only in a cluster).
    pub waypoints_changed: bool,
    /// The problems of every object whose problems changed; none left is an empty list.
    pub problems: Vec<(ObjectRef, Vec<Diagnostic>)>,
    /// Errors of the compiler itself that were not there before. What they are about stays as it was.
    pub faults: Vec<String>,
}

// === impl Output ===

impl Output {
    /// Whether something else has to be made than before.
    pub fn is_wanting(&self) -> bool {
        !self.proxies.is_empty() || !self.retired.is_empty() || self.waypoints_changed
    }

    /// Whether an edit changed no result: nobody has to be told anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
