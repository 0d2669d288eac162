//! Services that are reached through their waypoint only (label `fairway.dev/waypoint: required`).

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::reader::Reader;
use super::service::requires_waypoint;
use super::settings::Capture;
use crate::resources::{Kind, ObjectRef, Service, Transport};
use fairway_config::model::{Authorization, AuthorizationKey, ObjectName, Resource};
use fairway_policy::{Action, Condition, Rule};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The name of the authorization that guards a Service.
pub(super) fn key(service: &ObjectName) -> AuthorizationKey {
    AuthorizationKey::from(name(service))
}

fn name(service: &ObjectName) -> Arc<str> {
    format!("waypoint-required/{service}").into()
}

/// Finds the pods behind a Service that requires its waypoint: those its selector finds and those at the addresses of
/// its EndpointSlices.
pub(super) fn guarded(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(service) = reader.service(name).filter(|it| requires_waypoint(it)) else { return made };
    let mut pods = BTreeSet::new();
    if let Some(selector) = &service.selector {
        for it in reader.members(IndexKey::Pods(name.namespace.clone())).iter() {
            let selected = reader.meta(it).is_some_and(|meta| selector.matches(&meta.labels));
            pods.extend(selected.then(|| it.clone()));
        }
    }
    for slice in reader.members(IndexKey::Slices(name.clone())).iter() {
        let Some(slice) = reader.endpoint_slice(slice) else { continue };
        for endpoint in &slice.addresses.endpoints {
            pods.extend(reader.members(IndexKey::PodsAt(endpoint.address)).iter().cloned());
        }
    }
    let object = ObjectRef::of(Kind::Service, name);
    made.index = pods.iter().map(|pod| (IndexKey::Guards(pod.object_name()), object.clone())).collect();
    made.value = Value::Guarded(Arc::new(pods.into_iter().collect()));
    made
}

/// Refuses, at the pods behind the Service, whoever is not its waypoint.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(service) = reader.service(name).filter(|it| requires_waypoint(it)) else { return made };
    let pods = reader.guarded(name);
    warn_of_pods_outside(reader, name, &pods, &mut made);
    // No waypoint, no identity that is let in: everything is refused.
    let waypoint = reader.waypoint(&name.namespace).map(|it| it.identities.clone()).unwrap_or_default();
    let ports = target_ports(reader, &service, name, &pods);
    made.resources.push(Resource::Authorization(Arc::new(Authorization {
        name: self::name(name),
        action: Action::Deny,
        rules: vec![Rule { conditions: vec![Condition::PeerIsNot(waypoint), Condition::PortIs(ports)] }],
    })));
    made
}

/// Every port of a pod that stands behind a port of the Service.
fn target_ports(
    reader: &mut Reader<'_>,
    service: &Service,
    name: &ObjectName,
    pods: &[ObjectRef],
) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    for pod in pods {
        let Some(pod) = reader.pod(&pod.object_name()) else { continue };
        ports.extend(service.tcp_ports().filter_map(|it| pod.resolve(it)));
    }
    for slice in reader.members(IndexKey::Slices(name.clone())).iter() {
        let Some(slice) = reader.endpoint_slice(slice) else { continue };
        ports.extend(
            slice.addresses.ports.iter().filter(|it| it.transport == Transport::Tcp).map(|it| it.port),
        );
    }
    ports.into_iter().collect()
}

fn warn_of_pods_outside(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    pods: &[ObjectRef],
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
        made.error(
            &ObjectRef::of(Kind::Service, name),
            "metadata.labels[fairway.dev/waypoint]",
            format!("cannot be enforced for pods outside the mesh: {}", names.join(", ")),
            format!(
                "label namespace {} with fairway.dev/mesh=enabled, or take the pods out of the Service",
                name.namespace
            ),
        );
    }
}
