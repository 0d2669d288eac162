//! Bytes, both ways, until both sides have ended, after an upgrade; and connections to endpoints that bytes are sent to.

use crate::connection::{Connection, Order};
use crate::pipeline::Switch;
use crate::pipeline::endpoint::{Destination, choose};
use crate::reason::Reason;
use crate::transport::Transport;
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Link;
use crate::upstream::dialled::{DialledSocket, Looped, Passed};
use crate::upstream::tls::{Protocol, TlsClient};
use crate::wire::Wire;
use crate::worker::{Serving, Worker};
use bytes::Bytes;
use fairway_balance::{EndpointRecord, InFlight};
use fairway_hbone::Tunnel;
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

/// Goes on after an HTTP/2 client was told that its stream is a WebSocket. It ends with its stream, and that with its
/// connection, so nobody has to tell it.
pub async fn relay_tunnel(mut client: Tunnel, switch: Switch) {
    let Switch { taken, lease, in_flight, exchange } = switch;
    let Ok((endpoint, first)) = taken.await else { return };
    drop(lease);
    if client.write_all(&first).await.is_ok() {
        let _ = bidirectional(&mut client, &mut Plain(endpoint)).await;
    }
    drop((in_flight, exchange));
}

/// A byte stream to one of a backend's endpoints.
#[derive(Debug)]
pub struct Reached {
    /// The stream to the endpoint, to which nothing was sent yet.
    pub io: Transport,
    /// Load on the endpoint, as long as the stream is in use.
    pub in_flight: InFlight,
    /// The note that the stream's socket is this proxy's own, and what its bytes have passed; none for a tunnel. Boxed: it is there as
    /// long as the stream.
    pub dialled: Option<Box<DialledSocket>>,
}

/// The client whose bytes are to go on.
#[derive(Clone, Copy, Debug)]
pub struct BytesFrom<'a> {
    /// Its connection, whose ends say whether it is this proxy itself.
    pub io: &'a Transport,
    /// For the choice of an endpoint.
    pub caller: &'a Caller,
    /// The route that sends the bytes on, or the Service that has none.
    pub route: &'a Arc<str>,
}

// === impl BytesFrom ===

impl BytesFrom<'_> {
    /// What the bytes have passed in this proxy, the route among it.
    fn passed(self, worker: &Worker) -> Result<Passed, Reason> {
        let streams = &worker.dialled.streams;
        // The kernel is asked for the ends only if they can mean something.
        let ends = if streams.is_empty() { None } else { self.io.ends() };
        let passed = ends.map(|(near, far)| streams.passed(far, Some(near))).unwrap_or_default();
        passed.through(self.route).map_err(|Looped| Reason::Loop)
    }
}

/// Connects to one of a backend's endpoints, and to another if it cannot be reached: nothing was sent yet. `tls` is
/// [`Cluster::tls`], or none for bytes that go on as they came.
pub async fn reach(
    worker: &Rc<Worker>,
    serving: &Serving,
    from: BytesFrom<'_>,
    cluster: &Cluster,
    tls: Option<&Arc<TlsClient>>,
) -> Result<Reached, Reason> {
    from.passed(worker)?;
    let destination = Destination { cluster, tls, protocol: Protocol::Bytes, caller: from.caller };
    let mut tried: SmallVec<[Arc<EndpointRecord>; TRIES]> = SmallVec::new();
    let mut failed = Reason::NoEndpoint;
    for _ in 0..TRIES {
        let route = choose(worker, serving, destination, &tried).map_err(|_| failed)?;
        let endpoint = route.endpoint;
        let in_flight = endpoint.begin();
        worker.telemetry.counters.upstream_connects.increment();
        match worker.pool.connector().connect(&route, Protocol::Bytes).await {
            Ok(Link { io, .. }) => {
                endpoint.record_response(worker.moment(Instant::now()), None);
                // Another thread may have dialled the client's socket, and noted it only now.
                let passed = from.passed(worker)?;
                let note = |(near, far)| Box::new(worker.dialled.streams.note(near, far, passed));
                let dialled = io.ends().map(note);
                return Ok(Reached { io, in_flight, dialled });
            }
            Err(error) => {
                worker.telemetry.counters.upstream_connect_failures.increment();
                tracing::debug!(endpoint = %endpoint.address(), %error, "no connection");
                failed = Reason::from(&error);
                if failed == Reason::Unreachable {
                    endpoint.record_connect_failure(worker.moment(Instant::now()));
                }
            }
        }
        tried.push(endpoint.clone());
    }
    Err(failed)
}

/// Carries bytes both ways until both sides have ended.
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
