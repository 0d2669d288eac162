//! What became of a policy at one of its targets.

use super::room::{MOST_LIMITS, OfObject};
use super::select::set_has_no_listener;
use super::{is_enforced, spec, values};
use crate::compile::gateway;
use crate::compile::names::absent::{Absent, CORRECT_NAME, absent};
use crate::compile::names::limit::LimitForm;
use crate::compile::policy::access::review::rules_of;
use crate::compile::policy::access::select::{has_no_listener, is_waypoint};
use crate::compile::policy::access::serving::{RouteGateways, RouteServices, is_of_held};
use crate::compile::policy::status::{AtTarget, TargetOutcome};
use crate::compile::program::{Made, Reader};
use crate::diagnostic::{Diagnostic, Reason, sentences};
use crate::resources::rate_limit_policy::LimitTarget;
use crate::resources::{Gateway, Kind, ListenerSet, ObjectRef, RateLimitPolicy};
use crate::status::{Enforcement, Enforcer, ParentRef};
use fairway_config::model::{ObjectName, ResourceKey, ResourceKind};
use std::collections::BTreeSet;

mod service;

/// What a policy can limit.
const TARGETS: &str = "name a Gateway, a ListenerSet, an HTTPRoute, a GRPCRoute or a Service";

/// A policy and one of its targets.
pub(super) struct Review<'a> {
    pub name: &'a ObjectName,
    pub policy: &'a RateLimitPolicy,
    pub target: &'a LimitTarget,
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
                self.at_listeners(reader, &ObjectRef::from_name(kind, &named), section, made)?
            }
            Some(kind @ (Kind::HttpRoute | Kind::GrpcRoute)) => {
                self.at_route(reader, &ObjectRef::from_name(kind, &named), section, made)
            }
            Some(Kind::Service) => self.at_service(reader, &named, section, made),
            Some(kind) if kind.as_route().is_some() => {
                Err(self.unsupported(&format!("limits for {}", target.kind), TARGETS))
            }
            _ => Err(self.no_kind()),
        };
        let outcome = outcome.unwrap_or_else(TargetOutcome::failed);
        // What all replicas let pass together is not known: what was said of it stays.
        let gateways = gateways(&outcome);
        if !gateways.iter().all(|it| gateway::are_replicas_known(reader, it)) {
            return Some((ancestor, AtTarget::Held));
        }
        Some((ancestor, AtTarget::Judged(Box::new(outcome))))
    }

    /// At a Gateway or a ListenerSet, or one of their listeners.
    fn at_listeners(
        &self,
        reader: &mut Reader<'_>,
        object: &ObjectRef,
        section: Option<&str>,
        made: &mut Made,
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
            return Some(Err(self.unsupported("limits for a waypoint", "name the Services behind it")));
        }
        if let Some(listener) = lacks {
            return Some(Err(self.no_section(object, "listener", listener)));
        }
        Some(self.at_own_listeners(reader, &gateway, object, section, made))
    }

    fn at_own_listeners(
        &self,
        reader: &mut Reader<'_>,
        gateway: &ObjectName,
        object: &ObjectRef,
        section: Option<&str>,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        self.check_room(reader, object)?;
        let counted = gateway::counted_listeners(reader, gateway, object, section);
        let (requests, bytes): (Vec<_>, Vec<_>) = counted.into_iter().partition(|it| it.carries_requests);
        let names: Vec<&str> = bytes.iter().map(|it| &*it.name).collect();
        if requests.is_empty() && !bytes.is_empty() {
            let follows = match (is_enforced(self.policy), section) {
                (true, Some(_)) => "the listener is closed",
                _ => "nothing of them is counted",
            };
            let message = format!(
                "of what comes by the listeners of {object} only bytes are seen ({}), so {follows}",
                names.join(", ")
            );
            let (reason, remedy) =
                (Reason::RateLimitPolicyListenerOfBytes, "name a listener with protocol HTTP or HTTPS");
            return Err(Diagnostic::error(reason, self.field, message, remedy));
        }
        let mut notes: Vec<String> = self.warn_of_identity(reader, made).into_iter().collect();
        if !bytes.is_empty() {
            notes.push(format!(
                "connections by listeners of which only bytes are seen are not counted: {}",
                names.join(", ")
            ));
        }
        let carriers = requests.iter().map(|it| ResourceKey::new(ResourceKind::Listener, it.key.as_arc()));
        let carriers: Vec<_> = carriers.collect();
        let carried = self.carried(object, section, [gateway.clone()], carriers);
        Ok(self.told(reader, carried, notes, made))
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
            return Err(self.unsupported("limits for the route of a Service", "name the Service itself"));
        }
        self.check_room(reader, route)?;
        let notes = self.warn_of_identity(reader, made).into_iter().collect();
        let gateways = reader.members(&RouteGateways(route.clone()));
        if gateways.is_empty() {
            let message = format!("no Gateway serves {route}, so the policy counts nothing");
            let remedy = "correct the target, or remove the policy";
            let warning =
                Diagnostic::warning(Reason::RateLimitPolicyCountsNothing, self.field, message, remedy);
            made.report(&self.object(), warning);
        }
        let by: Vec<ObjectName> = gateways.iter().map(ObjectRef::object_name).collect();
        let key = ResourceKey::new(ResourceKind::Route, format!("{}/{}", route.kind, route.object_name()));
        let carried = self.carried(route, section, by, [key]);
        Ok(self.told(reader, carried, notes, made))
    }

    /// Carried out by the proxies of these Gateways, by the limits at the target and by what names them.
    fn carried(
        &self,
        target: &ObjectRef,
        section: Option<&str>,
        by: impl IntoIterator<Item = ObjectName>,
        named_by: impl IntoIterator<Item = ResourceKey>,
    ) -> TargetOutcome {
        let mut carriers: BTreeSet<ResourceKey> = named_by.into_iter().collect();
        let limits = LimitForm::Counting.key(self.name, target, section);
        carriers.insert(ResourceKey::new(ResourceKind::RateLimit, limits.as_arc()));
        let by = by.into_iter().map(Enforcer::Gateway).collect();
        TargetOutcome::carried_out(Enforcement { carriers, by })
    }

    /// The same with what its owner has to know: these notes, and what all replicas let pass together.
    fn told(
        &self,
        reader: &mut Reader<'_>,
        outcome: TargetOutcome,
        mut notes: Vec<String>,
        made: &mut Made,
    ) -> TargetOutcome {
        let gateways = gateways(&outcome);
        let is_known = gateways.iter().all(|it| gateway::are_replicas_known(reader, it));
        let gateways = gateways.iter().filter(|_| is_known);
        let replicas = gateways.map(|it| gateway::replicas(reader, it)).sum();
        let together = spec(self.policy).filter(|_| replicas > 0).map(|it| values::together(it, replicas));
        if let Some(message) = &together {
            // What a limit means depends on a number that is not in the policy.
            let note = Diagnostic::note(Reason::RateLimitPolicyPerReplica, self.field, message.clone(), "");
            made.report(&self.object(), note);
        }
        notes.extend(together);
        let note = (!notes.is_empty()).then(|| sentences(&notes));
        TargetOutcome { note, ..outcome }
    }

    fn object(&self) -> ObjectRef {
        ObjectRef::from_name(Kind::RateLimitPolicy, self.name)
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
            "the policies of {target} have more than {MOST_LIMITS} limits together, where 32 values that limits compare cost as much \
             as a limit, and older policies come first, so {follows}"
        );
        let remedy = "remove limits, or spread them over several objects";
        Err(Diagnostic::error(Reason::RateLimitPolicyNoRoom, self.field, message, remedy))
    }

    fn not_found(&self, reader: &mut Reader<'_>, target: &ObjectRef) -> Diagnostic {
        let field = format!("{}.name", self.field);
        let Absent { message, remedy } = absent(reader, target, CORRECT_NAME);
        let message = format!("{message}, so the policy counts nothing there");
        Diagnostic::error(Reason::RateLimitPolicyTargetNotFound, field, message, remedy)
    }

    fn no_section(&self, target: &ObjectRef, what: &str, section: &str) -> Diagnostic {
        let field = format!("{}.sectionName", self.field);
        let message = format!(
            "{target} has no {what} named {section}; the policy may mean any, so it counts all of them together"
        );
        Diagnostic::error(Reason::RateLimitPolicySectionNotFound, field, message, "correct the name")
    }

    fn no_kind(&self) -> Diagnostic {
        let message = format!(
            "objects of kind {} get no requests that could be counted, so the policy has no effect there",
            self.target.kind
        );
        Diagnostic::error(Reason::RateLimitPolicyTargetKind, format!("{}.kind", self.field), message, TARGETS)
    }

    fn unsupported(&self, what: &str, remedy: &str) -> Diagnostic {
        let follows = match is_enforced(self.policy) {
            true => "where requests or connections pass it, the target is closed",
            false => "the policy observes nothing there",
        };
        let message = format!("{what} are not supported; {follows}");
        Diagnostic::error(Reason::RateLimitPolicyNotSupported, self.field, message, remedy)
    }

    /// Clients of a Gateway come from outside the mesh. Returns what has another effect than was meant.
    fn warn_of_identity(&self, reader: &mut Reader<'_>, made: &mut Made) -> Option<String> {
        let field = reader.get::<values::Compile>(self.name)?.of_identity.clone()?;
        let message =
            "clients of a Gateway prove no identity of the mesh, so all of them are counted as one there";
        let remedy = "use the key ClientAddress, or limit the Service";
        let warning = Diagnostic::warning(Reason::RateLimitPolicyIdentityAtGateway, field, message, remedy);
        let note = warning.text();
        made.report(&self.object(), warning);
        Some(note)
    }
}

/// The Gateways whose proxies carry a policy out.
fn gateways(outcome: &TargetOutcome) -> Vec<ObjectName> {
    let by = outcome.enforcement.by.iter().filter_map(|it| match it {
        Enforcer::Gateway(name) => Some(name.clone()),
        Enforcer::Tunnels => None,
    });
    by.collect()
}
