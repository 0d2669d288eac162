//! Services that are reached through their waypoint only: those with the label `fairway.dev/waypoint: required`, and those that
//! AccessPolicies, AuthenticationPolicies and RateLimitPolicies name.

use crate::compile::names::service::{authorization_key, namespace_of_requiring, requires_waypoint};
use crate::compile::policy::{access, authenticate, limit};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::Capture;
use crate::compile::workload::address::{self, At, Slices};
use crate::compile::workload::{self, Guards};
use crate::compile::{stage, waypoint};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{ContainerPort, EndpointSlice, Kind, Object, ObjectRef, Pod, Service, Transport};
use fairway_config::model::{Authorization, ObjectName, Resource};
use fairway_incremental::{OfInput, Query, Set};
use fairway_policy::{Action, Condition, Rule};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Services of a namespace that are reached through a waypoint only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Requiring(pub Arc<str>);

impl Set<Cluster> for Requiring {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::AccessPolicy(_) | Object::AuthenticationPolicy(_) | Object::RateLimitPolicy(_) => {
                let guarded = access::guarded_services(object).into_iter();
                let guarded = guarded.chain(authenticate::guarded_services(object));
                let guarded = guarded.chain(limit::guarded_services(object));
                guarded.map(|it| (Self(name.namespace.clone()), it)).collect()
            }
            _ => namespace_of_requiring(object).map(|it| (Self(it), name.clone())).into_iter().collect(),
        }
    }
}

/// The pods that the selector of a Service selects, if it requires its waypoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Selected(pub ObjectName);

impl Set<Cluster> for Selected {
    type Member = ObjectRef;
}

/// Finds the Services that select a pod and require their waypoint, and the AccessPolicies that name the pod. By pod, so that an edit of
/// a pod does not make each of them look at all pods. The value is what of the pod says which of its ports are guarded; none where nothing guards.
pub(in crate::compile) struct Select;

impl Query<Cluster> for Select {
    type Key = ObjectName;
    type Value = Option<Arc<[ContainerPort]>>;
    const STAGE: u8 = stage::SELECTIONS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<[ContainerPort]>> {
        access::select_pod(name, reader, made);
        let services = reader.members(&Requiring(name.namespace.clone()));
        if services.is_empty() {
            return None;
        }
        let pod = reader.input::<Pod>(name)?;
        for it in services.iter() {
            let service = reader.input::<Service>(&it.object_name());
            let selector = service.as_ref().and_then(|it| it.selector.as_ref());
            if selector.is_some_and(|it| it.matches(&pod.meta.labels)) {
                made.put(Selected(it.object_name()), ObjectRef::from_name(Kind::Pod, name));
            }
        }
        Some(pod.ports.as_slice().into())
    }
}

impl OfInput<Cluster> for Select {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Pod).then(|| name.object_name())
    }
}

/// What a Service that requires its waypoint guards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct Guarded {
    /// The pods, of the Service's own namespace.
    pub pods: BTreeSet<ObjectRef>,
    /// The ports that are guarded, at each of the pods; in order.
    pub ports: Vec<u16>,
    /// Addresses of its EndpointSlices at which there is no pod of the namespace: nothing is guarded there.
    pub beyond: BTreeSet<IpAddr>,
}

/// Whether a Service is reached through its waypoint only: its label says so, or policies ask, judge or count whoever asks for it.
pub(in crate::compile) fn is_required(reader: &mut Reader<'_>, name: &ObjectName, service: &Service) -> bool {
    requires_waypoint(service)
        || access::guards(reader, name)
        || authenticate::guards(reader, name)
        || limit::guards(reader, name)
}

/// Finds the pods behind a Service that requires its waypoint: those its selector finds and those at the addresses of
/// its EndpointSlices. Only pods of its own namespace: what is let in to those of others is not the Service's to say.
pub(in crate::compile) struct Guarding;

impl Query<Cluster> for Guarding {
    type Key = ObjectName;
    type Value = Option<Arc<Guarded>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<Guarded>> {
        let service = reader.input::<Service>(name)?;
        if !is_required(reader, name, &service) {
            return None;
        }
        let (mut found, mut ports) = (Guarded::default(), BTreeSet::new());
        found.pods.extend(reader.members(&Selected(name.clone())).iter().cloned());
        for slice in reader.members(&Slices(name.clone())).iter() {
            let Some(slice) = reader.input::<EndpointSlice>(&slice.object_name()) else { continue };
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
            let Some(named) = reader.get::<Select>(&pod.object_name()) else { continue };
            ports.extend(service.tcp_ports().filter_map(|it| it.number_at(&named)));
        }
        found.ports = ports.into_iter().collect();
        let object = ObjectRef::from_name(Kind::Service, name);
        for pod in &found.pods {
            made.put(Guards(pod.object_name()), object.clone());
        }
        Some(Arc::new(found))
    }
}

impl OfInput<Cluster> for Guarding {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Service).then(|| name.object_name())
    }
}

/// The ports that a Service guards at its pods.
pub(in crate::compile) struct GuardedPorts;

impl Query<Cluster> for GuardedPorts {
    type Key = ObjectName;
    type Value = Arc<[u16]>;
    const STAGE: u8 = stage::CHECKED;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Arc<[u16]> {
        reader.get::<Guarding>(name).map(|it| it.ports.as_slice().into()).unwrap_or_default()
    }
}

/// The pods of a namespace at an address; those on their node's network share it with others, and are found too.
fn pods_at(reader: &mut Reader<'_>, namespace: &Arc<str>, address: IpAddr) -> Vec<ObjectRef> {
    let holders = reader.members(&At(address));
    let mut found = address::pods(&holders);
    found.extend(address::host_pods(&holders));
    found.retain(|it| it.namespace == *namespace);
    found
}

/// Refuses, at the pods behind the Service, whoever is not its waypoint.
pub(in crate::compile) struct Authorize;

impl Query<Cluster> for Authorize {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(service) = reader.input::<Service>(name) else { return };
        if !is_required(reader, name, &service) {
            return;
        }
        let guarded = reader.get::<Guarding>(name).unwrap_or_default();
        warn_of_pods_outside(reader, name, &guarded.pods, made);
        warn_of_what_is_beyond(reader, name, &guarded.beyond, made);
        // No waypoint, no identity that is let in: everything is refused.
        let waypoint = reader.get::<waypoint::Resolve>(&name.namespace).and_then(|it| it.identity.clone());
        let peer = Condition::PeerIsNot(waypoint.into_iter().collect());
        let rule = Rule::when(vec![peer, Condition::PortIs(guarded.ports.clone())]);
        let authorization = Authorization::new(authorization_key(name).as_arc(), Action::Deny, vec![rule]);
        made.resources.push(Resource::Authorization(Arc::new(authorization)));
    }
}

impl OfInput<Cluster> for Authorize {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Service).then(|| name.object_name())
    }
}

fn warn_of_what_is_beyond(
    reader: &Reader<'_>,
    name: &ObjectName,
    beyond: &BTreeSet<IpAddr>,
    made: &mut Made,
) {
    if reader.settings().capture == Capture::Off {
        return;
    }
    if let Some(message) = not_enforced_at(beyond, &name.namespace) {
        let field = "metadata.labels[fairway.dev/waypoint]";
        let remedy = "remove these addresses from its EndpointSlices, or remove the label or the AccessPolicy that keeps it behind its waypoint";
        let error = Diagnostic::error(Reason::WaypointNotEnforcedAtAddress, field, message, remedy);
        made.report(&ObjectRef::from_name(Kind::Service, name), error);
    }
}

/// As many addresses are named.
const NAMED: usize = 3;

/// That a guard does not hold at addresses; none where there are none.
pub(in crate::compile) fn not_enforced_at(beyond: &BTreeSet<IpAddr>, namespace: &str) -> Option<String> {
    if beyond.is_empty() {
        return None;
    }
    let named: Vec<String> = beyond.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if beyond.len() > NAMED { ", …" } else { "" };
    let named = named.join(", ");
    Some(format!(
        "not everybody can be kept to the waypoint at {named}{more}: no pod of namespace {namespace} has that address"
    ))
}

fn warn_of_pods_outside(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    pods: &BTreeSet<ObjectRef>,
    made: &mut Made,
) {
    if reader.settings().capture == Capture::Off {
        return;
    }
    let outside = |reader: &mut Reader<'_>, pod: &ObjectRef| {
        reader.get::<workload::Identify>(&pod.object_name()).is_some_and(|it| !it.captured)
    };
    let names: Vec<String> =
        pods.iter().filter(|it| outside(reader, it)).map(|it| it.name.to_string()).collect();
    if !names.is_empty() {
        let error = Diagnostic::error(
            Reason::WaypointNotEnforcedForPods,
            "metadata.labels[fairway.dev/waypoint]",
            format!("pods outside the mesh are reached without the waypoint: {}", names.join(", ")),
            format!(
                "label namespace {} with fairway.dev/mesh=enabled, or remove the pods from the Service",
                name.namespace
            ),
        );
        made.report(&ObjectRef::from_name(Kind::Service, name), error);
    }
}
