//! The hub seen by proxies: through the real gRPC stack over in-memory connections, and through a channel.

mod channel;
mod convergence;
mod network;
mod reconnect;
mod refusal;
mod refused_beside;
mod refused_listeners;
mod refused_needs;
mod retained;
mod scale;
mod skew;
mod sync;
pub(super) mod universe;
mod watcher;

use crate::serve::{ProxyState, States};
use fairway_config::proto::from_controller;
use fairway_config::stream::Link;
use network::Network;
use std::time::Duration;
use tokio::time::timeout;
use universe::{backend, endpoints, gateway, listener, route};
use watcher::Watcher;

/// Time of the test's clock for whatever is awaited. Paused time passes only while nothing else happens.
const LIMIT: Duration = Duration::from_secs(600);

/// Waits until the states of the proxies fit, and returns them. `awaited` says in the panic what did not come.
async fn wait_for_states(
    states: &mut States,
    awaited: &str,
    fit: impl Fn(&[ProxyState]) -> bool,
) -> Vec<ProxyState> {
    let reached = timeout(LIMIT, find_states(states, fit)).await.ok();
    reached.unwrap_or_else(|| panic!("not within {LIMIT:?}: {awaited}; there is {:?}", states.get()))
}

/// Waits until the state of one proxy fits, and returns it.
async fn wait_for_state(
    states: &mut States,
    awaited: &str,
    fits: impl Fn(&ProxyState) -> bool,
) -> ProxyState {
    let known = wait_for_states(states, awaited, |known| known.iter().any(&fits)).await;
    known.into_iter().find(fits).unwrap()
}

/// The states of the proxies when they fit. It has no deadline of its own.
async fn find_states(states: &mut States, fit: impl Fn(&[ProxyState]) -> bool) -> Vec<ProxyState> {
    loop {
        let known = states.get();
        if fit(&known) {
            return known;
        }
        states.changed().await;
    }
}

/// The next message that the controller sends.
async fn receive(link: &mut Link) -> from_controller::Message {
    let received = timeout(LIMIT, link.from_controller.recv()).await;
    let message = received.unwrap_or_else(|_| panic!("not within {LIMIT:?}: a message of the controller"));
    message.unwrap().unwrap().message.unwrap()
}
