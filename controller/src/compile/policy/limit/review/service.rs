//! What became of a policy at a Service: its waypoint counts, and the tunnels keep everybody else from its pods.

use super::Review;
use crate::compile::names::protocol::Protocol;
use crate::compile::names::service::{authorization_key, backend_key};
use crate::compile::policy::access::coverage::{outside, proxies};
use crate::compile::policy::limit::{is_enforced, spec, values};
use crate::compile::policy::required_waypoint::{Guarding, not_enforced_at};
use crate::compile::policy::status::TargetOutcome;
use crate::compile::program::{Made, Reader};
use crate::compile::settings::Capture;
use crate::compile::waypoint::choice::Choose;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, Service, ServiceKind, ServicePort, Transport};
use crate::status::Enforcer;
use fairway_config::model::{AppProtocol, ObjectName, ResourceKey, ResourceKind};

impl Review<'_> {
    pub(super) fn at_service(
        &self,
        reader: &mut Reader<'_>,
        name: &ObjectName,
        section: Option<&str>,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let object = ObjectRef::from_name(Kind::Service, name);
        let Some(service) = reader.input::<Service>(name) else {
            return Err(self.not_found(reader, &object));
        };
        if service.kind == ServiceKind::ExternalName {
            let remedy = "name a Service with pods";
            return Err(self.unsupported("limits for a Service of type ExternalName", remedy));
        }
        if section.is_some() {
            let remedy = "name the port in `matches[].ports`";
            return Err(self.unsupported("limits for one port of a Service", remedy));
        }
        if !reader.settings().has_mesh() {
            let message = "nothing is captured, so no Service has a waypoint that could count";
            let remedy = "install ztunnel (value ztunnel.enabled of the chart), or name a Gateway or a route";
            return Err(Diagnostic::error(Reason::RateLimitPolicyNeedsMesh, self.field, message, remedy));
        }
        self.check_room(reader, &object)?;
        let compiled = reader.get::<values::Compile>(self.name);
        if let Some(field) = compiled.and_then(|it| it.of_address.clone()) {
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
        if let Some(port) = service.ports.iter().find(|it| it.transport != Transport::Tcp) {
            let message = format!(
                "port {}/{} is not counted: what is not TCP goes past tunnels and waypoints",
                port.port, port.transport
            );
            return Err(self.not_enforced(message, "give it a Service of its own".to_owned()));
        }
        let notes = self.of_ports(&service)?;
        self.check_pods(reader, name)?;
        let choice = reader.get::<Choose>(&name.namespace);
        let backends = service.ports.iter().filter_map(|it| backend_key(name, it));
        let backends = backends.map(|it| ResourceKey::new(ResourceKind::Backend, it.as_arc()));
        let guard = ResourceKey::new(ResourceKind::Authorization, authorization_key(name).as_arc());
        let carriers: Vec<ResourceKey> = backends.chain([guard]).collect();
        let carried = self.carried(&object, None, [choice.gateway.clone()], carriers);
        let mut outcome = self.told(reader, carried, notes, made);
        // The tunnels keep everybody else from its pods.
        outcome.enforcement.by.insert(Enforcer::Tunnels);
        let meanwhile = if is_enforced(self.policy) { "are refused" } else { "pass unobserved" };
        outcome.pending = (!choice.bound).then(|| {
            format!(
                "waypoint {} is not ready yet: until it is, connections to Service {name} {meanwhile}",
                choice.gateway
            )
        });
        Ok(outcome)
    }

    /// What the policy does at ports of which only bytes are seen. They could carry any number of requests, so nothing passes there.
    fn of_ports(&self, service: &Service) -> Result<Vec<String>, Diagnostic> {
        let protocol = |it: &&ServicePort| Protocol::of_port(it).as_carried();
        let counted: Vec<&ServicePort> = service.tcp_ports().filter(|it| self.counts_at(it.port)).collect();
        let of = |wanted: AppProtocol| -> Vec<String> {
            counted.iter().filter(|it| protocol(it) == wanted).map(|it| it.port.to_string()).collect()
        };
        let (bytes, either) = (of(AppProtocol::Tcp), of(AppProtocol::Unspecified));
        let enforced = is_enforced(self.policy);
        if bytes.len() == counted.len() {
            let follows =
                if enforced { "connections to them are refused" } else { "the policy counts nothing" };
            let which = match bytes.is_empty() {
                true => "`matches` names none of its ports".to_owned(),
                false => format!("appProtocol says so of: {}", bytes.join(", ")),
            };
            let message =
                format!("the policy is about no port at which requests are seen ({which}), so {follows}");
            let remedy = "set appProtocol: http at ports that speak HTTP, or limit another Service";
            return Err(Diagnostic::error(Reason::RateLimitPolicyNoRequests, self.field, message, remedy));
        }
        let mut notes = Vec::new();
        if enforced && !bytes.is_empty() {
            notes.push(format!(
                "only bytes are seen at these ports, so connections to them are refused: {}; name the other ports in `matches[].ports` to \
                 leave them out",
                bytes.join(", ")
            ));
        }
        if enforced && !either.is_empty() {
            notes.push(format!(
                "what is not HTTP is refused at ports without appProtocol: {}",
                either.join(", ")
            ));
        }
        Ok(notes)
    }

    /// Whether one of the limits may be about a port.
    fn counts_at(&self, port: u16) -> bool {
        let Some(spec) = spec(self.policy) else { return true };
        spec.local.iter().any(|limit| {
            let is_about = |ports: &Option<Vec<u16>>| ports.as_ref().is_none_or(|it| it.contains(&port));
            limit.matches.as_ref().is_none_or(|matches| matches.iter().any(|it| is_about(&it.ports)))
        })
    }

    /// Whether tunnels keep everybody but the waypoint from the pods.
    fn check_pods(&self, reader: &mut Reader<'_>, name: &ObjectName) -> Result<(), Diagnostic> {
        let guarded = reader.get::<Guarding>(name).unwrap_or_default();
        if let Some(names) = proxies(reader, guarded.pods.iter()) {
            let message = format!("no tunnel keeps clients from proxies of Fairway: {names}");
            return Err(self.not_enforced(message, "limit their Gateway instead".to_owned()));
        }
        if let Some(names) = outside(reader, guarded.pods.iter()) {
            let remedy = format!("label namespace {} with fairway.dev/mesh=enabled", name.namespace);
            return Err(self.not_enforced(
                format!("the policy cannot be enforced for pods outside the mesh: {names}"),
                remedy,
            ));
        }
        if let Some(message) = not_enforced_at(&guarded.beyond, &name.namespace)
            && reader.settings().capture == Capture::On
        {
            return Err(
                self.not_enforced(message, "remove these addresses from its EndpointSlices".to_owned())
            );
        }
        Ok(())
    }

    fn not_enforced(&self, message: String, remedy: String) -> Diagnostic {
        Diagnostic::error(Reason::RateLimitPolicyNotEnforced, self.field, message, remedy)
    }
}
