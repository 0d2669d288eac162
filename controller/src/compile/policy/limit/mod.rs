//! RateLimitPolicies: how often requests may come. They add up: every limit on the way of a request counts it.
//!
//!  1. [`Select`] looks for the Gateways that a policy names, and puts the policy where they find it.
//!  2. [`Count`] makes limits of it, for each target by itself.
//!  3. [`of_service`] and [`RouteLimits`] say which of them count what a Service and a route get.
//!  4. [`Status`] says what became of a policy at each of its targets, and what all replicas let pass together.
//!
//! A policy is carried out whole, or what it names is closed: then nothing passes there.

mod count;
mod fate;
mod select;
mod status;
mod values;

pub(in crate::compile) use count::Count;
pub(in crate::compile) use select::Select;
pub(in crate::compile) use status::Status;

use super::attach::{self, Policy};
use super::target::{Level, TargetRef};
use crate::compile::names::limit::LimitForm;
use crate::compile::program::Reader;
use crate::resources::rate_limit_policy::{LimitMode, RateLimitPolicySpec};
use crate::resources::{Kind, Meta, Object, ObjectRef, RateLimitPolicy};
use fairway_config::model::{ObjectName, RateLimitKey};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Policy for RateLimitPolicy {
    const KIND: Kind = Kind::RateLimitPolicy;
    // Also those at which it cannot be carried out yet: there it closes.
    const LEVELS: &'static [Level] =
        &[Level::Gateway, Level::Listener, Level::Route, Level::Rule, Level::Service, Level::Port];

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn target_refs(&self) -> Vec<TargetRef<'_>> {
        let refs = self.spec.targets.iter().map(|it| TargetRef {
            group: &it.group,
            kind: &it.kind,
            name: &it.name,
            section: it.section_name.as_deref(),
        });
        refs.collect()
    }
}

/// What a policy says, if it can be read.
fn spec(policy: &RateLimitPolicy) -> Option<&RateLimitPolicySpec> {
    policy.spec.spec.as_ref().ok()
}

/// Whether a policy's decision counts. One that cannot be read closes, so it does.
fn is_enforced(policy: &RateLimitPolicy) -> bool {
    spec(policy).is_none_or(|it| it.mode != Some(LimitMode::Observe))
}

/// The Services that an object keeps behind their waypoint, as a policy that is enforced.
pub(in crate::compile) fn guarded_services(object: &Object) -> Vec<ObjectRef> {
    match object {
        Object::RateLimitPolicy(it) if is_enforced(it) => attach::services(&**it),
        _ => Vec::new(),
    }
}

/// Whether policies keep a Service behind its waypoint.
pub(in crate::compile) fn guards(reader: &mut Reader<'_>, service: &ObjectName) -> bool {
    attach::is_held(reader, &ObjectRef::of(Kind::Service, service), is_enforced)
}

/// The limits that count what is asked of a Service or routed to it.
pub(in crate::compile) fn of_service(reader: &mut Reader<'_>, service: &ObjectName) -> Vec<RateLimitKey> {
    let target = ObjectRef::of(Kind::Service, service);
    if !attach::is_attached::<RateLimitPolicy>(reader, &target) {
        return Vec::new();
    }
    let attached = attach::attached::<RateLimitPolicy>(reader, &target);
    let key = |it: &attach::Attachment| {
        let form = if it.section.is_none() { LimitForm::Counting } else { LimitForm::Closed };
        form.key(&it.policy.object_name(), &target, None)
    };
    attached.iter().map(key).collect()
}

/// The limits of a route.
pub(in crate::compile) struct RouteLimits {
    route: ObjectRef,
    attached: Vec<attach::Attachment>,
}

// === impl RouteLimits ===

impl RouteLimits {
    pub(in crate::compile) fn of(reader: &mut Reader<'_>, route: &ObjectRef) -> Self {
        let attached = match attach::is_attached::<RateLimitPolicy>(reader, route) {
            true => attach::attached::<RateLimitPolicy>(reader, route),
            false => Vec::new(),
        };
        Self { route: route.clone(), attached }
    }

    pub(in crate::compile) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Those that count a rule of a Gateway's route. A policy for a rule that is not there may mean any, and counts every rule.
    pub(in crate::compile) fn at_gateway(
        &self,
        rule: Option<&Arc<str>>,
        is_rule: impl Fn(&Arc<str>) -> bool,
    ) -> Vec<RateLimitKey> {
        let mut limits = Vec::new();
        for it in &self.attached {
            let section = match &it.section {
                Some(section) if Some(section) == rule => Some(&**section),
                Some(section) if is_rule(section) => continue,
                Some(_) | None => None,
            };
            let key = LimitForm::Counting.key(&it.policy.object_name(), &self.route, section);
            if !limits.contains(&key) {
                limits.push(key);
            }
        }
        limits
    }

    /// Those that close the rules of a Service's route: clients can pass that route by, so policies cannot be carried out there.
    pub(in crate::compile) fn in_mesh(&self) -> Vec<RateLimitKey> {
        let closed =
            |it: &attach::Attachment| LimitForm::Closed.key(&it.policy.object_name(), &self.route, None);
        let closed: BTreeSet<RateLimitKey> = self.attached.iter().map(closed).collect();
        closed.into_iter().collect()
    }
}
