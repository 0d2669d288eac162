//! Whether the listeners of a Gateway and its ListenerSets can be told apart.
//!
//! Within one object none of those that cannot wins: all are refused (Gateway API, "Handling indistinct Listeners").
//! Between objects the one that goes first wins: the Gateway, then its ListenerSets in their order (GEP-1713).

use super::overlap::Overlaps;
use super::protocol::Protocol;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::ObjectRef;
use crate::status::reason;
use fairway_gateway_api::gateways::GatewayListeners;
use std::collections::{BTreeMap, HashMap};

/// The listeners of one object, in the user's order.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub object: &'a ObjectRef,
    pub listeners: &'a [GatewayListeners],
}

/// What becomes of listeners that share ports.
pub(super) struct Contest<'a> {
    places: HashMap<&'a ObjectRef, usize>,
    conflicts: HashMap<ListenerIndex, Diagnostic>,
    overlaps: HashMap<ListenerIndex, String>,
}

/// A listener: its group's place, and its own in the group.
type ListenerIndex = (usize, usize);

/// Protocols whose listeners can share a port, told apart by hostname.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Http,
    Tls,
    Tcp,
    Udp,
    Hbone,
}

/// A port, of which TCP and UDP each have their own.
type Port = (bool, i32);

/// Who holds what of a port.
type Held = HashMap<Port, BTreeMap<Family, Holders>>;

struct Holders {
    first: ListenerIndex,
    by_host: HashMap<String, ListenerIndex>,
}

/// How many others a message names.
const NAMED: usize = 5;

// === impl Contest ===

impl<'a> Contest<'a> {
    /// Holds it among objects, those first that go before the others.
    pub(super) fn among(groups: Vec<Group<'a>>) -> Self {
        let conflicts = conflicts(&groups);
        let overlaps = overlaps(&groups, &conflicts);
        let places = groups.into_iter().enumerate().map(|(at, it)| (it.object, at)).collect();
        Self { places, conflicts, overlaps }
    }

    /// What is in the way of a listener.
    pub(super) fn conflict(&self, object: &ObjectRef, index: usize) -> Option<&Diagnostic> {
        self.conflicts.get(&(*self.places.get(object)?, index))
    }

    /// The other listeners a client may take it for.
    pub(super) fn overlaps(&self, object: &ObjectRef, index: usize) -> Option<&String> {
        self.overlaps.get(&(*self.places.get(object)?, index))
    }
}

/// Why listeners are not served: another one has their port with another protocol, or with the same hostname.
fn conflicts(groups: &[Group<'_>]) -> HashMap<ListenerIndex, Diagnostic> {
    let mut found = HashMap::new();
    let mut held = Held::new();
    for (at, group) in groups.iter().enumerate() {
        let mut left = Vec::new();
        for (index, it) in group.listeners.iter().enumerate() {
            let Some(family) = family(it) else { continue };
            match against(&held, family, it) {
                Some((reason, winner)) => {
                    let other = describe(groups, winner, at, reason);
                    found.insert((at, index), conflict(reason, it, &other));
                }
                None => left.push((index, family, it)),
            }
        }
        for (index, family, it) in &left {
            let others = left.iter().filter(|(other, ..)| other != index);
            let clashes = others.filter_map(|(other, of, written)| {
                let reason = clash((*family, it), (*of, written))?;
                Some((reason, describe(groups, (at, *other), at, reason)))
            });
            let clashes: Vec<(&'static str, String)> = clashes.collect();
            // Another protocol is in the way whatever the hostname is.
            let worst = [reason::PROTOCOL_CONFLICT, reason::HOSTNAME_CONFLICT]
                .into_iter()
                .find(|reason| clashes.iter().any(|(it, _)| it == reason));
            if let Some(reason) = worst {
                let names = clashes.into_iter().filter(|(it, _)| *it == reason).map(|(_, name)| name);
                found.insert((at, *index), conflict(reason, it, &enumerate(names)));
            }
        }
        // Also those that lost against each other: otherwise a mistake in one object would hand its ports to others.
        for (index, family, it) in left {
            let of_family = held.entry(port(family, it)).or_default().entry(family);
            let holders = of_family.or_insert(Holders { first: (at, index), by_host: HashMap::new() });
            holders.by_host.entry(host(it)).or_insert((at, index));
        }
    }
    found
}

/// The one that is in a listener's way among those before it.
fn against(held: &Held, family: Family, it: &GatewayListeners) -> Option<(&'static str, ListenerIndex)> {
    let families = held.get(&port(family, it))?;
    let other = families.iter().find(|(other, _)| **other != family);
    let same = || families.get(&family)?.by_host.get(&host(it));
    other
        .map(|(_, holders)| (reason::PROTOCOL_CONFLICT, holders.first))
        .or_else(|| same().map(|place| (reason::HOSTNAME_CONFLICT, *place)))
}

fn clash(a: (Family, &GatewayListeners), b: (Family, &GatewayListeners)) -> Option<&'static str> {
    if port(a.0, a.1) != port(b.0, b.1) {
        return None;
    }
    match a.0 == b.0 {
        false => Some(reason::PROTOCOL_CONFLICT),
        true => (host(a.1) == host(b.1)).then_some(reason::HOSTNAME_CONFLICT),
    }
}

/// The name of a listener that is in the way; with its protocol where that is the reason.
fn describe(groups: &[Group<'_>], place: ListenerIndex, at: usize, reason: &str) -> String {
    let name = name(groups, place, at);
    let written = groups.get(place.0).and_then(|it| it.listeners.get(place.1));
    match written.filter(|_| reason == reason::PROTOCOL_CONFLICT) {
        Some(it) => format!("{name} (protocol {})", it.protocol),
        None => name,
    }
}

/// What is wrong with a listener that cannot be told apart from others.
fn conflict(reason: &str, listener: &GatewayListeners, others: &str) -> Diagnostic {
    let port = listener.port;
    if reason == reason::PROTOCOL_CONFLICT {
        let own = &listener.protocol;
        let message = format!("listener {others} uses port {port}, and {own} cannot share it with that");
        let remedy = "give each protocol a port of its own";
        return Diagnostic::error(Reason::ListenerProtocolConflict, "", message, remedy);
    }
    let message = match host(listener).is_empty() {
        true => format!("listener {others} uses port {port} too"),
        false => format!("listener {others} uses port {port} with the same hostname"),
    };
    let remedy = "give the listeners different hostnames or ports, or merge the two";
    Diagnostic::error(Reason::ListenerHostnameConflict, "", message, remedy)
}

/// The listeners that speak TLS on one port and whose hostnames cover a common name, with the names of the others: a
/// browser that coalesces connections may send requests for one over a connection made for the other (GEP-3567).
fn overlaps(
    groups: &[Group<'_>],
    conflicts: &HashMap<ListenerIndex, Diagnostic>,
) -> HashMap<ListenerIndex, String> {
    let mut by_port: HashMap<i32, Overlaps<ListenerIndex>> = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        for (index, it) in group.listeners.iter().enumerate() {
            if family(it) == Some(Family::Tls) && !conflicts.contains_key(&(at, index)) {
                by_port.entry(it.port).or_default().add((at, index), it.hostname.as_deref());
            }
        }
    }
    let mut found = HashMap::new();
    for overlaps in by_port.values() {
        for (place, others) in overlaps.found(NAMED) {
            let names: Vec<String> = others.first.iter().map(|it| name(groups, *it, place.0)).collect();
            found.insert(place, listed(&names, others.count - names.len()));
        }
    }
    found
}

fn family(listener: &GatewayListeners) -> Option<Family> {
    Some(match Protocol::read(listener)? {
        Protocol::Http => Family::Http,
        Protocol::Https | Protocol::TlsTerminate | Protocol::TlsPassthrough => Family::Tls,
        Protocol::Tcp => Family::Tcp,
        Protocol::Udp => Family::Udp,
        Protocol::Hbone => Family::Hbone,
    })
}

fn port(family: Family, listener: &GatewayListeners) -> Port {
    (family == Family::Udp, listener.port)
}

fn host(listener: &GatewayListeners) -> String {
    match listener.protocol.as_str() {
        "TCP" | "UDP" => String::new(),
        _ => listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase(),
    }
}

/// How a listener is called by a listener of a group: one of another object with that object's name.
fn name(groups: &[Group<'_>], (group, index): ListenerIndex, by: usize) -> String {
    let Some(owner) = groups.get(group) else { return String::new() };
    let name = owner.listeners.get(index).map(|it| it.name.as_str()).unwrap_or_default();
    if group == by { name.to_owned() } else { format!("{name} of {}", owner.object) }
}

fn enumerate(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    listed(&names, more)
}

fn listed(names: &[String], more: usize) -> String {
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}
