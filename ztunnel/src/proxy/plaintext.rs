//! Connections to a local pod outside a tunnel: from clients outside the mesh, if the pod takes those.

use super::account::{Account, Outcome};
use super::acquaintance;
use super::budget::Accepted;
use super::link::{self, Far, reset};
use super::metrics::Plaintext;
use super::probe::{self, Prober};
use super::revocation::revoked;
use super::worker::Here;
use super::{Door, Worker};
use crate::decide::{self, Client, Established, Inbound, InboundRefusal, Incoming};
use fairway_config::model::Workload;
use fairway_netns::{socket, sockets};
use fairway_runtime::drain;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

pub(super) async fn carry(
    worker: Rc<Worker>,
    here: Rc<Here>,
    near: TcpStream,
    client: SocketAddr,
    drain: drain::Watch,
    _accepted: Accepted,
) {
    let mut account = Account::open(&worker, &here.pod, Door::Plaintext, client);
    let reached = Box::pin(reach(&worker, &here, &near, client, &mut account)).await;
    match reached {
        Some(Reached::Prober(prober)) => {
            let mut admission = account.take_admission();
            let why = tokio::select! {
                () = Box::pin(probe::carry(&worker, &here, near, prober, &drain, &mut account)) => return,
                why = revoked(&mut admission) => why,
            };
            account.failed(Outcome::Refused, why);
        }
        Some(Reached::Program(program)) => link::carry(near, Far::Plain(program), &drain, &mut account).await,
        None => reset(near),
    }
}

/// Whom a connection has reached.
enum Reached {
    Program(TcpStream),
    /// The tunnel, which looks at what is asked.
    Prober(Prober),
}

/// Whether it is kubelet that knocks. Asked only where kubelet has something to ask: it costs a look into the node.
async fn who(worker: &Worker, pod: &Workload, near: &TcpStream, destination: SocketAddr) -> Client<'static> {
    let (Some(node), Ok(client)) = (&worker.settings.node_namespace, near.peer_addr()) else {
        return Client::Stranger;
    };
    if !decide::is_probed(pod, destination.port()) {
        return Client::Stranger;
    }
    let client = socket::canonical(client);
    let seen = node.run(move || sockets::has_connection(client, destination)).await;
    match seen.map_err(|error| error.to_string()).and_then(|it| it.map_err(|error| error.to_string())) {
        Ok(true) => Client::Node,
        Ok(false) => Client::Stranger,
        Err(error) => {
            tracing::warn!(%error, "whether the node probes cannot be seen");
            Client::Stranger
        }
    }
}

async fn reach(
    worker: &Worker,
    here: &Here,
    near: &TcpStream,
    client: SocketAddr,
    account: &mut Account,
) -> Option<Reached> {
    let destination = match socket::original_destination(near) {
        Ok(destination) => destination,
        Err(error) => {
            account.failed(Outcome::Unreachable, format!("its original destination is not known: {error}"));
            return None;
        }
    };
    let client_is = {
        let index = acquaintance::index_with(worker, &here.pod).await;
        account.decided(index.generation(), destination);
        let (client_is, verdict) = match acquaintance::workload(&index, &here.pod) {
            Some(pod) => {
                let client_is = who(worker, pod, near, destination).await;
                let incoming = Incoming { client: client_is, address: client.ip(), destination };
                (client_is, decide::inbound(&index, pod, here.pod.addresses(pod), incoming))
            }
            None => (Client::Stranger, Inbound::Refuse(InboundRefusal::UnknownPod)),
        };
        match verdict {
            Inbound::Admit => client_is,
            Inbound::AdmitProbe => {
                let pod = acquaintance::workload(&index, &here.pod)?;
                let prober = Prober::new(pod, client, destination);
                let (from_node, address) = (client_is == Client::Node, client.ip());
                let probe = Established::Plaintext { from_node, address, destination, probes_only: true };
                return admit(here, account, probe).then_some(Reached::Prober(prober));
            }
            Inbound::Refuse(refusal) => {
                here.plaintext.count(Plaintext::refused);
                account.failed(Outcome::Refused, refusal);
                return None;
            }
        }
    };
    here.plaintext.count(if client_is == Client::Node { Plaintext::probe } else { Plaintext::let_in });
    match here.from_pod.connect_as(client.ip(), destination, worker.settings.program_wait).await {
        Ok(program) => {
            let (from_node, address) = (client_is == Client::Node, client.ip());
            let plaintext = Established::Plaintext { from_node, address, destination, probes_only: false };
            if !admit(here, account, plaintext) {
                reset(program);
                return None;
            }
            account.connected(None, "plain");
            Some(Reached::Program(program))
        }
        Err(error) => {
            account.failed(Outcome::Unreachable, format!("the program at {destination}: {error}"));
            None
        }
    }
}

/// Whether a connection is admitted still, now that it could be carried.
fn admit(here: &Here, account: &mut Account, established: Established) -> bool {
    match account.admit(established) {
        Ok(()) => true,
        Err(revoked) => {
            here.plaintext.count(Plaintext::refused);
            account.failed(Outcome::Refused, revoked);
            false
        }
    }
}
