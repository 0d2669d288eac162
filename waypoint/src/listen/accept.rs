//! Accepting connections on one worker, and which way each begins.

use super::arrival::Arrival;
use super::proxy_header::{self, ProxyHeaderError};
use super::socket::begin_no_more;
use super::tunnel;
use crate::address::ProxyHeader;
use crate::connection::{Connection, ConnectionState, Order};
use crate::l4::L4Refusal;
use crate::pipeline::{Origin, ServiceOrigin};
use crate::ports::{Entrance, PortId};
use crate::table::{ListenerSet, Opening};
use crate::telemetry::{StreamKind, StreamRecord};
use crate::transport::{Transport, keep_client_alive};
use crate::upstream::caller::Caller;
use crate::worker::{Serving, Worker};
use bytes::Bytes;
use fairway_config::model::{Audience, ListenerProtocol, Scheme};
use fairway_runtime::descriptors::{self, Room};
use fairway_runtime::drain::Phase;
use fairway_runtime::task;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Time that a closing listener gives the TCP handshakes in progress: several round trips.
const HANDSHAKES: Duration = Duration::from_millis(200);
/// Pause while the proxy has its maximum of clients.
const BREATH: Duration = Duration::from_millis(50);
/// Idle connections that are closed at a time to make room.
const AT_ONCE: usize = 16;

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
    let Some(set) = serving.ports.listeners(port) else { return };
    let peer = peer.ip().to_canonical();
    match set.opening() {
        Opening::Plain => {
            let Some(connection) = admit(worker, peer, ConnectionState::Raw) else {
                return turn_away(worker, &stream);
            };
            enter(worker, &serving, port, stream, (peer, None), &connection);
        }
        opening if opening.admits(peer) => {
            // Until it says whose it is, it is the peer's.
            let Some(waiting) = admit(worker, peer, ConnectionState::Handshake) else {
                return turn_away(worker, &stream);
            };
            let worker = worker.clone();
            task::spawn_local(move || accept_proxied(worker, port, stream, peer, waiting));
        }
        Opening::Proxied(_) => {
            tracing::debug!(peer = %peer, "a peer that is not trusted to say where clients are is turned away");
            refuse_stream(worker, L4Refusal::NoProxyHeader, peer);
            turn_away(worker, &stream);
        }
    }
}

/// A place for a connection that counts for this address, if the address may have one more.
fn admit(worker: &Worker, address: IpAddr, state: ConnectionState) -> Option<Rc<Connection>> {
    let share = worker.connections.admit(address, worker.settings.limits.connections)?;
    Some(worker.connections.open_from(share, state))
}

fn turn_away(worker: &Worker, stream: &TcpStream) {
    worker.telemetry.counters.connections_refused.increment();
    let _ = stream.set_zero_linger();
}

fn refuse_stream(worker: &Worker, refusal: L4Refusal, peer: IpAddr) {
    StreamRecord::begin(&worker.telemetry, StreamKind::Tcp, Some(peer)).refuse(refusal);
}

/// Reads where the client is that a trusted peer connects for, and goes on as if that client had connected.
async fn accept_proxied(
    worker: Rc<Worker>,
    port: PortId,
    mut stream: TcpStream,
    peer: IpAddr,
    waiting: Rc<Connection>,
) {
    let read = tokio::select! {
        read = proxy_header::read(&mut stream) => read,
        _ = waiting.ordered(Order::Finish) => return turn_away(&worker, &stream),
    };
    let client = match read {
        Ok(ProxyHeader::Client(address)) => address,
        Ok(ProxyHeader::Peer) => peer,
        Err(ProxyHeaderError::Silent) => return,
        Err(error) => {
            tracing::debug!(%peer, %error, "no header of the PROXY protocol");
            let slow = matches!(error, ProxyHeaderError::TooSlow);
            refuse_stream(&worker, if slow { L4Refusal::TooSlow } else { L4Refusal::NoProxyHeader }, peer);
            return turn_away(&worker, &stream);
        }
    };
    drop(waiting);
    let serving = worker.serving();
    // The configuration may be another one by now, in which nobody says where clients are.
    let is_asked =
        |set: &ListenerSet| matches!(set.opening(), Opening::Proxied(trusted) if trusted.contains(peer));
    if !serving.ports.listeners(port).is_some_and(is_asked) {
        return turn_away(&worker, &stream);
    }
    let Some(connection) = admit(&worker, client, ConnectionState::Raw) else {
        return turn_away(&worker, &stream);
    };
    enter(&worker, &serving, port, stream, (client, Some(peer)), &connection);
}

/// Serves a connection whose client has its place, and whom a proxy may have named.
fn enter(
    worker: &Rc<Worker>,
    serving: &Serving,
    port: PortId,
    stream: TcpStream,
    (client, proxy): (IpAddr, Option<IpAddr>),
    connection: &Rc<Connection>,
) {
    let Some(found) = serving.ports.get(port) else { return };
    let Some(first) = found.set.listeners().first() else { return };
    connection.treat_as(found.set.treatment());
    if let Some(treatment) = found.set.treatment() {
        keep_client_alive(&stream, &treatment.keepalive);
    }
    // Of several listeners nobody knows yet for which it is.
    if found.set.listeners().len() == 1
        && let Some((listener, most)) = first.connection_limit()
        && !connection.counts_for(listener, most)
    {
        refuse_stream(worker, L4Refusal::ConnectionLimit, client);
        return turn_away(worker, &stream);
    }
    let arrival = |state, origin, scheme| {
        connection.set_state(state);
        Arrival {
            connection: connection.clone(),
            worker: worker.clone(),
            origin,
            scheme,
            caller: Caller { address: Some(client), ..Caller::default() },
            proxy: proxy.map(Box::new),
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
            let connection = connection.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{listener, prefix, route, rule};
    use crate::testing::{MemoryProxy, backend, endpoint};
    use crate::transport::keep_alive;
    use fairway_config::model::{AppProtocol, Resource};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    /// Two ends of a connection of which the kernel takes no option of TCP.
    fn without_options() -> (UnixStream, TcpStream) {
        let (far, near) = UnixStream::pair().unwrap();
        [&far, &near].into_iter().for_each(|it| it.set_nonblocking(true).unwrap());
        let near = std::net::TcpStream::from(OwnedFd::from(near));
        (far, TcpStream::from_std(near).unwrap())
    }

    #[tokio::test]
    async fn a_client_is_served_whatever_option_its_socket_refuses() {
        let resources = vec![
            Resource::Listener(Arc::new(listener("listener", None))),
            Resource::Route(Arc::new(route_to_web())),
        ];
        let resources = resources.into_iter().chain(backend("web", AppProtocol::Http1, &[endpoint(1)]));
        let serve = |_, mut stream: tokio::io::DuplexStream| {
            tokio::task::spawn_local(async move {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            });
            Ok(())
        };
        let served = async {
            let proxy = MemoryProxy::start(resources.collect(), serve).unwrap();
            let (far, near) = without_options();
            assert!(near.set_nodelay(true).is_err() && near.peer_addr().is_err());
            keep_alive(&near);
            start(proxy.worker(), PortId(0), near, ([192, 0, 2, 1], 1).into());
            let mut client = tokio::net::UnixStream::from_std(far).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        };
        LocalSet::new().run_until(served).await;
    }

    fn route_to_web() -> fairway_config::model::Route {
        let attachments = vec![crate::fixtures::attachment("listener", &[])];
        fairway_config::model::Route {
            attachments,
            rules: vec![rule(vec![prefix("/")], "web")],
            ..route("r")
        }
    }
}
