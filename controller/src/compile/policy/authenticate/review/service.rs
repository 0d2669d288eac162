//! What became of a policy at a Service: its waypoint asks clients who they are, and the tunnels keep everybody else from its pods.

use super::Review;
use crate::compile::names::protocol::Protocol;
use crate::compile::names::service::{authorization_key, backend_key};
use crate::compile::policy::access::coverage::{outside, proxies};
use crate::compile::policy::authenticate::is_enforced;
use crate::compile::policy::required_waypoint::{Guarding, not_enforced_at};
use crate::compile::policy::status::TargetOutcome;
use crate::compile::program::Reader;
use crate::compile::settings::Capture;
use crate::compile::waypoint::choice::Choose;
use crate::diagnostic::{Diagnostic, Reason, sentences};
use crate::resources::{Kind, ObjectRef, Service, ServiceKind, ServicePort, Transport};
use crate::status::Enforcer;
use fairway_config::model::{AppProtocol, ObjectName, ResourceKey, ResourceKind};

impl Review<'_> {
    pub(super) fn at_service(
        &self,
        reader: &mut Reader<'_>,
        name: &ObjectName,
        section: Option<&str>,
    ) -> Result<TargetOutcome, Diagnostic> {
        let object = ObjectRef::from_name(Kind::Service, name);
        let Some(service) = reader.input::<Service>(name) else {
            return Err(self.not_found(reader, &object));
        };
        if service.kind == ServiceKind::ExternalName {
            let remedy = "name a Service with pods";
            return Err(self.unsupported("policies for a Service of type ExternalName", remedy));
        }
        if section.is_some() {
            let remedy = "name the Service, without `sectionName`";
            return Err(self.unsupported("policies for one port of a Service", remedy));
        }
        if !reader.settings().has_mesh() {
            let message = "nothing is captured, so no Service has a waypoint that could ask";
            let remedy = "install ztunnel (value ztunnel.enabled of the chart), or name a Gateway or a route";
            return Err(Diagnostic::error(
                Reason::AuthenticationPolicyNeedsMesh,
                self.field,
                message,
                remedy,
            ));
        }
        self.check_room(reader, &object)?;
        if service.cluster_ips.is_empty() {
            let message =
                "a Service without a cluster IP cannot be reached through a waypoint, so nobody is asked";
            return Err(self.not_enforced(message.to_owned(), "give it a cluster IP".to_owned()));
        }
        if let Some(port) = service.ports.iter().find(|it| it.transport != Transport::Tcp) {
            let message = format!(
                "port {}/{} is not guarded: what is not TCP goes past tunnels and waypoints",
                port.port, port.transport
            );
            return Err(self.not_enforced(message, "give it a Service of its own".to_owned()));
        }
        let note = self.of_ports(&service)?;
        self.check_pods(reader, name)?;
        let choice = reader.get::<Choose>(&name.namespace);
        let backends = service.ports.iter().filter_map(|it| backend_key(name, it));
        let backends = backends.map(|it| ResourceKey::new(ResourceKind::Backend, it.as_arc()));
        let guard = ResourceKey::new(ResourceKind::Authorization, authorization_key(name).as_arc());
        let carriers: Vec<ResourceKey> = backends.chain([guard]).collect();
        let carried = self.carried([choice.gateway.clone()], carriers);
        let mut outcome = TargetOutcome { note, ..carried };
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

    /// What the policy does at ports of which only bytes are seen. Bytes have no credentials, so nothing passes there.
    fn of_ports(&self, service: &Service) -> Result<Option<String>, Diagnostic> {
        let protocol = |it: &&ServicePort| Protocol::of_port(it).as_carried();
        let of = |wanted: AppProtocol| -> Vec<String> {
            let ports = service.tcp_ports().filter(|it| protocol(it) == wanted);
            ports.map(|it| it.port.to_string()).collect()
        };
        let (bytes, either) = (of(AppProtocol::Tcp), of(AppProtocol::Unspecified));
        let enforced = is_enforced(self.policy);
        if bytes.len() == service.tcp_ports().count() {
            let follows =
                if enforced { "connections to them are refused" } else { "the policy observes nothing" };
            let message = format!(
                "the Service has no port at which requests are seen (appProtocol says so of: {}), so {follows}",
                bytes.join(", ")
            );
            let remedy = "set appProtocol: http at ports that speak HTTP, or name another Service";
            return Err(Diagnostic::error(
                Reason::AuthenticationPolicyNoRequests,
                self.field,
                message,
                remedy,
            ));
        }
        if !enforced {
            return Ok(None);
        }
        let mut notes = Vec::new();
        if !bytes.is_empty() {
            notes.push(format!(
                "bytes have no credentials, so connections to these ports are refused: {}",
                bytes.join(", ")
            ));
        }
        if !either.is_empty() {
            notes.push(format!(
                "what is not HTTP is refused at ports without appProtocol: {}",
                either.join(", ")
            ));
        }
        Ok((!notes.is_empty()).then(|| sentences(&notes)))
    }

    /// Whether tunnels keep everybody but the waypoint from the pods.
    fn check_pods(&self, reader: &mut Reader<'_>, name: &ObjectName) -> Result<(), Diagnostic> {
        let guarded = reader.get::<Guarding>(name).unwrap_or_default();
        if let Some(names) = proxies(reader, guarded.pods.iter()) {
            let message = format!("no tunnel keeps clients from proxies of Fairway: {names}");
            return Err(self.not_enforced(message, "name their Gateway instead".to_owned()));
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
        Diagnostic::error(Reason::AuthenticationPolicyNotEnforced, self.field, message, remedy)
    }
}
