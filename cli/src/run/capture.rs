//! Capture on one machine: pods are network namespaces that the YAML names.

use anyhow::{Context, ensure};
use fairway_config::model::WorkloadKey;
use fairway_config::stream::client::follow_channel;
use fairway_config::stream::{Proxy, Subscription};
use fairway_controller::compile::Compiler;
use fairway_controller::resources::Object;
use fairway_controller::serve::Hub;
use fairway_identity::Identities;
use fairway_runtime::drain;
use fairway_runtime::metrics::Metrics;
use fairway_ztunnel::{Candidate, PodEvent, TunnelSettings, Ztunnel};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info};

/// On a Pod: where its network namespace is, such as `/run/netns/reviews`.
const NETNS: &str = "fairway.dev/netns";

/// Bits of /proc/self/status' CapEff.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Whether `fairway run` captures connections with a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CaptureSetting {
    /// Where it can be done and a Pod asks for it.
    Auto,
    On,
    Off,
}

/// The tunnel of this machine, and the pods it was told of.
pub struct Node {
    ztunnel: Ztunnel,
    pods: mpsc::Sender<PodEvent>,
    registered: BTreeMap<WorkloadKey, Registered>,
    following: JoinHandle<()>,
}

#[derive(Clone, Debug, PartialEq)]
struct Registered {
    uid: Arc<str>,
    netns: PathBuf,
}

// === impl CaptureSetting ===

impl CaptureSetting {
    /// Decides for what the directory holds at the start.
    pub fn decide(self, compiled: &Compiler) -> anyhow::Result<bool> {
        let asked = !pods(compiled).is_empty();
        let privileged = is_privileged();
        match self {
            Self::Off => Ok(false),
            Self::Auto => {
                if asked && !privileged {
                    info!(
                        "Pods name their network namespace, but this process may not enter them: nothing is captured"
                    );
                }
                Ok(asked && privileged)
            }
            Self::On => {
                ensure!(
                    privileged,
                    "--capture on needs CAP_NET_ADMIN and CAP_SYS_ADMIN: run it as root, or leave --capture away"
                );
                Ok(true)
            }
        }
    }
}

fn is_privileged() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    bits & CAP_NET_ADMIN != 0 && bits & CAP_SYS_ADMIN != 0
}

fn pods(compiled: &Compiler) -> BTreeMap<WorkloadKey, Registered> {
    let pod = |object: &Object| match object {
        Object::Pod(pod) => {
            let netns = PathBuf::from(pod.meta.annotation(NETNS)?);
            let key = WorkloadKey::from(format!("{}/{}", pod.meta.namespace, pod.meta.name));
            Some((key, Registered { uid: pod.meta.uid.clone(), netns }))
        }
        _ => None,
    };
    compiled.objects().iter().filter_map(pod).collect()
}

// === impl Node ===

impl Node {
    /// Starts ztunnel for the pods of this machine, and captures them.
    pub fn start(
        hub: &Arc<Hub>,
        identities: Identities,
        workers: NonZeroUsize,
        metrics: &Metrics,
        drain: drain::Watch,
    ) -> anyhow::Result<Self> {
        let settings = TunnelSettings { workers, ..TunnelSettings::new("") };
        let (ztunnel, applier) =
            Ztunnel::start(settings, identities, metrics, drain).context("start the tunnel")?;
        let subscription = Subscription::new(Proxy::Everything, env!("CARGO_PKG_VERSION"));
        let hub = hub.clone();
        let (_, following) =
            follow_channel(move || hub.subscribe_channel(), subscription, None, Box::new(applier));
        let following = tokio::spawn(async move {
            following.await;
        });
        Ok(Self { pods: ztunnel.pods(), ztunnel, registered: BTreeMap::new(), following })
    }

    /// Tells the tunnel of pods that came, changed or went. What is returned ends when the new ones are captured, or known
    /// not to be.
    pub async fn follow(&mut self, compiled: &Compiler) -> JoinSet<()> {
        let mut outcomes = JoinSet::new();
        let wanted = pods(compiled);
        let gone: Vec<WorkloadKey> = self
            .registered
            .iter()
            .filter(|(key, registered)| wanted.get(*key) != Some(*registered))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(registered) = self.registered.remove(&key) {
                let _ = self.pods.send(PodEvent::Removed { uid: registered.uid }).await;
            }
        }
        for (key, registered) in wanted {
            if self.registered.contains_key(&key) {
                continue;
            }
            let (done, outcome) = oneshot::channel();
            let pod = Candidate::new(registered.uid.clone(), key.clone(), registered.netns.clone());
            let event = PodEvent::Added { pod, done };
            let _ = self.pods.send(event).await;
            let pod = key.clone();
            outcomes.spawn(async move {
                match outcome.await {
                    Ok(Ok(state)) => info!(%pod, ?state, "registered"),
                    Ok(Err(error)) => error!(%pod, "{error}"),
                    Err(_) => {}
                }
            });
            self.registered.insert(key, registered);
        }
        outcomes
    }

    /// Waits for the end.
    pub async fn ended(self) -> bool {
        self.following.abort();
        drop(self.pods);
        self.ztunnel.ended().await
    }
}
