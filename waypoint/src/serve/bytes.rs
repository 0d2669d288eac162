//! Bytes, both ways, until both sides have ended: after an upgrade, and for Services that are not HTTP.

use super::{ServiceOrigin, Switch};
use crate::listen::connection::{Connection, Order};
use crate::listen::wire::Wire;
use crate::telemetry::count;
use crate::transport::Transport;
use crate::upstream::connect::Route;
use crate::upstream::endpoint::EndpointRecord;
use crate::upstream::pick::pick;
use crate::worker::Worker;
use bytes::Bytes;
use fairway_hbone::copy::{Plain, bidirectional};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Tries at endpoints of a Service that is not HTTP.
const TRIES: usize = 3;

/// Goes on after `101 Switching Protocols`.
pub async fn relay(connection: &Connection, mut client: Wire, early: Bytes, switch: Switch) {
    let Switch { taken, lease, in_flight, exchange } = switch;
    let Ok((mut endpoint, first)) = taken.await else { return };
    drop(lease);
    // What either side has sent right behind its head.
    if client.write_all(&first).await.is_ok() && endpoint.write_all(&early).await.is_ok() {
        carry(connection, client, endpoint).await;
    }
    drop((in_flight, exchange));
}

/// Carries a connection to one of a Service's endpoints.
pub async fn relay_service(
    worker: &Rc<Worker>,
    connection: &Connection,
    origin: &ServiceOrigin,
    client: Transport,
) {
    let serving = worker.serving();
    let Some(cluster) = serving.tables.cluster(&origin.backend) else { return };
    let Some((from, through)) = serving.tables.way_to(cluster, &worker.waypoint_key) else { return };
    let mut tried: SmallVec<[Arc<EndpointRecord>; TRIES]> = SmallVec::new();
    for _ in 0..TRIES {
        let now = worker.moment(Instant::now());
        let picked = pick(from, &mut *worker.rng.borrow_mut(), now, &tried).cloned();
        let Some(endpoint) = picked else { return };
        let _in_flight = endpoint.begin();
        count(&worker.telemetry.counters.upstream_connects);
        let route = Route { endpoint: &endpoint, through };
        match worker.pool.connector().connect(&route).await {
            Ok(stream) => {
                endpoint.answered(worker.moment(Instant::now()), None);
                drop(serving);
                carry(connection, client, stream).await;
                return;
            }
            Err(error) => {
                count(&worker.telemetry.counters.upstream_connect_failures);
                tracing::debug!(endpoint = %endpoint.address(), %error, "no connection");
                endpoint.unreachable(worker.moment(Instant::now()));
            }
        }
        tried.push(endpoint);
    }
}

async fn carry(
    connection: &Connection,
    client: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: impl AsyncRead + AsyncWrite + Unpin,
) {
    let (mut near, mut far) = (Plain(client), Plain(endpoint));
    tokio::select! {
        _ = bidirectional(&mut near, &mut far) => {}
        _ = connection.ordered(Order::TooSlow) => {}
    }
}
