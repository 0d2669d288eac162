//! A connection at a TCP or TLS listener, from the decision to its end.

use super::carry::carry;
use crate::connection::{Connection, ConnectionState, Order};
use crate::l4::{Carried, Decision, L4Refusal};
use crate::serve::{BytesFrom, Reached, reach};
use crate::telemetry::StreamRecord;
use crate::transport::Transport;
use crate::upstream::caller::Caller;
use crate::worker::Worker;
use bytes::Bytes;
use fairway_config::model::CertificateKey;
use std::rc::Rc;

/// How the connection to a backend is secured.
#[derive(Clone, Copy, Debug)]
pub enum Outward<'a> {
    /// Like the client's: its bytes are passed on unchanged. The client's TLS ends at the backend, so a policy does not apply.
    AsItIs,
    /// TLS if the backend has a BackendTLSPolicy, with this client certificate.
    ByPolicy(Option<&'a CertificateKey>),
}

/// A client connection that is ready to be relayed.
pub struct Arrived<'a> {
    /// The worker that has accepted the connection.
    pub worker: &'a Rc<Worker>,
    /// The connection as the drain and the timeouts see it.
    pub connection: &'a Connection,
    /// The client, for the choice of the endpoint.
    pub caller: &'a Caller,
    /// How the connection to the backend is secured.
    pub outward: Outward<'a>,
    /// The record for metrics and the access log.
    pub record: StreamRecord,
}

/// Connects to an endpoint and relays bytes in both directions. `ahead` are the bytes that were already read from the client.
pub async fn serve_stream(arrived: Arrived<'_>, decision: Decision, client: Transport, ahead: Bytes) {
    let Arrived { worker, connection, caller, outward, mut record } = arrived;
    connection.set_state(ConnectionState::Raw);
    let from = BytesFrom { io: &client, caller, route: &decision.route };
    // Boxed: connecting needs far more memory than relaying.
    let connecting = Box::pin(connect(worker, from, outward, &decision));
    let reached = tokio::select! {
        reached = connecting => reached,
        _ = connection.ordered(Order::TooSlow) => Err(L4Refusal::Draining),
    };
    match reached {
        Ok(Reached { io: endpoint, in_flight, dialled: _dialled }) => {
            record.reached(in_flight.endpoint());
            let carried = relay(worker, connection, &record, client, ahead, endpoint).await;
            record.ended(carried);
        }
        Err(refusal) => {
            record.refuse(refusal);
            client.reset_on_close();
        }
    }
}

/// Relays bytes in both directions, to an endpoint that is connected. Not an `async fn`: its future would hold the two connections twice.
pub fn relay<'a>(
    worker: &'a Worker,
    connection: &'a Connection,
    record: &'a StreamRecord,
    client: Transport,
    ahead: Bytes,
    endpoint: Transport,
) -> impl Future<Output = Carried> + 'a {
    carry(connection, client, ahead, endpoint, &worker.telemetry.counters.streams, record.moved())
}

async fn connect(
    worker: &Rc<Worker>,
    from: BytesFrom<'_>,
    outward: Outward<'_>,
    decision: &Decision,
) -> Result<Reached, L4Refusal> {
    let serving = worker.serving();
    let tls = match outward {
        Outward::AsItIs => None,
        Outward::ByPolicy(shown) => decision.cluster.tls(shown).map_err(|error| {
            tracing::debug!(backend = %decision.cluster.key(), %error, "nothing is sent");
            L4Refusal::TlsPolicy
        })?,
    };
    Ok(reach(worker, &serving, from, &decision.cluster, tls).await?)
}
