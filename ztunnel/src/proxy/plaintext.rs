//! Connections to a local pod outside a tunnel: from clients outside the mesh, if the pod takes those.

use super::account::{Account, Outcome};
use super::link::{self, Far, reset};
use super::worker::Here;
use super::{Door, Worker};
use crate::decide::{self, Inbound, InboundRefusal};
use fairway_netns::socket;
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
) {
    let mut account = Account::open(&worker, &here.pod, Door::Plaintext, client);
    let reached = Box::pin(reach(&worker, &here, &near, client, &mut account)).await;
    match reached {
        Some(program) => link::carry(near, Far::Plain(program), &drain, &mut account).await,
        None => reset(near),
    }
}

async fn reach(
    worker: &Worker,
    here: &Here,
    near: &TcpStream,
    client: SocketAddr,
    account: &mut Account,
) -> Option<TcpStream> {
    let destination = match socket::original_destination(near) {
        Ok(destination) => destination,
        Err(error) => {
            account.failed(Outcome::Unreachable, format!("its original destination is not known: {error}"));
            return None;
        }
    };
    {
        let index = worker.state.load();
        account.decided(index.generation(), destination);
        let pod = index.workload(&here.pod.key).filter(|it| it.uid == here.pod.uid);
        let verdict = match pod {
            Some(pod) => decide::inbound(&index, pod, None, destination),
            None => Inbound::Refuse(InboundRefusal::OtherPod(destination)),
        };
        if let Inbound::Refuse(refusal) = verdict {
            account.failed(Outcome::Refused, refusal);
            return None;
        }
    }
    match here.from_pod.connect_as(client.ip(), destination, worker.settings.program_wait).await {
        Ok(program) => {
            account.connected(None, "plain");
            Some(program)
        }
        Err(error) => {
            account.failed(Outcome::Unreachable, format!("the program at {destination}: {error}"));
            None
        }
    }
}
