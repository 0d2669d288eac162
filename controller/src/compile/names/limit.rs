//! What a RateLimitPolicy is called in the configuration. At each of its targets it counts by itself.

use crate::resources::ObjectRef;
use fairway_config::model::{ObjectName, RateLimitKey};

/// The form of a RateLimitPolicy at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::compile) enum LimitForm {
    /// It counts the requests there.
    Counting,
    /// Nothing passes. It stands where the policy cannot be carried out.
    Closed,
}

// === impl LimitForm ===

impl LimitForm {
    /// The name of the limits that a policy is in this form, at a target or a section of it. `@` is in no name of Kubernetes, so that
    /// no policy has the name of something else.
    pub(in crate::compile) fn key(
        self,
        policy: &ObjectName,
        target: &ObjectRef,
        section: Option<&str>,
    ) -> RateLimitKey {
        match self {
            Self::Counting => {
                let section = section.map(|it| format!("/{it}")).unwrap_or_default();
                RateLimitKey::from(format!("{policy}@{}/{}{section}", target.kind.as_str(), target.name))
            }
            Self::Closed => RateLimitKey::from(format!("{policy}@closed")),
        }
    }
}
