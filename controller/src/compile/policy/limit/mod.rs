//! RateLimitPolicies: how often requests may come. They add up: every limit on the way of a request counts it.
//!
//!  1. [`Select`] looks for the Gateways and ListenerSets that a policy names, and puts the policy where they find it.
//!  2. [`Count`] makes limits of it, for each target by itself.
//!  3. [`of_service`] and [`RouteLimits`] say which of them count what a Service and a route get.
//!  4. [`Status`] says what became of a policy at each of its targets, and what all replicas let pass together.
//!
//! [`room`] bounds how many limits all policies of one object have.
//!
//! A policy is carried out whole, or what it names is closed: then nothing passes there. One that only observes closes nothing.

mod count;
mod review;
mod room;
mod select;
mod status;
mod values;

pub(in crate::compile) use count::Count;
pub(in crate::compile) use select::Select;
pub(super) use select::set_has_no_listener;
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
    // Also those at which it cannot be carried out: there it closes.
    const LEVELS: &'static [Level] = &[
        Level::Gateway,
        Level::ListenerSet,
        Level::Listener,
        Level::Route,
        Level::Rule,
        Level::Service,
        Level::Port,
    ];

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

/// Whether a policy's decision counts.
pub(in crate::compile) fn is_enforced(policy: &RateLimitPolicy) -> bool {
    policy.spec.mode == LimitMode::Enforce
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
    attach::is_held(reader, &ObjectRef::from_name(Kind::Service, service), is_enforced)
}

/// The limits that count what is asked of a Service or routed to it.
pub(in crate::compile) fn of_service(reader: &mut Reader<'_>, service: &ObjectName) -> Vec<RateLimitKey> {
    let target = ObjectRef::from_name(Kind::Service, service);
    if !attach::is_attached::<RateLimitPolicy>(reader, &target) {
        return Vec::new();
    }
    let room = reader.get::<room::OfObject>(&target);
    let attached = attach::attached::<RateLimitPolicy>(reader, &target);
    let key = |it: &attach::Attachment| {
        let form = if it.section.is_none() { LimitForm::Counting } else { LimitForm::Closed };
        let form = room.place(&it.policy, form, LimitForm::Closed)?;
        Some(form.key(&it.policy.object_name(), &target, None))
    };
    let keys: BTreeSet<RateLimitKey> = attached.iter().filter_map(key).collect();
    keys.into_iter().collect()
}

/// The limits of a route.
pub(in crate::compile) struct RouteLimits {
    route: ObjectRef,
    attached: Vec<(LimitForm, attach::Attachment)>,
    is_enforced: bool,
}

// === impl RouteLimits ===

impl RouteLimits {
    pub(in crate::compile) fn read(reader: &mut Reader<'_>, route: &ObjectRef) -> Self {
        let (mut attached, mut enforced) = (Vec::new(), false);
        if attach::is_attached::<RateLimitPolicy>(reader, route) {
            let room = reader.get::<room::OfObject>(route);
            for it in attach::attached::<RateLimitPolicy>(reader, route) {
                let Some(policy) = reader.input::<RateLimitPolicy>(&it.policy.object_name()) else {
                    continue;
                };
                enforced |= is_enforced(&policy);
                let form = room.place(&it.policy, LimitForm::Counting, LimitForm::Closed);
                attached.extend(form.map(|form| (form, it)));
            }
        }
        Self { route: route.clone(), attached, is_enforced: enforced }
    }

    pub(in crate::compile) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Whether the decision of one of them counts.
    pub(in crate::compile) fn are_enforced(&self) -> bool {
        self.is_enforced
    }

    /// Those that count a rule of a Gateway's route, those of the whole route first. A policy for a rule that is not there may mean any,
    /// and counts every rule.
    pub(in crate::compile) fn at_gateway(
        &self,
        rule: Option<&Arc<str>>,
        is_rule: impl Fn(&Arc<str>) -> bool,
    ) -> Vec<RateLimitKey> {
        let (mut of_route, mut of_rule) = (Vec::new(), Vec::new());
        for (form, it) in &self.attached {
            let section = match &it.section {
                // What there is no room for closes the whole route.
                _ if *form == LimitForm::Closed => None,
                Some(section) if Some(section) == rule => Some(&**section),
                Some(section) if is_rule(section) => continue,
                Some(_) | None => None,
            };
            let keys = if section.is_none() { &mut of_route } else { &mut of_rule };
            let key = form.key(&it.policy.object_name(), &self.route, section);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        of_route.extend(of_rule);
        of_route
    }

    /// Those that close the rules of a Service's route: clients can pass that route by, so policies cannot be carried out there.
    pub(in crate::compile) fn in_mesh(&self) -> Vec<RateLimitKey> {
        let closed = |(_, it): &(LimitForm, attach::Attachment)| {
            LimitForm::Closed.key(&it.policy.object_name(), &self.route, None)
        };
        let closed: BTreeSet<RateLimitKey> = self.attached.iter().map(closed).collect();
        closed.into_iter().collect()
    }
}
