//! The decision about a connection or a client's datagrams. Pure: from a listener and a server name to a backend.

use super::L4Refusal;
use crate::table::{BoundListener, CompiledL4Route, Tables};
use crate::upstream::cluster::Cluster;
use fairway_config::model::BackendTarget;
use fairway_telemetry::{ConnectionLabels, Series};
use rand::Rng;
use std::sync::Arc;

/// The route and the backend of a connection.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The backend, drawn by weight.
    pub cluster: Arc<Cluster>,
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

/// Draws a backend of a route by weight. Fails if the route has none, or the drawn one is not in the configuration.
pub fn draw(tables: &Tables, route: &CompiledL4Route, rng: &mut impl Rng) -> Result<Decision, Undecided> {
    let undecided = |refusal, series: &Series<_>| Undecided { refusal, series: Some(series.clone()) };
    let (target, series) = route.draw(rng).ok_or_else(|| undecided(L4Refusal::NoBackend, route.series()))?;
    let cluster = match target {
        BackendTarget::Unresolved(_) => None,
        BackendTarget::Backend(key) => tables.cluster(key).cloned(),
    };
    let cluster = cluster.ok_or_else(|| undecided(L4Refusal::UnresolvedBackend, series))?;
    Ok(Decision { cluster, series: Some(series.clone()) })
}

impl Decision {
    /// For a Service's own endpoints: no route has a say.
    pub fn without_route(cluster: Arc<Cluster>) -> Self {
        Self { series: cluster.connections().cloned(), cluster }
    }
}

impl From<Undecided> for L4Refusal {
    fn from(undecided: Undecided) -> Self {
        undecided.refusal
    }
}
