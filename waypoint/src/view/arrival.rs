//! How a request comes to a proxy, by what is said of it.

use super::end::End;
use super::question::Entrance;
use crate::address::FarEnd;
use crate::listen::tunnel::{self, Admitted};
use crate::pipeline::{Origin, ServiceOrigin};
use crate::reason::Reason;
use crate::settings::ProxySettings;
use crate::table::Opening;
use crate::worker::Serving;
use fairway_config::model::{ListenerProtocol, Scheme, SpiffeId};
use fairway_hbone::{ConnectRequest, Forwarded, Routing};
use http::header::HOST;
use http::request::Parts;
use std::net::IpAddr;
use std::sync::Arc;

/// How the request would have come, and where its client is as far as that is known; or why it would not come in.
pub(super) fn arrive(
    serving: &Serving,
    settings: &ProxySettings,
    entrance: &Entrance,
    (scheme, parts): (Scheme, &Parts),
    peer: Option<&SpiffeId>,
    client: Option<IpAddr>,
) -> Result<(Origin, Option<IpAddr>), End> {
    match entrance {
        Entrance::Port(port) => {
            let id = serving.ports.on(*port).ok_or_else(|| End {
                reason: Some(Reason::NoListener.label()),
                ..End::of_words("refused: no listener has this port")
            })?;
            let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let name = crate::host::normalise_host(host).ok().map(|name| Arc::from(&*name));
            let sni = (scheme == Scheme::Https).then_some(name);
            Ok((Origin::Gateway { port: id, sni }, client))
        }
        Entrance::Service(service, port, audience) => {
            let origin = ServiceOrigin {
                service: service.clone(),
                port: *port,
                backend: format!("{service}:{port}").into(),
                audience: Some(audience.clone()),
                listener: None,
                hides_client: false,
            };
            Ok((Origin::Service(origin), client))
        }
        Entrance::Tunnel { dialled, routed_for } => {
            let listeners = serving.tables.sockets().flat_map(|it| it.listeners());
            let mut tunnels = listeners.filter(|it| matches!(it.listener.protocol, ListenerProtocol::Hbone));
            let (Some(listener), Some(peer)) = (tunnels.next(), peer) else {
                return Err(End::of_words(
                    "refused: tunnels are taken by waypoints, of peers that prove who they are",
                ));
            };
            let to = ConnectRequest::to(*dialled);
            let asked = match routed_for {
                Some(client) => {
                    let forwarded = Some(Forwarded { client: (*client, 0).into() });
                    ConnectRequest { routing: Routing::Done, forwarded, ..to }
                }
                None => to,
            };
            let admitted = tunnel::admit(&serving.tables, &settings.gateway, peer, &asked);
            let Admitted { mut origin, client: told } =
                admitted.map_err(|refusal| End::of_words(format!("the tunnel is refused: {refusal}")))?;
            origin.listener = Some(listener.listener.clone());
            Ok((Origin::Service(origin), told.or(client)))
        }
    }
}

/// The far end of the client's connection. Where connections begin with the PROXY protocol, one of those that are believed.
pub(super) fn far_end(serving: &Serving, origin: &Origin, client: IpAddr) -> FarEnd {
    let Origin::Gateway { port, .. } = origin else { return FarEnd::of_peer(client) };
    match serving.ports.listeners(*port).map(|it| it.opening()) {
        Some(Opening::Proxied(trusted)) => {
            FarEnd::of(client, trusted.cidrs().first().map(|it| it.first()).as_ref())
        }
        _ => FarEnd::of_peer(client),
    }
}
