//! What a proxy refuses, and how much of that is kept.

use super::listeners_held::HeldListener;
use fairway_config::Rejected;
use fairway_config::model::{ResourceKey, ResourceKind};
use fairway_config::wire::ContentHash;
use std::sync::Arc;

/// Bytes that are kept of what a proxy refuses, and those of each name beside its text.
pub(super) const MOST_REFUSED: usize = 32 * 1024 * 1024;
const EACH_REFUSED: usize = 96;

#[derive(Debug)]
pub(super) struct RefusedVersion {
    /// None: what is refused is its removal.
    pub(super) hash: Option<ContentHash>,
    pub(super) reason: Arc<str>,
    /// Whether the proxy named it. Otherwise it is left out for what the proxy named.
    pub(super) was_named: bool,
    /// What the version that stays in force names.
    pub(super) needs: Vec<ResourceKey>,
    /// Whether the proxy refuses the listener also where it is closed.
    pub(super) refuses_closed: bool,
}

/// A resource that a proxy refused.
#[derive(Debug)]
pub(in crate::serve) struct RefusedResource {
    pub(in crate::serve) rejected: Rejected,
    /// What the version that stays in force there names.
    pub(in crate::serve) needs: Vec<ResourceKey>,
    /// Of a listener: where the version is that stays in force.
    pub(in crate::serve) in_force: Option<HeldListener>,
}

// === impl RefusedVersion ===

impl RefusedVersion {
    pub(super) fn size(&self, key: &ResourceKey) -> usize {
        let needs = self.needs.iter().map(|it| it.name.len() + EACH_REFUSED);
        // One reason is shared by all that is left out for it.
        let reason = if self.was_named { self.reason.len() } else { 0 };
        key.name.len() + reason + EACH_REFUSED + needs.sum::<usize>()
    }
}

pub(super) fn size_of_rejected(rejected: &Rejected) -> usize {
    rejected.key.name.len() + rejected.reason.len() + EACH_REFUSED
}

/// Whether a proxy may keep what is to be removed. A listener must not stay: what is for it may be another one's now.
pub(super) fn may_be_held_back(removed: &ResourceKey) -> bool {
    removed.kind != ResourceKind::Listener
}

/// Whether resources name others of this kind. Of the other kinds nothing is kept: what they lead to is not what a refused one needs.
pub(super) fn is_named(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Backend
        | ResourceKind::Endpoints
        | ResourceKind::Certificate
        | ResourceKind::Authorization
        | ResourceKind::RateLimit
        | ResourceKind::Authentication => true,
        ResourceKind::Listener
        | ResourceKind::Route
        | ResourceKind::L4Route
        | ResourceKind::Service
        | ResourceKind::Workload => false,
    }
}
