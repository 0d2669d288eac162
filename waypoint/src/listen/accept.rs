//! Accepting connections on one worker, and finding out what is spoken on them.

use super::socket::begin_no_more;
use super::tunnel;
use crate::connection::{Connection, ConnectionState, Order};
use crate::l4::{Decision, Undecided, draw};
use crate::pipeline::access::{self, PolicySet, RequestSource};
use crate::pipeline::{Client, Origin, ServiceOrigin};
use crate::ports::tls::handshake;
use crate::ports::{Entrance, PortId};
use crate::serve::{detect_http, serve_http};
use crate::stream::{Arrived, Outward, serve_stream};
use crate::table::Tables;
use crate::telemetry::{Observed, StreamKind, StreamRecord};
use crate::transport::Transport;
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::wire::{ReadAhead, Version};
use crate::worker::{Serving, Worker};
use bytes::Bytes;
use fairway_config::model::{AppProtocol, Audience, L4Kind, ListenerProtocol, Scheme, SpiffeId};
use fairway_runtime::descriptors::{self, Room};
use fairway_runtime::drain::Phase;
use fairway_runtime::task;
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Time that a closing listener gives the TCP handshakes in progress: several round trips.
const HANDSHAKES: Duration = Duration::from_millis(200);
/// Pause while the proxy has its maximum of clients.
const BREATH: Duration = Duration::from_millis(50);
/// Idle connections that are closed at a time to make room.
const AT_ONCE: usize = 16;

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
    /// The identity of the client, if it was authenticated by mTLS.
    pub identity: Option<SpiffeId>,
}

/// Accepts until the socket is to be closed. When the whole proxy ends, who the kernel has begun to shake hands with by then is
/// still served; a listener that the configuration has no more is served to nobody.
pub async fn accept(
    worker: Rc<Worker>,
    port: PortId,
    listener: TcpListener,
    mut closing: watch::Receiver<bool>,
) {
    let drain = worker.drain.clone();
    let mut draining = pin!(drain.reached(Phase::Closing));
    let ends = loop {
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break false,
            () = &mut draining => break true,
            accepted = listener.accept(), if has_room(&worker) => match accepted {
                Ok((stream, peer)) => match descriptors::room_after(&stream) {
                    Room::Enough => start(&worker, port, stream, peer),
                    Room::Scarce => make_room(&worker, stream).await,
                },
                Err(error) => rest_after(&worker, &error).await,
            },
            () = tokio::time::sleep(BREATH), if !has_room(&worker) => worker.connections.finish_idle(AT_ONCE),
        }
    };
    if ends {
        accept_last(&worker, port, listener).await;
    }
}

/// Accepts those whose handshakes have begun.
async fn accept_last(worker: &Rc<Worker>, port: PortId, listener: TcpListener) {
    // While the worker ends, it waits for this.
    let _lasting = worker.connections.open(ConnectionState::Raw);
    if let Err(error) = begin_no_more(&listener) {
        tracing::warn!(%error, "a listener closes under its clients: who comes at this moment is reset");
    }
    let mut closed = pin!(tokio::time::sleep(HANDSHAKES));
    loop {
        tokio::select! {
            () = &mut closed => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => start(worker, port, stream, peer),
                Err(error) => rest_after(worker, &error).await,
            },
        }
    }
    // The socket itself is asked, since the event loop may not have heard of the last ones yet.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            start(worker, port, stream, peer);
        }
    }
}

fn has_room(worker: &Worker) -> bool {
    worker.connections.is_below(worker.settings.limits.connections)
}

/// Errors of one connection are no reason to wait; a lack of descriptors or memory is.
async fn rest_after(worker: &Worker, error: &io::Error) {
    let of_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !of_connection {
        tracing::warn!(%error, "cannot accept");
        worker.connections.finish_idle(AT_ONCE);
        worker.pool.tick(0);
        tokio::time::sleep(BREATH).await;
    }
}

/// The descriptors that are left are for endpoints and for the controller: a client without one is turned away, a request
/// without one fails. Those that use theirs least make room.
async fn make_room(worker: &Worker, stream: TcpStream) {
    worker.telemetry.counters.connections_refused.increment();
    let _ = stream.set_zero_linger();
    drop(stream);
    tracing::warn!(
        limit = descriptors::limit(),
        "open files run short: clients that come now are turned away, idle ones are closed; raise the hard limit (ulimit -Hn)"
    );
    worker.connections.finish_idle(AT_ONCE);
    worker.pool.tick(0);
    tokio::time::sleep(BREATH).await;
}

fn start(worker: &Rc<Worker>, port: PortId, stream: TcpStream, peer: SocketAddr) {
    worker.telemetry.counters.connections.increment();
    let _ = stream.set_nodelay(true);
    let serving = worker.serving();
    let Some(found) = serving.ports.get(port) else { return };
    let Some(first) = found.set.listeners().first() else { return };
    let Some(share) = worker.connections.admit(peer.ip(), worker.settings.limits.connections) else {
        worker.telemetry.counters.connections_refused.increment();
        let _ = stream.set_zero_linger();
        return;
    };
    let worker = worker.clone();
    let connection = worker.connections.open_from(share, ConnectionState::Raw);
    let arrival = |state, origin, scheme| {
        connection.set_state(state);
        Arrival {
            connection: connection.clone(),
            worker: worker.clone(),
            origin,
            scheme,
            caller: Caller { address: Some(peer.ip().to_canonical()), ..Caller::default() },
            identity: None,
        }
    };
    match &found.entrance {
        Entrance::Plain => {}
        Entrance::Https(tls) => {
            let arrival =
                arrival(ConnectionState::Handshake, Origin::Gateway { port, sni: Some(None) }, Scheme::Https);
            let tls = tls.clone();
            task::spawn_local(|| arrival.serve_tls(port, stream, tls, Bytes::new()));
            return;
        }
        Entrance::BySni(branches) => {
            let arrival =
                arrival(ConnectionState::Handshake, Origin::Gateway { port, sni: Some(None) }, Scheme::Https);
            let branches = branches.clone();
            task::spawn_local(|| arrival.serve_by_sni(port, stream, branches));
            return;
        }
    }
    match &first.listener.protocol {
        ListenerProtocol::Http => {
            let arrival = arrival(ConnectionState::Http1, Origin::Gateway { port, sni: None }, Scheme::Http);
            task::spawn_local(|| arrival.serve_plain(Transport::Tcp(stream)));
        }
        ListenerProtocol::Tcp => {
            let arrival = arrival(ConnectionState::Raw, Origin::Gateway { port, sni: None }, Scheme::Http);
            let first = first.clone();
            task::spawn_local(|| arrival.serve_tcp(first, stream));
        }
        // TLS has an entrance of its own, and UDP no connections.
        ListenerProtocol::Https(_)
        | ListenerProtocol::TlsTerminate(_)
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::Udp => {}
        ListenerProtocol::Hbone => {
            let (worker, listener) = (worker.clone(), first.listener.clone());
            task::spawn_local(|| tunnel::serve(worker, listener, stream, connection));
        }
        ListenerProtocol::Service { service, port } => {
            let origin = ServiceOrigin {
                service: service.clone(),
                port: *port,
                backend: format!("{service}:{port}").into(),
                audience: Some(Audience::Producer),
                listener: Some(first.listener.clone()),
                hides_client: false,
            };
            let mut arrival = arrival(ConnectionState::Http1, Origin::Service(origin), Scheme::Http);
            arrival.caller.service = Some(service.clone());
            task::spawn_local(|| arrival.serve_service(Transport::Tcp(stream)));
        }
    }
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
        let sni = session.server_name().map(Arc::from);
        let version = match session.alpn_protocol() {
            Some(b"h2") => Some(Version::Http2),
            Some(b"http/1.1") => Some(Version::Http1),
            _ => None,
        };
        self.origin = Origin::Gateway { port, sni: Some(sni) };
        self.connection.set_state(ConnectionState::Http1);
        let io = Transport::Tls(Box::new(stream));
        match version {
            Some(version) => self.serve_version(io, version, ReadAhead::default()).await,
            None => self.serve_plain(io).await,
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

    /// The record of a connection to a Service's port that is not HTTP.
    pub(super) fn stream_record(&self, origin: &ServiceOrigin, serving: &Serving) -> StreamRecord {
        let mut record = StreamRecord::begin(&self.worker.telemetry, StreamKind::Tcp, self.caller.address);
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
    ) -> Result<Observed, fairway_policy::PolicyRefusal> {
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
    async fn serve_plain(self, mut io: Transport) {
        if let Some((version, ahead)) = detect_http(&self.connection, &mut io).await {
            self.serve_version(io, version, ahead).await;
        }
    }

    pub(super) async fn serve_version(self, io: Transport, version: Version, ahead: ReadAhead) {
        let Self { worker, connection, origin, scheme, caller, identity } = self;
        let forwarded_for = caller.address.and_then(|it| HeaderValue::try_from(it.to_string()).ok());
        let client = Rc::new(Client {
            worker,
            connection,
            origin,
            scheme,
            version,
            caller,
            identity,
            forwarded_for,
            is_http10: Cell::new(false),
            switch: RefCell::new(None),
        });
        serve_http(client, io, ahead).await;
    }
}
