//! What stands on the way of a request and names policies.

use crate::upstream::cluster::Cluster;
use fairway_config::model::{AuthenticationKey, AuthorizationKey, BackendKey, Listener, RateLimitKey, Rule};
use std::slice;
use std::sync::LazyLock;

/// What judges at [`Guards::Unknown`]: it is not known either, which refuses.
static UNKNOWN: LazyLock<AuthorizationKey> = LazyLock::new(|| "unknown backend".into());

/// What names authentications, by which clients say who they are, authorizations, which say who may, and limits, which say how often.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Guards<'t> {
    /// Nothing that names any.
    #[default]
    None,
    /// The listener that was chosen.
    Listener(&'t Listener),
    /// A rule of a route.
    Rule(&'t Rule),
    /// A backend, to whose endpoints this proxy goes straight.
    Backend(&'t Cluster),
    /// A backend of which only the endpoints are known: nobody knows what guards it, so nobody is let in.
    Unknown,
}

// === impl Guards ===

impl<'t> Guards<'t> {
    /// Those of a backend's Service, if this proxy goes straight to its endpoints.
    pub(super) fn of_cluster(cluster: &'t Cluster, own: &BackendKey) -> Self {
        match cluster.via() {
            Some((waypoint, _)) if waypoint != own => Self::None,
            _ if cluster.is_unknown() => Self::Unknown,
            _ => Self::Backend(cluster),
        }
    }

    /// By what clients say who they are, by the names that the configuration has for it.
    pub(super) fn authentications(self) -> &'t [AuthenticationKey] {
        match self {
            Self::None | Self::Unknown => &[],
            Self::Listener(it) => &it.authentications,
            Self::Rule(it) => &it.authentications,
            Self::Backend(it) => it.authentications(),
        }
    }

    /// Who may, by the names that the configuration has for it.
    pub(crate) fn authorizations(self) -> &'t [AuthorizationKey] {
        match self {
            Self::None => &[],
            Self::Listener(it) => &it.authorizations,
            Self::Rule(it) => &it.authorizations,
            Self::Backend(it) => it.authorizations(),
            Self::Unknown => slice::from_ref(&*UNKNOWN),
        }
    }

    /// How often, by the names that the configuration has for it.
    pub(super) fn limits(self) -> &'t [RateLimitKey] {
        match self {
            Self::None | Self::Unknown => &[],
            Self::Listener(it) => &it.limits,
            Self::Rule(it) => &it.limits,
            Self::Backend(it) => it.limits(),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.authentications().is_empty() && self.authorizations().is_empty() && self.limits().is_empty()
    }
}
