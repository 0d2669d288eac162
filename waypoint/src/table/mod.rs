//! The tables a proxy serves from: immutable, built when a configuration is committed, replaced as a whole.
//!
//! Only what a change touches is built anew; the rest is shared with the tables before.

mod access;
mod attachments;
mod authentications;
mod departed;
#[cfg(test)]
mod guards;
mod limits;
mod listeners;
mod opening;
mod service_streams;
mod services;
mod streams;
#[cfg(test)]
mod tests;
mod treatment;

pub use access::AccessTable;
pub use authentications::{AuthenticationTable, Authenticator};
pub use limits::{Counted, Counting, LimitTable, LimitsOfTarget};
pub use listeners::{BoundListener, ListenerSet, Socket, SocketKind};
pub use opening::Opening;
pub use services::ServiceTable;
pub use streams::{CompiledL4Route, StreamTable};

use crate::route::{CompiledRoute, RouteTable};
use crate::upstream::cluster::{Cluster, Registry};
use crate::upstream::tls::Shown;
use ahash::HashMap;
use attachments::Edits;
use departed::Departed;
use fairway_config::model::{
    Audience, BackendKey, Generation, ListenerKey, ListenerProtocol, ResourceKey, ResourceKind, Route,
    RouteKey, Service, ServiceKey,
};
use fairway_config::{Changes, Rejected, Snapshot};
use fairway_telemetry::{ConnectionLabels, Direction, RequestLabels, SeriesTable, Telemetry};
use service_streams::{ServiceStreams, is_of_service};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use streams::StreamEdits;

/// A map that tables share until one of them changes it.
type Shared<K, V> = Arc<HashMap<K, V>>;

/// Everything that serving needs of one configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    generation: Generation,
    routes: Shared<RouteKey, Arc<CompiledRoute>>,
    listener_routes: Shared<ListenerKey, Arc<RouteTable>>,
    l4_routes: Shared<RouteKey, Arc<CompiledL4Route>>,
    listener_streams: Shared<ListenerKey, Arc<StreamTable>>,
    service_streams: Arc<ServiceStreams>,
    sockets: Shared<Socket, Arc<ListenerSet>>,
    services: Shared<ServiceKey, Arc<ServiceTable>>,
    addresses: Shared<IpAddr, Arc<Service>>,
    clusters: Shared<BackendKey, Arc<Cluster>>,
    departed: Departed,
    /// The certificates that listeners show to backends.
    shown: Arc<Shown>,
    /// Where what is served counts.
    telemetry: Telemetry,
    access: AccessTable,
    limits: LimitTable,
    authentications: AuthenticationTable,
    /// Whether a listener names authentications, authorizations or limits.
    guards_listeners: bool,
    /// Whether a backend does, also one that has gone.
    guards_backends: bool,
}

// === impl Tables ===

impl Tables {
    /// Empty ones, for what counts there.
    pub fn counted_by(telemetry: Telemetry) -> Self {
        Self { telemetry, ..Self::default() }
    }

    /// Builds the tables of a whole configuration.
    pub fn build(snapshot: &Snapshot, registry: &mut Registry) -> Result<Self, Vec<Rejected>> {
        Self::default().next(snapshot, &snapshot.resources().map(|it| it.key()).collect(), registry)
    }

    /// Builds the tables of the configuration after this one's. `changes` names every resource that differs.
    pub fn next(
        &self,
        snapshot: &Snapshot,
        changes: &Changes,
        registry: &mut Registry,
    ) -> Result<Self, Vec<Rejected>> {
        let mut next = Self { generation: snapshot.generation, ..self.clone() };
        let of = |kind| changes.iter().filter(move |it| it.kind == kind);
        let routes = next.change_routes(snapshot, of(ResourceKind::Route))?;
        let streams = next.change_l4_routes(snapshot, of(ResourceKind::L4Route));
        if routes || streams || of(ResourceKind::Listener).next().is_some() {
            let sockets = listeners::bind(
                snapshot,
                changes,
                &next.listener_routes,
                &next.listener_streams,
                &self.sockets,
            )?;
            next.sockets = Arc::new(sockets);
            next.guards_listeners = snapshot.listeners.values().any(|it| it.is_guarded());
        }
        if of(ResourceKind::Authorization).next().is_some() {
            next.access = AccessTable::new(snapshot, &next.telemetry);
        }
        if of(ResourceKind::RateLimit).next().is_some() {
            next.limits = self.limits.next(snapshot, of(ResourceKind::RateLimit), &next.telemetry);
        }
        if of(ResourceKind::Authentication).next().is_some() {
            let changed = of(ResourceKind::Authentication);
            next.authentications = self.authentications.next(snapshot, changed, &next.telemetry);
        }
        if of(ResourceKind::Service).next().is_some() {
            next.addresses = Arc::new(services::by_address(snapshot));
            if self.is_of_waypoint() {
                let gone = of(ResourceKind::Service).filter(|it| !snapshot.services.contains_key(&*it.name));
                for key in gone {
                    let service = self.addresses.values().find(|it| it.key.as_str() == &*key.name);
                    service.into_iter().for_each(|it| next.departed.add_service(it.clone()));
                }
            }
        }
        let changed = of(ResourceKind::Backend).chain(of(ResourceKind::Endpoints));
        let mut changed: BTreeSet<Arc<str>> = changed.map(|it| it.name.clone()).collect();
        if of(ResourceKind::Listener).chain(of(ResourceKind::Certificate)).next().is_some() {
            let shown = shown_by_listeners(snapshot);
            if shown != *next.shown {
                next.shown = Arc::new(shown);
                let secured = next.clusters.values().filter(|it| it.is_secured());
                changed.extend(secured.map(|it| it.key().as_arc()));
            }
        }
        next.change_clusters(snapshot, &changed, registry);
        if next.departed.limits().next().is_some() || !next.limits.has_no_departed() {
            let mut limits = std::mem::take(&mut next.limits);
            limits.keep_departed(&self.limits, next.departed.limits());
            next.limits = limits;
        }
        Ok(next)
    }

    /// The authorizations that listeners, rules and backends name.
    pub fn access(&self) -> &AccessTable {
        &self.access
    }

    /// The limits of the configuration.
    pub fn limits(&self) -> &LimitTable {
        &self.limits
    }

    /// The authentications of the configuration.
    pub fn authentications(&self) -> &AuthenticationTable {
        &self.authentications
    }

    /// Whether a listener names authentications, authorizations or limits. Mostly none does, and then no request looks for them.
    pub fn guards_listeners(&self) -> bool {
        self.guards_listeners
    }

    /// Whether a backend names authentications, authorizations or limits.
    pub fn guards_backends(&self) -> bool {
        self.guards_backends
    }

    /// The configuration these are of.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether tunnels arrive here.
    pub fn is_of_waypoint(&self) -> bool {
        let mut listeners = self.sockets().flat_map(|it| it.listeners());
        listeners.any(|it| matches!(it.listener.protocol, ListenerProtocol::Hbone))
    }

    /// Every socket to accept on.
    pub fn sockets(&self) -> impl Iterator<Item = &Arc<ListenerSet>> {
        self.sockets.values()
    }

    /// The listeners behind a socket.
    pub fn socket(&self, socket: &Socket) -> Option<&Arc<ListenerSet>> {
        self.sockets.get(socket)
    }

    /// The rules bound to a Service for an audience. None if there are none for that port: then its requests go to the
    /// Service's own endpoints.
    pub fn service_routes(
        &self,
        service: &ServiceKey,
        port: u16,
        audience: &Audience,
    ) -> Option<&Arc<RouteTable>> {
        self.services.get(service)?.routes(port, audience)
    }

    /// The route that carries the connections to a port of a Service as they are, for an audience.
    pub fn service_stream(
        &self,
        service: &ServiceKey,
        port: u16,
        audience: &Audience,
    ) -> Option<&Arc<CompiledL4Route>> {
        self.service_streams.choose(service, port, audience)
    }

    /// Whether a route of any kind is bound to a port of a Service for an audience.
    pub fn is_routed(&self, service: &ServiceKey, port: u16, audience: &Audience) -> bool {
        self.service_routes(service, port, audience).is_some()
            || self.service_stream(service, port, audience).is_some()
    }

    /// The Service that has this cluster IP, or that had it when this waypoint stood before it.
    pub fn service_at(&self, address: IpAddr) -> Option<&Arc<Service>> {
        self.addresses.get(&address).or_else(|| self.departed.service_at(address))
    }

    /// A backend's endpoints. None if nothing is known under this key, which is answered with 500.
    pub fn cluster(&self, key: &BackendKey) -> Option<&Arc<Cluster>> {
        self.clusters.get(key)
    }

    /// A Service's own backend; one that a waypoint had and has no more is good for whoever was sent here for it.
    pub fn service_cluster(&self, key: &BackendKey) -> Option<&Arc<Cluster>> {
        self.cluster(key).or_else(|| self.departed.cluster(key))
    }

    /// Whose endpoints to connect to for a cluster: its own, or those of the waypoint that alone may reach it, and then the
    /// Service's address to name there. `own` is this proxy as a waypoint: what alone may reach a cluster reaches it.
    /// None if that waypoint is not known: it is never gone around.
    pub fn way_to<'a>(
        &'a self,
        cluster: &'a Cluster,
        own: &BackendKey,
    ) -> Option<(&'a Cluster, Option<SocketAddr>)> {
        match cluster.via() {
            Some((waypoint, address)) if waypoint != own => Some((self.cluster(waypoint)?, Some(*address))),
            _ => Some((cluster, None)),
        }
    }

    /// Every backend's endpoints, in no order.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.values()
    }

    /// The rules of every Service, by audience and port; no port stands for those that no entry names. In no order.
    pub fn routed_services(
        &self,
    ) -> impl Iterator<Item = (&ServiceKey, &Audience, Option<u16>, &Arc<RouteTable>)> {
        self.services.iter().flat_map(|(service, table)| {
            table.ports().map(move |(audience, port, routes)| (service, audience, port, routes))
        })
    }

    /// Puts changed routes in their places; whether a listener's table changed.
    fn change_routes<'a>(
        &mut self,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = &'a ResourceKey>,
    ) -> Result<bool, Vec<Rejected>> {
        let (mut edits, mut rejected) = (Edits::default(), Vec::new());
        for key in changed {
            let name = &*key.name;
            let new =
                match snapshot.routes.get(name).map(|it| compiled(it, self.telemetry.requests())).transpose()
                {
                    Ok(new) => new.map(Arc::new),
                    Err(reason) => {
                        rejected.push(Rejected { key: key.clone(), reason });
                        continue;
                    }
                };
            edits.replace(self.routes.get(name), new.as_ref());
            let routes = Arc::make_mut(&mut self.routes);
            match new {
                Some(new) => drop(routes.insert(key.name.clone().into(), new)),
                None => drop(routes.remove(name)),
            }
        }
        if !rejected.is_empty() {
            return Err(rejected);
        }
        edits.apply_to_services(&mut self.services);
        Ok(edits.apply_to_listeners(&mut self.listener_routes))
    }

    /// Puts changed routes for bytes and datagrams in their places; whether a listener's table changed.
    fn change_l4_routes<'a>(
        &mut self,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = &'a ResourceKey>,
    ) -> bool {
        let (mut edits, mut of_services) = (StreamEdits::default(), false);
        for key in changed {
            let name = &*key.name;
            let new = snapshot
                .l4_routes
                .get(name)
                .map(|it| Arc::new(CompiledL4Route::new(it.clone(), self.telemetry.connections())));
            let old = self.l4_routes.get(name);
            of_services |= old.into_iter().chain(&new).any(|it| is_of_service(it));
            edits.replace(old, new.as_ref());
            let routes = Arc::make_mut(&mut self.l4_routes);
            match new {
                Some(new) => drop(routes.insert(key.name.clone().into(), new)),
                None => drop(routes.remove(name)),
            }
        }
        if of_services {
            self.service_streams = Arc::new(ServiceStreams::build(&self.l4_routes));
        }
        edits.apply(&mut self.listener_streams)
    }

    /// A backend and its endpoints have one key and often change together.
    fn change_clusters(
        &mut self,
        snapshot: &Snapshot,
        changed: &BTreeSet<Arc<str>>,
        registry: &mut Registry,
    ) {
        if changed.is_empty() {
            return;
        }
        let has_tunnels = self.is_of_waypoint();
        let clusters = Arc::make_mut(&mut self.clusters);
        for name in changed {
            let backend = snapshot.backends.get(&**name);
            let endpoints = snapshot.endpoints.get(&**name);
            if backend.is_none() && endpoints.is_none() {
                let gone = clusters.remove(&**name).filter(|_| has_tunnels);
                gone.into_iter().for_each(|it| self.departed.add_cluster(it));
                continue;
            }
            let key = BackendKey::from(name.clone());
            let cluster =
                Cluster::new(key.clone(), backend.cloned(), endpoints.map(|it| &**it), &self.shown, registry);
            // What no rule takes goes to the Service's own endpoints.
            let labels = RequestLabels { rule: None, backend: Some(key.clone()) };
            let requests = self.telemetry.requests().series(labels);
            let labels = || ConnectionLabels {
                backend: Some(key.clone()),
                ..ConnectionLabels::new(Direction::Listener)
            };
            let connections = has_tunnels.then(|| self.telemetry.connections().series(labels()));
            let cluster = cluster.counted_by(requests, connections);
            // Once true it stays so: those that have gone name theirs as well.
            self.guards_backends |= cluster.is_guarded();
            clusters.insert(key, Arc::new(cluster));
        }
        if !self.departed.is_empty() {
            let guards = snapshot.endpoints.values().flat_map(|it| &it.guards);
            self.departed.forget_guarded(&guards.flat_map(|it| it.endpoints.iter().copied()).collect());
        }
        registry.sweep();
    }
}

fn shown_by_listeners(snapshot: &Snapshot) -> Shown {
    let keys = snapshot.listeners.values().filter_map(|it| it.backend_certificate.as_ref());
    keys.map(|key| (key.clone(), snapshot.certificates.get(key).cloned())).collect()
}

fn compiled(route: &Arc<Route>, series: &SeriesTable<RequestLabels>) -> Result<CompiledRoute, String> {
    route.check().map_err(|error| error.to_string())?;
    CompiledRoute::new(route.clone(), series).map_err(|error| error.to_string())
}
