//! Looks at a cluster. Reads, and asks about rights; changes nothing.

use super::right::{Answered, Right, wanted};
use super::snapshot::{Definition, Seen, Snapshot, installation};
use crate::apiserver::describe;
use crate::leader;
use crate::source::cluster::Inventory;
use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// How long a connection, and an answer, may take.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);

/// The labels of what the charts make.
const PARTS: &str = "app.kubernetes.io/part-of=fairway";

/// How to get at a cluster: as kubectl does, where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The kubeconfig to use; none for `KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; none is its `current-context`.
    pub context: Option<String>,
}

/// A cluster cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum NoCluster {
    /// No cluster is configured, or the configuration cannot be used.
    #[error("{0}")]
    Unknown(String),
    /// It does not answer, or not to us.
    #[error("the API server at {address}: {why}")]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What came of asking.
        why: String,
    },
}

/// Looks at it; `step` is told what is looked at.
pub async fn read(access: Access, step: &watch::Sender<&'static str>) -> Result<Snapshot, NoCluster> {
    let config = configuration(access).await.map_err(NoCluster::Unknown)?;
    let address = config.cluster_url.to_string();
    let unreachable =
        |error: &kube::Error| NoCluster::Unreachable { address: address.clone(), why: describe(error) };
    let client = Client::try_from(config).map_err(|error| unreachable(&error))?;
    step.send_replace("whether the API server answers");
    let version = client.apiserver_version().await.map_err(|error| unreachable(&error))?.git_version;
    step.send_replace("its objects");
    let inventory = Inventory::take(&client).await.map_err(|error| unreachable(&error))?;
    step.send_replace("the nodes");
    let (nodes, definitions) = (all::<Node>(&client, "").await, definitions(&client).await);
    let network_policies = all::<NetworkPolicy>(&client, "").await;
    step.send_replace("Fairway's programs");
    let deployments = all::<Deployment>(&client, PARTS).await;
    let daemon_sets = all::<DaemonSet>(&client, PARTS).await;
    let installed = deployments.as_deref().ok().and_then(installation);
    let lease = match &installed {
        Some(it) => {
            let leases = Api::<Lease>::namespaced(client.clone(), it.namespace);
            leases.get_opt(leader::NAME).await.map_err(|error| describe(&error))
        }
        None => Ok(None),
    };
    step.send_replace("rights");
    // Where it cannot be seen whether it is installed, it is not known whose rights matter.
    let wanted = if deployments.is_ok() { wanted(installed.as_ref()) } else { Vec::new() };
    let rights = join_all(wanted.into_iter().map(|right| ask(&client, right))).await;
    Ok(Snapshot {
        now: Timestamp::now(),
        address,
        version,
        inventory,
        definitions,
        nodes,
        deployments,
        daemon_sets,
        lease,
        rights,
        network_policies,
    })
}

async fn configuration(access: Access) -> Result<Config, String> {
    let Access { kubeconfig, context } = access;
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(file) => {
            let said = |error: kube::config::KubeconfigError| format!("{}: {error}", file.display());
            let kubeconfig = Kubeconfig::read_from(&file).map_err(said)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(said)
        }
        None if options.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(|error| error.to_string())
        }
        None => {
            Config::infer().await.map_err(|_| "neither a kubeconfig nor a service account was found".into())
        }
    };
    let mut config = config?;
    (config.connect_timeout, config.read_timeout) = (Some(CONNECT), Some(ANSWER));
    Ok(config)
}

async fn all<T>(client: &Client, labels: &str) -> Seen<Vec<T>>
where
    T: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = Api::<T>::all(client.clone()).list(&ListParams::default().labels(labels)).await;
    listed.map(|it| it.items).map_err(|error| describe(&error))
}

/// The CRDs that matter here: of those of others not even the names are kept.
async fn definitions(client: &Client) -> Seen<Vec<Definition>> {
    let all = Api::<CustomResourceDefinition>::all(client.clone());
    let listed = all.list_metadata(&ListParams::default()).await.map_err(|error| describe(&error))?;
    let definition = |crd: kube::core::PartialObjectMeta<CustomResourceDefinition>| {
        let name = crd.metadata.name?;
        let (_, group) = name.split_once('.')?;
        if !group.starts_with("gateway.networking.") && group != "fairway.dev" {
            return None;
        }
        let annotations = crd.metadata.annotations.unwrap_or_default();
        let said = |what: &str| {
            annotations.get(&format!("gateway.networking.k8s.io/{what}")).cloned().unwrap_or_default()
        };
        Some(Definition { bundle: said("bundle-version"), channel: said("channel"), name })
    };
    Ok(listed.items.into_iter().filter_map(definition).collect())
}

async fn ask(client: &Client, right: Right) -> Answered {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource, None),
    };
    let attributes = Some(ResourceAttributes {
        verb: Some(right.verb.to_owned()),
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        namespace: right.namespace.clone(),
        ..ResourceAttributes::default()
    });
    let answer = match &right.account {
        None => {
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: attributes, ..Default::default() };
            let question = SelfSubjectAccessReview { spec, ..Default::default() };
            create(client, question).await.map(|it| it.status)
        }
        Some(account) => {
            let user = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
            let groups = vec![
                "system:authenticated".to_owned(),
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{}", account.namespace),
            ];
            let spec = SubjectAccessReviewSpec {
                resource_attributes: attributes,
                user: Some(user),
                groups: Some(groups),
                ..Default::default()
            };
            let question = SubjectAccessReview { spec, ..Default::default() };
            create(client, question).await.map(|it| it.status)
        }
    };
    Answered { right, allowed: answer.map(|it| it.is_some_and(|it| it.allowed)) }
}

async fn create<T>(client: &Client, question: T) -> Seen<T>
where
    T: kube::Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let answer = Api::<T>::all(client.clone()).create(&PostParams::default(), &question).await;
    answer.map_err(|error| describe(&error))
}
