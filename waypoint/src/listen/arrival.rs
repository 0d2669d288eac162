//! An accepted connection until it is known what is spoken on it.

use crate::address::FarEnd;
use crate::connection::{Connection, ConnectionState, Order};
use crate::l4::{Decision, Undecided, draw};
use crate::pipeline::access::{self, PolicySet, RequestSource};
use crate::pipeline::{Client, Origin, ServiceOrigin, forwarded_certificate};
use crate::ports::PortId;
use crate::ports::tls::handshake;
use crate::serve::{detect_http, serve_http};
use crate::stream::{Arrived, Outward, serve_stream};
use crate::table::Tables;
use crate::telemetry::{BytesRefusal, Observed, StreamKind, StreamRecord};
use crate::transport::{Transport, keep_client_alive};
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::wire::{ReadAhead, Version};
use crate::worker::{Serving, Worker};
use bytes::Bytes;
use fairway_config::model::{
    AppProtocol, CertificateHeader, L4Kind, Listener, Scheme, SpiffeId, WithoutCertificate,
};
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// An accepted connection whose protocol is not known yet.
pub struct Arrival {
    /// The worker that has accepted the connection.
    pub worker: Rc<Worker>,
    /// The connection as the drain and the timeouts see it.
    pub connection: Rc<Connection>,
    /// The listener or Service that it was accepted for.
    pub origin: Origin,
    /// `https` if TLS is terminated here, else `http`.
    pub scheme: Scheme,
    /// The client, for the choice of endpoints.
    pub caller: Caller,
    /// The proxy that connects for the client, by its header of the PROXY protocol. Boxed: mostly there is none.
    pub proxy: Option<Box<IpAddr>>,
    /// The identity of the client, if it was authenticated by mTLS.
    pub identity: Option<SpiffeId>,
}

// === impl Arrival ===

impl Arrival {
    /// TLS, then HTTP by ALPN; clients without ALPN are looked at. `ahead` was read already.
    pub(super) async fn serve_tls(
        mut self,
        port: PortId,
        stream: TcpStream,
        tls: Arc<rustls::ServerConfig>,
        ahead: Bytes,
    ) {
        let connection = self.connection.clone();
        let accepted = tokio::select! {
            accepted = handshake(tls, stream, &ahead) => accepted,
            _ = connection.ordered(Order::Finish) => return,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                self.worker.telemetry.counters.connections_refused.increment();
                tracing::debug!(client = ?self.caller.address, %error, "no TLS session");
                return;
            }
        };
        let session = stream.get_ref().1;
        let sni: Option<Arc<str>> = session.server_name().map(Arc::from);
        let version = match session.alpn_protocol() {
            Some(b"h2") => Some(Version::Http2),
            Some(b"http/1.1") => Some(Version::Http1),
            _ => None,
        };
        self.treat_by_name(port, sni.as_deref(), &stream);
        self.origin = Origin::Gateway { port, sni: Some(sni) };
        self.connection.set_state(ConnectionState::Http1);
        let io = Transport::Tls(Box::new(stream));
        match version {
            Some(version) => self.serve_version(io, version, ReadAhead::default()).await,
            None => self.serve_plain(io).await,
        }
    }

    /// From now on the connection is for the listener of this name.
    fn treat_by_name(&self, port: PortId, sni: Option<&str>, stream: &TlsStream<TcpStream>) {
        if !self.connection.is_treated() {
            return;
        }
        let serving = self.worker.serving();
        let set = serving.ports.listeners(port);
        let Some(bound) = set.and_then(|it| it.for_host(sni.unwrap_or_default())) else { return };
        let treatment = bound.listener.treatment.as_ref();
        let (socket, session) = stream.get_ref();
        self.connection.treat_as(treatment);
        keep_client_alive(socket, &treatment.map(|it| it.keepalive).unwrap_or_default());
        if treatment.is_some_and(|it| it.certificate_header == CertificateHeader::Set)
            && validates_clients(&bound.listener)
        {
            let leaf = session.peer_certificates().and_then(<[_]>::first);
            if let Some(certificate) = leaf.and_then(forwarded_certificate) {
                self.connection.shows(certificate);
            }
        }
    }

    /// A Service's port: HTTP, or bytes if that is what it speaks.
    pub async fn serve_service(self, io: Transport) {
        let Origin::Service(origin) = &self.origin else { return };
        let serving = self.worker.serving();
        let route = origin.audience.as_ref();
        let route = route.and_then(|it| serving.tables.service_stream(&origin.service, origin.port, it));
        if let Some(route) = route {
            let mut record = self.stream_record(origin, &serving);
            let kind = route.route().kind;
            let decided = draw(&serving.tables, route, &mut *self.worker.rng.borrow_mut());
            let decided = decided.and_then(|it| self.judge_bytes(origin, it, &serving.tables, &mut record));
            drop(serving);
            return match record.decided_or_refused(decided) {
                Some(decision) => {
                    let outward = match kind {
                        L4Kind::Tls => Outward::AsItIs,
                        L4Kind::Tcp | L4Kind::Udp => Outward::ByPolicy(origin.shown()),
                    };
                    let (worker, connection, caller) = (&self.worker, &self.connection, &self.caller);
                    let arrived = Arrived { worker, connection, caller, outward, record };
                    Box::pin(serve_stream(arrived, decision, io, Bytes::new())).await;
                }
                None => io.reset_on_close(),
            };
        }
        let cluster = serving.tables.service_cluster(&origin.backend);
        match cluster.map(|it| (it, it.protocol())) {
            Some((cluster, AppProtocol::Tcp)) => {
                let mut record = self.stream_record(origin, &serving);
                let decision = Decision::without_route(cluster.clone());
                let decided = self.judge_bytes(origin, decision, &serving.tables, &mut record);
                drop(serving);
                let Some(decision) = record.decided_or_refused(decided) else {
                    return io.reset_on_close();
                };
                // Whoever dialled the Service speaks its TLS with it; a policy is for what routes send there.
                let outward = Outward::AsItIs;
                let (worker, connection, caller) = (&self.worker, &self.connection, &self.caller);
                let arrived = Arrived { worker, connection, caller, outward, record };
                Box::pin(serve_stream(arrived, decision, io, Bytes::new())).await;
            }
            Some((_, AppProtocol::Unspecified)) => {
                drop(serving);
                Box::pin(self.serve_unknown(io)).await;
            }
            Some((_, AppProtocol::Http1 | AppProtocol::Http2)) | None => {
                drop(serving);
                self.serve_plain(io).await;
            }
        }
    }

    /// The far end of the connection, if that is known.
    pub(super) fn far(&self) -> Option<FarEnd> {
        Some(FarEnd::of(self.caller.address?, self.proxy.as_deref()))
    }

    /// The record of a connection of which only the bytes are known.
    pub(super) fn record(&self, kind: StreamKind) -> StreamRecord {
        let mut record = StreamRecord::begin(&self.worker.telemetry, kind, self.caller.address);
        if let Some(peer) = &self.proxy {
            record.comes_through(**peer);
        }
        record
    }

    /// The record of a connection to a Service's port that is not HTTP.
    pub(super) fn stream_record(&self, origin: &ServiceOrigin, serving: &Serving) -> StreamRecord {
        let mut record = self.record(StreamKind::Tcp);
        record.asked_of(&origin.service, origin.port, serving.tables.generation());
        record.comes_from(self.identity.as_ref());
        record
    }

    /// Judges a connection of which only the bytes are known, by the entry and by the backend that is chosen.
    pub(super) fn admit(
        &self,
        tables: &Tables,
        entry: PolicySet<'_>,
        backend: &Cluster,
        port: u16,
    ) -> Result<Observed, BytesRefusal> {
        let source = RequestSource::from_origin(&self.origin, &self.caller, self.identity.as_ref(), port);
        access::admit_connection(&self.worker, tables, entry, backend, source)
    }

    /// Judges a connection to a Service of which only the bytes are known.
    pub(super) fn judge_bytes(
        &self,
        origin: &ServiceOrigin,
        decision: Decision,
        tables: &Tables,
        record: &mut StreamRecord,
    ) -> Result<Decision, Undecided> {
        let entry = PolicySet::at_entry(tables, &self.origin, None, &self.worker.waypoint_key);
        let judged = self.admit(tables, entry, &decision.cluster, origin.port);
        record.judged(decision, judged)
    }

    /// HTTP/1 or HTTP/2 with prior knowledge.
    pub(super) async fn serve_plain(self, mut io: Transport) {
        if let Some((version, ahead)) = detect_http(&self.connection, &mut io).await {
            self.serve_version(io, version, ahead).await;
        }
    }

    pub(super) async fn serve_version(self, io: Transport, version: Version, ahead: ReadAhead) {
        let Self { worker, connection, origin, scheme, caller, proxy, identity } = self;
        let forwarded_for = caller.address.and_then(|it| HeaderValue::try_from(it.to_string()).ok());
        let client = Rc::new(Client {
            worker,
            connection,
            origin,
            scheme,
            version,
            caller,
            proxy,
            identity,
            forwarded_for,
            is_http10: Cell::new(false),
            switch: RefCell::new(None),
        });
        serve_http(client, io, ahead).await;
    }
}

/// Whether a listener refuses clients without a valid certificate. Else a certificate proves nothing.
fn validates_clients(listener: &Listener) -> bool {
    let clients = listener.protocol.termination().and_then(|it| it.clients.as_ref());
    clients.is_some_and(|it| it.without == WithoutCertificate::Refused)
}
