//! The plugin: one run for each request of the container runtime.

use super::apiserver::{ApiError, ApiServer};
use super::credentials::Credentials;
use super::membership::{self, Object};
use super::outcome::{self, Code, Failure};
use super::request::{Command, PodName, Request};
use crate::pod::{Claim, PodState};
use crate::register::{Ask, Client};
use fairway_netns::Namespace;
use rustix::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// For the tunnel to capture a pod.
const CAPTURE: Duration = Duration::from_secs(15);
/// For it to hear that one is gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// What goes to standard output, and whether it went well.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// JSON, or nothing.
    pub text: String,
    /// Whether it is a result and no error.
    pub success: bool,
}

/// Does what the environment and the input ask.
pub async fn run(environment: impl Fn(&str) -> Option<String>, input: &[u8]) -> Answer {
    let version = serde_json::from_slice::<Version>(input).map(|it| it.cni_version);
    match act(environment, input).await {
        Ok(text) => Answer { text, success: true },
        Err(failure) => {
            let version = version.unwrap_or_else(|_| outcome::NEWEST.to_owned());
            Answer { text: failure.render(&version), success: false }
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    cni_version: String,
}

async fn act(environment: impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<String, Failure> {
    let command = environment("CNI_COMMAND").unwrap_or_default();
    let command = Command::parse(&command)?;
    if command == Command::Version {
        return Ok(outcome::versions());
    }
    let request = Request::read(environment, input)?;
    match command {
        Command::Add => add(&request).await,
        Command::Del => {
            del(&request).await;
            Ok(String::new())
        }
        Command::Check => check(&request).await.map(|()| String::new()),
        // Pods that are not in the mesh can always be added; those that are say why not when they are.
        Command::Status | Command::Gc | Command::Version => Ok(String::new()),
    }
}

async fn add(request: &Request) -> Result<String, Failure> {
    let made = request.config.prev_result.as_ref().ok_or_else(|| {
        let message = "no plugin comes before this one in the chain; it gives no pod a network by itself";
        Failure::new(Code::Configuration, message)
    })?;
    if let Some((pod, uid)) = meshed(request).await? {
        capture(request, pod, uid).await?;
    }
    Ok(made.get().to_owned())
}

/// The pod and its uid, if it is to be captured.
async fn meshed(request: &Request) -> Result<Option<(&PodName, String)>, Failure> {
    let Some(pod) = &request.pod else { return Ok(None) };
    if request.config.exempt_namespaces.contains(&pod.namespace) {
        return Ok(None);
    }
    let path = &request.config.credentials;
    let credentials = Credentials::read(path).map_err(|error| {
        let message = format!(
            "whether pod {}/{} is in the mesh cannot be asked: {}: {error} (the container `cni` of the DaemonSet \
             fairway-ztunnel writes it)",
            pod.namespace,
            pod.name,
            path.display()
        );
        Failure::new(Code::TryAgain, message)
    })?;
    let server = ApiServer::new(credentials);
    let unknown = |error: ApiError| {
        let message =
            format!("whether pod {}/{} is in the mesh is not known: {error}", pod.namespace, pod.name);
        Failure::new(Code::TryAgain, message)
    };
    let namespace = format!("/api/v1/namespaces/{}", pod.namespace);
    let found: Object = server.metadata(&namespace).await.map_err(unknown)?;
    if !membership::is_meshed(&found) {
        return Ok(None);
    }
    let found: Object = server.metadata(&format!("{namespace}/pods/{}", pod.name)).await.map_err(unknown)?;
    let uid = membership::captured(&found, pod).map_err(|message| Failure::new(Code::TryAgain, message))?;
    Ok(uid.map(|uid| (pod, uid)))
}

async fn capture(request: &Request, pod: &PodName, uid: String) -> Result<(), Failure> {
    let netns =
        request.netns.clone().ok_or_else(|| Failure::new(Code::Environment, "CNI_NETNS is not set"))?;
    let handle =
        Namespace::open(&netns).map_err(|error| Failure::new(Code::Environment, error.to_string()))?;
    let ask = Ask::Add {
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
        Failure::new(Code::TryAgain, message)
    };
    let capturing = async { Client::connect(socket).await?.register(&ask, Some(handle.as_fd())).await };
    match timeout(CAPTURE, capturing).await {
        Ok(Ok(PodState::Captured)) => Ok(()),
        Ok(Ok(state)) => Err(not_captured(format!("the tunnel says it is {state:?}"))),
        Ok(Err(error)) => Err(not_captured(error.to_string())),
        Err(_) => Err(not_captured("the tunnel does not answer in time".to_owned())),
    }
}

/// Best effort, and never an error, as the specification wants it: the tunnel notices by itself too, a little later. Without
/// the namespace it is not said, for it may be an old sandbox of a pod that has a new one already.
async fn del(request: &Request) {
    let Some((uid, netns)) = request.pod.as_ref().and_then(|it| it.uid.clone()).zip(request.netns.as_ref())
    else {
        return;
    };
    let Ok(handle) = Namespace::open(netns) else { return };
    let socket: &Path = &request.config.socket;
    let saying = async { Client::connect(socket).await?.remove_from(&uid, handle.as_fd()).await };
    let _ = timeout(FAREWELL, saying).await;
}

async fn check(request: &Request) -> Result<(), Failure> {
    let Some((pod, uid)) = meshed(request).await? else { return Ok(()) };
    let listing = async { Client::connect(&request.config.socket).await?.list().await };
    let not_so = |why: String| {
        Failure::new(Code::TryAgain, format!("pod {}/{} is not captured: {why}", pod.namespace, pod.name))
    };
    let pods =
        timeout(CAPTURE, listing).await.map_err(|_| not_so("the tunnel does not answer".to_owned()))?;
    let pods = pods.map_err(|error| not_so(error.to_string()))?;
    match pods.iter().find(|it| *it.uid == *uid) {
        Some(it) if it.state == PodState::Captured => Ok(()),
        Some(it) => Err(not_so(it.reason.clone().unwrap_or_else(|| format!("{:?}", it.state)))),
        None => Err(not_so("the tunnel does not know it".to_owned())),
    }
}
