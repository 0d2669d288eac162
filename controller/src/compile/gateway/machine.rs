//! Gateways that share one machine: an address and a port are one Gateway's only (where there are no pods, each with a
//! network of its own).

use super::address::{self, Addresses};
use super::protocol::Protocol;
use super::set;
use crate::compile::names::class;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::Mode;
use crate::provision::Transport;
use crate::resources::{Gateway, Object, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_gateway_api::gateways::GatewayListeners;
use fairway_incremental::Set;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Gateways of any class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct EveryGateway;

impl Set<Cluster> for EveryGateway {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::Gateway(_) => vec![(Self, name.clone())],
            _ => Vec::new(),
        }
    }
}

/// The ports that other Gateways hold where this one listens, and where.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<(Transport, i32), (ObjectRef, IpAddr)>);

// === impl Held ===

impl Held {
    /// Who holds the port of a listener, and at which address.
    pub(super) fn by(&self, listener: &GatewayListeners) -> Option<&(ObjectRef, IpAddr)> {
        self.0.get(&(transport(listener)?, listener.port))
    }
}

/// What the Gateways before this one hold: the older, then the first by name. They hold it also with a listener that is not in
/// order, as within a Gateway: a mistake in one object does not hand its ports to others.
pub(super) fn held(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    gateway: &Gateway,
    addresses: &Addresses,
) -> Held {
    let mut held = Held::default();
    if reader.settings().mode != Mode::Standalone || addresses.bound.is_empty() {
        return held;
    }
    let order = |created: i64, name: &ObjectName| (created, name.to_string());
    let mut before: Vec<_> = Vec::new();
    for it in reader.members(&EveryGateway).iter().filter(|it| it.object_name() != *name) {
        let Some(other) = reader.input::<Gateway>(&it.object_name()) else { continue };
        let place = order(other.meta.created, &it.object_name());
        if place < order(gateway.meta.created, name) {
            before.push((place, it.clone(), other));
        }
    }
    before.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    // What is wrong with them is said where they are judged.
    let mut unsaid = Made::default();
    for (_, object, other) in before {
        let name = object.object_name();
        let Some(class) = class::named(reader, &other.spec.gateway_class_name).map(|it| it.class) else {
            continue;
        };
        let theirs = address::read(reader, &name, class, &other, &mut unsaid);
        let Some(at) = common(&theirs.bound, &addresses.bound) else { continue };
        let sets = set::candidates(reader, &object, class, &other, &mut unsaid);
        let added = sets.iter().filter(|it| it.refusal.is_none()).flat_map(|it| &it.set.spec.listeners);
        for listener in other.spec.listeners.iter().chain(added) {
            let Some(transport) = transport(listener) else { continue };
            held.0.entry((transport, listener.port)).or_insert((object.clone(), at));
        }
    }
    held
}

/// An address that both listen at.
fn common(a: &[IpAddr], b: &[IpAddr]) -> Option<IpAddr> {
    let meet = |a: &IpAddr, b: &IpAddr| {
        let every = |it: &IpAddr, other: &IpAddr| it.is_unspecified() && (it.is_ipv6() || other.is_ipv4());
        a == b || every(a, b) || every(b, a)
    };
    b.iter().find(|b| a.iter().any(|a| meet(a, b))).copied()
}

fn transport(listener: &GatewayListeners) -> Option<Transport> {
    Some(match Protocol::read(listener)? {
        Protocol::Udp => Transport::Udp,
        _ => Transport::Tcp,
    })
}
