//! Tunnels: from ztunnels, other waypoints and gateways, to Services that this waypoint stands before.

use super::accept::Arrival;
use super::connection::{Connection, Stage};
use crate::serve::{Origin, ServiceOrigin};
use crate::table::Tables;
use crate::transport::Transport;
use crate::upstream::caller::Caller;
use crate::worker::Worker;
use fairway_config::model::{Audience, BackendKey, Listener, ListenerProtocol, ObjectName, Scheme, SpiffeId};
use fairway_hbone::server::Settings;
use fairway_hbone::{ConnectRequest, Request, Routing};
use http::StatusCode;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a tunnel is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
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
        None => match timeout(worker.settings.patience.identity, identity.ready()).await {
            Ok(tls) => tls,
            Err(_) => return,
        },
    };
    let source = stream.peer_addr().ok().map(|it| it.ip().to_canonical());
    let settings = Settings { handshake_timeout: worker.settings.patience.head, ..Settings::default() };
    let handler = |request: Request| {
        let (worker, listener) = (worker.clone(), listener.clone());
        async move {
            let (peer, wish) = (request.peer().clone(), request.wish().clone());
            let serving = worker.serving();
            let routers = routers(&listener);
            let admitted = admit(&serving.tables, &worker.settings.gateway, routers, &peer, &wish);
            drop(serving);
            let origin = match admitted {
                Ok(origin) => ServiceOrigin { shown: listener.backend_certificate.clone(), ..origin },
                Err(refusal) => {
                    tracing::debug!(%peer, %refusal, "tunnel refused");
                    return request.refuse(refusal.status(), &refusal.to_string());
                }
            };
            // Only a proxy that is believed can speak for a client elsewhere.
            let told =
                wish.forwarded.filter(|_| routers.contains(&peer)).map(|it| it.client.ip().to_canonical());
            let Ok(tunnel) = request.accept() else { return };
            let arrival = Arrival {
                connection: worker.connections.open(Stage::Http1),
                worker,
                origin: Origin::Service(origin),
                scheme: Scheme::Http,
                caller: Caller { address: told.or(source), node: wish.node },
                identity: Some(peer),
            };
            arrival.serve_service(Transport::Other(Box::new(tunnel))).await;
        }
    };
    if let Err(error) = fairway_hbone::serve(stream, &tls, &settings, worker.drain.clone(), handler).await {
        crate::telemetry::count(&worker.telemetry.counters.connections_refused);
        tracing::debug!(?source, %error, "tunnel connection ended");
    }
}

fn routers(listener: &Listener) -> &[SpiffeId] {
    match &listener.protocol {
        ListenerProtocol::Hbone { routers } => routers,
        _ => &[],
    }
}

/// Decides about a tunnel: which Service, and whose routes.
pub fn admit(
    tables: &Tables,
    waypoint: &ObjectName,
    routers: &[SpiffeId],
    peer: &SpiffeId,
    wish: &ConnectRequest,
) -> Result<ServiceOrigin, Refusal> {
    let address = wish.authority.address().ok_or(Refusal::Name)?;
    let service = tables.service_at(address.ip()).ok_or(Refusal::UnknownService)?;
    let port = service.ports.iter().find(|it| it.port == address.port()).ok_or(Refusal::UnknownPort)?;
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
        return Err(Refusal::NotFronted);
    }
    let audience = if wish.routing == Routing::Done && routers.contains(peer) {
        None
    } else if is_consumer && is_routed {
        Some(consumer)
    } else {
        Some(Audience::Producer)
    };
    Ok(ServiceOrigin {
        service: service.key.clone(),
        port: port.port,
        backend: port.backend.clone(),
        shown: None,
        audience,
    })
}

// === impl Refusal ===

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Name => StatusCode::BAD_REQUEST,
            Self::NotFronted => StatusCode::UNAUTHORIZED,
            Self::UnknownService | Self::UnknownPort => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
