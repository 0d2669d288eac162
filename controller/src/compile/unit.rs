//! The units of work and the order of their stages.

use super::evaluation::Evaluation;
use super::index::IndexKey;
use super::output::ProxyClass;
use super::reader::Reader;
use super::shadow::{self, Place};
use super::{
    authorization, backend_tls, binding, certificate, choice, class, conflict, endpoints, gateway, mesh,
    proxy, route, service,
};
use super::{unhandled, waypoint, workload};
use crate::resources::{Kind, ObjectRef, RouteKind};
use fairway_config::model::{Audience, ListenerKey, ObjectName};
use std::sync::Arc;

/// A unit of work: a pure function of what it reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    /// Whether a GatewayClass is ours, and its status.
    Class(Arc<str>),
    /// Who runs the proxy of a Gateway of this class.
    ProxyPods(ObjectName, ProxyClass),
    /// Which pods are guarded for a Service that requires its waypoint.
    Guarded(ObjectName),
    /// What a BackendTLSPolicy asks for.
    Validation(ObjectName),
    /// What the regular expressions of a route cost.
    PatternCost(ObjectRef),
    /// For which routes a namespace has no room, for their regular expressions.
    WithoutRoom(Arc<str>),
    /// How policies secure the ports of a Service.
    ServiceTls(ObjectName),
    /// The status of a BackendTLSPolicy.
    PolicyStatus(ObjectName),
    /// A pod.
    Workload(ObjectName),
    /// What a Gateway asks for and what of it is right.
    GatewayCheck(ObjectName),
    /// What of a Gateway routes see, and its listeners.
    Gateway(ObjectName),
    /// What of a ListenerSet routes see, and its listeners.
    ListenerSet(ObjectName),
    /// The certificate and key in a Secret, parsed.
    KeyPair(ObjectName),
    /// The certificate in a Secret, for the proxies.
    Certificate(ObjectName),
    /// Where a route could attach.
    Binding(ObjectRef),
    /// Which routes lose against routes of another kind on a listener.
    ListenerConflicts(ListenerKey),
    /// Which of the TCPRoutes or UDPRoutes of a listener carries its connections.
    Carrier(ListenerKey, RouteKind),
    /// Which routes lose against routes of another kind on a Service.
    ServiceConflicts(ObjectName, Audience),
    /// Which routes are shadowed where several want one place.
    Shadows(Place),
    /// A route, resolved, and its status.
    Route(ObjectRef),
    /// The status of a ListenerSet.
    ListenerSetStatus(ObjectName),
    /// The status of a Gateway.
    GatewayStatus(ObjectName),
    /// What an XMesh is told.
    Mesh(Arc<str>),
    /// What an object of a kind that is not carried out is told.
    Unhandled(ObjectRef),
    /// Which proxy is the waypoint of a namespace, or would be.
    Choice(Arc<str>),
    /// The waypoint of a namespace that needs one.
    Waypoint(Arc<str>),
    /// The HBONE listeners of all waypoints.
    HboneListeners,
    /// A Service and its backends.
    Service(ObjectName),
    /// The endpoints of a Service.
    Endpoints(ObjectName),
    /// Who may connect to the pods of a Service that requires its waypoint.
    Authorization(ObjectName),
}

/// What keeps a unit that made nothing from being forgotten.
#[derive(Debug)]
pub(super) enum Life {
    /// An object, as long as it is there.
    Object(ObjectRef),
    /// Sets, as long as one of them has members.
    Sets(Vec<IndexKey>),
    /// Only the units that read it.
    Readers,
}

/// How many stages there are.
pub(super) const STAGES: usize = 9;

// === impl Unit ===

impl Unit {
    /// A unit reads only what units of earlier stages make; so there are no cycles.
    pub(super) fn stage(&self) -> usize {
        match self {
            Self::Class(_)
            | Self::Mesh(_)
            | Self::Unhandled(_)
            | Self::KeyPair(_)
            | Self::ProxyPods(..)
            | Self::Guarded(_)
            | Self::PatternCost(_)
            | Self::Validation(_) => 0,
            Self::WithoutRoom(_) | Self::ServiceTls(_) | Self::Workload(_) | Self::GatewayCheck(_) => 1,
            Self::Gateway(_) | Self::ListenerSet(_) => 2,
            Self::Certificate(_) | Self::Binding(_) | Self::Choice(_) => 3,
            Self::ListenerConflicts(_) | Self::Carrier(..) | Self::ServiceConflicts(..) => 4,
            Self::Route(_) => 5,
            Self::Shadows(_)
            | Self::PolicyStatus(_)
            | Self::GatewayStatus(_)
            | Self::ListenerSetStatus(_)
            | Self::Waypoint(_) => 6,
            Self::Service(_) | Self::Endpoints(_) | Self::Authorization(_) => 7,
            Self::HboneListeners => 8,
        }
    }

    /// What keeps it from being forgotten.
    pub(super) fn life(&self) -> Life {
        match self {
            Self::Class(name) => Life::Object(ObjectRef::new(Kind::GatewayClass, "", name.clone())),
            Self::Mesh(name) => Life::Object(ObjectRef::new(Kind::Mesh, "", name.clone())),
            Self::GatewayCheck(it) | Self::Gateway(it) | Self::GatewayStatus(it) => {
                Life::Object(ObjectRef::of(Kind::Gateway, it))
            }
            Self::ListenerSet(it) | Self::ListenerSetStatus(it) => {
                Life::Object(ObjectRef::of(Kind::ListenerSet, it))
            }
            Self::Validation(it) | Self::PolicyStatus(it) => {
                Life::Object(ObjectRef::of(Kind::BackendTlsPolicy, it))
            }
            Self::PatternCost(it) | Self::Binding(it) | Self::Route(it) | Self::Unhandled(it) => {
                Life::Object(it.clone())
            }
            Self::Workload(it) => Life::Object(ObjectRef::of(Kind::Pod, it)),
            Self::Guarded(it) | Self::Service(it) | Self::Endpoints(it) | Self::Authorization(it) => {
                Life::Object(ObjectRef::of(Kind::Service, it))
            }
            Self::Certificate(it) => Life::Sets(vec![IndexKey::CertificateUsers(it.clone())]),
            Self::Shadows(it) => Life::Sets(vec![IndexKey::Wanting(*it)]),
            Self::Waypoint(it) => Life::Sets(vec![IndexKey::WaypointNeed(it.clone())]),
            Self::HboneListeners => Life::Sets(vec![IndexKey::Proxies(ProxyClass::Waypoint)]),
            Self::KeyPair(_)
            | Self::ProxyPods(..)
            | Self::ServiceTls(_)
            | Self::WithoutRoom(_)
            | Self::Choice(_)
            | Self::ListenerConflicts(_)
            | Self::Carrier(..)
            | Self::ServiceConflicts(..) => Life::Readers,
        }
    }

    /// Does the work.
    pub(super) fn evaluate(&self, reader: &mut Reader<'_>) -> Evaluation {
        match self {
            Self::Class(name) => class::evaluate(reader, name),
            Self::ProxyPods(gateway, class) => proxy::pods(reader, gateway, *class),
            Self::Guarded(service) => authorization::guarded(reader, service),
            Self::Validation(policy) => backend_tls::check(reader, policy),
            Self::PatternCost(route) => route::budget::cost(reader, route),
            Self::WithoutRoom(namespace) => route::budget::without_room(reader, namespace),
            Self::ServiceTls(service) => backend_tls::of_service(reader, service),
            Self::PolicyStatus(policy) => backend_tls::status(reader, policy),
            Self::Workload(pod) => workload::evaluate(reader, pod),
            Self::GatewayCheck(gateway) => gateway::check(reader, gateway),
            Self::Gateway(gateway) => gateway::publish(reader, gateway),
            Self::ListenerSet(set) => gateway::publish_set(reader, set),
            Self::KeyPair(secret) => certificate::key_pair(reader, secret),
            Self::Certificate(secret) => certificate::evaluate(reader, secret),
            Self::Binding(route) => binding::evaluate(reader, route),
            Self::ListenerConflicts(listener) => conflict::on_listener(reader, listener),
            Self::Carrier(listener, kind) => conflict::carrier(reader, listener, *kind),
            Self::ServiceConflicts(service, audience) => conflict::on_service(reader, service, audience),
            Self::Shadows(place) => shadow::evaluate(reader, *place),
            Self::Route(route) => route::evaluate(reader, route),
            Self::GatewayStatus(gateway) => gateway::status(reader, gateway),
            Self::ListenerSetStatus(set) => gateway::set_status(reader, set),
            Self::Mesh(name) => mesh::evaluate(reader, name),
            Self::Unhandled(object) => unhandled::evaluate(reader, object),
            Self::Choice(namespace) => choice::evaluate(reader, namespace),
            Self::Waypoint(namespace) => waypoint::evaluate(reader, namespace),
            Self::HboneListeners => waypoint::listeners(reader),
            Self::Service(service) => service::evaluate(reader, service),
            Self::Endpoints(service) => endpoints::evaluate(reader, service),
            Self::Authorization(service) => authorization::evaluate(reader, service),
        }
    }
}
