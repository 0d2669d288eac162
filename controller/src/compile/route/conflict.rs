//! Which routes lose where several ask for the same requests or connections.

use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::route::binding::{self, ListenerClaims, ServiceClaims};
use crate::compile::route::held_hosts::HeldHosts;
use crate::compile::route::parent::ListenerClaim;
use crate::compile::stage;
use crate::resources::{Kind, ObjectRef, RouteKind};
use fairway_config::model::{Audience, ListenerKey, ObjectName};
use fairway_incremental::Query;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Routes that lose on a listener, with the one they lose against.
pub(in crate::compile) type ListenerLosers = BTreeMap<ObjectRef, ObjectRef>;
/// Who holds the ports of a Service: the first route of the most specific kind. Ports that only
/// HTTPRoutes want are not in it.
pub(in crate::compile) type ServiceHolders = BTreeMap<u16, ObjectRef>;

/// On a listener an HTTPRoute and a GRPCRoute whose hosts intersect cannot both hold: the two orders of precedence
/// cannot be merged. The older route wins, then the first by name (GRPCRoute `hostnames` in the API).
pub(in crate::compile) struct OnListener;

impl Query<Cluster> for OnListener {
    type Key = ListenerKey;
    type Value = Arc<ListenerLosers>;
    const STAGE: u8 = stage::CONFLICTS;

    fn run(listener: &ListenerKey, reader: &mut Reader<'_>, _: &mut Made) -> Arc<ListenerLosers> {
        let grpc = reader.members(&ListenerClaims(listener.clone(), RouteKind::Grpc));
        let http = match grpc.is_empty() {
            // The usual case must not depend on every HTTPRoute of the listener.
            true => return Arc::default(),
            false => reader.members(&ListenerClaims(listener.clone(), RouteKind::Http)),
        };
        let mut ordered: Vec<(i64, ObjectName, &ObjectRef, Vec<ListenerClaim>)> = Vec::new();
        for route in grpc.iter().chain(http.iter()) {
            let Some(binding) = reader.get::<binding::Bind>(route) else { continue };
            let claims = binding.on_listener(listener).cloned().collect();
            ordered.push((binding.created, route.object_name(), route, claims));
        }
        ordered.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        let mut losers = ListenerLosers::new();
        let (mut held_by_grpc, mut held_by_http) = (HeldHosts::default(), HeldHosts::default());
        for (place, (_, _, route, claims)) in ordered.iter().enumerate() {
            let (own, other) = match route.kind {
                Kind::GrpcRoute => (&mut held_by_grpc, &held_by_http),
                _ => (&mut held_by_http, &held_by_grpc),
            };
            let hosts = || claims.iter().flat_map(ListenerClaim::hosts);
            let against = hosts().filter_map(|host| other.intersecting(host)).min();
            match against.and_then(|place| ordered.get(place)) {
                Some((_, _, winner, _)) => {
                    losers.insert((*route).clone(), (*winner).clone());
                }
                None => hosts().for_each(|host| own.insert(host, place)),
            }
        }
        Arc::new(losers)
    }
}

/// A listener of TCP or UDP tells nothing apart: of several routes the oldest carries all, then the first by name. The
/// others are accepted and wait (the API's conflict rule for TCPRoute and UDPRoute).
pub(in crate::compile) struct Carrier;

impl Query<Cluster> for Carrier {
    type Key = (ListenerKey, RouteKind);
    type Value = Option<Arc<ObjectRef>>;
    const STAGE: u8 = stage::CONFLICTS;

    fn run(
        (listener, kind): &(ListenerKey, RouteKind),
        reader: &mut Reader<'_>,
        _: &mut Made,
    ) -> Option<Arc<ObjectRef>> {
        let claims = reader.members(&ListenerClaims(listener.clone(), *kind));
        let found = claims.iter().filter_map(|route| {
            let binding = reader.get::<binding::Bind>(route)?;
            Some((binding.created, route.object_name(), route))
        });
        found.min().map(|(.., route)| Arc::new(route.clone()))
    }
}

/// The kinds of routes of a Service, the most specific first (GEP-1294).
const SPECIFICITY: [RouteKind; 4] = [RouteKind::Grpc, RouteKind::Http, RouteKind::Tls, RouteKind::Tcp];

/// On a port of a Service only the most specific kind of route holds (GEP-1294): GRPCRoute before HTTPRoute before TLSRoute
/// before TCPRoute. Each audience is decided by itself, so that one namespace's routes never undo another's.
pub(in crate::compile) struct OnService;

impl Query<Cluster> for OnService {
    type Key = (ObjectName, Audience);
    type Value = Arc<ServiceHolders>;
    const STAGE: u8 = stage::CONFLICTS;

    fn run(
        (service, audience): &(ObjectName, Audience),
        reader: &mut Reader<'_>,
        _: &mut Made,
    ) -> Arc<ServiceHolders> {
        let (mut holders, mut contested) = (ServiceHolders::new(), BTreeSet::new());
        for kind in SPECIFICITY {
            let key = ServiceClaims(service.clone(), audience.clone(), kind);
            let mut ordered = Vec::new();
            for route in reader.members(&key).iter() {
                let Some(binding) = reader.get::<binding::Bind>(route) else { continue };
                let ports: Vec<u16> =
                    binding.on_service(service).flat_map(|it| it.ports.iter().copied()).collect();
                ordered.push((binding.created, route.object_name(), route.clone(), ports));
            }
            ordered.sort();
            for (.., route, ports) in ordered {
                for port in ports {
                    let holder = holders.entry(port).or_insert_with(|| route.clone());
                    if holder.kind != route.kind {
                        contested.insert(port);
                    }
                }
            }
        }
        // HTTPRoutes alone on a port are merged; they must not all run again when the first of them changes.
        holders.retain(|port, it| it.kind != Kind::HttpRoute || contested.contains(port));
        Arc::new(holders)
    }
}
