//! What became of a policy at one of its targets.

use super::is_enforced;
use super::room::{MOST_POLICIES, OfObject};
use crate::compile::gateway;
use crate::compile::names::absent::{Absent, CORRECT_NAME, absent};
use crate::compile::names::authentication::AuthenticationForm;
use crate::compile::policy::access::review::rules_of;
use crate::compile::policy::access::select::{has_no_listener, is_waypoint};
use crate::compile::policy::access::serving::{RouteGateways, RouteServices, is_of_held};
use crate::compile::policy::limit::set_has_no_listener;
use crate::compile::policy::status::{AtTarget, TargetOutcome};
use crate::compile::program::{Made, Reader};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::authentication_policy::AuthenticationTarget;
use crate::resources::{AuthenticationPolicy, Gateway, Kind, ListenerSet, ObjectRef};
use crate::status::{Enforcement, Enforcer, ParentRef};
use fairway_config::model::{ObjectName, ResourceKey, ResourceKind};
use std::collections::BTreeSet;

mod service;

/// What a policy can be for.
const TARGETS: &str = "name a Gateway, a ListenerSet, an HTTPRoute, a GRPCRoute or a Service";

/// A policy and one of its targets.
pub(super) struct Review<'a> {
    pub name: &'a ObjectName,
    pub policy: &'a AuthenticationPolicy,
    pub target: &'a AuthenticationTarget,
    pub field: &'a str,
}

// === impl Review ===

impl Review<'_> {
    /// What became of it there; none where another controller speaks.
    pub(super) fn run(&self, reader: &mut Reader<'_>, made: &mut Made) -> Option<(ParentRef, AtTarget)> {
        let target = self.target;
        let named = ObjectName::new(self.name.namespace.clone(), target.name.as_str());
        let section = target.section_name.as_deref().filter(|it| !it.is_empty());
        let ancestor = ParentRef {
            group: Some(target.group.as_str().into()),
            kind: Some(target.kind.as_str().into()),
            namespace: Some(named.namespace.clone()),
            name: named.name.clone(),
            section_name: section.map(Into::into),
            port: None,
        };
        let kind = Kind::named(&target.group, &target.kind);
        let is_held = match kind {
            Some(Kind::Gateway) => gateway::is_held(reader, &named),
            Some(Kind::ListenerSet) => gateway::is_set_held(reader, &named),
            Some(kind @ (Kind::HttpRoute | Kind::GrpcRoute)) => {
                is_of_held(reader, &ObjectRef::from_name(kind, &named))
            }
            _ => false,
        };
        if is_held {
            return Some((ancestor, AtTarget::Held));
        }
        let outcome = match kind {
            Some(kind @ (Kind::Gateway | Kind::ListenerSet)) => {
                self.at_listeners(reader, &ObjectRef::from_name(kind, &named), section)?
            }
            Some(kind @ (Kind::HttpRoute | Kind::GrpcRoute)) => {
                self.at_route(reader, &ObjectRef::from_name(kind, &named), section, made)
            }
            Some(Kind::Service) => self.at_service(reader, &named, section),
            Some(kind) if kind.as_route().is_some() => {
                Err(self.unsupported(&format!("policies for {}", target.kind), TARGETS))
            }
            _ => Err(self.no_kind()),
        };
        let outcome = outcome.unwrap_or_else(TargetOutcome::failed);
        Some((ancestor, AtTarget::Judged(Box::new(outcome))))
    }

    /// At a Gateway or a ListenerSet, or one of their listeners.
    fn at_listeners(
        &self,
        reader: &mut Reader<'_>,
        object: &ObjectRef,
        section: Option<&str>,
    ) -> Option<Result<TargetOutcome, Diagnostic>> {
        let name = object.object_name();
        let (gateway, lacks) = match object.kind {
            Kind::ListenerSet => {
                let Some(set) = reader.input::<ListenerSet>(&name) else {
                    return Some(Err(self.not_found(reader, object)));
                };
                let lacks = section.filter(|it| set_has_no_listener(reader, &name, it));
                // One that is of no Gateway is served by nobody, and says so itself.
                (set.spec.gateway(&set.meta.namespace)?, lacks)
            }
            _ => {
                if reader.input::<Gateway>(&name).is_none() {
                    return Some(Err(self.not_found(reader, object)));
                }
                let lacks = section.filter(|it| has_no_listener(reader, &name, it));
                (name, lacks)
            }
        };
        reader.get::<gateway::Publish>(&gateway)?;
        if is_waypoint(reader, &gateway) {
            return Some(Err(self.unsupported("policies for a waypoint", "name the Services behind it")));
        }
        if let Some(listener) = lacks {
            return Some(Err(self.no_section(object, "listener", listener)));
        }
        Some(self.at_own_listeners(reader, &gateway, object, section))
    }

    fn at_own_listeners(
        &self,
        reader: &mut Reader<'_>,
        gateway: &ObjectName,
        object: &ObjectRef,
        section: Option<&str>,
    ) -> Result<TargetOutcome, Diagnostic> {
        self.check_room(reader, object)?;
        let own = gateway::counted_listeners(reader, gateway, object, section);
        let (requests, bytes): (Vec<_>, Vec<_>) = own.into_iter().partition(|it| it.carries_requests);
        let names: Vec<&str> = bytes.iter().map(|it| &*it.name).collect();
        if requests.is_empty() && !bytes.is_empty() {
            let follows = match is_enforced(self.policy) {
                true => "nobody passes there",
                false => "nothing of them is observed",
            };
            let message = format!(
                "of what comes by the listeners of {object} only bytes are seen ({}), so {follows}",
                names.join(", ")
            );
            let (reason, remedy) =
                (Reason::AuthenticationPolicyListenerOfBytes, "name a listener with protocol HTTP or HTTPS");
            return Err(Diagnostic::error(reason, self.field, message, remedy));
        }
        let note = (!bytes.is_empty() && is_enforced(self.policy)).then(|| {
            let names = names.join(", ");
            format!("Bytes have no credentials, so these listeners are closed: {names}; name the others in `sectionName` to leave them open")
        });
        let carriers =
            requests.iter().chain(&bytes).map(|it| ResourceKey::new(ResourceKind::Listener, it.key.as_arc()));
        let carriers: Vec<_> = carriers.collect();
        let carried = self.carried([gateway.clone()], carriers);
        Ok(TargetOutcome { note, ..carried })
    }

    fn at_route(
        &self,
        reader: &mut Reader<'_>,
        route: &ObjectRef,
        section: Option<&str>,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let Some(rules) = rules_of(reader, route) else { return Err(self.not_found(reader, route)) };
        if let Some(section) = section.filter(|it| !rules.iter().flatten().any(|rule| **rule == **it)) {
            return Err(self.no_section(route, "rule", section));
        }
        if reader.count(&RouteServices(route.clone())) > 0 {
            return Err(self.unsupported("policies for the route of a Service", "name the Service itself"));
        }
        self.check_room(reader, route)?;
        let gateways = reader.members(&RouteGateways(route.clone()));
        if gateways.is_empty() {
            let message = format!("no Gateway serves {route}, so the policy has no effect");
            let remedy = "correct the target, or remove the policy";
            let warning =
                Diagnostic::warning(Reason::AuthenticationPolicyHasNoEffect, self.field, message, remedy);
            made.report(&self.object(), warning);
        }
        let by: Vec<ObjectName> = gateways.iter().map(ObjectRef::object_name).collect();
        let key = ResourceKey::new(ResourceKind::Route, format!("{}/{}", route.kind, route.object_name()));
        Ok(self.carried(by, [key]))
    }

    /// Carried out by the proxies of these Gateways, by the authentication and by what names it.
    fn carried(
        &self,
        by: impl IntoIterator<Item = ObjectName>,
        named_by: impl IntoIterator<Item = ResourceKey>,
    ) -> TargetOutcome {
        let mut carriers: BTreeSet<ResourceKey> = named_by.into_iter().collect();
        let own = AuthenticationForm::Asking.key(self.name);
        carriers.insert(ResourceKey::new(ResourceKind::Authentication, own.as_arc()));
        let by = by.into_iter().map(Enforcer::Gateway).collect();
        TargetOutcome::carried_out(Enforcement { carriers, by })
    }

    fn object(&self) -> ObjectRef {
        ObjectRef::from_name(Kind::AuthenticationPolicy, self.name)
    }

    /// Whether an object has room for the policy beside older ones.
    fn check_room(&self, reader: &mut Reader<'_>, target: &ObjectRef) -> Result<(), Diagnostic> {
        if !reader.get::<OfObject>(target).lacks(&self.object()) {
            return Ok(());
        }
        let follows = match is_enforced(self.policy) {
            true => format!("{target} is closed"),
            false => "this one observes nothing there".to_owned(),
        };
        let message = format!(
            "{target} has more than {MOST_POLICIES} policies, and older ones come first, so {follows}"
        );
        let remedy = "put what they ask for together in fewer policies";
        Err(Diagnostic::error(Reason::AuthenticationPolicyNoRoom, self.field, message, remedy))
    }

    fn not_found(&self, reader: &mut Reader<'_>, target: &ObjectRef) -> Diagnostic {
        let field = format!("{}.name", self.field);
        let Absent { message, remedy } = absent(reader, target, CORRECT_NAME);
        let message = format!("{message}, so the policy has no effect there");
        Diagnostic::error(Reason::AuthenticationPolicyTargetNotFound, field, message, remedy)
    }

    fn no_section(&self, target: &ObjectRef, what: &str, section: &str) -> Diagnostic {
        let field = format!("{}.sectionName", self.field);
        let message = format!(
            "{target} has no {what} named {section}; the policy may mean any, so it holds for all of them"
        );
        Diagnostic::error(Reason::AuthenticationPolicySectionNotFound, field, message, "correct the name")
    }

    fn no_kind(&self) -> Diagnostic {
        let message = format!(
            "objects of kind {} get no requests of which clients could be asked who they are, so the policy has no effect there",
            self.target.kind
        );
        Diagnostic::error(
            Reason::AuthenticationPolicyTargetKind,
            format!("{}.kind", self.field),
            message,
            TARGETS,
        )
    }

    fn unsupported(&self, what: &str, remedy: &str) -> Diagnostic {
        let follows = match is_enforced(self.policy) {
            true => "where requests or connections pass it, the target is closed",
            false => "the policy observes nothing there",
        };
        let message = format!("{what} are not supported; {follows}");
        Diagnostic::error(Reason::AuthenticationPolicyNotSupported, self.field, message, remedy)
    }
}
