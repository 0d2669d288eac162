//! What became of a policy at one of its targets.

use super::pods::SelectedPods;
use super::room::{MOST_COMPARED, OfObject, PodsWithoutRoom};
use super::rules::{self, Compiled, Reach};
use super::select::{has_no_listener, is_waypoint};
use super::serving::{RouteGateways, RouteServices, is_of_held};
use super::{is_enforced, misplaced_field, spec};
use crate::compile::names::absent::{Absent, CORRECT_NAME, absent};
use crate::compile::names::access::Form;
use crate::compile::names::service::{authorization_key, backend_key};
use crate::compile::policy::required_waypoint::{Guarding, not_enforced_at};
use crate::compile::policy::status::{AtTarget, TargetOutcome, reference};
use crate::compile::program::{Made, Reader};
use crate::compile::settings::Capture;
use crate::compile::waypoint::choice::Choose;
use crate::compile::{gateway, waypoint};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::access_policy::PolicyTarget;
use crate::resources::{
    AccessPolicy, Gateway, GrpcRoute, HttpRoute, Kind, ObjectRef, Service, ServiceKind, Transport,
};
use crate::status::{Enforcement, Enforcer, ParentRef};
use fairway_config::model::{AuthorizationKey, ObjectName, ResourceKey, ResourceKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a policy can guard.
const TARGETS: &str = "name a Gateway, an HTTPRoute, a GRPCRoute, a Service, or pods";

/// As many values, or pods, are told of.
pub(in crate::compile::policy) const TOLD: usize = 4;

/// A policy and one of its targets.
pub(super) struct Review<'a> {
    pub name: &'a ObjectName,
    pub policy: &'a AccessPolicy,
    pub target: &'a PolicyTarget,
    /// Its place among the targets.
    pub index: usize,
    pub field: &'a str,
}

// === impl Review ===

impl Review<'_> {
    /// What became of it there; none where another controller speaks.
    pub(super) fn run(&self, reader: &mut Reader<'_>, made: &mut Made) -> Option<(ParentRef, AtTarget)> {
        let target = self.target;
        let named = ObjectName::new(self.name.namespace.clone(), target.name.as_deref().unwrap_or_default());
        let section = target.section_name.as_deref().filter(|it| !it.is_empty());
        let written = ParentRef {
            group: Some(target.group.as_str().into()),
            kind: Some(target.kind.as_str().into()),
            namespace: Some(named.namespace.clone()),
            name: named.name.clone(),
            section_name: section.map(Into::into),
            port: None,
        };
        let (ancestor, outcome) = match Kind::named(&target.group, &target.kind) {
            Some(Kind::Gateway) if gateway::is_held(reader, &named) => {
                return Some((written, AtTarget::Held));
            }
            Some(Kind::Gateway) => (written, self.at_gateway(reader, &named, section, made)?),
            Some(kind @ (Kind::HttpRoute | Kind::GrpcRoute))
                if is_of_held(reader, &ObjectRef::from_name(kind, &named)) =>
            {
                return Some((written, AtTarget::Held));
            }
            Some(Kind::HttpRoute | Kind::GrpcRoute) => {
                (written, self.at_route(reader, &named, section, made))
            }
            Some(Kind::Service) => (written, self.at_service(reader, &named, section, made)),
            Some(Kind::Pod) => {
                let namespace = ObjectRef::new(Kind::Namespace, "", named.namespace.clone());
                (reference(&namespace), self.at_pods(reader, made))
            }
            Some(_) => {
                let what = format!("policies for {}", target.kind);
                (written, Err(self.unsupported(&what, TARGETS)))
            }
            None => (written, Err(self.no_kind())),
        };
        let outcome = match misplaced_field(target) {
            Some(field) => Err(self.misplaced(field)),
            None => outcome,
        };
        let outcome = outcome.unwrap_or_else(TargetOutcome::failed);
        Some((ancestor, AtTarget::Judged(Box::new(outcome))))
    }

    fn at_gateway(
        &self,
        reader: &mut Reader<'_>,
        gateway: &ObjectName,
        section: Option<&str>,
        made: &mut Made,
    ) -> Option<Result<TargetOutcome, Diagnostic>> {
        let Some(written) = reader.input::<Gateway>(gateway) else {
            return Some(Err(self.not_found(reader, &ObjectRef::from_name(Kind::Gateway, gateway))));
        };
        reader.get::<gateway::Publish>(gateway)?;
        if is_waypoint(reader, gateway) {
            return Some(Err(self.unsupported("policies for a waypoint", "name the Services behind it")));
        }
        if let Some(listener) = section.filter(|it| has_no_listener(reader, gateway, it)) {
            return Some(Err(self.no_section(
                &ObjectRef::from_name(Kind::Gateway, gateway),
                "listener",
                listener,
            )));
        }
        if let Err(error) = self.check_room(reader, &ObjectRef::from_name(Kind::Gateway, gateway)) {
            return Some(Err(error));
        }
        let note = self.warn_of_identity(reader, made);
        let listeners = written.spec.listeners.iter().filter(|it| section.is_none_or(|name| it.name == name));
        let listeners =
            listeners.map(|it| ResourceKey::new(ResourceKind::Listener, format!("{gateway}/{}", it.name)));
        let carried = self.carried([Enforcer::Gateway(gateway.clone())], Form::Gateway, listeners);
        Some(Ok(TargetOutcome { note, ..carried }))
    }

    fn at_route(
        &self,
        reader: &mut Reader<'_>,
        name: &ObjectName,
        section: Option<&str>,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let kind = Kind::named(&self.target.group, &self.target.kind).unwrap_or(Kind::HttpRoute);
        let route = ObjectRef::from_name(kind, name);
        let Some(rules) = rules_of(reader, &route) else { return Err(self.not_found(reader, &route)) };
        if let Some(section) = section.filter(|it| !rules.iter().flatten().any(|rule| **rule == **it)) {
            return Err(self.no_section(&route, "rule", section));
        }
        if reader.count(&RouteServices(route.clone())) > 0 {
            let remedy = "name the Service itself";
            return Err(self.unsupported("policies for the route of a Service", remedy));
        }
        self.check_room(reader, &route)?;
        let note = self.warn_of_identity(reader, made);
        let gateways = reader.members(&RouteGateways(route.clone()));
        if gateways.is_empty() {
            self.warn_of_nothing(format!("no Gateway serves {route}, so nothing enforces the policy"), made);
        }
        let by = gateways.iter().map(|it| Enforcer::Gateway(it.object_name()));
        let key = ResourceKey::new(ResourceKind::Route, format!("{kind}/{name}"));
        Ok(TargetOutcome { note, ..self.carried(by, Form::Gateway, [key]) })
    }

    fn at_service(
        &self,
        reader: &mut Reader<'_>,
        name: &ObjectName,
        section: Option<&str>,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let Some(service) = reader.input::<Service>(name) else {
            return Err(self.not_found(reader, &ObjectRef::from_name(Kind::Service, name)));
        };
        if service.kind == ServiceKind::ExternalName {
            let remedy = "name a Service with pods";
            return Err(self.unsupported("policies for a Service of type ExternalName", remedy));
        }
        if section.is_some() {
            return Err(
                self.unsupported("policies for one port of a Service", "name the port in `to[].ports`")
            );
        }
        self.check_mesh(reader.settings().has_mesh())?;
        self.check_room(reader, &ObjectRef::from_name(Kind::Service, name))?;
        if let Some(field) = compiled(reader, self.name, self.policy, Form::Service).of_address {
            let message =
                "the address of a client is not known behind a waypoint; for Services the policy is closed";
            let remedy = "name service accounts or namespaces, or guard pods";
            return Err(Diagnostic::error(Reason::AccessPolicyAddressOfService, field, message, remedy));
        }
        if service.cluster_ips.is_empty() {
            let remedy = "give it a cluster IP, or guard its pods";
            return Err(self.unsupported("policies for a Service without a cluster IP", remedy));
        }
        if let Some(port) = service.ports.iter().find(|it| it.transport != Transport::Tcp) {
            let message = format!(
                "port {}/{} is not judged: what is not TCP goes past tunnels and waypoints",
                port.port, port.transport
            );
            let remedy = "guard it with a NetworkPolicy, and give it a Service of its own";
            return Err(self.not_enforced(message, remedy.to_owned()));
        }
        let guarded = reader.get::<Guarding>(name).unwrap_or_default();
        self.check_proxies(reader, guarded.pods.iter(), made)?;
        self.check_capture(reader, guarded.pods.iter())?;
        if let Some(message) = not_enforced_at(&guarded.beyond, &name.namespace)
            && reader.settings().capture == Capture::On
        {
            return Err(
                self.not_enforced(message, "remove these addresses from its EndpointSlices".to_owned())
            );
        }
        let choice = reader.get::<Choose>(&name.namespace);
        // The tunnels keep everybody else from its pods.
        let by = [Enforcer::Gateway(choice.gateway.clone()), Enforcer::Tunnels];
        let backends = service.ports.iter().filter_map(|it| backend_key(name, it));
        let backends = backends.map(|it| ResourceKey::new(ResourceKind::Backend, it.as_arc()));
        let mut carried =
            self.carried(by, Form::Service, backends.chain([carrier(&authorization_key(name))]));
        let meanwhile = if is_enforced(self.policy) { "are refused" } else { "pass unobserved" };
        carried.pending = (!choice.bound).then(|| {
            format!(
                "waypoint {} is not ready yet: until it is, connections to Service {name} {meanwhile}",
                choice.gateway
            )
        });
        Ok(carried)
    }

    /// Carried out by these proxies, by the authorization of this form and by what names it.
    fn carried(
        &self,
        by: impl IntoIterator<Item = Enforcer>,
        form: Form,
        named_by: impl IntoIterator<Item = ResourceKey>,
    ) -> TargetOutcome {
        let mut carriers: BTreeSet<ResourceKey> = named_by.into_iter().collect();
        carriers.insert(carrier(&form.key(self.name)));
        TargetOutcome::carried_out(Enforcement { carriers, by: by.into_iter().collect() })
    }

    fn at_pods(&self, reader: &mut Reader<'_>, made: &mut Made) -> Result<TargetOutcome, Diagnostic> {
        self.check_mesh(reader.settings().capture == Capture::On)?;
        if let Some(field) = compiled(reader, self.name, self.policy, Form::Pod).of_request {
            let message =
                "the tunnel of a pod sees connections and no requests; for pods the policy is closed";
            let remedy = "guard the Service instead, or use ports";
            return Err(Diagnostic::error(Reason::AccessPolicyNeedsRequests, field, message, remedy));
        }
        let pods = reader.members(&SelectedPods { policy: self.name.clone(), target: self.index });
        if pods.is_empty() {
            self.warn_of_nothing("no pod has these labels, so the policy guards nothing".to_owned(), made);
            return Ok(self.carried([], Form::Pod, []));
        }
        if let Some(pod) = reader.members(&PodsWithoutRoom(self.name.clone())).first() {
            return Err(self.no_room(pod));
        }
        self.check_proxies(reader, pods.iter(), made)?;
        self.check_capture(reader, pods.iter())?;
        if let Some(it) = reader.members(&waypoint::WaypointNeed(self.name.namespace.clone())).first()
            && is_enforced(self.policy)
        {
            let choice = reader.get::<Choose>(&self.name.namespace);
            let message = format!(
                "for {it}, connections come through waypoint {} and have its identity, so the policy judges the waypoint and \
                 not the client",
                choice.gateway
            );
            let remedy = "allow the waypoint's service account, or target the Service instead";
            let warning =
                Diagnostic::warning(Reason::AccessPolicyBehindWaypoint, self.field, message, remedy);
            made.report(&self.object(), warning);
        }
        Ok(self.carried([Enforcer::Tunnels], Form::Pod, []))
    }

    pub(super) fn object(&self) -> ObjectRef {
        ObjectRef::from_name(Kind::AccessPolicy, self.name)
    }

    fn not_found(&self, reader: &mut Reader<'_>, target: &ObjectRef) -> Diagnostic {
        let field = format!("{}.name", self.field);
        let Absent { message, remedy } = absent(reader, target, CORRECT_NAME);
        let message = format!("{message}, so the policy guards nothing there");
        Diagnostic::error(Reason::AccessPolicyTargetNotFound, field, message, remedy)
    }

    fn no_section(&self, target: &ObjectRef, what: &str, section: &str) -> Diagnostic {
        let field = format!("{}.sectionName", self.field);
        let message = format!(
            "{target} has no {what} named {section}; the policy may mean any, so a Deny holds for all of them and an Allow lets \
             nobody in"
        );
        Diagnostic::error(Reason::AccessPolicySectionNotFound, field, message, "correct the name")
    }

    /// Whether an object has room for the policy beside older ones.
    fn check_room(&self, reader: &mut Reader<'_>, target: &ObjectRef) -> Result<(), Diagnostic> {
        match reader.get::<OfObject>(target).lacks(&self.object()) {
            true => Err(self.no_room(target)),
            false => Ok(()),
        }
    }

    fn no_room(&self, target: &ObjectRef) -> Diagnostic {
        let follows = match is_enforced(self.policy) {
            true => format!("{target} is closed"),
            false => "this one decides nothing there".to_owned(),
        };
        let message = format!(
            "the policies of {target} compare more than {MOST_COMPARED} values together, ranges of addresses apart, and older \
             policies come first, so {follows}"
        );
        let remedy = "remove policies or values of them, use `cidrs`, or spread them over several objects";
        Diagnostic::error(Reason::AccessPolicyNoRoom, self.field, message, remedy)
    }

    fn unsupported(&self, what: &str, remedy: &str) -> Diagnostic {
        let message = format!("{what} are not supported yet; where requests pass it, the target is closed");
        Diagnostic::error(Reason::AccessPolicyNotSupported, self.field, message, remedy)
    }

    fn misplaced(&self, field: &str) -> Diagnostic {
        let message = format!(
            "{field} does not fit a target of kind {}; what the target names is closed",
            self.target.kind
        );
        let remedy = "select pods by `selector` alone, and name everything else";
        let field = format!("{}.{field}", self.field);
        Diagnostic::error(Reason::AccessPolicyFieldMisplaced, field, message, remedy)
    }

    fn no_kind(&self) -> Diagnostic {
        let PolicyTarget { group, kind, .. } = self.target;
        let group = if group.is_empty() { "the core group".to_owned() } else { format!("group {group}") };
        let message = format!(
            "there is no kind {kind} of {group} that a policy could guard, so it guards nothing there"
        );
        Diagnostic::error(
            Reason::AccessPolicyTargetKindUnknown,
            format!("{}.kind", self.field),
            message,
            TARGETS,
        )
    }

    fn warn_of_nothing(&self, message: String, made: &mut Made) {
        let remedy = "correct the target, or remove the policy";
        made.report(
            &self.object(),
            Diagnostic::warning(Reason::AccessPolicyGuardsNothing, self.field, message, remedy),
        );
    }

    /// Clients of a Gateway come from outside the mesh. Returns what has no effect.
    fn warn_of_identity(&self, reader: &Reader<'_>, made: &mut Made) -> Option<String> {
        let field = compiled(reader, self.name, self.policy, Form::Gateway).of_identity?;
        let message = "clients of a Gateway prove no identity of the mesh, so this never matches there";
        let remedy = "use cidrs, or guard the Service";
        let warning = Diagnostic::warning(Reason::AccessPolicyIdentityAtGateway, field, message, remedy);
        let note = warning.text();
        made.report(&self.object(), warning);
        Some(note)
    }
}

fn carrier(authorization: &AuthorizationKey) -> ResourceKey {
    ResourceKey::new(ResourceKind::Authorization, authorization.as_arc())
}

/// The names of a route's rules; none if the route does not exist.
pub(in crate::compile::policy) fn rules_of(
    reader: &mut Reader<'_>,
    route: &ObjectRef,
) -> Option<Vec<Option<Arc<str>>>> {
    let name = |it: &Option<String>| it.as_deref().map(Arc::from);
    let names = match route.kind {
        Kind::HttpRoute => {
            let it = reader.input::<HttpRoute>(&route.object_name())?;
            it.spec.rules.iter().flatten().map(|it| name(&it.name)).collect()
        }
        Kind::GrpcRoute => {
            let it = reader.input::<GrpcRoute>(&route.object_name())?;
            it.spec.rules.iter().flatten().map(|it| name(&it.name)).collect()
        }
        _ => return None,
    };
    Some(names)
}

/// The rules at targets of one sort, as far as the status needs them.
pub(super) fn compiled(
    reader: &Reader<'_>,
    name: &ObjectName,
    policy: &AccessPolicy,
    form: Form,
) -> Compiled {
    let Some(spec) = spec(policy) else { return Compiled::default() };
    let (settings, speakers) = (reader.settings(), BTreeMap::new());
    let reach =
        Reach { namespace: &name.namespace, settings: &settings, form, speakers: &speakers, own: &[] };
    rules::compile(spec, &reach)
}
