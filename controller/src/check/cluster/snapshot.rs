//! What was seen of a cluster, once and for all.

use super::right::Answered;
use crate::source::cluster::Inventory;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;

/// What was looked for, or why it could not be seen.
pub(super) type Seen<T> = Result<T, String>;

/// What was seen of a cluster, once and for all.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub(super) now: Timestamp,
    /// Where its API server is.
    pub(super) address: String,
    pub(super) version: String,
    /// The kinds that compiling reads.
    pub(super) inventory: Inventory,
    /// The CRDs of the Gateway API, and ours.
    pub(super) definitions: Seen<Vec<Definition>>,
    pub(super) nodes: Seen<Vec<Node>>,
    /// Of Fairway, wherever they are.
    pub(super) deployments: Seen<Vec<Deployment>>,
    pub(super) daemon_sets: Seen<Vec<DaemonSet>>,
    /// The one that the leader of the controllers holds.
    pub(super) lease: Seen<Option<Lease>>,
    pub(super) rights: Vec<Answered>,
    pub(super) network_policies: Seen<Vec<NetworkPolicy>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) name: String,
    /// `v1.7.0`; empty when it does not say.
    pub(super) bundle: String,
    /// `standard` or `experimental`; empty when it does not say.
    pub(super) channel: String,
}

/// How Fairway is installed.
#[derive(Clone, Debug)]
pub(super) struct Installation<'a> {
    pub(super) controller: &'a Deployment,
    pub(super) namespace: &'a str,
}

// === impl Snapshot ===

impl Snapshot {
    /// How Fairway is installed; none when it is not.
    pub(super) fn installation(&self) -> Option<Installation<'_>> {
        self.deployments.as_deref().ok().and_then(installation)
    }

    pub(super) fn tunnels(&self) -> Option<&DaemonSet> {
        self.daemon_sets.as_deref().ok()?.iter().find(|it| is_part(it.metadata.labels.as_ref(), "ztunnel"))
    }

    /// Whether there is to be a mesh, as far as can be seen.
    pub(super) fn has_mesh(&self) -> bool {
        self.installation().is_none_or(|it| it.argument("mesh") != Some("off"))
    }
}

/// The installation among these Deployments.
pub(super) fn installation(deployments: &[Deployment]) -> Option<Installation<'_>> {
    let controller = deployments.iter().find(|it| is_part(it.metadata.labels.as_ref(), "controller"))?;
    Some(Installation { controller, namespace: controller.metadata.namespace.as_deref()? })
}

type Labels = std::collections::BTreeMap<String, String>;

/// Whether labels are those that the chart gives a part of Fairway.
pub(super) fn is_part(labels: Option<&Labels>, component: &str) -> bool {
    let label = |key: &str| labels.and_then(|it| it.get(key)).map(String::as_str);
    label("app.kubernetes.io/part-of") == Some("fairway")
        && label("app.kubernetes.io/component") == Some(component)
}

// === impl Installation ===

impl<'a> Installation<'a> {
    /// What its controller is told by `--name=value`.
    pub(super) fn argument(&self, name: &str) -> Option<&'a str> {
        let container = self.controller.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
        let written = |it: &'a String| it.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('=');
        container.args.iter().flatten().find_map(written)
    }

    /// The service account of its controllers.
    pub(super) fn service_account(&self) -> &'a str {
        let spec = self.controller.spec.as_ref().and_then(|it| it.template.spec.as_ref());
        spec.and_then(|it| it.service_account_name.as_deref()).unwrap_or("default")
    }
}
