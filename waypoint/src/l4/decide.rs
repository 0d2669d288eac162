//! The decision about a connection or a client's datagrams. Pure: from a listener and a server name to a backend.

use super::L4Refusal;
use crate::address::{self, FarEnd, StreamAddressError};
use crate::table::{BoundListener, CompiledL4Route, Tables};
use crate::upstream::cluster::Cluster;
use fairway_config::model::{AddressSource, BackendTarget};
use fairway_telemetry::{ConnectionLabels, Series};
use rand::Rng;
use std::net::IpAddr;
use std::sync::Arc;

/// The route and the backend of a connection.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The backend, drawn by weight.
    pub cluster: Arc<Cluster>,
    /// The route that has drawn it, or the Service's port where none has: what is not passed twice.
    pub route: Arc<str>,
    /// Where the connection counts; none where nothing is counted.
    pub series: Option<Series<ConnectionLabels>>,
}

/// No decision: the connection is closed.
#[derive(Clone, Debug)]
pub struct Undecided {
    /// Why the connection is closed, for metrics and the log.
    pub refusal: L4Refusal,
    /// Where the connection counts, if a route takes it.
    pub series: Option<Series<ConnectionLabels>>,
}

/// Chooses the route by `name` (SNI; `None` for TCP and UDP), then a backend by weight.
pub fn decide(
    tables: &Tables,
    listener: &BoundListener,
    name: Option<&str>,
    rng: &mut impl Rng,
) -> Result<Decision, Undecided> {
    let undecided = |refusal| Undecided { refusal, series: None };
    if listener.listener.closed.is_some() {
        return Err(undecided(L4Refusal::ListenerClosed));
    }
    let route = listener.streams.choose(name).ok_or_else(|| undecided(L4Refusal::NoRoute))?;
    draw(tables, route, rng)
}

/// Where the client of a connection is, as its listener is told to find out.
pub fn locate(source: &AddressSource, far: &FarEnd) -> Result<IpAddr, Undecided> {
    address::of_connection(source, far).map_err(|error| {
        let refusal = match error {
            StreamAddressError::NoProxyHeader => L4Refusal::NoProxyHeader,
            StreamAddressError::NoRequest => L4Refusal::NoRequest,
        };
        Undecided { refusal, series: None }
    })
}

/// Draws a backend of a route by weight. Fails if the route has none, or the drawn one is not in the configuration.
pub fn draw(tables: &Tables, route: &CompiledL4Route, rng: &mut impl Rng) -> Result<Decision, Undecided> {
    let undecided = |refusal, series: &Series<_>| Undecided { refusal, series: Some(series.clone()) };
    let (target, series) = route.draw(rng).ok_or_else(|| undecided(L4Refusal::NoBackend, route.series()))?;
    let cluster = match target {
        BackendTarget::Unresolved(_) => None,
        BackendTarget::Backend(key) => tables.cluster(key).cloned(),
    };
    let cluster = cluster.ok_or_else(|| undecided(L4Refusal::UnresolvedBackend, series))?;
    Ok(Decision { cluster, route: route.route().key.as_arc(), series: Some(series.clone()) })
}

impl Decision {
    /// For a Service's own endpoints: no route has a say.
    pub fn without_route(cluster: Arc<Cluster>) -> Self {
        Self { series: cluster.connections().cloned(), route: cluster.key().as_arc(), cluster }
    }
}

impl From<Undecided> for L4Refusal {
    fn from(undecided: Undecided) -> Self {
        undecided.refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn where_a_client_is_that_only_sends_bytes_is_known_or_the_reason_is_said() {
        let trusted = || std::iter::once("10.0.0.0/8".parse().unwrap()).collect();
        let header = AddressSource::Header { name: HeaderName::from_static("x-at"), trusted: trusted() };
        let (peer, client): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [203, 0, 113, 7].into());
        let (plain, proxied) =
            (FarEnd::of_peer(peer), FarEnd { proxied: Some(client), ..FarEnd::of_peer(peer) });
        for (source, far, expected) in [
            (AddressSource::Connection, plain, Ok(peer)),
            (AddressSource::ProxyProtocol(trusted()), proxied, Ok(client)),
            (AddressSource::ProxyProtocol(trusted()), plain, Err("no_proxy_header")),
            (AddressSource::ForwardedFor(trusted()), plain, Err("no_request")),
            (header, proxied, Err("no_request")),
        ] {
            let located = locate(&source, &far).map_err(|it| it.refusal.label());
            assert_eq!(located, expected, "{source:?} {far:?}");
        }
    }
}
