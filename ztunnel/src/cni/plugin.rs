//! The plugin. The container runtime runs it once for each request.

use super::apiserver::{ApiError, ApiServer};
use super::credentials::Credentials;
use super::membership::{self, Object};
use super::request::{Command, PodName, Request};
use super::response::{self, CniError, Code};
use crate::local_pod::Claim;
use crate::pod_status::PodState;
use crate::registration::{self, Client};
use fairway_netns::Namespace;
use rustix::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Time for the tunnel to capture a pod.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for the tunnel to acknowledge a removal.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of one run.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// JSON for standard output; empty for commands without a result.
    pub text: String,
    /// Whether the exit status is 0.
    pub success: bool,
}

/// Carries out the command in `CNI_COMMAND`, with the network configuration in `input` (CNI 1.1, section 2).
pub async fn run(environment: impl Fn(&str) -> Option<String>, input: &[u8]) -> Output {
    let version = serde_json::from_slice::<Version>(input).map(|it| it.cni_version);
    match act(environment, input).await {
        Ok(text) => Output { text, success: true },
        Err(failure) => {
            let version = version.unwrap_or_else(|_| response::NEWEST.to_owned());
            Output { text: failure.render(&version), success: false }
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    cni_version: String,
}

async fn act(environment: impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<String, CniError> {
    let command = environment("CNI_COMMAND").unwrap_or_default();
    let command = Command::parse(&command)?;
    if command == Command::Version {
        return Ok(response::versions());
    }
    let request = Request::read(environment, input)?;
    match command {
        Command::Add => add(&request).await,
        Command::Del => {
            del(&request).await;
            Ok(String::new())
        }
        Command::Check => check(&request).await.map(|()| String::new()),
        // Pods outside the mesh can always be added. The error of a pod in the mesh comes with its own ADD.
        Command::Status | Command::Gc | Command::Version => Ok(String::new()),
    }
}

async fn add(request: &Request) -> Result<String, CniError> {
    let made = request.config.prev_result.as_ref().ok_or_else(|| {
        let message = "this plugin is first in the chain, and it does not create a network; add it after another plugin";
        CniError::new(Code::Configuration, message)
    })?;
    if let Some((pod, uid)) = find_meshed_pod(request).await? {
        capture(request, pod, uid).await?;
    }
    Ok(made.get().to_owned())
}

/// The pod and its uid, if the pod has to be captured.
async fn find_meshed_pod(request: &Request) -> Result<Option<(&PodName, String)>, CniError> {
    let Some(pod) = &request.pod else { return Ok(None) };
    if request.config.exempt_namespaces.contains(&pod.namespace) {
        return Ok(None);
    }
    let path = &request.config.credentials;
    let credentials = Credentials::read(path).map_err(|error| {
        let message = format!(
            "whether pod {}/{} is in the mesh cannot be asked: {}: {error} (the container `cni` of the DaemonSet \
             fairway-ztunnel writes this file)",
            pod.namespace,
            pod.name,
            path.display()
        );
        CniError::new(Code::TryAgain, message)
    })?;
    let server = ApiServer::new(credentials);
    let unknown = |error: ApiError| {
        let message =
            format!("whether pod {}/{} is in the mesh is not known: {error}", pod.namespace, pod.name);
        CniError::new(Code::TryAgain, message)
    };
    let namespace = format!("/api/v1/namespaces/{}", pod.namespace);
    let found: Object = server.metadata(&namespace).await.map_err(unknown)?;
    if !membership::is_meshed(&found) {
        return Ok(None);
    }
    let found: Object = server.metadata(&format!("{namespace}/pods/{}", pod.name)).await.map_err(unknown)?;
    let uid =
        membership::uid_if_meshed(&found, pod).map_err(|message| CniError::new(Code::TryAgain, message))?;
    Ok(uid.map(|uid| (pod, uid)))
}

async fn capture(request: &Request, pod: &PodName, uid: String) -> Result<(), CniError> {
    let netns =
        request.netns.clone().ok_or_else(|| CniError::new(Code::Environment, "CNI_NETNS is not set"))?;
    let handle =
        Namespace::open(&netns).map_err(|error| CniError::new(Code::Environment, error.to_string()))?;
    let add = registration::Request::Add {
        uid,
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        netns,
        addresses: request.addresses(),
        claim: Claim::Meshed,
    };
    let socket = &request.config.socket;
    let not_captured = |why: String| {
        let message = format!(
            "pod {}/{} is in the mesh and not captured, so it may not start: {why} (socket {}; is the pod of the \
             DaemonSet fairway-ztunnel on this node ready?)",
            pod.namespace,
            pod.name,
            socket.display()
        );
        CniError::new(Code::TryAgain, message)
    };
    let capturing = async { Client::connect(socket).await?.register(&add, Some(handle.as_fd())).await };
    match timeout(CAPTURE_TIMEOUT, capturing).await {
        Ok(Ok(PodState::Captured)) => Ok(()),
        Ok(Ok(state)) => Err(not_captured(format!("the tunnel says it is {state:?}"))),
        Ok(Err(error)) => Err(not_captured(error.to_string())),
        Err(_) => Err(not_captured("the tunnel does not answer in time".to_owned())),
    }
}

/// Best effort and never an error, as the specification requires. The tunnel notices the removal by itself, a little later.
/// Without the network namespace nothing is removed: the pod may already have a newer sandbox.
async fn del(request: &Request) {
    let Some((uid, netns)) = request.pod.as_ref().and_then(|it| it.uid.clone()).zip(request.netns.as_ref())
    else {
        return;
    };
    let Ok(handle) = Namespace::open(netns) else { return };
    let socket: &Path = &request.config.socket;
    let saying = async { Client::connect(socket).await?.remove_from(&uid, handle.as_fd()).await };
    let _ = timeout(REMOVE_TIMEOUT, saying).await;
}

async fn check(request: &Request) -> Result<(), CniError> {
    let Some((pod, uid)) = find_meshed_pod(request).await? else { return Ok(()) };
    let listing = async { Client::connect(&request.config.socket).await?.list().await };
    let not_so = |why: String| {
        CniError::new(Code::TryAgain, format!("pod {}/{} is not captured: {why}", pod.namespace, pod.name))
    };
    let pods = timeout(CAPTURE_TIMEOUT, listing)
        .await
        .map_err(|_| not_so("the tunnel does not answer".to_owned()))?;
    let pods = pods.map_err(|error| not_so(error.to_string()))?;
    match pods.iter().find(|it| *it.uid == *uid) {
        Some(it) if it.state == PodState::Captured => Ok(()),
        Some(it) => Err(not_so(it.reason.clone().unwrap_or_else(|| format!("{:?}", it.state)))),
        None => Err(not_so("the tunnel does not know it".to_owned())),
    }
}
