//! What became of a policy at one of its targets.

use super::{is_enforced, spec, values};
use crate::compile::gateway;
use crate::compile::names::limit::LimitForm;
use crate::compile::names::service::{authorization_key, backend_key};
use crate::compile::policy::access::fate::{outside, rules_of};
use crate::compile::policy::access::select::{has_no_listener, is_waypoint};
use crate::compile::policy::access::{RouteGateways, RouteServices};
use crate::compile::policy::required_waypoint::{Guarding, not_enforced_at};
use crate::compile::program::{Made, Reader};
use crate::compile::settings::Capture;
use crate::compile::waypoint::choice::Choose;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::rate_limit_policy::LimitTarget;
use crate::resources::{Gateway, Kind, ObjectRef, RateLimitPolicy, Service, ServiceKind};
use crate::status::{Enforcement, Enforcer, ParentRef};
use fairway_config::model::{ObjectName, ResourceKey, ResourceKind};
use std::collections::BTreeSet;

/// What became of a policy at one target.
pub(super) struct Fate {
    pub outcome: Result<(), Diagnostic>,
    /// Who carries it out, and by what.
    pub enforcement: Enforcement,
    /// Why nobody can yet.
    pub pending: Option<String>,
    /// The replicas of all proxies that carry it out.
    pub replicas: u32,
}

/// A policy and one of its targets.
pub(super) struct Judging<'a> {
    pub name: &'a ObjectName,
    pub policy: &'a RateLimitPolicy,
    pub target: &'a LimitTarget,
    pub field: &'a str,
}

// === impl Judging ===

impl Judging<'_> {
    /// What became of it there; none where another controller speaks.
    pub(super) fn fate(&self, reader: &mut Reader<'_>, made: &mut Made) -> Option<(ParentRef, Fate)> {
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
        let outcome = match Kind::named(&target.group, &target.kind) {
            Some(Kind::Gateway) => self.at_gateway(reader, &named, section, made)?,
            Some(kind @ (Kind::HttpRoute | Kind::GrpcRoute)) => {
                self.at_route(reader, &ObjectRef::of(kind, &named), section, made)
            }
            Some(Kind::Service) => self.at_service(reader, &named, section),
            _ => {
                let what = format!("limits for {}", target.kind);
                Err(self.unsupported(&what, "name a Gateway, an HTTPRoute, a GRPCRoute or a Service"))
            }
        };
        let fate = outcome.unwrap_or_else(|error| Fate {
            outcome: Err(error),
            enforcement: Enforcement::default(),
            pending: None,
            replicas: 0,
        });
        Some((ancestor, fate))
    }

    fn at_gateway(
        &self,
        reader: &mut Reader<'_>,
        gateway: &ObjectName,
        section: Option<&str>,
        made: &mut Made,
    ) -> Option<Result<Fate, Diagnostic>> {
        let object = ObjectRef::of(Kind::Gateway, gateway);
        let Some(written) = reader.input::<Gateway>(gateway) else {
            return Some(Err(self.not_found(&object)));
        };
        reader.get::<gateway::Publish>(gateway)?;
        if is_waypoint(reader, gateway) {
            return Some(Err(self.unsupported("limits for a waypoint", "name the Services behind it")));
        }
        if let Some(listener) = section.filter(|it| has_no_listener(reader, gateway, it)) {
            return Some(Err(self.no_section(&object, "listener", listener)));
        }
        self.warn_of_identity(reader, made);
        let listeners = written.spec.listeners.iter().filter(|it| section.is_none_or(|name| it.name == name));
        let listeners: Vec<_> = listeners.collect();
        if !listeners.iter().any(|it| matches!(it.protocol.as_str(), "HTTP" | "HTTPS")) {
            let message = "no listener there sees requests, so the policy counts nothing".to_owned();
            self.warn_of_nothing(message, made);
        }
        let listeners = listeners
            .iter()
            .map(|it| ResourceKey::new(ResourceKind::Listener, format!("{gateway}/{}", it.name)));
        Some(Ok(self.carried(reader, &object, section, [gateway.clone()], listeners)))
    }

    fn at_route(
        &self,
        reader: &mut Reader<'_>,
        route: &ObjectRef,
        section: Option<&str>,
        made: &mut Made,
    ) -> Result<Fate, Diagnostic> {
        let Some(rules) = rules_of(reader, route) else { return Err(self.not_found(route)) };
        if let Some(section) = section.filter(|it| !rules.iter().flatten().any(|rule| **rule == **it)) {
            return Err(self.no_section(route, "rule", section));
        }
        if reader.count(&RouteServices(route.clone())) > 0 {
            return Err(self.unsupported("limits for the route of a Service", "name the Service itself"));
        }
        self.warn_of_identity(reader, made);
        let gateways = reader.members(&RouteGateways(route.clone()));
        if gateways.is_empty() {
            self.warn_of_nothing(format!("no Gateway serves {route}, so the policy counts nothing"), made);
        }
        let by: Vec<ObjectName> = gateways.iter().map(ObjectRef::object_name).collect();
        let key = ResourceKey::new(ResourceKind::Route, format!("{}/{}", route.kind, route.object_name()));
        Ok(self.carried(reader, route, section, by, [key]))
    }

    fn at_service(
        &self,
        reader: &mut Reader<'_>,
        name: &ObjectName,
        section: Option<&str>,
    ) -> Result<Fate, Diagnostic> {
        let object = ObjectRef::of(Kind::Service, name);
        let Some(service) = reader.input::<Service>(name) else { return Err(self.not_found(&object)) };
        if service.kind == ServiceKind::ExternalName {
            let remedy = "name a Service with pods";
            return Err(self.unsupported("limits for a Service of type ExternalName", remedy));
        }
        if section.is_some() {
            let remedy = "name the port in `matches[].ports`";
            return Err(self.unsupported("limits for one port of a Service", remedy));
        }
        if !reader.settings().has_mesh() {
            let message = "ztunnel is not installed, so no Service has a waypoint that could count";
            let remedy = "install it (value ztunnel.enabled of the chart), or name a Gateway or a route";
            return Err(Diagnostic::error(Reason::RateLimitPolicyNeedsMesh, self.field, message, remedy));
        }
        let compiled = spec(self.policy).map(|it| values::compile(it, &reader.settings()));
        if let Some(field) = compiled.and_then(|it| it.of_address) {
            let message =
                "the address of a client is not known behind a waypoint; for Services the policy is closed";
            let remedy = "use the key Identity, or limit a Gateway";
            return Err(Diagnostic::error(Reason::RateLimitPolicyAddressOfService, field, message, remedy));
        }
        if service.cluster_ips.is_empty() {
            let message =
                "a Service without a cluster IP cannot be reached through a waypoint, so nothing counts";
            return Err(self.not_enforced(message.to_owned(), "give it a cluster IP".to_owned()));
        }
        let guarded = reader.get::<Guarding>(name).unwrap_or_default();
        if let Some(names) = outside(reader, guarded.pods.iter()) {
            let remedy = format!("label namespace {} with fairway.dev/mesh=enabled", name.namespace);
            let message = format!("cannot be enforced for pods outside the mesh: {names}");
            return Err(self.not_enforced(message, remedy));
        }
        if let Some(message) = not_enforced_at(&guarded.beyond, &name.namespace)
            && reader.settings().capture == Capture::On
        {
            let remedy = "remove these addresses from its EndpointSlices";
            return Err(self.not_enforced(message, remedy.to_owned()));
        }
        let choice = reader.get::<Choose>(&name.namespace);
        let backends = service.ports.iter().filter_map(|it| backend_key(name, it));
        let backends = backends.map(|it| ResourceKey::new(ResourceKind::Backend, it.as_arc()));
        let guard = ResourceKey::new(ResourceKind::Authorization, authorization_key(name).as_arc());
        let carriers: Vec<ResourceKey> = backends.chain([guard]).collect();
        let mut fate = self.carried(reader, &object, None, [choice.gateway.clone()], carriers);
        // The tunnels keep everybody else from its pods.
        fate.enforcement.by.insert(Enforcer::Tunnels);
        let meanwhile = if is_enforced(self.policy) { "are refused" } else { "pass unobserved" };
        fate.pending = (!choice.bound).then(|| {
            format!(
                "waypoint {} is not ready yet: until it is, connections to Service {name} {meanwhile}",
                choice.gateway
            )
        });
        Ok(fate)
    }

    /// Carried out by the proxies of these Gateways, by the limits at the target and by what names them.
    fn carried(
        &self,
        reader: &mut Reader<'_>,
        target: &ObjectRef,
        section: Option<&str>,
        by: impl IntoIterator<Item = ObjectName>,
        named_by: impl IntoIterator<Item = ResourceKey>,
    ) -> Fate {
        let mut carriers: BTreeSet<ResourceKey> = named_by.into_iter().collect();
        let limits = LimitForm::Counting.key(self.name, target, section);
        carriers.insert(ResourceKey::new(ResourceKind::RateLimit, limits.as_arc()));
        let by: Vec<ObjectName> = by.into_iter().collect();
        let replicas = by.iter().map(|it| gateway::replicas(reader, it)).sum();
        let by = by.into_iter().map(Enforcer::Gateway).collect();
        Fate { outcome: Ok(()), enforcement: Enforcement { carriers, by }, pending: None, replicas }
    }

    fn object(&self) -> ObjectRef {
        ObjectRef::of(Kind::RateLimitPolicy, self.name)
    }

    fn not_enforced(&self, message: String, remedy: String) -> Diagnostic {
        Diagnostic::error(Reason::RateLimitPolicyNotEnforced, self.field, message, remedy)
    }

    fn not_found(&self, target: &ObjectRef) -> Diagnostic {
        let field = format!("{}.name", self.field);
        let message = format!("{target} does not exist, so the policy counts nothing there");
        let remedy = "create it, or correct the name";
        Diagnostic::error(Reason::RateLimitPolicyTargetNotFound, field, message, remedy)
    }

    fn no_section(&self, target: &ObjectRef, what: &str, section: &str) -> Diagnostic {
        let field = format!("{}.sectionName", self.field);
        let message = format!(
            "{target} has no {what} named {section}; the policy may mean any, so it counts all of them together"
        );
        Diagnostic::error(Reason::RateLimitPolicySectionNotFound, field, message, "correct the name")
    }

    fn unsupported(&self, what: &str, remedy: &str) -> Diagnostic {
        let message = format!("{what} are not supported yet; where requests pass it, the target is closed");
        Diagnostic::error(Reason::RateLimitPolicyNotSupported, self.field, message, remedy)
    }

    fn warn_of_nothing(&self, message: String, made: &mut Made) {
        let remedy = "correct the target, or remove the policy";
        let warning = Diagnostic::warning(Reason::RateLimitPolicyCountsNothing, self.field, message, remedy);
        made.report(&self.object(), warning);
    }

    /// Clients of a Gateway come from outside the mesh.
    fn warn_of_identity(&self, reader: &Reader<'_>, made: &mut Made) {
        let compiled = spec(self.policy).map(|it| values::compile(it, &reader.settings()));
        let Some(field) = compiled.and_then(|it| it.of_identity) else { return };
        let message =
            "clients of a Gateway prove no identity of the mesh, so all of them are counted as one there";
        let remedy = "use the key ClientAddress, or limit the Service";
        let warning = Diagnostic::warning(Reason::RateLimitPolicyIdentityAtGateway, field, message, remedy);
        made.report(&self.object(), warning);
    }
}
