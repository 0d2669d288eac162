//! How far the proxies have come, for those who write it into the objects' status.

use super::Hub;
use fairway_config::Rejected;
use fairway_config::model::{Generation, ResourceKey};
use fairway_config::stream::Proxy;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// How far one connected proxy has come with the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyState {
    /// Whose configuration it gets; replicas have the same.
    pub proxy: Proxy,
    /// The version of its program, as it says in its first message.
    pub version: Arc<str>,
    /// All commits up to this one are in force there, but for what is `rejected`; 0 before the first.
    pub acked: Generation,
    /// What it refused, and why; of these its last good version stays in force there.
    pub rejected: Vec<Rejected>,
    /// What it is too old to carry out, and got in a version that closes it: why, with what has to be upgraded.
    pub closed: BTreeMap<ResourceKey, String>,
}

/// Follows the states of all connected proxies.
#[derive(Debug)]
pub struct States {
    hub: Arc<Hub>,
    ticks: watch::Receiver<u64>,
}

impl States {
    pub(super) fn new(hub: Arc<Hub>, ticks: watch::Receiver<u64>) -> Self {
        Self { hub, ticks }
    }

    /// The states at this moment; marks them as seen.
    pub fn get(&mut self) -> Vec<ProxyState> {
        self.ticks.mark_unchanged();
        self.hub.current_states()
    }

    /// Waits until something may have changed since the last [`Self::get`].
    pub async fn changed(&mut self) {
        // The hub holds the other end, and we hold the hub.
        let _ = self.ticks.changed().await;
    }
}
