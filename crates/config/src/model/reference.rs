//! What every kind of resource says of itself: its key, and which resources it names.

use super::{
    AuthenticationKey, AuthorizationKey, BackendKey, BackendTarget, Certificate, Endpoints, RateLimitKey,
    Requires, ResourceKey, ResourceKind,
};

/// The resources that a resource names.
pub trait References {
    /// The resources without which this one cannot be carried out, whether they exist or not. Kinds that name none leave it
    /// as it is.
    fn references(&self) -> Vec<ResourceKey> {
        Vec::new()
    }
}

/// The key under which a resource is held. The table of kinds implements it.
pub(crate) trait Keyed {
    type Key;

    fn key(&self) -> Self::Key;
}

impl References for Certificate {}

impl Requires for Certificate {}

// They name a backend, and are carried out without it.
impl References for Endpoints {}

impl Requires for Endpoints {}

/// The backend that a target leads to, if it leads anywhere.
pub(super) fn of_target(target: &BackendTarget) -> Option<ResourceKey> {
    match target {
        BackendTarget::Backend(key) => Some(of_backend(ResourceKind::Backend, key)),
        BackendTarget::Unresolved(_) => None,
    }
}

pub(super) fn of_authorization(key: &AuthorizationKey) -> ResourceKey {
    ResourceKey::new(ResourceKind::Authorization, key.as_arc())
}

pub(super) fn of_limits(key: &RateLimitKey) -> ResourceKey {
    ResourceKey::new(ResourceKind::RateLimit, key.as_arc())
}

pub(super) fn of_authentication(key: &AuthenticationKey) -> ResourceKey {
    ResourceKey::new(ResourceKind::Authentication, key.as_arc())
}

/// A backend, or its endpoints.
pub(super) fn of_backend(kind: ResourceKind, key: &BackendKey) -> ResourceKey {
    ResourceKey::new(kind, key.as_arc())
}
