//! How units read: everything through here, so that everything read is known.

use super::engine::{Engine, Fact};
use super::evaluation::Value;
use super::index::IndexKey;
use super::settings::Settings;
use super::unit::Unit;
use super::{
    authorization, backend_tls, binding, certificate, choice, conflict, gateway, proxy, route, waypoint,
    workload,
};
use crate::resources::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, Gateway, GatewayClass, GatewayParameters, GrpcRoute,
    HttpRoute, Kind, ListenerSet, Mesh, Meta, Namespace, ObjectRef, Pod, ReferenceGrant, Resources,
    RouteKind, Secret, Service, TcpRoute, TlsRoute, UdpRoute, Unhandled,
};
use fairway_config::model::{Audience, ListenerKey, ObjectName};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Reads for one run of one unit.
pub(super) struct Reader<'a> {
    engine: &'a mut Engine,
    stage: usize,
    reads: HashSet<Fact, ahash::RandomState>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(engine: &'a mut Engine, stage: usize) -> Self {
        Self { engine, stage, reads: HashSet::default() }
    }

    /// What was read.
    pub(super) fn into_reads(self) -> HashSet<Fact, ahash::RandomState> {
        self.reads
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.engine.settings().clone()
    }

    fn object<T>(
        &mut self,
        it: &ObjectRef,
        get: impl Fn(&Resources, &ObjectRef) -> Option<Arc<T>>,
    ) -> Option<Arc<T>> {
        self.reads.insert(Fact::Object(it.clone()));
        get(self.engine.objects(), it)
    }

    /// The metadata of an object of any kind.
    pub(super) fn meta(&mut self, it: &ObjectRef) -> Option<Meta> {
        self.reads.insert(Fact::Object(it.clone()));
        self.engine.objects().get(it).map(|it| it.meta().clone())
    }

    pub(super) fn namespace(&mut self, name: &Arc<str>) -> Option<Arc<Namespace>> {
        let it = ObjectRef::new(Kind::Namespace, "", name.clone());
        self.object(&it, |objects, it| objects.namespace(it).cloned())
    }

    pub(super) fn gateway_class(&mut self, name: &str) -> Option<Arc<GatewayClass>> {
        let it = ObjectRef::new(Kind::GatewayClass, "", name);
        self.object(&it, |objects, it| objects.gateway_class(it).cloned())
    }

    pub(super) fn mesh(&mut self, name: &str) -> Option<Arc<Mesh>> {
        let it = ObjectRef::new(Kind::Mesh, "", name);
        self.object(&it, |objects, it| objects.mesh(it).cloned())
    }

    pub(super) fn unhandled(&mut self, it: &ObjectRef) -> Option<Arc<Unhandled>> {
        self.object(it, |objects, it| objects.unhandled(it).cloned())
    }

    pub(super) fn gateway_parameters(&mut self, name: &ObjectName) -> Option<Arc<GatewayParameters>> {
        let it = ObjectRef::of(Kind::GatewayParameters, name);
        self.object(&it, |objects, it| objects.gateway_parameters(it).cloned())
    }

    pub(super) fn service(&mut self, name: &ObjectName) -> Option<Arc<Service>> {
        let it = ObjectRef::of(Kind::Service, name);
        self.object(&it, |objects, it| objects.service(it).cloned())
    }

    pub(super) fn pod(&mut self, name: &ObjectName) -> Option<Arc<Pod>> {
        let it = ObjectRef::of(Kind::Pod, name);
        self.object(&it, |objects, it| objects.pod(it).cloned())
    }

    pub(super) fn secret(&mut self, name: &ObjectName) -> Option<Arc<Secret>> {
        let it = ObjectRef::of(Kind::Secret, name);
        self.object(&it, |objects, it| objects.secret(it).cloned())
    }

    pub(super) fn gateway(&mut self, name: &ObjectName) -> Option<Arc<Gateway>> {
        let it = ObjectRef::of(Kind::Gateway, name);
        self.object(&it, |objects, it| objects.gateway(it).cloned())
    }

    pub(super) fn listener_set(&mut self, name: &ObjectName) -> Option<Arc<ListenerSet>> {
        let it = ObjectRef::of(Kind::ListenerSet, name);
        self.object(&it, |objects, it| objects.listener_set(it).cloned())
    }

    pub(super) fn config_map(&mut self, name: &ObjectName) -> Option<Arc<ConfigMap>> {
        let it = ObjectRef::of(Kind::ConfigMap, name);
        self.object(&it, |objects, it| objects.config_map(it).cloned())
    }

    pub(super) fn http_route(&mut self, it: &ObjectRef) -> Option<Arc<HttpRoute>> {
        self.object(it, |objects, it| objects.http_route(it).cloned())
    }

    pub(super) fn grpc_route(&mut self, it: &ObjectRef) -> Option<Arc<GrpcRoute>> {
        self.object(it, |objects, it| objects.grpc_route(it).cloned())
    }

    pub(super) fn tls_route(&mut self, it: &ObjectRef) -> Option<Arc<TlsRoute>> {
        self.object(it, |objects, it| objects.tls_route(it).cloned())
    }

    pub(super) fn tcp_route(&mut self, it: &ObjectRef) -> Option<Arc<TcpRoute>> {
        self.object(it, |objects, it| objects.tcp_route(it).cloned())
    }

    pub(super) fn udp_route(&mut self, it: &ObjectRef) -> Option<Arc<UdpRoute>> {
        self.object(it, |objects, it| objects.udp_route(it).cloned())
    }

    pub(super) fn backend_tls_policy(&mut self, name: &ObjectName) -> Option<Arc<BackendTlsPolicy>> {
        let it = ObjectRef::of(Kind::BackendTlsPolicy, name);
        self.object(&it, |objects, it| objects.backend_tls_policy(it).cloned())
    }

    pub(super) fn endpoint_slice(&mut self, it: &ObjectRef) -> Option<Arc<EndpointSlice>> {
        self.object(it, |objects, it| objects.endpoint_slice(it).cloned())
    }

    pub(super) fn reference_grant(&mut self, it: &ObjectRef) -> Option<Arc<ReferenceGrant>> {
        self.object(it, |objects, it| objects.reference_grant(it).cloned())
    }

    /// The objects under a key, in the order of their names.
    pub(super) fn members(&mut self, key: IndexKey) -> Arc<BTreeSet<ObjectRef>> {
        let members = self.engine.index().get(&key);
        self.reads.insert(Fact::Index(key));
        members
    }

    /// How many objects are under a key.
    pub(super) fn count(&mut self, key: IndexKey) -> usize {
        let count = self.engine.index().len(&key);
        self.reads.insert(Fact::Index(key));
        count
    }

    fn value(&mut self, unit: Unit) -> Value {
        debug_assert!(unit.stage() < self.stage, "{unit:?} is read too early");
        let value = self.engine.value_of(&unit);
        self.reads.insert(Fact::Unit(unit));
        value
    }

    pub(super) fn gateway_report(&mut self, name: &ObjectName) -> Option<Arc<gateway::GatewayReport>> {
        match self.value(Unit::GatewayCheck(name.clone())) {
            Value::GatewayReport(it) => Some(it),
            _ => None,
        }
    }

    pub(super) fn gateway_plan(&mut self, name: &ObjectName) -> Option<Arc<gateway::GatewayPlan>> {
        match self.value(Unit::Gateway(name.clone())) {
            Value::Gateway(it) => Some(it),
            _ => None,
        }
    }

    pub(super) fn listener_set_plan(&mut self, name: &ObjectName) -> Option<Arc<gateway::ListenerSetPlan>> {
        match self.value(Unit::ListenerSet(name.clone())) {
            Value::ListenerSet(it) => Some(it),
            _ => None,
        }
    }

    /// What a Secret holds, parsed; none when there is no Secret.
    pub(super) fn key_pair(&mut self, secret: &ObjectName) -> Option<Arc<certificate::KeyPair>> {
        match self.value(Unit::KeyPair(secret.clone())) {
            Value::KeyPair(it) => Some(it),
            _ => None,
        }
    }

    pub(super) fn binding(&mut self, route: &ObjectRef) -> Option<Arc<binding::Binding>> {
        match self.value(Unit::Binding(route.clone())) {
            Value::Binding(it) => Some(it),
            _ => None,
        }
    }

    pub(super) fn listener_losers(&mut self, listener: &ListenerKey) -> Arc<conflict::ListenerLosers> {
        match self.value(Unit::ListenerConflicts(listener.clone())) {
            Value::ListenerLosers(it) => it,
            _ => Arc::default(),
        }
    }

    /// The route that carries the connections of a listener.
    pub(super) fn carrier(&mut self, listener: &ListenerKey, kind: RouteKind) -> Option<Arc<ObjectRef>> {
        match self.value(Unit::Carrier(listener.clone(), kind)) {
            Value::Carrier(it) => Some(it),
            _ => None,
        }
    }

    pub(super) fn service_holders(
        &mut self,
        service: &ObjectName,
        of: &Audience,
    ) -> Arc<conflict::ServiceHolders> {
        match self.value(Unit::ServiceConflicts(service.clone(), of.clone())) {
            Value::ServiceHolders(it) => it,
            _ => Arc::default(),
        }
    }

    pub(super) fn proxy_pods(
        &mut self,
        gateway: &ObjectName,
        class: super::ProxyClass,
    ) -> Arc<proxy::ProxyPods> {
        match self.value(Unit::ProxyPods(gateway.clone(), class)) {
            Value::ProxyPods(it) => it,
            _ => Arc::default(),
        }
    }

    /// The proxy that is, or would be, the waypoint of a namespace.
    pub(super) fn choice(&mut self, namespace: &Arc<str>) -> Arc<choice::Choice> {
        match self.value(Unit::Choice(namespace.clone())) {
            Value::Choice(it) => it,
            _ => Arc::new(choice::Choice::nobody(namespace)),
        }
    }

    pub(super) fn waypoint(&mut self, namespace: &Arc<str>) -> Option<Arc<waypoint::Waypoint>> {
        match self.value(Unit::Waypoint(namespace.clone())) {
            Value::Waypoint(it) => Some(it),
            _ => None,
        }
    }

    pub(super) fn pod_identity(&mut self, pod: &ObjectName) -> Option<Arc<workload::PodIdentity>> {
        match self.value(Unit::Workload(pod.clone())) {
            Value::Pod(it) => Some(it),
            _ => None,
        }
    }

    /// What a BackendTLSPolicy asks for.
    pub(super) fn validation(&mut self, policy: &ObjectName) -> Option<Arc<backend_tls::Validation>> {
        match self.value(Unit::Validation(policy.clone())) {
            Value::Validation(it) => Some(it),
            _ => None,
        }
    }

    /// How policies secure the ports of a Service; none where no policy names it.
    pub(super) fn service_tls(&mut self, service: &ObjectName) -> Option<Arc<backend_tls::ServiceTls>> {
        // The usual case must not cost a unit for each Service.
        if self.count(IndexKey::Policies(service.clone())) == 0 {
            return None;
        }
        match self.value(Unit::ServiceTls(service.clone())) {
            Value::ServiceTls(it) => Some(it),
            _ => None,
        }
    }

    /// What the regular expressions of a route cost.
    pub(super) fn pattern_cost(&mut self, of: &ObjectRef) -> u64 {
        match self.value(Unit::PatternCost(of.clone())) {
            Value::PatternCost(cost) => cost,
            _ => 0,
        }
    }

    /// The routes of a namespace that it has no room for, for their regular expressions.
    pub(super) fn without_room(&mut self, namespace: &Arc<str>) -> Arc<route::budget::WithoutRoom> {
        match self.value(Unit::WithoutRoom(namespace.clone())) {
            Value::WithoutRoom(it) => it,
            _ => Arc::default(),
        }
    }

    /// What a Service that requires its waypoint guards.
    pub(super) fn guarded(&mut self, service: &ObjectName) -> Arc<authorization::Guarded> {
        match self.value(Unit::Guarded(service.clone())) {
            Value::Guarded(it) => it,
            _ => Arc::default(),
        }
    }
}
