//! AccessPolicies: who may do what. They add up: every level on the way of a request has to let it pass.
//!
//!  1. [`Select`] looks for the Gateways that a policy names, [`select_pod`] for the policies that name a pod. They put them where
//!     Gateways and tunnels find them.
//!  2. [`Authorize`] makes authorizations of it, one for each sort of target ([`Form`]).
//!  3. [`of_service`] and [`RoutePolicies`] say which of them judge a Service and a route.
//!  4. [`Status`] says what became of a policy at each of its targets.
//!
//! [`room`] bounds what all policies of one object compare.
//!
//! A policy is carried out whole, or what it names is closed: an Allow lets nobody in then, and a Deny refuses everything that its
//! other conditions match.

mod authorize;
pub(super) mod coverage;
mod pods;
pub(super) mod review;
pub(super) mod room;
pub(super) mod rules;
pub(super) mod select;
pub(super) mod serving;
mod status;

pub(in crate::compile) use authorize::Authorize;
pub(in crate::compile) use pods::{OfPods, select as select_pod};
pub(in crate::compile) use select::Select;
pub(in crate::compile) use serving::{HeldParents, RouteGateways, RouteServices};
pub(in crate::compile) use status::Status;

use super::attach::{self, Policy};
use super::target::{Level, TargetRef};
use crate::compile::names::access::Form;
use crate::compile::program::Reader;
use crate::resources::access_policy::{AccessAction, AccessMode, AccessPolicySpec, PolicyTarget};
use crate::resources::{AccessPolicy, Kind, Meta, Object, ObjectRef};
use fairway_config::model::{AuthorizationKey, ObjectName};
use std::sync::Arc;

impl Policy for AccessPolicy {
    const KIND: Kind = Kind::AccessPolicy;
    // Also those at which it cannot be carried out yet: there it closes.
    const LEVELS: &'static [Level] = &[
        Level::Gateway,
        Level::Listener,
        Level::Route,
        Level::Rule,
        Level::Service,
        Level::Port,
        Level::Pod,
    ];

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn target_refs(&self) -> Vec<TargetRef<'_>> {
        let refs = self.spec.targets.iter().map(|it| TargetRef {
            group: &it.group,
            kind: &it.kind,
            name: it.name.as_deref().unwrap_or_default(),
            section: it.section_name.as_deref(),
        });
        refs.collect()
    }
}

/// What a policy says, if it can be read.
fn spec(policy: &AccessPolicy) -> Option<&AccessPolicySpec> {
    policy.spec.spec.as_ref().ok()
}

/// Whether a policy's decision counts.
pub(in crate::compile) fn is_enforced(policy: &AccessPolicy) -> bool {
    policy.spec.mode == AccessMode::Enforce
}

/// The form of a policy at an object that does not have the part that the policy names: it may mean any part, so that it holds
/// for all of them, and lets nobody in by that.
fn without_section(policy: &AccessPolicy) -> Form {
    match spec(policy).map(|it| it.action) {
        Some(AccessAction::Allow) => Form::Nobody,
        Some(AccessAction::Deny) | None => Form::Gateway,
    }
}

/// The field of a target that its kind does not have, or lacks. Which objects are meant cannot be told, so that the policy closes those
/// that are named. The CRD's own rules refuse such a target; a directory of manifests and older CRDs have none.
fn misplaced_field(target: &PolicyTarget) -> Option<&'static str> {
    let is_pods = Kind::named(&target.group, &target.kind) == Some(Kind::Pod);
    match target {
        PolicyTarget { name: Some(_), .. } if is_pods => Some("name"),
        PolicyTarget { section_name: Some(_), .. } if is_pods => Some("sectionName"),
        PolicyTarget { selector, .. } if selector.is_some() != is_pods => Some("selector"),
        _ => None,
    }
}

/// The form of a policy at an object that it names, where it would have this one.
fn form_at(reader: &mut Reader<'_>, policy: &ObjectRef, object: &ObjectRef, form: Form) -> Form {
    let Some(policy) = reader.input::<AccessPolicy>(&policy.object_name()) else { return form };
    let is_misplaced = policy.spec.targets.iter().any(|it| {
        Kind::named(&it.group, &it.kind) == Some(object.kind)
            && it.name.as_deref() == Some(&*object.name)
            && misplaced_field(it).is_some()
    });
    if is_misplaced { Form::Closed } else { form }
}

/// The Services that an object keeps behind their waypoint, as a policy that is enforced.
pub(in crate::compile) fn guarded_services(object: &Object) -> Vec<ObjectRef> {
    match object {
        Object::AccessPolicy(it) if is_enforced(it) => attach::services(&**it),
        _ => Vec::new(),
    }
}

/// Whether policies keep a Service behind its waypoint.
pub(in crate::compile) fn guards(reader: &mut Reader<'_>, service: &ObjectName) -> bool {
    attach::is_held(reader, &ObjectRef::from_name(Kind::Service, service), is_enforced)
}

/// The authorizations that judge what is asked of a Service or routed to it.
pub(in crate::compile) fn of_service(reader: &mut Reader<'_>, service: &ObjectName) -> Vec<AuthorizationKey> {
    let target = ObjectRef::from_name(Kind::Service, service);
    if !attach::is_attached::<AccessPolicy>(reader, &target) {
        return Vec::new();
    }
    let room = reader.get::<room::OfObject>(&target);
    let attached = attach::attached::<AccessPolicy>(reader, &target);
    let mut key = |it: &attach::Attachment| {
        let form = if it.section.is_none() { Form::Service } else { Form::Closed };
        let form = form_at(reader, &it.policy, &target, form);
        Some(room.form(&it.policy, form)?.key(&it.policy.object_name()))
    };
    let mut keys: Vec<_> = attached.iter().filter_map(&mut key).collect();
    keys.dedup();
    keys
}

/// The policies of a route.
pub(in crate::compile) struct RoutePolicies {
    attached: Vec<OfRoute>,
    is_enforced: bool,
}

/// A policy of a route, or of one of its rules.
#[derive(PartialEq)]
struct OfRoute {
    policy: ObjectName,
    section: Option<Arc<str>>,
    /// The form where the policy holds.
    form: Form,
    /// The form at every rule, if the route has no rule of that name.
    without_section: Form,
}

// === impl RoutePolicies ===

impl RoutePolicies {
    pub(in crate::compile) fn read(reader: &mut Reader<'_>, route: &ObjectRef) -> Self {
        if !attach::is_attached::<AccessPolicy>(reader, route) {
            return Self { attached: Vec::new(), is_enforced: false };
        }
        let room = reader.get::<room::OfObject>(route);
        let (mut attached, mut enforced) = (Vec::new(), false);
        for it in attach::attached::<AccessPolicy>(reader, route) {
            let Some(policy) = reader.input::<AccessPolicy>(&it.policy.object_name()) else { continue };
            enforced |= is_enforced(&policy);
            let form = form_at(reader, &it.policy, route, Form::Gateway);
            let Some(form) = room.form(&it.policy, form) else { continue };
            // What there is no room for closes the whole route.
            let section = it.section.filter(|_| form == Form::Gateway);
            let (policy, without_section) = (it.policy.object_name(), without_section(&policy));
            let of_route = OfRoute { policy, section, form, without_section };
            if attached.last() != Some(&of_route) {
                attached.push(of_route);
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

    /// Those that judge a rule of a Gateway's route. A policy for a rule that is not there holds for every rule.
    pub(in crate::compile) fn at_gateway(
        &self,
        rule: Option<&Arc<str>>,
        is_rule: impl Fn(&Arc<str>) -> bool,
    ) -> Vec<AuthorizationKey> {
        let form = |it: &OfRoute| {
            let form = match &it.section {
                None => it.form,
                Some(section) if Some(section) == rule => it.form,
                Some(section) if is_rule(section) => return None,
                Some(_) => it.without_section,
            };
            Some(form.key(&it.policy))
        };
        self.attached.iter().filter_map(form).collect()
    }

    /// Those that close the rules of a Service's route: clients can pass that route by, so policies cannot be carried out there.
    pub(in crate::compile) fn in_mesh(&self) -> Vec<AuthorizationKey> {
        self.attached.iter().map(|it| Form::Closed.key(&it.policy)).collect()
    }
}
