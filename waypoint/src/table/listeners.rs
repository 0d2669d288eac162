//! Sockets, and which of the listeners behind a socket takes a request or a connection.

use super::StreamTable;
use super::opening::{Opening, OpeningsDiffer};
use super::treatment;
use crate::address::AddressHeaderNames;
use crate::route::{HostIndex, ListenerFilters, RouteTable};
use crate::shares::ListenerConnections;
use ahash::HashMap;
use fairway_config::model::{
    ClientTreatment, Listener, ListenerKey, ListenerProtocol, ResourceKey, ResourceKind,
};
use fairway_config::{Changes, Rejected, Snapshot};
use std::net::IpAddr;
use std::sync::Arc;

/// An address and port to bind, for all listeners that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Socket {
    /// The address; none stands for every address of the network namespace.
    pub address: Option<IpAddr>,
    /// The port of the listener, which the proxy binds unchanged.
    pub port: u16,
    /// TCP and UDP have ports of their own.
    pub kind: SocketKind,
}

/// What a socket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketKind {
    /// TCP connections, for every protocol but UDP.
    Stream,
    /// UDP datagrams, for listeners of protocol UDP.
    Datagram,
}

/// A listener and its rules.
#[derive(Debug)]
pub struct BoundListener {
    /// The resource as it was sent.
    pub listener: Arc<Listener>,
    /// Its filters; none if it has none.
    pub filters: Option<Box<ListenerFilters>>,
    /// Its rules for requests.
    pub routes: Arc<RouteTable>,
    /// Its routes for bytes or datagrams.
    pub streams: Arc<StreamTable>,
    /// Its connections, once it has a limit for them.
    pub connections: Option<Arc<ListenerConnections>>,
}

/// The listeners of one socket. They differ by hostname, and speak one protocol or all TLS.
#[derive(Debug)]
pub struct ListenerSet {
    socket: Socket,
    listeners: Box<[Arc<BoundListener>]>,
    by_host: HostIndex<Arc<BoundListener>>,
    opening: Opening,
    locates: bool,
    treatment: Option<Arc<ClientTreatment>>,
    address_headers: AddressHeaderNames,
}

// === impl Socket ===

impl Socket {
    /// Where a listener is reached.
    fn for_listener(listener: &Listener, address: Option<IpAddr>) -> Self {
        let kind = match listener.protocol {
            ListenerProtocol::Udp => SocketKind::Datagram,
            _ => SocketKind::Stream,
        };
        Self { address, port: listener.port, kind }
    }
}

// === impl BoundListener ===

impl BoundListener {
    fn key(&self) -> ResourceKey {
        ResourceKey::new(ResourceKind::Listener, self.listener.key.as_arc())
    }

    /// What counts its connections, and how many it may have; none if it has no limit for them.
    pub fn connection_limit(&self) -> Option<(&Arc<ListenerConnections>, u64)> {
        let most = self.listener.treatment.as_ref()?.limits.connections?;
        Some((self.connections.as_ref()?, most))
    }
}

// === impl ListenerSet ===

impl ListenerSet {
    /// The socket that all of them share.
    pub fn socket(&self) -> Socket {
        self.socket
    }

    /// All of them, ordered by key; never empty.
    pub fn listeners(&self) -> &[Arc<BoundListener>] {
        &self.listeners
    }

    /// How connections to the socket begin, by its listeners that are open.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Whether one of them looks for its clients elsewhere than at the far ends of connections. Mostly none does, and then
    /// nothing is looked at.
    pub fn locates_clients(&self) -> bool {
        self.locates
    }

    /// The headers that they look at for that.
    pub fn address_headers(&self) -> &AddressHeaderNames {
        &self.address_headers
    }

    /// How connections are treated while nobody knows for which of the listeners they are. None where no listener that is open treats its
    /// clients in a way of its own: mostly, and then nobody looks for the listener before its route.
    pub fn treatment(&self) -> Option<&Arc<ClientTreatment>> {
        self.treatment.as_ref()
    }

    /// The one that takes requests for a host (lower case, without port): the one with the most specific hostname. Rules
    /// of the others do not count (listener isolation), so a request it has no rule for is answered with 404. None takes
    /// a host that no hostname covers. For HTTPS, this is also how SNI finds its listener; where a request's host finds
    /// another one than its connection's SNI did, the request is misdirected (421).
    pub fn for_host(&self, host: &str) -> Option<&Arc<BoundListener>> {
        self.by_host.covering(host).next()
    }
}

/// The sockets of a configuration. Of two listeners that cannot share one, the one that changed is refused.
pub(super) fn bind(
    snapshot: &Snapshot,
    changes: &Changes,
    routes: &HashMap<ListenerKey, Arc<RouteTable>>,
    streams: &HashMap<ListenerKey, Arc<StreamTable>>,
    before: &HashMap<Socket, Arc<ListenerSet>>,
) -> Result<HashMap<Socket, Arc<ListenerSet>>, Vec<Rejected>> {
    let before = before.values().flat_map(|it| it.listeners.iter());
    let counted: HashMap<&ListenerKey, &Arc<ListenerConnections>> =
        before.filter_map(|it| Some((&it.listener.key, it.connections.as_ref()?))).collect();
    let mut listeners: Vec<_> = snapshot.listeners.values().collect();
    listeners.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let (mut sockets, mut rejected) = (HashMap::<Socket, Vec<Arc<BoundListener>>>::default(), Vec::new());
    for listener in listeners {
        // A closed listener has no routes, so that connections from before it was closed are not served by them either.
        let key = Some(&listener.key).filter(|_| listener.closed.is_none());
        let routes = key.and_then(|key| routes.get(key)).cloned().unwrap_or_default();
        let streams = key.and_then(|key| streams.get(key)).cloned().unwrap_or_default();
        let filters = match ListenerFilters::of(listener) {
            Ok(filters) => filters,
            Err(error) => {
                let key = ResourceKey::new(ResourceKind::Listener, listener.key.as_arc());
                rejected.push(Rejected { key, reason: error.to_string() });
                continue;
            }
        };
        // One that is counted is for as long as it is there.
        let is_limited = listener.treatment.as_ref().is_some_and(|it| it.limits.connections.is_some());
        let connections = counted.get(&listener.key).map(|it| Arc::clone(it));
        let connections = connections.or_else(|| is_limited.then(Arc::default));
        let bound = BoundListener { listener: listener.clone(), filters, routes, streams, connections };
        let bound = Arc::new(bound);
        let all = listener.addresses.is_empty().then_some(None);
        for address in all.into_iter().chain(listener.addresses.iter().copied().map(Some)) {
            sockets.entry(Socket::for_listener(listener, address)).or_default().push(bound.clone());
        }
    }
    let mut sets = HashMap::default();
    for (socket, listeners) in sockets {
        match set(socket, listeners, changes) {
            Ok(set) => drop(sets.insert(socket, Arc::new(set))),
            Err(error) => rejected.push(error),
        }
    }
    if rejected.is_empty() { Ok(sets) } else { Err(rejected) }
}

fn set(
    socket: Socket,
    listeners: Vec<Arc<BoundListener>>,
    changes: &Changes,
) -> Result<ListenerSet, Rejected> {
    let mut by_host: HostIndex<Arc<BoundListener>> = HostIndex::default();
    let mut first: Option<&Arc<BoundListener>> = None;
    for bound in &listeners {
        let conflict = |other: &BoundListener, what| {
            let (refused, other) = refused(bound, other, changes);
            let reason =
                format!("port {} is taken by listener {} with {what}", socket.port, other.listener.key);
            Rejected { key: refused.key(), reason }
        };
        if let Some(first) = first
            && !share(&first.listener.protocol, &bound.listener.protocol)
        {
            return Err(conflict(first, "a protocol that cannot share it"));
        }
        first.get_or_insert(bound);
        if let Some(other) = by_host.insert(bound.listener.hostname.as_ref(), bound.clone()) {
            return Err(conflict(&other, "the same hostname"));
        }
    }
    let opening = Opening::of(&listeners).map_err(|OpeningsDiffer(first, bound)| Rejected {
        key: refused(bound, first, changes).0.key(),
        reason: format!(
            "other listeners of port {} take the PROXY protocol in another way, or not",
            socket.port
        ),
    })?;
    let sources = || listeners.iter().map(|it| &it.listener.address_source);
    let (locates, address_headers) =
        (sources().any(|it| !it.is_connection()), AddressHeaderNames::of(sources()));
    let treatment = treatment::widest(&listeners);
    let listeners = listeners.into();
    Ok(ListenerSet { socket, listeners, by_host, opening, locates, treatment, address_headers })
}

/// Of two listeners that cannot share a socket the one that is refused, and the other: the second, unless the first alone has changed.
/// What has not changed was taken before, and a refusal of it tells the controller nothing that it could leave out.
fn refused<'a>(
    second: &'a BoundListener,
    first: &'a BoundListener,
    changes: &Changes,
) -> (&'a BoundListener, &'a BoundListener) {
    match changes.contains(&first.key()) && !changes.contains(&second.key()) {
        true => (first, second),
        false => (second, first),
    }
}

/// Whether listeners can share a socket and be told apart: HTTP by the Host, TLS of any kind by the SNI.
fn share(a: &ListenerProtocol, b: &ListenerProtocol) -> bool {
    let is_http = |it: &ListenerProtocol| matches!(it, ListenerProtocol::Http);
    (is_http(a) && is_http(b)) || (begins_with_tls(a) && begins_with_tls(b))
}

fn begins_with_tls(protocol: &ListenerProtocol) -> bool {
    use ListenerProtocol::{Https, TlsPassthrough, TlsTerminate};
    matches!(protocol, Https(_) | TlsTerminate(_) | TlsPassthrough)
}
