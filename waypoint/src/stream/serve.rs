//! A connection at a TCP or TLS listener, from the decision to its end.

use super::carry::carry;
use super::{Decision, Refusal};
use crate::listen::connection::{Connection, ConnectionState, Order};
use crate::serve::{Reached, reach};
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
    // Boxed: connecting needs far more memory than relaying.
    let connecting = Box::pin(connect(worker, caller, outward, &decision));
    let reached = tokio::select! {
        reached = connecting => reached,
        _ = connection.ordered(Order::TooSlow) => Err(Refusal::Draining),
    };
    match reached {
        Ok(reached) => relay(worker, connection, record, reached, client, ahead).await,
        Err(refusal) => {
            record.refuse(refusal);
            client.reset_on_close();
        }
    }
}

/// Relays bytes in both directions, to an endpoint that is connected.
pub async fn relay(
    worker: &Rc<Worker>,
    connection: &Connection,
    mut record: StreamRecord,
    reached: Reached,
    client: Transport,
    ahead: Bytes,
) {
    let Reached { io: endpoint, in_flight } = reached;
    record.reached(in_flight.endpoint());
    client.keep_alive();
    endpoint.keep_alive();
    let counters = &worker.telemetry.counters.streams;
    let carried = carry(connection, client, ahead, endpoint, counters, record.moved()).await;
    record.ended(carried);
}

async fn connect(
    worker: &Rc<Worker>,
    caller: &Caller,
    outward: Outward<'_>,
    decision: &Decision,
) -> Result<Reached, Refusal> {
    let serving = worker.serving();
    let tls = match outward {
        Outward::AsItIs => None,
        Outward::ByPolicy(shown) => decision.cluster.tls(shown).map_err(|error| {
            tracing::debug!(backend = %decision.cluster.key(), %error, "nothing is sent");
            Refusal::TlsPolicy
        })?,
    };
    Ok(reach(worker, &serving, caller, &decision.cluster, tls).await?)
}
