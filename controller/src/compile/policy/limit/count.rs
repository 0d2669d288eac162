//! The limits that proxies have of a policy.

use super::is_enforced;
use super::values::{Compile, Compiled};
use crate::compile::names::limit::LimitForm;
use crate::compile::policy::attach;
use crate::compile::policy::target::Target;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{Kind, ObjectRef, RateLimitPolicy};
use fairway_config::model::{Limits, ObjectName, RateLimit, Resource};
use fairway_incremental::{OfInput, Query};
use fairway_policy::Mode;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Makes the limits of a policy, for each of its targets, and what closes where it cannot be carried out.
pub(in crate::compile) struct Count;

impl Query<Cluster> for Count {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<RateLimitPolicy>(name) else { return };
        let compiled = reader.get::<Compile>(name);
        let mut targets: BTreeSet<_> = BTreeSet::new();
        for target in attach::targets(&*policy) {
            let key = LimitForm::Closed.key(name, &target.object, None);
            targets.insert((key, None));
            // Also of the whole object: one that names a part which is not there may mean any.
            for section in [None, target.section.as_deref()] {
                if counts(&target) {
                    let key = LimitForm::Counting.key(name, &target.object, section);
                    targets.insert((key, Some(target.object.kind)));
                }
            }
        }
        let mode = if is_enforced(&policy) { Mode::Enforce } else { Mode::Observe };
        made.resources.extend(targets.into_iter().map(|(key, kind)| {
            let limits = at(kind, compiled.as_deref());
            Resource::RateLimit(Arc::new(RateLimit { name: key.as_arc(), mode, limits }))
        }));
    }
}

impl OfInput<Cluster> for Count {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::RateLimitPolicy).then(|| name.object_name())
    }
}

/// Whether requests can be counted at a target.
fn counts(target: &Target) -> bool {
    match target.object.kind {
        Kind::Gateway | Kind::ListenerSet | Kind::HttpRoute | Kind::GrpcRoute => true,
        Kind::Service => target.section.is_none(),
        _ => false,
    }
}

/// Whole or closed: a limit that cannot be carried out is not left out.
fn at(kind: Option<Kind>, compiled: Option<&Compiled>) -> Limits {
    match (kind, compiled) {
        (Some(kind), Some(it)) if it.is_whole_at(kind) => Limits::Each(it.limits.clone()),
        _ => Limits::Closed,
    }
}
