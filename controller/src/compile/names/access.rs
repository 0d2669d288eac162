//! What an AccessPolicy is called in the configuration. At targets of different sorts it has different forms.

use fairway_config::model::{AuthorizationKey, ObjectName};

/// The form of an AccessPolicy at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::compile) enum Form {
    /// For pods: the tunnel of their node judges connections.
    Pod,
    /// For a Service: its waypoint judges requests of clients in the mesh.
    Service,
    /// For a Gateway, and for routes of one.
    Gateway,
    /// An Allow that lets nobody in. It stands for one that names a part of an object which is not there.
    Nobody,
    /// Everything is refused. It stands where the policy cannot be carried out.
    Closed,
}

// === impl Form ===

impl Form {
    /// The name of the authorization that a policy is in this form. `@` is in no name of Kubernetes, so that no policy has the
    /// name of something else.
    pub(in crate::compile) fn key(self, policy: &ObjectName) -> AuthorizationKey {
        match self {
            Self::Pod => AuthorizationKey::from(policy.to_string()),
            Self::Service => AuthorizationKey::from(format!("{policy}@service")),
            Self::Gateway => AuthorizationKey::from(format!("{policy}@gateway")),
            Self::Nobody => AuthorizationKey::from(format!("{policy}@nobody")),
            Self::Closed => AuthorizationKey::from(format!("{policy}@closed")),
        }
    }
}
