//! The bound sockets, and what stands behind each: its listeners, and how TLS with clients is set up ([`tls`]). Planning is pure; binding is done by who carries the plan out.

mod clients;
pub mod tls;

use self::tls::{Inside, Spoken, TlsBase};
use crate::route::HostIndex;
use crate::table::{BoundListener, ListenerSet, Socket, SocketKind, Tables};
use fairway_config::model::{
    Certificate, HostnamePattern, Listener, ListenerProtocol, ResourceKey, ResourceKind, TlsTermination,
};
use fairway_config::{Rejected, Snapshot};
use rustls::ServerConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of a bound socket. It does not change while the socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub usize);

/// The listeners of each bound socket.
#[derive(Clone, Debug, Default)]
pub struct Ports(Vec<Option<Port>>);

/// The listeners of one bound socket.
#[derive(Clone, Debug)]
pub struct Port {
    /// The listeners that share the socket.
    pub set: Arc<ListenerSet>,
    /// How connections to the socket begin.
    pub entrance: Entrance,
}

/// How a connection to a socket begins.
#[derive(Clone, Debug)]
pub enum Entrance {
    /// Without TLS. The listeners' protocol decides.
    Plain,
    /// With TLS and one configuration: all listeners are HTTPS, speak the same versions and algorithms and verify client certificates in the same way,
    /// and none of several limits its connections.
    Https(Arc<ServerConfig>),
    /// With TLS. The SNI chooses the listener before the handshake.
    BySni(Arc<Branches>),
}

/// The listeners of a socket by SNI, and how each handles TLS.
#[derive(Debug)]
pub struct Branches {
    by_sni: HostIndex<Branch>,
    /// Whether every listener terminates TLS, so that an unknown name is refused with a TLS alert.
    all_terminate: bool,
}

/// The listener for an SNI, and how it handles TLS.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The listener with the most specific matching hostname.
    pub listener: Arc<BoundListener>,
    /// How the listener handles TLS.
    pub way: Way,
}

/// How a listener handles TLS.
#[derive(Clone, Debug)]
pub enum Way {
    /// Terminate it; HTTP is inside.
    Https(Arc<ServerConfig>),
    /// Terminate it; bytes of any protocol are inside.
    Terminate(Arc<ServerConfig>),
    /// Pass it through to the backend.
    Passthrough,
    /// Refuse the name: the listener is closed.
    Refuse,
}

/// The difference between the bound sockets and the wanted ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sockets that are wanted and not bound.
    pub bind: Vec<Socket>,
    /// Sockets that are bound and not wanted, with their numbers.
    pub close: Vec<(Socket, PortId)>,
}

// === impl Plan ===

impl Plan {
    /// The difference from `bound` to `wanted`.
    pub fn new(bound: &BTreeMap<Socket, PortId>, wanted: &BTreeSet<Socket>) -> Self {
        Self {
            bind: wanted.iter().filter(|socket| !bound.contains_key(socket)).copied().collect(),
            close: bound
                .iter()
                .filter(|(socket, _)| !wanted.contains(socket))
                .map(|(s, id)| (*s, *id))
                .collect(),
        }
    }
}

// === impl Ports ===

impl Ports {
    /// What stands behind these sockets in a configuration.
    pub fn new(
        bound: &BTreeMap<Socket, PortId>,
        tables: &Tables,
        snapshot: &Snapshot,
        base: &TlsBase,
    ) -> Result<Self, Vec<Rejected>> {
        let mut ports = Vec::new();
        ports.resize(bound.values().map(|id| id.0 + 1).max().unwrap_or(0), None);
        let mut rejected = Vec::new();
        for (socket, id) in bound {
            let Some(set) = tables.socket(socket) else { continue };
            match entrance(set, snapshot, base) {
                Ok(entrance) => {
                    if let Some(place) = ports.get_mut(id.0) {
                        *place = Some(Port { set: set.clone(), entrance });
                    }
                }
                Err(error) => rejected.push(error),
            }
        }
        if rejected.is_empty() { Ok(Self(ports)) } else { Err(rejected) }
    }

    /// What stands behind a socket; none once no listener wants it any more.
    pub fn get(&self, id: PortId) -> Option<&Port> {
        self.0.get(id.0)?.as_ref()
    }

    /// A socket for connections on this port.
    pub fn on(&self, number: u16) -> Option<PortId> {
        let is_on =
            |port: &Port| port.set.socket().port == number && port.set.socket().kind == SocketKind::Stream;
        self.0.iter().position(|port| port.as_ref().is_some_and(is_on)).map(PortId)
    }

    /// The listeners behind a socket.
    pub fn listeners(&self, id: PortId) -> Option<&ListenerSet> {
        self.get(id).map(|port| &*port.set)
    }
}

// === impl Branches ===

impl Branches {
    /// The branch for a name (lower case): the one with the most specific hostname. Without a name, one without hostname.
    pub fn choose(&self, name: Option<&str>) -> Option<&Branch> {
        self.by_sni.covering(name.unwrap_or_default()).next()
    }

    /// Whether TLS ends here whatever the name.
    pub fn all_terminate(&self) -> bool {
        self.all_terminate
    }
}

fn entrance(set: &ListenerSet, snapshot: &Snapshot, base: &TlsBase) -> Result<Entrance, Rejected> {
    let listeners = set.listeners();
    let https: Vec<(&Listener, &TlsTermination)> = listeners.iter().filter_map(https).collect();
    if let [(_, first), ..] = https.as_slice()
        && https.len() == listeners.len()
        && https.iter().all(|(_, it)| are_alike(it, first))
        // Connections that count for one of several listeners count before their handshake, by the name.
        && (https.len() == 1 || listeners.iter().all(|it| it.connection_limit().is_none()))
    {
        return Ok(Entrance::Https(configure(base, snapshot, Inside::Http, first, &https)?));
    }
    let mut by_sni = HostIndex::default();
    let mut all_terminate = true;
    for bound in listeners {
        let listener = &*bound.listener;
        let terminate = |inside, termination: &TlsTermination| {
            configure(base, snapshot, inside, termination, &[(listener, termination)])
        };
        let way = match &listener.protocol {
            ListenerProtocol::Https(_)
            | ListenerProtocol::TlsTerminate(_)
            | ListenerProtocol::TlsPassthrough
                if listener.closed.is_some() =>
            {
                Way::Refuse
            }
            ListenerProtocol::Https(termination) => Way::Https(terminate(Inside::Http, termination)?),
            ListenerProtocol::TlsTerminate(termination) => {
                Way::Terminate(terminate(Inside::Bytes, termination)?)
            }
            ListenerProtocol::TlsPassthrough => {
                all_terminate = false;
                Way::Passthrough
            }
            _ => return Ok(Entrance::Plain),
        };
        by_sni.insert(listener.hostname.as_ref(), Branch { listener: bound.clone(), way });
    }
    Ok(Entrance::BySni(Arc::new(Branches { by_sni, all_terminate })))
}

/// Whether two listeners end TLS in one way, whatever their certificates.
fn are_alike(one: &TlsTermination, other: &TlsTermination) -> bool {
    (&one.clients, one.min_version, &one.algorithms) == (&other.clients, other.min_version, &other.algorithms)
}

fn https(bound: &Arc<BoundListener>) -> Option<(&Listener, &TlsTermination)> {
    match &bound.listener.protocol {
        ListenerProtocol::Https(termination) if bound.listener.closed.is_none() => {
            Some((&bound.listener, termination))
        }
        _ => None,
    }
}

/// One configuration for listeners that judge their clients alike and speak the same versions.
fn configure(
    base: &TlsBase,
    snapshot: &Snapshot,
    inside: Inside,
    alike: &TlsTermination,
    listeners: &[(&Listener, &TlsTermination)],
) -> Result<Arc<ServerConfig>, Rejected> {
    let rejected = |listener: &Listener, reason: String| Rejected {
        key: ResourceKey::new(ResourceKind::Listener, listener.key.as_arc()),
        reason,
    };
    let mut parts: Vec<(Option<&HostnamePattern>, Vec<Arc<Certificate>>)> = Vec::new();
    for (listener, termination) in listeners {
        let find = |key| {
            let found = snapshot.certificates.get(key).cloned();
            found.ok_or_else(|| rejected(listener, format!("certificate {key} is not in the configuration")))
        };
        let certificates = termination.certificates.iter().map(find).collect::<Result<_, _>>()?;
        parts.push((listener.hostname.as_ref(), certificates));
    }
    let clients = alike.clients.as_ref();
    let spoken = Spoken { lowest: alike.min_version, algorithms: &alike.algorithms };
    base.server_config(inside, spoken, clients, parts.into_iter()).map_err(|error| {
        let listener = listeners.first().map(|(listener, _)| *listener);
        let key = listener.map(|it| it.key.as_arc()).unwrap_or_default();
        Rejected {
            key: ResourceKey::new(ResourceKind::Listener, key),
            reason: format!("TLS cannot be set up: {error}"),
        }
    })
}

#[cfg(test)]
mod refusals;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::SocketKind;

    fn socket(port: u16) -> Socket {
        Socket { address: None, port, kind: SocketKind::Stream }
    }

    #[test]
    fn a_plan_binds_what_is_new_closes_what_is_gone_and_leaves_the_rest() {
        let bound = BTreeMap::from([(socket(80), PortId(0)), (socket(81), PortId(1))]);
        let wanted = BTreeSet::from([socket(81), socket(82)]);
        let plan = Plan::new(&bound, &wanted);
        assert_eq!(plan, Plan { bind: vec![socket(82)], close: vec![(socket(80), PortId(0))] });
        assert_eq!(Plan::new(&bound, &bound.keys().copied().collect()), Plan::default());
    }
}
