//! Which routes lose where several ask for the same requests or connections.

use super::binding::ListenerClaim;
use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::reader::Reader;
use crate::resources::{ObjectRef, RouteKind};
use fairway_config::model::{Audience, ListenerKey, ObjectName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Routes that lose on a listener, with the one they lose against.
pub(super) type ListenerLosers = BTreeMap<ObjectRef, ObjectRef>;
/// Ports of a Service that GRPCRoutes hold, with the first that does: HTTPRoutes lose there.
pub(super) type ServiceLosers = BTreeMap<u16, ObjectRef>;

/// On a listener an HTTPRoute and a GRPCRoute whose hosts intersect cannot both hold: the two orders of precedence
/// cannot be merged. The older route wins, then the first by name (GRPCRoute `hostnames` in the API).
pub(super) fn on_listener(reader: &mut Reader<'_>, listener: &ListenerKey) -> Evaluation {
    let grpc = reader.members(IndexKey::ListenerClaims(listener.clone(), RouteKind::Grpc));
    let http = match grpc.is_empty() {
        // The usual case must not depend on every HTTPRoute of the listener.
        true => return Evaluation::default(),
        false => reader.members(IndexKey::ListenerClaims(listener.clone(), RouteKind::Http)),
    };
    let mut ordered: Vec<(i64, ObjectName, &ObjectRef, Vec<ListenerClaim>)> = Vec::new();
    for route in grpc.iter().chain(http.iter()) {
        let Some(binding) = reader.binding(route) else { continue };
        let claims = binding.on_listener(listener).cloned().collect();
        ordered.push((binding.created, route.object_name(), route, claims));
    }
    ordered.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
    let mut losers = ListenerLosers::new();
    let mut winners: Vec<(&ObjectRef, &[ListenerClaim])> = Vec::new();
    for (_, _, route, claims) in &ordered {
        let against =
            winners.iter().find(|(winner, held)| winner.kind != route.kind && intersect(held, claims));
        match against {
            Some((winner, _)) => {
                losers.insert((*route).clone(), (*winner).clone());
            }
            None => winners.push((route, claims)),
        }
    }
    match losers.is_empty() {
        true => Evaluation::default(),
        false => Evaluation { value: Value::ListenerLosers(Arc::new(losers)), ..Evaluation::default() },
    }
}

fn intersect(a: &[ListenerClaim], b: &[ListenerClaim]) -> bool {
    let hosts = |claims: &[ListenerClaim]| -> Vec<_> {
        claims.iter().flat_map(|it| it.hosts().into_iter().map(|it| it.cloned())).collect()
    };
    let (a, b) = (hosts(a), hosts(b));
    a.iter().any(|a| {
        b.iter().any(|b| match (a, b) {
            (Some(a), Some(b)) => a.intersect(b).is_some(),
            _ => true,
        })
    })
}

/// A listener of TCP or UDP tells nothing apart: of several routes the oldest carries all, then the first by name. The
/// others are accepted and wait (the API's conflict rule for TCPRoute and UDPRoute).
pub(super) fn carrier(reader: &mut Reader<'_>, listener: &ListenerKey, kind: RouteKind) -> Evaluation {
    let claims = reader.members(IndexKey::ListenerClaims(listener.clone(), kind));
    let found = claims.iter().filter_map(|route| {
        let binding = reader.binding(route)?;
        Some((binding.created, route.object_name(), route))
    });
    match found.min() {
        None => Evaluation::default(),
        Some((.., route)) => {
            Evaluation { value: Value::Carrier(Arc::new(route.clone())), ..Evaluation::default() }
        }
    }
}

/// On a port of a Service only the most specific kind of route holds (GEP-1294): GRPCRoute before HTTPRoute. Each
/// audience is decided by itself, so that one namespace's routes never undo another's.
pub(super) fn on_service(reader: &mut Reader<'_>, service: &ObjectName, audience: &Audience) -> Evaluation {
    let key = IndexKey::ServiceClaims(service.clone(), audience.clone(), RouteKind::Grpc);
    let mut ordered = Vec::new();
    for route in reader.members(key).iter() {
        let Some(binding) = reader.binding(route) else { continue };
        let ports: Vec<u16> = binding.on_service(service).flat_map(|it| it.ports.iter().copied()).collect();
        ordered.push((binding.created, route.clone(), ports));
    }
    ordered.sort();
    let mut losers = ServiceLosers::new();
    for (_, route, ports) in ordered {
        for port in ports {
            losers.entry(port).or_insert_with(|| route.clone());
        }
    }
    match losers.is_empty() {
        true => Evaluation::default(),
        false => Evaluation { value: Value::ServiceLosers(Arc::new(losers)), ..Evaluation::default() },
    }
}
