//! A connection at a TCP or TLS listener, from the decision to its end.

use super::carry::carry;
use super::{Decision, Refusal};
use crate::listen::connection::{Connection, Order, Stage};
use crate::serve::{Reached, reach};
use crate::table::BoundListener;
use crate::telemetry::StreamRecord;
use crate::transport::Transport;
use crate::worker::Worker;
use bytes::Bytes;
use fairway_config::model::ListenerProtocol;
use std::rc::Rc;

/// A client whose bytes are to be carried.
pub struct Arrived<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The connection's state.
    pub connection: &'a Connection,
    /// The listener.
    pub listener: &'a BoundListener,
    /// What is told of it.
    pub record: StreamRecord,
}

/// Connects to an endpoint and carries bytes both ways. `ahead` was read from the client already.
pub async fn serve_stream(arrived: Arrived<'_>, decision: Decision, client: Transport, ahead: Bytes) {
    let Arrived { worker, connection, listener, mut record } = arrived;
    connection.set_stage(Stage::Raw);
    // Boxed: its state is large, and gone once there is a connection.
    let connecting = Box::pin(connect(worker, listener, &decision));
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
    listener: &BoundListener,
    decision: &Decision,
) -> Result<Reached, Refusal> {
    let serving = worker.serving();
    let tls = match &listener.listener.protocol {
        // The client's own TLS ends at the backend: a policy's would be wrapped around it.
        ListenerProtocol::TlsPassthrough => None,
        _ => {
            let shown = listener.listener.backend_certificate.as_ref();
            decision.cluster.tls(shown).map_err(|error| {
                tracing::debug!(backend = %decision.cluster.key(), %error, "nothing is sent");
                Refusal::TlsPolicy
            })?
        }
    };
    Ok(reach(worker, &serving, &decision.cluster, tls).await?)
}
