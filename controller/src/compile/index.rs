//! Lookups other than by name: which objects stand under a key.

use super::ProxyClass;
use super::shadow::Place;
use super::unit::Unit;
use crate::provision::metadata::{GATEWAY, GATEWAY_NAME};
use crate::resources::{Kind, Meta, Object, ObjectRef, RouteKind};
use fairway_config::model::{Audience, ListenerKey, ObjectName};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// A question whose answer is a set of objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum IndexKey {
    // Answered by the objects themselves.
    /// ReferenceGrants of a namespace.
    Grants(Arc<str>),
    /// EndpointSlices of a Service.
    Slices(ObjectName),
    /// Pods of a namespace.
    Pods(Arc<str>),
    /// Pods at an address.
    PodsAt(IpAddr),
    /// Pods that run the proxy of a Gateway.
    ProxyPods(ObjectName),
    /// ListenerSets that name a Gateway.
    ListenerSets(ObjectName),
    /// Gateways of a class in a namespace.
    Gateways(Arc<str>, Arc<str>),
    /// Gateways of any class.
    EveryGateway,
    /// Gateways that take the routes that ask for default Gateways (GEP-3793).
    DefaultGateways,
    /// BackendTLSPolicies that name a Service.
    Policies(ObjectName),
    /// Routes of a namespace with regular expressions.
    PatternUsers(Arc<str>),
    // Answered by what units find out.
    /// Gateways whose routes use a Service.
    BackendGateways(ObjectName),
    /// Gateways and waypoints that get a proxy.
    Proxies(ProxyClass),
    /// Gateways that use a Secret with leave.
    CertificateUsers(ObjectName),
    /// Routes of a kind that a listener would take.
    ListenerClaims(ListenerKey, RouteKind),
    /// Routes of a kind that a Service would take.
    ServiceClaims(ObjectName, Audience, RouteKind),
    /// Routes that want a place for requests that only one of them can have.
    Wanting(Place),
    /// Routes that go before a route somewhere.
    ShadowedBy(ObjectRef),
    /// Accepted routes of a listener.
    Attached(ListenerKey),
    /// Accepted routes of a Service, from its own namespace.
    ProducerRoutes(ObjectName),
    /// Accepted routes of a Service, from other namespaces.
    ConsumerRoutes(ObjectName),
    /// What makes a namespace need a waypoint: accepted Service-bound routes, Services that require one.
    WaypointNeed(Arc<str>),
    /// Waypoints that are needed and that nobody wrote a Gateway for (only in a cluster).
    Implied,
    /// Services that pods are guarded for: reached through a waypoint only.
    Guards(ObjectName),
    /// Services of a namespace that are reached through a waypoint only.
    Requiring(Arc<str>),
    /// Services that have an address as their own.
    ServicesAt(IpAddr),
    /// Pods on the node that has an address.
    NodesAt(IpAddr),
    /// Pods on their node's network, at an address of it.
    HostPodsAt(IpAddr),
}

/// The members of a set. Most sets have one; a tree of its own for each of those would be ten times as large.
#[derive(Debug)]
enum Members {
    One(ObjectRef),
    Many(Arc<BTreeSet<ObjectRef>>),
}

/// The sets, by key.
#[derive(Debug, Default)]
pub(super) struct Index {
    sets: HashMap<IndexKey, Members, ahash::RandomState>,
    /// How many more times than once a member stands under a key: several units may put the same one there.
    again: HashMap<(IndexKey, ObjectRef), u32, ahash::RandomState>,
}

// === impl IndexKey ===

impl IndexKey {
    /// The unit that has to run when the set changes, whether or not it ran before.
    pub(super) fn wakes(&self, members: usize) -> Option<Unit> {
        match self {
            Self::CertificateUsers(secret) => Some(Unit::Certificate(secret.clone())),
            Self::WaypointNeed(namespace) => Some(Unit::Waypoint(namespace.clone())),
            Self::Proxies(ProxyClass::Waypoint) => Some(Unit::HboneListeners),
            // One alone is in nobody's way, and that is the usual case.
            Self::Wanting(place) if members > 1 => Some(Unit::Shadows(*place)),
            _ => None,
        }
    }

    /// The keys an object stands under by itself.
    pub(super) fn of(object: &Object) -> Vec<Self> {
        match object {
            Object::ReferenceGrant(it) => vec![Self::Grants(it.meta.namespace.clone())],
            Object::EndpointSlice(it) => it
                .service
                .iter()
                .map(|service| Self::Slices(ObjectName::new(it.meta.namespace.clone(), service.clone())))
                .collect(),
            Object::Pod(it) => {
                let mut keys = vec![Self::Pods(it.meta.namespace.clone())];
                // Pods on the node's network share its address with others: an address says nothing of them.
                if !it.ended {
                    let at = if it.host_network { Self::HostPodsAt } else { Self::PodsAt };
                    keys.extend(it.addresses.iter().map(|address| at(*address)));
                }
                keys.extend(it.node_addresses.iter().map(|address| Self::NodesAt(*address)));
                if let Some(gateway) = gateway_of(&it.meta) {
                    keys.push(Self::ProxyPods(ObjectName::new(it.meta.namespace.clone(), gateway.clone())));
                }
                keys
            }
            Object::Gateway(it) => {
                let class = it.spec.gateway_class_name.as_str();
                let mut keys =
                    vec![Self::Gateways(class.into(), it.meta.namespace.clone()), Self::EveryGateway];
                keys.extend(super::gateway::is_default(it).then_some(Self::DefaultGateways));
                keys
            }
            Object::ListenerSet(it) => {
                it.spec.gateway(&it.meta.namespace).map(Self::ListenerSets).into_iter().collect()
            }
            Object::BackendTlsPolicy(it) => {
                super::backend_tls::services(it).into_iter().map(Self::Policies).collect()
            }
            Object::Service(it) => {
                let mut keys: Vec<_> = it.cluster_ips.iter().copied().map(Self::ServicesAt).collect();
                if super::service::requires_waypoint(it) {
                    let namespace = &it.meta.namespace;
                    keys.extend([Self::WaypointNeed(namespace.clone()), Self::Requiring(namespace.clone())]);
                }
                keys
            }
            Object::HttpRoute(_) | Object::GrpcRoute(_) if super::route::budget::has_expressions(object) => {
                vec![Self::PatternUsers(object.meta().namespace.clone())]
            }
            _ => Vec::new(),
        }
    }
}

/// The Gateway that a pod runs the proxy of, by its label (GEP-1762), or in full by our annotation where the name is longer
/// than a label's value.
pub(super) fn gateway_of(pod: &Meta) -> Option<&Arc<str>> {
    pod.annotations.get(GATEWAY).or_else(|| pod.labels.get(GATEWAY_NAME))
}

// === impl Index ===

impl Index {
    pub(super) fn get(&self, key: &IndexKey) -> Arc<BTreeSet<ObjectRef>> {
        match self.sets.get(key) {
            None => Arc::default(),
            Some(Members::One(it)) => Arc::new(BTreeSet::from([it.clone()])),
            Some(Members::Many(set)) => set.clone(),
        }
    }

    pub(super) fn len(&self, key: &IndexKey) -> usize {
        match self.sets.get(key) {
            None => 0,
            Some(Members::One(_)) => 1,
            Some(Members::Many(set)) => set.len(),
        }
    }

    /// Whether the set changed.
    pub(super) fn insert(&mut self, key: &IndexKey, member: ObjectRef) -> bool {
        let is_there = match self.sets.get_mut(key) {
            None => {
                self.sets.insert(key.clone(), Members::One(member));
                return true;
            }
            Some(Members::One(held)) if *held == member => true,
            Some(Members::Many(set)) if set.contains(&member) => true,
            Some(Members::Many(set)) => !Arc::make_mut(set).insert(member.clone()),
            Some(one @ Members::One(_)) => {
                let before = std::mem::replace(one, Members::Many(Arc::default()));
                if let (Members::Many(set), Members::One(held)) = (one, before) {
                    Arc::make_mut(set).extend([held, member.clone()]);
                }
                false
            }
        };
        if is_there {
            *self.again.entry((key.clone(), member)).or_default() += 1;
        }
        !is_there
    }

    /// Whether the set changed.
    pub(super) fn remove(&mut self, key: &IndexKey, member: &ObjectRef) -> bool {
        if let Entry::Occupied(mut more) = self.again.entry((key.clone(), member.clone())) {
            *more.get_mut() -= 1;
            if *more.get() == 0 {
                more.remove();
            }
            return false;
        }
        let (removed, is_empty) = match self.sets.get_mut(key) {
            None => (false, false),
            Some(Members::One(held)) => (held == member, held == member),
            Some(Members::Many(set)) => {
                let removed = Arc::make_mut(set).remove(member);
                (removed, set.is_empty())
            }
        };
        if is_empty {
            self.sets.remove(key);
        }
        removed
    }
}

/// The units an object gives life to.
pub(super) fn roots(object: &ObjectRef) -> Vec<Unit> {
    let name = || object.object_name();
    match object.kind {
        Kind::GatewayClass => vec![Unit::Class(object.name.clone())],
        Kind::Gateway => vec![Unit::GatewayCheck(name()), Unit::Gateway(name()), Unit::GatewayStatus(name())],
        Kind::ListenerSet => vec![Unit::ListenerSet(name()), Unit::ListenerSetStatus(name())],
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
            vec![Unit::Binding(object.clone()), Unit::Route(object.clone())]
        }
        Kind::Service => vec![
            Unit::Guarded(name()),
            Unit::Service(name()),
            Unit::Endpoints(name()),
            Unit::Authorization(name()),
        ],
        Kind::Pod => vec![Unit::Workload(name())],
        Kind::BackendTlsPolicy => vec![Unit::Validation(name()), Unit::PolicyStatus(name())],
        Kind::Mesh => vec![Unit::Mesh(object.name.clone())],
        Kind::BackendTrafficPolicy | Kind::TelemetryPolicy | Kind::ExternalBackend => {
            vec![Unit::Unhandled(object.clone())]
        }
        Kind::Namespace
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ReferenceGrant
        | Kind::GatewayParameters => Vec::new(),
    }
}
