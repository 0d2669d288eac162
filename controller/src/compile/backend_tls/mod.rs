//! BackendTLSPolicies: which ports of a Service gateways speak TLS to, and whom they believe (GEP-1897), in three steps
//! so that an edit does not wake more than it has to: [`check`] looks at one policy, [`of_service`] decides which policy
//! holds for each port of a Service, [`status`] tells the policies what became of them.

mod precedence;
mod status;
mod validation;

pub(super) use precedence::{ServiceTls, of_service};
pub(super) use status::status;
pub(super) use validation::{Validation, check};

use crate::resources::BackendTlsPolicy;
use fairway_config::model::ObjectName;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The Services a policy names; they are of its own namespace.
pub(super) fn services(policy: &BackendTlsPolicy) -> BTreeSet<ObjectName> {
    targets(policy).map(|(name, _)| ObjectName::new(policy.meta.namespace.clone(), name)).collect()
}

/// The Services a policy names, and the port of each if it names one.
fn targets(policy: &BackendTlsPolicy) -> impl Iterator<Item = (&str, Option<Arc<str>>)> {
    let services = policy.spec.target_refs.iter().filter(|it| it.group.is_empty() && it.kind == "Service");
    services.map(|it| {
        let section = it.section_name.as_deref().filter(|it| !it.is_empty());
        (it.name.as_str(), section.map(Into::into))
    })
}
