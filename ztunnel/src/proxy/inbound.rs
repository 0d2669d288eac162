//! HBONE connections to a local pod: authenticates the peer, authorizes each tunnel, and connects it to the application.

use super::account::Account;
use super::budget::{HandshakeGuard, SocketPermit};
use super::prerequisites::{self, wait_for_identity};
use super::relay;
use super::worker::WorkerPod;
use super::{Direction, Worker};
use crate::decide::{self, Client, Established, Inbound, InboundRefusal, Incoming};
use fairway_config::model::SpiffeId;
use fairway_hbone::{Authority, Request, Tunnel};
use fairway_runtime::descriptors::{self, Room};
use fairway_runtime::drain;
use fairway_telemetry::Outcome;
use http::StatusCode;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// The part of a pod's sockets that connections of one identity may be. Each carries hundreds of tunnels, so that no peer needs many.
const OF_ONE_PEER: usize = 8;

/// Serves the connection of one peer until its last tunnel has ended.
pub(super) async fn serve(
    worker: Rc<Worker>,
    local: Rc<WorkerPod>,
    stream: TcpStream,
    client: SocketAddr,
    drain: drain::Watch,
    handshake: HandshakeGuard,
    _permit: SocketPermit,
) {
    let tls = match wait_for_identity(&worker, &local).await {
        Ok(tls) => tls,
        Err(error) => {
            tracing::warn!(pod = %local.pod.key, %client, %error, "the connection of a peer was refused");
            return relay::reset(stream);
        }
    };
    let settings = worker.settings.server;
    let (pod, windows, tunnel_drain) = (local.pod.clone(), local.windows.clone(), drain.clone());
    let (peers, most) = (local.pod.peers.clone(), worker.settings.max_pod_sockets / OF_ONE_PEER);
    let known = move |peer: &SpiffeId| {
        handshake.done();
        peers.admit(peer, most)
    };
    let handler = move |request| tunnel(worker.clone(), local.clone(), request, client, tunnel_drain.clone());
    let served = fairway_hbone::serve_known(stream, &tls, &settings, &windows, drain, known, handler);
    if let Err(error) = served.await {
        tracing::debug!(pod = %pod.key, %client, %error, "the connection of a peer has ended with an error");
    }
}

async fn tunnel(
    worker: Rc<Worker>,
    local: Rc<WorkerPod>,
    request: Request,
    client: SocketAddr,
    drain: drain::Watch,
) {
    let mut account = Account::open(&worker, &local, Direction::Inbound, client);
    let accepted = Box::pin(accept(&worker, &local, request, client, &mut account)).await;
    if let Some((tunnel, application, _permit)) = accepted {
        relay::relay_inbound(tunnel, application, &drain, &mut account).await;
    }
}

async fn accept(
    worker: &Worker,
    local: &WorkerPod,
    mut request: Request,
    client: SocketAddr,
    account: &mut Account,
) -> Option<(Tunnel, TcpStream, SocketPermit)> {
    let peer = request.peer().clone();
    account.authenticated(peer.clone());
    let Authority::Address(destination) = request.connect_request().authority else {
        let detail = "the authority is a name, which only waypoints and gateways accept";
        account.refused(Outcome::Refused, "bad_target", detail);
        request.refuse(StatusCode::BAD_REQUEST, "the authority has to be an IP address and a port");
        return None;
    };
    {
        let index = prerequisites::wait_for_index(worker, &local.pod).await;
        account.decided(index.generation(), destination, None);
        let verdict = match prerequisites::find_workload(&index, &local.pod) {
            Some(pod) => {
                let incoming = Incoming { client: Client::Peer(&peer), address: client.ip(), destination };
                decide::inbound(&index, pod, local.pod.addresses(pod), incoming)
            }
            None => Inbound::Refuse(InboundRefusal::UnknownPod),
        };
        match verdict {
            Inbound::Admit { observed } => observed.iter().for_each(|it| account.observed(it)),
            // A probe comes from the node, without a tunnel.
            Inbound::AdmitProbe => {}
            Inbound::Refuse(refusal) => {
                account.denied(&refusal);
                // The peer learns that it is refused. Which rule refuses it is only in this side's log.
                request.refuse(refusal.status(), refusal.for_peer());
                return None;
            }
        }
    }
    // A connection of tunnels is one socket, and has one more for each of them. It counts before there is one: a program that accepts
    // nobody must not cost the node a descriptor for every tunnel that waits for it.
    let (active_pods, most) = (worker.worker_pool.active_pods(), worker.settings.max_pod_sockets);
    let Some(permit) = active_pods.admit(&local.pod, Room::Enough, most) else {
        full(request, account);
        return None;
    };
    let connecting = local.connector.connect_as(client.ip(), destination, worker.settings.program_timeout);
    let connected = tokio::select! {
        connected = connecting => connected,
        () = request.abandoned() => {
            account.failed(Outcome::ClientAborted, "closed the tunnel before the application had accepted");
            return None;
        }
    };
    match connected {
        Ok(application) => {
            if !active_pods.keeps(&permit, descriptors::room_after(&application), most) {
                full(request, account);
                relay::reset(application);
                return None;
            }
            let established =
                Established::Tunnelled { peer: peer.clone(), address: client.ip(), destination };
            if let Err(revoked) = account.admit(established) {
                account.revoked(Outcome::Refused, &revoked);
                request.refuse(StatusCode::UNAUTHORIZED, "not allowed");
                relay::reset(application);
                return None;
            }
            match request.accept() {
                Ok(tunnel) => {
                    account.connected("tunnel");
                    Some((tunnel, application, permit))
                }
                Err(error) => {
                    account.failed(Outcome::ClientAborted, error);
                    relay::reset(application);
                    None
                }
            }
        }
        Err(error) => {
            let detail = format!("the application at {destination}: {error}");
            account.refused(Outcome::Unreachable, "unreachable", detail);
            request.refuse(StatusCode::SERVICE_UNAVAILABLE, "the application cannot be reached");
            None
        }
    }
}

fn full(request: Request, account: &mut Account) {
    account.refused(Outcome::Refused, "full", "the pod has as many sockets as one pod may have");
    request.refuse(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
}
