//! Tunnels: from ztunnels, other waypoints and gateways, to Services that this waypoint stands before.

use super::arrival::Arrival;
use crate::connection::{Connection, ConnectionState};
use crate::pipeline::{Origin, ServiceOrigin};
use crate::table::Tables;
use crate::transport::Transport;
use crate::upstream::caller::Caller;
use crate::worker::Worker;
use fairway_config::model::{Audience, BackendKey, Listener, ObjectName, Scheme, SpiffeId};
use fairway_hbone::server;
use fairway_hbone::{ConnectRequest, Request, Routing};
use http::StatusCode;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a tunnel is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelRefusal {
    /// A waypoint goes by addresses: a name could be anybody's.
    #[error("a waypoint is asked for a Service's address, not for a name")]
    Name,
    /// No Service has the address.
    #[error("no Service of this waypoint has this address")]
    UnknownService,
    /// The Service has no such port.
    #[error("the Service has no such port")]
    UnknownPort,
    /// The Service is not this waypoint's to serve, for this peer.
    #[error("this waypoint does not stand before the Service for this client")]
    NotFronted,
}

/// Serves a peer's connection.
///
/// `_open` counts, so that a drain waits for it; its tunnels have connections of their own.
pub async fn serve(worker: Rc<Worker>, listener: Arc<Listener>, stream: TcpStream, _open: Rc<Connection>) {
    let Some(identity) = &worker.identity else { return };
    let tls = match identity.current() {
        Some(tls) => tls,
        None => match timeout(worker.settings.timeouts.identity, identity.ready()).await {
            Ok(tls) => tls,
            Err(_) => return,
        },
    };
    let source = stream.peer_addr().ok().map(|it| it.ip().to_canonical());
    let handshake_timeout = worker.settings.timeouts.handshake;
    let settings = server::Settings { handshake_timeout, ..server::Settings::default() };
    let handler = |request: Request| {
        let (worker, listener) = (worker.clone(), listener.clone());
        async move {
            let (peer, connect_request) = (request.peer().clone(), request.connect_request().clone());
            let serving = worker.serving();
            let admitted = admit(&serving.tables, &worker.settings.gateway, &peer, &connect_request);
            drop(serving);
            let Admitted { mut origin, client } = match admitted {
                Ok(admitted) => admitted,
                Err(refusal) => {
                    tracing::debug!(%peer, %refusal, "tunnel refused");
                    return request.refuse(refusal.status(), &refusal.to_string());
                }
            };
            let connections = &worker.connections;
            let limit = worker.settings.limits.connections;
            let Some(share) = source.and_then(|source| connections.admit(source, limit)) else {
                worker.telemetry.counters.connections_refused.increment();
                return request.refuse(StatusCode::SERVICE_UNAVAILABLE, "too many tunnels from this address");
            };
            let connection = connections.open_from(share, ConnectionState::Http1);
            origin.listener = Some(listener);
            let Ok(tunnel) = request.accept() else { return };
            let service = Some(origin.service.clone());
            let arrival = Arrival {
                connection,
                worker,
                origin: Origin::Service(origin),
                scheme: Scheme::Http,
                caller: Caller { address: client.or(source), node: connect_request.node, service },
                proxy: None,
                identity: Some(peer),
            };
            arrival.serve_service(Transport::Other(Box::new(tunnel))).await;
        }
    };
    let (windows, drain) = (&worker.windows, worker.drain.clone());
    if let Err(error) = fairway_hbone::serve(stream, &tls, &settings, windows, drain, handler).await {
        worker.telemetry.counters.connections_refused.increment();
        tracing::debug!(?source, %error, "tunnel connection ended");
    }
}

/// A tunnel that is taken.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Which Service, and whose routes.
    pub origin: ServiceOrigin,
    /// The address of the client that the peer speaks for. Only one of the Service's routers can do so, as it alone is believed in what it
    /// says of routing. If it does not, its client is hidden, and its own address is not taken for that of the client.
    pub client: Option<IpAddr>,
}

/// Decides about a tunnel.
pub fn admit(
    tables: &Tables,
    waypoint: &ObjectName,
    peer: &SpiffeId,
    connect_request: &ConnectRequest,
) -> Result<Admitted, TunnelRefusal> {
    let address = connect_request.authority.address().ok_or(TunnelRefusal::Name)?;
    let service = tables.service_at(address.ip()).ok_or(TunnelRefusal::UnknownService)?;
    let port = service.ports.iter().find(|it| it.port == address.port()).ok_or(TunnelRefusal::UnknownPort)?;
    let own = BackendKey::of_waypoint(waypoint);
    let consumer = Audience::Consumer(peer.namespace().into());
    let is_routed = tables.is_routed(&service.key, port.port, &consumer);
    // A tunnel may have been told earlier than this waypoint that there is a route, or may not have been told yet that there
    // is none any more: so the Service need not name this waypoint.
    let is_neighbour = *peer.namespace() == *waypoint.namespace;
    let is_consumer =
        service.consumer_waypoint(peer.namespace(), port.port) == Some(&own) || (is_routed && is_neighbour);
    let is_ours = service.waypoint.as_ref() == Some(&own) || service.namespace == waypoint.namespace;
    if !is_consumer && !is_ours {
        return Err(TunnelRefusal::NotFronted);
    }
    let is_believed = service.routers.contains(peer);
    let audience = if connect_request.routing == Routing::Done && is_believed {
        None
    } else if is_consumer && is_routed {
        Some(consumer)
    } else {
        Some(Audience::Producer)
    };
    let told = connect_request.forwarded.filter(|_| is_believed);
    let client = told.map(|it| it.client.ip().to_canonical());
    let origin = ServiceOrigin {
        service: service.key.clone(),
        port: port.port,
        backend: port.backend.clone(),
        audience,
        listener: None,
        hides_client: is_believed && client.is_none(),
    };
    Ok(Admitted { origin, client })
}

// === impl TunnelRefusal ===

impl TunnelRefusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Name => StatusCode::BAD_REQUEST,
            Self::NotFronted => StatusCode::UNAUTHORIZED,
            Self::UnknownService | Self::UnknownPort => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{prefix, resource, route, rule, snapshot, to_service};
    use crate::upstream::cluster::Registry;
    use fairway_config::model::{AppProtocol, Resource, Route, Service, ServicePort};
    use fairway_hbone::Forwarded;
    use std::net::SocketAddr;

    fn id(namespace: &str, account: &str) -> SpiffeId {
        format!("spiffe://cluster.local/ns/{namespace}/sa/{account}").parse().unwrap()
    }

    fn at(last: u8) -> IpAddr {
        [10, 96, 0, last].into()
    }

    fn service(namespace: &str, name: &str, last: u8, routers: &[SpiffeId]) -> Resource {
        let key = format!("{namespace}/{name}");
        let backend = format!("{key}:80").into();
        Resource::Service(Arc::new(Service {
            key: key.into(),
            namespace: namespace.into(),
            addresses: vec![at(last)],
            ports: vec![ServicePort { port: 80, name: None, protocol: AppProtocol::Http1, backend }],
            waypoint: Some(BackendKey::of_waypoint(&ObjectName::new(namespace, "waypoint"))),
            consumer_waypoints: vec![],
            routers: routers.to_vec(),
        }))
    }

    /// The waypoint of `bank`: `ledger` may be routed by the Gateway `edge/public`, `vault` by `edge/other`.
    fn tables() -> Tables {
        let bound = Route {
            attachments: vec![
                to_service("bank/ledger", None, Audience::Producer),
                to_service("bank/vault", None, Audience::Producer),
            ],
            rules: vec![rule(vec![prefix("/public")], "bank/ledger:80")],
            ..route("public")
        };
        let all = vec![
            service("bank", "ledger", 1, &[id("edge", "public-fairway")]),
            service("bank", "vault", 2, &[id("edge", "other-fairway")]),
            service("bank", "open", 3, &[]),
            service("shop", "web", 4, &[]),
            resource(bound),
        ];
        Tables::build(&snapshot(all), &mut Registry::default()).unwrap()
    }

    #[test]
    fn who_is_believed_is_said_service_by_service() {
        let tables = tables();
        for (peer, last, expected) in [
            (id("edge", "public-fairway"), 1, true),
            (id("edge", "other-fairway"), 2, true),
            // A router of another Service, a Gateway of nobody's, a waypoint, a pod, this waypoint itself.
            (id("edge", "public-fairway"), 2, false),
            (id("edge", "other-fairway"), 1, false),
            (id("evil", "g-fairway"), 1, false),
            (id("evil", "waypoint-fairway-waypoint"), 1, false),
            (id("evil", "mallory"), 1, false),
            (id("evil", "public-fairway"), 1, false),
            (id("edge", "public"), 1, false),
            (id("bank", "waypoint-fairway-waypoint"), 1, false),
            (id("edge", "public-fairway"), 3, false),
        ] {
            for routing in [Routing::Done, Routing::Pending] {
                let connect_request =
                    ConnectRequest { routing, ..ConnectRequest::to(SocketAddr::new(at(last), 80)) };
                let waypoint = ObjectName::new("bank", "waypoint");
                let admitted = admit(&tables, &waypoint, &peer, &connect_request).unwrap();
                // A proxy that is believed and names no client hides one.
                assert_eq!(admitted.origin.hides_client, expected, "{peer} {last}");
                let skips_routes = admitted.origin.audience.is_none();
                assert_eq!(skips_routes, expected && routing == Routing::Done, "{peer} {last} {routing:?}");
            }
        }
    }

    #[test]
    fn what_a_proxy_of_an_older_version_does_not_say_widens_nothing() {
        let (tables, waypoint) = (tables(), ObjectName::new("bank", "waypoint"));
        let said: IpAddr = [10, 0, 0, 9].into();
        let forwarded = Some(Forwarded { client: SocketAddr::new(said, 5000) });
        let producer = Some(Audience::Producer);
        // Who says what; whose routes then apply, the client that is taken for true, and whether it is hidden.
        for (account, routing, forwarded, audience, client, hides_client) in [
            ("public-fairway", Routing::Done, forwarded, &None, Some(said), false),
            ("public-fairway", Routing::Done, None, &None, None, true),
            ("public-fairway", Routing::Pending, forwarded, &producer, Some(said), false),
            ("public-fairway", Routing::Pending, None, &producer, None, true),
            // Of who may not say it, it is as if it were not said.
            ("mallory", Routing::Done, forwarded, &producer, None, false),
            ("mallory", Routing::Pending, None, &producer, None, false),
        ] {
            let to = ConnectRequest::to(SocketAddr::new(at(1), 80));
            let connect_request = ConnectRequest { routing, forwarded, ..to };
            let admitted = admit(&tables, &waypoint, &id("edge", account), &connect_request).unwrap();
            let read = (&admitted.origin.audience, admitted.client, admitted.origin.hides_client);
            assert_eq!(read, (audience, client, hides_client), "{account} {connect_request:?}");
        }
    }

    #[test]
    fn what_is_not_this_waypoint_s_is_refused_to_everybody() {
        let tables = tables();
        for peer in [id("edge", "public-fairway"), id("evil", "mallory"), id("bank", "teller")] {
            let connect_request = ConnectRequest::to(SocketAddr::new(at(4), 80));
            let refused =
                admit(&tables, &ObjectName::new("bank", "waypoint"), &peer, &connect_request).unwrap_err();
            assert_eq!(refused, TunnelRefusal::NotFronted, "{peer}");
        }
    }
}
