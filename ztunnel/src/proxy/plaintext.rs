//! Plaintext connections to a local pod: from clients outside the mesh, if the pod accepts them, and kubelet's probes.

use super::account::Account;
use super::budget::SocketPermit;
use super::prerequisites;
use super::probe::{self, Prober};
use super::relay::{self, reset};
use super::revocation::revoked;
use super::worker::WorkerPod;
use super::{Direction, Worker};
use crate::decide::{self, Client, Established, Inbound, InboundRefusal, Incoming};
use fairway_config::model::Workload;
use fairway_netns::{socket, sockets};
use fairway_runtime::drain;
use fairway_telemetry::{Outcome, Plaintext};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

pub(super) async fn carry(
    worker: Rc<Worker>,
    local: Rc<WorkerPod>,
    mut downstream: TcpStream,
    client: SocketAddr,
    drain: drain::Watch,
    _permit: SocketPermit,
) {
    let mut account = Account::open(&worker, &local, Direction::Plaintext, client);
    let reached = Box::pin(reach(&worker, &local, &downstream, client, &mut account)).await;
    match reached {
        Some(Reached::Prober(prober)) => {
            let mut admission = account.take_admission();
            let why = tokio::select! {
                () = Box::pin(probe::carry(&worker, &local, &mut downstream, prober, &drain, &mut account)) => return,
                why = revoked(&mut admission) => why,
            };
            // Kubelet must not take what it has of an answer for all of it.
            reset(downstream);
            account.revoked(Outcome::Revoked, &why);
        }
        Some(Reached::Application(application)) => {
            relay::relay_plaintext(downstream, application, &drain, &mut account).await
        }
        None => reset(downstream),
    }
}

/// What a connection leads to.
enum Reached {
    Application(TcpStream),
    /// The tunnel, which lets only a probe of the pod's spec through.
    Prober(Prober),
}

/// Whether the client is a process of the node, as kubelet is. Looked up only for ports that have a probe, because it reads the
/// node's table of sockets.
async fn identify_client(
    worker: &Worker,
    pod: &Workload,
    downstream: &TcpStream,
    destination: SocketAddr,
) -> Client<'static> {
    let (Some(node), Ok(client)) = (&worker.settings.node_namespace, downstream.peer_addr()) else {
        return Client::Plaintext;
    };
    if !decide::is_probed(pod, destination.port()) {
        return Client::Plaintext;
    }
    let client = socket::canonical(client);
    let seen = node.run_long(move || sockets::has_connection(client, destination)).await;
    match seen.map_err(|error| error.to_string()).and_then(|it| it.map_err(|error| error.to_string())) {
        Ok(true) => Client::Node,
        Ok(false) => Client::Plaintext,
        Err(error) => {
            tracing::warn!(%error, "the node's sockets cannot be read; the connection is not treated as a probe");
            Client::Plaintext
        }
    }
}

async fn reach(
    worker: &Worker,
    local: &WorkerPod,
    downstream: &TcpStream,
    client: SocketAddr,
    account: &mut Account,
) -> Option<Reached> {
    let destination = match socket::original_destination(downstream) {
        Ok(destination) => destination,
        Err(error) => {
            let detail = format!("the original destination is not known: {error}");
            account.refused(Outcome::Unreachable, "unknown_destination", detail);
            return None;
        }
    };
    let client_is = {
        let index = prerequisites::wait_for_index(worker, &local.pod).await;
        account.decided(index.generation(), destination, None);
        let (client_is, verdict) = match prerequisites::find_workload(&index, &local.pod) {
            Some(pod) => {
                let client_is = identify_client(worker, pod, downstream, destination).await;
                let incoming = Incoming { client: client_is, address: client.ip(), destination };
                (client_is, decide::inbound(&index, pod, local.pod.addresses(pod), incoming))
            }
            None => (Client::Plaintext, Inbound::Refuse(InboundRefusal::UnknownPod)),
        };
        match verdict {
            Inbound::Admit { observed } => {
                observed.iter().for_each(|it| account.observed(it));
                client_is
            }
            Inbound::AdmitProbe => {
                let pod = prerequisites::find_workload(&index, &local.pod)?;
                let prober = Prober::new(pod, client, destination);
                let (from_node, address) = (client_is == Client::Node, client.ip());
                let probe = Established::Plaintext { from_node, address, destination, probes_only: true };
                return admit(worker, local, account, probe).then_some(Reached::Prober(prober));
            }
            Inbound::Refuse(refusal) => {
                worker.recorder.count_plaintext(&local.plaintext, Plaintext::Refused);
                account.denied(&refusal);
                return None;
            }
        }
    };
    worker.recorder.count_plaintext(
        &local.plaintext,
        if client_is == Client::Node { Plaintext::Probe } else { Plaintext::LetIn },
    );
    match local.connector.connect_as(client.ip(), destination, worker.settings.program_timeout).await {
        Ok(application) => {
            let (from_node, address) = (client_is == Client::Node, client.ip());
            let plaintext = Established::Plaintext { from_node, address, destination, probes_only: false };
            if !admit(worker, local, account, plaintext) {
                reset(application);
                return None;
            }
            account.connected("plain");
            Some(Reached::Application(application))
        }
        Err(error) => {
            let detail = format!("the application at {destination}: {error}");
            account.refused(Outcome::Unreachable, "unreachable", detail);
            None
        }
    }
}

/// Whether a connection is admitted still, now that it could be carried.
fn admit(worker: &Worker, local: &WorkerPod, account: &mut Account, established: Established) -> bool {
    match account.admit(established) {
        Ok(()) => true,
        Err(revoked) => {
            worker.recorder.count_plaintext(&local.plaintext, Plaintext::Refused);
            account.revoked(Outcome::Refused, &revoked);
            false
        }
    }
}
