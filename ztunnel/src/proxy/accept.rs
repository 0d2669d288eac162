//! Accepts the connections of the pods that are assigned to a worker, and starts the task of each.

use super::budget::SocketPermit;
use super::worker::Worker;
use super::{Command, Direction, Listeners, inbound, outbound, plaintext, relay};
use crate::local_pod::LocalPod;
use fairway_netns::socket;
use fairway_runtime::descriptors;
use fairway_runtime::drain::{self, Phase};
use fairway_runtime::task;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval};

/// How often what is kept for pods that have stopped is let go of.
const SWEEP: Duration = Duration::from_secs(5);

/// Runs the worker until [`Command::Stop`].
pub(crate) async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let command = tokio::select! {
            command = inbox.recv() => command,
            _ = sweeps.tick() => {
                worker.forget_stopped_pods();
                continue;
            }
        };
        let Some(command) = command else { return };
        match command {
            Command::Serve(pod, Listeners(listeners), drain) => {
                for (direction, listener) in listeners {
                    spawn_local(accept(worker.clone(), pod.clone(), direction, listener, drain.clone()));
                }
            }
            Command::Carry(permit, direction, stream, drain) => match TcpStream::from_std(stream) {
                Ok(stream) => carry(&worker, permit, direction, stream, drain),
                Err(error) => {
                    let pod = &permit.pod().key;
                    tracing::warn!(%pod, %error, "a connection was dropped: it cannot be moved to another worker");
                }
            },
            Command::Review(affected) => worker.review(&affected),
            Command::Stop => return,
        }
    }
}

async fn accept(
    worker: Rc<Worker>,
    pod: Arc<LocalPod>,
    direction: Direction,
    listener: std::net::TcpListener,
    drain: drain::Watch,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(pod = %pod.key, ?direction, %error, "cannot accept connections of this pod");
            return;
        }
    };
    let closing = drain.reached(Phase::Closing);
    tokio::pin!(closing);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let room = descriptors::room_after(&stream);
                let most = worker.settings.max_pod_sockets;
                let Some(permit) = worker.worker_pool.active_pods().admit(&pod, room, most) else {
                    tracing::warn!(
                        pod = %pod.key,
                        ?direction,
                        %client,
                        open_files = descriptors::limit(),
                        "a connection was refused: the pod has as many sockets as one pod may have"
                    );
                    relay::reset(stream);
                    continue;
                };
                match worker.worker_pool.less_loaded(worker.id) {
                    None => carry(&worker, permit, direction, stream, drain.clone()),
                    Some(other) => {
                        if let Ok(stream) = stream.into_std() {
                            let command = Command::Carry(permit, direction, stream, drain.clone());
                            worker.worker_pool.send(other, command);
                        }
                    }
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: an immediate retry would fail as well.
                tracing::warn!(pod = %pod.key, ?direction, %error, "cannot accept for now");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Fails to compile if the memory of an open connection grows.
fn small<F: Future>(future: F) -> F {
    const { assert!(size_of::<F>() <= 3072, "a connection's future has grown") };
    future
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn carry(
    worker: &Rc<Worker>,
    permit: SocketPermit,
    direction: Direction,
    stream: TcpStream,
    drain: drain::Watch,
) {
    let pod = permit.pod();
    // The socket of a client that is gone has no peer address.
    let Ok(client) = stream.peer_addr().map(socket::canonical) else {
        return;
    };
    if let Err(error) = socket::tune(&stream, socket::KEEPALIVE) {
        tracing::debug!(pod = %pod.key, %error, "socket options cannot be set");
    }
    let (worker, local) = (worker.clone(), worker.worker_pod(pod));
    match direction {
        Direction::Outbound => {
            task::spawn_local(|| small(outbound::carry(worker, local, stream, client, drain, permit)));
        }
        Direction::Plaintext => {
            task::spawn_local(|| small(plaintext::carry(worker, local, stream, client, drain, permit)));
        }
        Direction::Inbound => {
            let handshake = local.handshakes.begin(worker.settings.max_pod_handshakes);
            let guard = handshake.clone();
            let serving = task::spawn_local(|| {
                small(inbound::serve(worker, local, stream, client, drain, guard, permit))
            });
            handshake.runs_in(serving.abort_handle());
        }
    }
}
