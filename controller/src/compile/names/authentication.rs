//! What an AuthenticationPolicy is called in the configuration.

use fairway_config::model::{AuthenticationKey, ObjectName};

/// The form of an AuthenticationPolicy at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::compile) enum AuthenticationForm {
    /// Clients are asked who they are.
    Asking,
    /// Nothing passes. It stands where the policy cannot be carried out.
    Closed,
}

// === impl AuthenticationForm ===

impl AuthenticationForm {
    /// The name that a policy has in this form. `@` is in no name of Kubernetes, so that no policy has the name of something else.
    pub(in crate::compile) fn key(self, policy: &ObjectName) -> AuthenticationKey {
        AuthenticationKey::from(match self {
            Self::Asking => policy.to_string(),
            Self::Closed => format!("{policy}@closed"),
        })
    }
}
