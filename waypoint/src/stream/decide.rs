//! Where a connection or a client's datagrams go. Pure: a listener and a name in, a backend out.

use super::Refusal;
use crate::table::{BoundListener, CompiledL4Route, Tables};
use crate::upstream::cluster::Cluster;
use fairway_config::model::BackendTarget;
use fairway_telemetry::{ConnectionLabels, Series};
use rand::Rng;
use std::sync::Arc;

/// Where a connection goes.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The backend.
    pub cluster: Arc<Cluster>,
    /// Where the connection counts.
    pub series: Series<ConnectionLabels>,
}

/// Chooses route and backend.
pub fn decide(
    tables: &Tables,
    listener: &BoundListener,
    name: Option<&str>,
    rng: &mut impl Rng,
) -> Result<Decision, Refusal> {
    let route = listener.streams.choose(name).ok_or(Refusal::NoRoute)?;
    draw(tables, route, rng)
}

/// Chooses one of a route's backends.
pub fn draw(tables: &Tables, route: &CompiledL4Route, rng: &mut impl Rng) -> Result<Decision, Refusal> {
    let (target, series) = route.draw(rng).ok_or(Refusal::NoBackend)?;
    match target {
        BackendTarget::Unresolved(_) => Err(Refusal::UnresolvedBackend),
        BackendTarget::Backend(key) => {
            let cluster = tables.cluster(key).ok_or(Refusal::UnresolvedBackend)?.clone();
            Ok(Decision { cluster, series: series.clone() })
        }
    }
}
