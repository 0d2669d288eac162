//! Connections to a socket where the SNI says which listener they are for, and to TCP listeners, where nothing has to.

use super::arrival::Arrival;
use super::hello::{BadHello, Hello, HelloReader};
use crate::connection::{ConnectionState, Order};
use crate::l4::{Decision, L4Refusal, decide, locate};
use crate::pipeline::access::PolicySet;
use crate::ports::tls::handshake;
use crate::ports::{Branch, Branches, PortId, Way};
use crate::stream::{Arrived, Outward, serve_stream};
use crate::table::BoundListener;
use crate::telemetry::{StreamKind, StreamRecord};
use crate::transport::{Transport, keep_client_alive};
use bytes::{Bytes, BytesMut};
use fairway_config::model::ListenerProtocol;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What is read at once while the name is not known; most clients' first message fits.
const FIRST_READ: usize = 2 * 1024;
/// "unrecognized_name", fatal, in a record of its own (RFC 6066 §3).
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
enum NoHello {
    /// The client has closed the connection without a byte, as a TCP health check does.
    #[error("the client said nothing")]
    Silent,
    /// The connection has failed or ended within the ClientHello.
    #[error("the connection ended within the first TLS message: {0}")]
    Broken(#[from] io::Error),
    /// The bytes are not a valid ClientHello.
    #[error(transparent)]
    Bad(#[from] BadHello),
}

impl Arrival {
    /// A TCP listener's connection.
    pub(super) async fn serve_tcp(self, listener: Arc<BoundListener>, stream: TcpStream) {
        let mut record = self.record(StreamKind::Tcp);
        let client = Transport::Tcp(stream);
        match self.decide(&listener, None, &mut record) {
            Some(decision) => self.carry(&listener, decision, client, Bytes::new(), record).await,
            None => client.reset_on_close(),
        }
    }

    /// TLS: the name first, then what its listener does with it.
    pub(super) async fn serve_by_sni(self, port: PortId, mut stream: TcpStream, branches: Arc<Branches>) {
        let mut ahead = BytesMut::new();
        let read = tokio::select! {
            read = read_hello(&mut stream, &mut ahead) => read,
            order = self.connection.ordered(Order::Finish) => {
                let slow = order == Order::TooSlow;
                return self.turn_away(stream, if slow { L4Refusal::TooSlow } else { L4Refusal::Draining });
            }
        };
        let hello = match read {
            Ok(hello) => hello,
            Err(NoHello::Silent) => return,
            Err(error) => {
                tracing::debug!(client = ?self.caller.address, %error, "no TLS session");
                return self.turn_away(stream, L4Refusal::NotTls);
            }
        };
        // Boxed: most of what follows is not there while the name is waited for.
        Box::pin(self.serve_named(port, stream, branches, hello, ahead.freeze())).await;
    }

    async fn serve_named(
        self,
        port: PortId,
        stream: TcpStream,
        branches: Arc<Branches>,
        hello: Hello,
        ahead: Bytes,
    ) {
        let name = hello.server_name;
        let Some(Branch { listener, way }) = branches.choose(name.as_deref()) else {
            if branches.all_terminate() {
                return self.refuse_name(&stream, L4Refusal::NoListener);
            }
            return self.turn_away(stream, L4Refusal::NoListener);
        };
        if self.connection.is_treated() {
            let treatment = listener.listener.treatment.as_ref();
            self.connection.treat_as(treatment);
            keep_client_alive(&stream, &treatment.map(|it| it.keepalive).unwrap_or_default());
        }
        if let Some((counted, most)) = listener.connection_limit()
            && !self.connection.counts_for(counted, most)
        {
            return self.turn_away(stream, L4Refusal::ConnectionLimit);
        }
        match way {
            Way::Https(config) => Box::pin(self.serve_tls(port, stream, config.clone(), ahead)).await,
            Way::Refuse => self.refuse_name(&stream, L4Refusal::ListenerClosed),
            Way::Passthrough => {
                let mut record = self.record(StreamKind::Passthrough);
                let client = Transport::Tcp(stream);
                match self.decide(listener, name.as_ref(), &mut record) {
                    Some(decision) => self.carry(listener, decision, client, ahead, record).await,
                    None => client.reset_on_close(),
                }
            }
            Way::Terminate(config) => {
                Box::pin(self.terminate(listener, name.as_ref(), stream, config.clone(), ahead)).await;
            }
        }
    }

    /// Ends TLS, and carries what is inside. A client whose connection leads nowhere is turned away before the handshake.
    async fn terminate(
        self,
        listener: &BoundListener,
        name: Option<&Arc<str>>,
        stream: TcpStream,
        config: Arc<rustls::ServerConfig>,
        ahead: Bytes,
    ) {
        let mut record = self.record(StreamKind::Terminated);
        let Some(decision) = self.decide(listener, name, &mut record) else {
            return Transport::Tcp(stream).reset_on_close();
        };
        let accepted = tokio::select! {
            accepted = handshake(config, stream, &ahead) => accepted,
            order = self.connection.ordered(Order::Finish) => {
                let slow = order == Order::TooSlow;
                return record.refuse(if slow { L4Refusal::TooSlow } else { L4Refusal::Draining });
            }
        };
        match accepted {
            Ok(stream) => {
                let client = Transport::Tls(Box::new(stream));
                self.carry(listener, decision, client, Bytes::new(), record).await;
            }
            Err(error) => {
                self.worker.telemetry.counters.connections_refused.increment();
                record.refuse(L4Refusal::Handshake);
                tracing::debug!(client = ?self.caller.address, %error, "no TLS session");
            }
        }
    }

    fn decide(
        &self,
        listener: &BoundListener,
        name: Option<&Arc<str>>,
        record: &mut StreamRecord,
    ) -> Option<Decision> {
        let serving = self.worker.serving();
        record.asked(listener, serving.tables.generation(), name);
        let rng = &mut *self.worker.rng.borrow_mut();
        let located = self.far().map(|far| locate(&listener.listener.address_source, &far)).transpose();
        let decided = located.and_then(|_| decide(&serving.tables, listener, name.map(|it| &**it), rng));
        let decided = decided.and_then(|decision| {
            let entry = PolicySet::of_earlier_listener(&serving.tables, &listener.listener);
            let judged = self.admit(&serving.tables, entry, &decision.cluster, listener.listener.port);
            record.judged(decision, judged)
        });
        record.decided_or_refused(decided)
    }

    async fn carry(
        &self,
        listener: &BoundListener,
        decision: Decision,
        client: Transport,
        ahead: Bytes,
        record: StreamRecord,
    ) {
        self.connection.set_state(ConnectionState::Raw);
        let outward = match &listener.listener.protocol {
            ListenerProtocol::TlsPassthrough => Outward::AsItIs,
            _ => Outward::ByPolicy(listener.listener.backend_certificate.as_ref()),
        };
        let arrived = Arrived {
            worker: &self.worker,
            connection: &self.connection,
            caller: &self.caller,
            outward,
            record,
        };
        Box::pin(serve_stream(arrived, decision, client, ahead)).await;
    }

    /// Closes as if nobody listened: the client is told nothing in a TLS that is not this proxy's to speak.
    fn turn_away(&self, stream: TcpStream, refusal: L4Refusal) {
        self.refuse(refusal);
        Transport::Tcp(stream).reset_on_close();
    }

    /// Tells the client that nobody has this name here.
    fn refuse_name(&self, stream: &TcpStream, refusal: L4Refusal) {
        self.refuse(refusal);
        let _ = stream.try_write(UNRECOGNIZED_NAME);
    }

    fn refuse(&self, refusal: L4Refusal) {
        self.worker.telemetry.counters.connections_refused.increment();
        self.record(StreamKind::Tls).refuse(refusal);
    }
}

/// Reads until the name is known. Whoever waits for it has a time limit: the sweep over connections that shake hands.
async fn read_hello(stream: &mut TcpStream, ahead: &mut BytesMut) -> Result<Hello, NoHello> {
    let mut reader = HelloReader::default();
    loop {
        ahead.reserve(FIRST_READ);
        if stream.read_buf(ahead).await? == 0 {
            return Err(match ahead.is_empty() {
                true => NoHello::Silent,
                false => NoHello::Broken(io::ErrorKind::UnexpectedEof.into()),
            });
        }
        if let Some(hello) = reader.read(ahead)? {
            return Ok(hello);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_four<A, B, C, D, F>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_six<A, B, C, D, E, F, G>(_: fn(A, B, C, D, E, F) -> G) -> usize {
        size_of::<G>()
    }

    #[test]
    fn the_state_of_a_connection_is_small() {
        for (what, size, most) in [
            ("waits for its name", size_of_four(Arrival::serve_by_sni), 640),
            ("is named", size_of_six(Arrival::serve_named), 1024),
            ("is terminated", size_of_six(Arrival::terminate), 2176),
            ("is carried", size_of_four(serve_stream), 1216),
        ] {
            assert!(size <= most, "{what}: {size}");
        }
    }
}
