//! AuthenticationPolicies: how clients say who they are. They add up: every policy on the way of a request has to be met.
//!
//!  1. [`Select`] looks for the Gateways and ListenerSets that a policy names, and puts the policy where they find it.
//!  2. [`values`] makes of what it says what proxies ask for, and [`Authenticate`] the resources for it.
//!  3. [`of_service`] and [`RouteAuthentications`] say which of them hold for a Service and a route.
//!  4. [`Status`] says what became of a policy at each of its targets.
//!
//! [`room`] bounds how many policies one object has.
//!
//! A policy is carried out whole, or what it names is closed: then nothing passes there. So it is when a Secret is not there that it
//! refers to. One that only observes closes nothing.

mod demands;
mod review;
mod room;
mod select;
mod status;
mod values;

pub(in crate::compile) use demands::Authenticate;
pub(in crate::compile) use select::Select;
pub(in crate::compile) use status::Status;

use super::attach::{self, Policy};
use super::target::{Level, TargetRef};
use crate::compile::names::authentication::AuthenticationForm;
use crate::compile::program::Reader;
use crate::resources::authentication_policy::{AuthenticationMode, AuthenticationPolicySpec};
use crate::resources::{AuthenticationPolicy, Kind, Meta, Object, ObjectRef};
use fairway_config::model::{AuthenticationKey, ObjectName};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Policy for AuthenticationPolicy {
    const KIND: Kind = Kind::AuthenticationPolicy;
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
fn spec(policy: &AuthenticationPolicy) -> Option<&AuthenticationPolicySpec> {
    policy.spec.spec.as_ref().ok().filter(|_| policy.meta.unreadable.is_none())
}

/// Whether a policy's decision counts.
pub(in crate::compile) fn is_enforced(policy: &AuthenticationPolicy) -> bool {
    policy.spec.mode == AuthenticationMode::Enforce
}

/// The Services that an object keeps behind their waypoint, as a policy that is enforced.
pub(in crate::compile) fn guarded_services(object: &Object) -> Vec<ObjectRef> {
    match object {
        Object::AuthenticationPolicy(it) if is_enforced(it) => attach::services(&**it),
        _ => Vec::new(),
    }
}

/// Whether policies keep a Service behind its waypoint.
pub(in crate::compile) fn guards(reader: &mut Reader<'_>, service: &ObjectName) -> bool {
    attach::is_held(reader, &ObjectRef::from_name(Kind::Service, service), is_enforced)
}

/// Those that hold for what is asked of a Service or routed to it.
pub(in crate::compile) fn of_service(
    reader: &mut Reader<'_>,
    service: &ObjectName,
) -> Vec<AuthenticationKey> {
    let target = ObjectRef::from_name(Kind::Service, service);
    if !attach::is_attached::<AuthenticationPolicy>(reader, &target) {
        return Vec::new();
    }
    let room = reader.get::<room::OfObject>(&target);
    let attached = attach::attached::<AuthenticationPolicy>(reader, &target);
    let key = |it: &attach::Attachment| {
        let form = if it.section.is_none() { AuthenticationForm::Asking } else { AuthenticationForm::Closed };
        let form = room.place(&it.policy, form, AuthenticationForm::Closed)?;
        Some(form.key(&it.policy.object_name()))
    };
    let keys: BTreeSet<AuthenticationKey> = attached.iter().filter_map(key).collect();
    keys.into_iter().collect()
}

/// Those of a route.
pub(in crate::compile) struct RouteAuthentications {
    attached: Vec<(AuthenticationForm, attach::Attachment)>,
    is_enforced: bool,
}

// === impl RouteAuthentications ===

impl RouteAuthentications {
    pub(in crate::compile) fn read(reader: &mut Reader<'_>, route: &ObjectRef) -> Self {
        let (mut attached, mut enforced) = (Vec::new(), false);
        if attach::is_attached::<AuthenticationPolicy>(reader, route) {
            let room = reader.get::<room::OfObject>(route);
            for it in attach::attached::<AuthenticationPolicy>(reader, route) {
                let Some(policy) = reader.input::<AuthenticationPolicy>(&it.policy.object_name()) else {
                    continue;
                };
                enforced |= is_enforced(&policy);
                let form = room.place(&it.policy, AuthenticationForm::Asking, AuthenticationForm::Closed);
                attached.extend(form.map(|form| (form, it)));
            }
        }
        Self { attached, is_enforced: enforced }
    }

    pub(in crate::compile) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Whether the decision of one of them counts.
    pub(in crate::compile) fn are_enforced(&self) -> bool {
        self.is_enforced
    }

    /// Those that hold for a rule of a Gateway's route, those of the whole route first. A policy for a rule that is not there may mean
    /// any, and holds for every rule.
    pub(in crate::compile) fn at_gateway(
        &self,
        rule: Option<&Arc<str>>,
        is_rule: impl Fn(&Arc<str>) -> bool,
    ) -> Vec<AuthenticationKey> {
        let (mut of_route, mut of_rule) = (Vec::new(), Vec::new());
        for (form, it) in &self.attached {
            let section = match &it.section {
                // What there is no room for closes the whole route.
                _ if *form == AuthenticationForm::Closed => None,
                Some(section) if Some(section) == rule => Some(&**section),
                Some(section) if is_rule(section) => continue,
                Some(_) | None => None,
            };
            let keys = if section.is_none() { &mut of_route } else { &mut of_rule };
            let key = form.key(&it.policy.object_name());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        of_rule.retain(|it| !of_route.contains(it));
        of_route.extend(of_rule);
        of_route
    }

    /// Those that close the rules of a Service's route: clients can pass that route by, so policies cannot be carried out there.
    pub(in crate::compile) fn in_mesh(&self) -> Vec<AuthenticationKey> {
        let closed = |(_, it): &(AuthenticationForm, attach::Attachment)| {
            AuthenticationForm::Closed.key(&it.policy.object_name())
        };
        let closed: BTreeSet<AuthenticationKey> = self.attached.iter().map(closed).collect();
        closed.into_iter().collect()
    }
}
