//! Tunnels to a local pod: who opens them, whether they may, and the pod's program at their end.

use super::account::{Account, Outcome};
use super::acquaintance::{self, identity};
use super::budget::{Accepted, Shaking};
use super::link;
use super::worker::Here;
use super::{Door, Worker};
use crate::decide::{self, Client, Established, Inbound, InboundRefusal, Incoming};
use fairway_hbone::{Authority, Request, Tunnel};
use fairway_runtime::drain;
use http::StatusCode;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// Serves one peer's connection until its last tunnel has ended.
pub(super) async fn serve(
    worker: Rc<Worker>,
    here: Rc<Here>,
    stream: TcpStream,
    client: SocketAddr,
    drain: drain::Watch,
    shaking: Shaking,
    _accepted: Accepted,
) {
    let tls = match identity(&worker, &here).await {
        Ok(tls) => tls,
        Err(error) => {
            tracing::warn!(pod = %here.pod.key, %client, %error, "a peer's connection was refused");
            return link::reset(stream);
        }
    };
    let settings = worker.settings.server;
    let (pod, windows, tunnel_drain) = (here.pod.clone(), here.windows.clone(), drain.clone());
    let handler = move |request| tunnel(worker.clone(), here.clone(), request, client, tunnel_drain.clone());
    let known = || shaking.done();
    let served = fairway_hbone::serve_known(stream, &tls, &settings, &windows, drain, known, handler);
    if let Err(error) = served.await {
        tracing::debug!(pod = %pod.key, %client, %error, "a peer's connection ended");
    }
}

async fn tunnel(
    worker: Rc<Worker>,
    here: Rc<Here>,
    request: Request,
    client: SocketAddr,
    drain: drain::Watch,
) {
    let mut account = Account::open(&worker, &here.pod, Door::Hbone, client);
    let accepted = Box::pin(accept(&worker, &here, request, client, &mut account)).await;
    if let Some((tunnel, program)) = accepted {
        link::carry_in(tunnel, program, &drain, &mut account).await;
    }
}

async fn accept(
    worker: &Worker,
    here: &Here,
    mut request: Request,
    client: SocketAddr,
    account: &mut Account,
) -> Option<(Tunnel, TcpStream)> {
    let peer = request.peer().clone();
    let Authority::Address(destination) = request.wish().authority else {
        account.failed(Outcome::Refused, "the authority is a name, which only waypoints and gateways take");
        request.refuse(StatusCode::BAD_REQUEST, "an IP address and port is needed here");
        return None;
    };
    {
        let index = acquaintance::index_with(worker, &here.pod).await;
        account.decided(index.generation(), destination);
        let verdict = match acquaintance::workload(&index, &here.pod) {
            Some(pod) => {
                let incoming = Incoming { client: Client::Peer(&peer), address: client.ip(), destination };
                decide::inbound(&index, pod, here.pod.addresses(pod), incoming)
            }
            None => Inbound::Refuse(InboundRefusal::UnknownPod),
        };
        if let Inbound::Refuse(refusal) = verdict {
            account.failed(Outcome::Refused, format!("{peer}: {refusal}"));
            // The peer learns that it is not allowed; which rule says so is for this side's log.
            request.refuse(refusal.status(), refusal.for_peer());
            return None;
        }
    }
    let connecting = here.from_pod.connect_as(client.ip(), destination, worker.settings.program_wait);
    let connected = tokio::select! {
        connected = connecting => connected,
        () = request.abandoned() => {
            account.failed(Outcome::Broken, "client: gave up while the program was being reached");
            return None;
        }
    };
    match connected {
        Ok(program) => {
            let established =
                Established::Tunnelled { peer: peer.clone(), address: client.ip(), destination };
            if let Err(revoked) = account.admit(established) {
                account.failed(Outcome::Refused, format!("{peer}: {revoked}"));
                request.refuse(StatusCode::UNAUTHORIZED, "not allowed");
                link::reset(program);
                return None;
            }
            match request.accept() {
                Ok(tunnel) => {
                    account.connected(Some(peer), "tunnel");
                    Some((tunnel, program))
                }
                Err(error) => {
                    account.failed(Outcome::Broken, format!("client: {error}"));
                    link::reset(program);
                    None
                }
            }
        }
        Err(error) => {
            account.failed(Outcome::Unreachable, format!("the program at {destination}: {error}"));
            request.refuse(StatusCode::SERVICE_UNAVAILABLE, "the program cannot be reached");
            None
        }
    }
}
