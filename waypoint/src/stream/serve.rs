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

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug)]
pub enum Outward<'a> {
    /// What the client speaks: a TLS of its own ends at the backend, and a policy's would be wrapped around it.
    AsItIs,
    /// TLS if a policy says so; this is shown to backends that ask for a certificate.
    ByPolicy(Option<&'a CertificateKey>),
}

/// A client whose bytes are to be carried.
pub struct Arrived<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The connection's state.
    pub connection: &'a Connection,
    /// Whose they are.
    pub caller: &'a Caller,
    /// What is spoken with the backend.
    pub outward: Outward<'a>,
    /// What is told of it.
    pub record: StreamRecord,
}

/// Connects to an endpoint and carries bytes both ways. `ahead` was read from the client already.
pub async fn serve_stream(arrived: Arrived<'_>, decision: Decision, client: Transport, ahead: Bytes) {
    let Arrived { worker, connection, caller, outward, mut record } = arrived;
    connection.set_state(ConnectionState::Raw);
    // Boxed: its state is large, and gone once there is a connection.
    let connecting = Box::pin(connect(worker, caller, outward, &decision));
    let reached = tokio::select! {
        reached = connecting => reached,
        _ = connection.ordered(Order::TooSlow) => Err(Refusal::Draining),
    };
    let Reached { io: endpoint, in_flight } = match reached {
        Ok(reached) => reached,
        Err(refusal) => {
            record.refuse(refusal);
            return client.reset_on_close();
        }
    };
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
