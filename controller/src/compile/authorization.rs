//! Services that are reached through their waypoint only (label `fairway.dev/waypoint: required`).

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::reader::Reader;
use super::service::requires_waypoint;
use super::settings::Capture;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef, Transport};
use fairway_config::model::{Authorization, AuthorizationKey, ObjectName, Resource};
use fairway_policy::{Action, Condition, Rule};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the authorization that guards a Service.
pub(super) fn key(service: &ObjectName) -> AuthorizationKey {
    AuthorizationKey::from(name(service))
}

fn name(service: &ObjectName) -> Arc<str> {
    format!("waypoint-required/{service}").into()
}

/// What a Service that requires its waypoint guards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Guarded {
    /// The pods, of the Service's own namespace.
    pub pods: BTreeSet<ObjectRef>,
    /// The ports that are guarded, at each of the pods.
    pub ports: Vec<u16>,
    /// Addresses of its EndpointSlices at which there is no pod of the namespace: nothing is guarded there.
    pub beyond: BTreeSet<IpAddr>,
}

/// Finds the pods behind a Service that requires its waypoint: those its selector finds and those at the addresses of
/// its EndpointSlices. Only pods of its own namespace: what is let in to those of others is not the Service's to say.
pub(super) fn guarded(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(service) = reader.service(name).filter(|it| requires_waypoint(it)) else { return made };
    let (mut found, mut ports) = (Guarded::default(), BTreeSet::new());
    if let Some(selector) = &service.selector {
        for it in reader.members(IndexKey::Pods(name.namespace.clone())).iter() {
            let selected = reader.meta(it).is_some_and(|meta| selector.matches(&meta.labels));
            found.pods.extend(selected.then(|| it.clone()));
        }
    }
    for slice in reader.members(IndexKey::Slices(name.clone())).iter() {
        let Some(slice) = reader.endpoint_slice(slice) else { continue };
        let tcp = slice.addresses.ports.iter().filter(|it| it.transport == Transport::Tcp);
        ports.extend(tcp.map(|it| it.port));
        for endpoint in &slice.addresses.endpoints {
            let own = pods_at(reader, &name.namespace, endpoint.address);
            if own.is_empty() {
                found.beyond.insert(endpoint.address);
            }
            found.pods.extend(own);
        }
    }
    // Every port of a pod that stands behind a port of the Service.
    for pod in &found.pods {
        let Some(pod) = reader.pod(&pod.object_name()) else { continue };
        ports.extend(service.tcp_ports().filter_map(|it| pod.resolve(it)));
    }
    found.ports = ports.into_iter().collect();
    let object = ObjectRef::of(Kind::Service, name);
    made.index = found.pods.iter().map(|pod| (IndexKey::Guards(pod.object_name()), object.clone())).collect();
    made.value = Value::Guarded(Arc::new(found));
    made
}

/// The pods of a namespace at an address; those on their node's network share it with others, and are found too.
fn pods_at(reader: &mut Reader<'_>, namespace: &Arc<str>, address: IpAddr) -> Vec<ObjectRef> {
    let mut found = Vec::new();
    for key in [IndexKey::PodsAt(address), IndexKey::HostPodsAt(address)] {
        found.extend(reader.members(key).iter().filter(|it| it.namespace == *namespace).cloned());
    }
    found
}

/// Refuses, at the pods behind the Service, whoever is not its waypoint.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    if reader.service(name).is_none_or(|it| !requires_waypoint(&it)) {
        return made;
    }
    let guarded = reader.guarded(name);
    warn_of_pods_outside(reader, name, &guarded.pods, &mut made);
    warn_of_what_is_beyond(reader, name, &guarded.beyond, &mut made);
    // No waypoint, no identity that is let in: everything is refused.
    let waypoint = reader.waypoint(&name.namespace).and_then(|it| it.identity.clone());
    let peer = Condition::PeerIsNot(waypoint.into_iter().collect());
    let rule = Rule::when(vec![peer, Condition::PortIs(guarded.ports.clone())]);
    let authorization = Authorization::new(self::name(name), Action::Deny, vec![rule]);
    made.resources.push(Resource::Authorization(Arc::new(authorization)));
    made
}

fn warn_of_what_is_beyond(
    reader: &Reader<'_>,
    name: &ObjectName,
    beyond: &BTreeSet<IpAddr>,
    made: &mut Evaluation,
) {
    if reader.settings().capture == Capture::Off {
        return;
    }
    if let Some(message) = not_enforced_at(beyond, &name.namespace) {
        let field = "metadata.labels[fairway.dev/waypoint]";
        let remedy = "remove these addresses from its EndpointSlices, or remove the label";
        let error = Diagnostic::error(Reason::WaypointNotEnforcedAtAddress, field, message, remedy);
        made.report(&ObjectRef::of(Kind::Service, name), error);
    }
}

/// As many addresses are named.
const NAMED: usize = 3;

/// That a guard does not hold at addresses; none where there are none.
pub(super) fn not_enforced_at(beyond: &BTreeSet<IpAddr>, namespace: &str) -> Option<String> {
    if beyond.is_empty() {
        return None;
    }
    let named: Vec<String> = beyond.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if beyond.len() > NAMED { ", …" } else { "" };
    let named = named.join(", ");
    Some(format!("cannot be enforced at {named}{more}: no pod of namespace {namespace} has that address"))
}

fn warn_of_pods_outside(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    pods: &BTreeSet<ObjectRef>,
    made: &mut Evaluation,
) {
    if reader.settings().capture == Capture::Off {
        return;
    }
    let outside = |reader: &mut Reader<'_>, pod: &ObjectRef| {
        reader.pod_identity(&pod.object_name()).is_some_and(|it| !it.captured)
    };
    let names: Vec<String> =
        pods.iter().filter(|it| outside(reader, it)).map(|it| it.name.to_string()).collect();
    if !names.is_empty() {
        let error = Diagnostic::error(
            Reason::WaypointNotEnforcedForPods,
            "metadata.labels[fairway.dev/waypoint]",
            format!("cannot be enforced for pods outside the mesh: {}", names.join(", ")),
            format!(
                "label namespace {} with fairway.dev/mesh=enabled, or remove the pods from the Service",
                name.namespace
            ),
        );
        made.report(&ObjectRef::of(Kind::Service, name), error);
    }
}
