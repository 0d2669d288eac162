//! Tests of the plugin against a test API server and a test tunnel, over real sockets.

use super::credentials::Credentials;
use super::plugin::{Output, run};
use super::testing::TestApiServer;
use crate::ownership::Ownership;
use crate::pod::{Claim, Netns, PodError, PodEvent};
use crate::pod_status::PodState;
use crate::registrar::{Handler, serve};
use crate::registration::Server;
use crate::state;
use crate::view::{PodTable, View};
use fairway_runtime::drain;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;

const MADE: &str = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.7/24"}],  "dns":{}}"#;
const MESHED: &str = r#"{"metadata":{"name":"shop","labels":{"fairway.dev/mesh":"enabled"}}}"#;
const PLAIN: &str = r#"{"metadata":{"name":"shop"}}"#;
const POD: &str = r#"{"metadata":{"name":"web","uid":"u-1"}}"#;

/// A node: its files, an API server that has these objects, and no tunnel yet.
struct Node {
    folder: TempDir,
}

impl Node {
    async fn new(objects: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = TestApiServer::start(objects, &["the token"]).await;
        let credentials = server.credentials("the token\n");
        std::fs::write(folder.path().join("credentials"), credentials.render().unwrap()).unwrap();
        Self { folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("ztunnel.sock")
    }

    /// A tunnel that says this of every pod, and what it was asked.
    async fn start_tunnel(
        &self,
        outcome: fn() -> Result<PodState, PodError>,
    ) -> mpsc::UnboundedReceiver<PodEvent> {
        let (pods, mut events) = mpsc::channel(1);
        let (_applier, state) = state::channel(Default::default(), Default::default(), |_| {});
        let view = View { state, pods: PodTable::default(), connections: Arc::new([]) };
        let server = Server::bind(&self.socket()).await.unwrap();
        let (trigger, watch) = drain::channel();
        tokio::spawn(serve(server, Handler { pods, view, ownership: Ownership::default() }, watch));
        let (told, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let _alive = trigger;
            while let Some(event) = events.recv().await {
                let seen = match event {
                    PodEvent::Added { pod, done } => {
                        done.send(outcome()).unwrap();
                        let (done, _) = tokio::sync::oneshot::channel();
                        PodEvent::Added { pod, done }
                    }
                    other => other,
                };
                told.send(seen).unwrap();
            }
        });
        asked
    }

    async fn ask(&self, command: &str, namespace: &str) -> Output {
        let environment = HashMap::from([
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_NETNS", "/proc/self/ns/net".to_owned()),
            (
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=web;K8S_POD_UID=u-1"),
            ),
        ]);
        let path = |it: &Path| it.display().to_string();
        let input = format!(
            r#"{{"cniVersion":"1.0.0","name":"pods","type":"fairway-cni","exemptNamespaces":["kube-system"],
                "credentials":"{}","socket":"{}","prevResult":{MADE}}}"#,
            path(&self.folder.path().join("credentials")),
            path(&self.socket())
        );
        run(|name| environment.get(name).cloned(), input.as_bytes()).await
    }
}

fn passed() -> Output {
    Output { text: MADE.to_owned(), success: true }
}

/// The message of an error that has kubelet try again.
fn refused(answer: Output) -> String {
    assert!(!answer.success, "{}", answer.text);
    let error: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((&error["cniVersion"], &error["code"]), (&"1.0.0".into(), &11.into()));
    error["msg"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_pod_outside_the_mesh_passes_whether_a_tunnel_runs_or_not() {
    let pod = "/api/v1/namespaces/shop/pods/web";
    let disabled = r#"{"metadata":{"uid":"u-1","labels":{"fairway.dev/mesh":"disabled"}}}"#;
    for objects in
        [&[("/api/v1/namespaces/shop", PLAIN)][..], &[("/api/v1/namespaces/shop", MESHED), (pod, disabled)]]
    {
        // What the plugins before have made is passed on to the byte.
        assert_eq!(Node::new(objects).await.ask("ADD", "shop").await, passed());
    }
    // One of an exempt namespace passes though nothing can be asked.
    assert_eq!(Node::new(&[]).await.ask("ADD", "kube-system").await, passed());
}

#[tokio::test]
async fn a_pod_of_the_mesh_passes_when_the_tunnel_has_captured_it() {
    let node =
        Node::new(&[("/api/v1/namespaces/shop", MESHED), ("/api/v1/namespaces/shop/pods/web", POD)]).await;
    let said = refused(node.ask("ADD", "shop").await);
    assert!(
        said.starts_with(
            "pod shop/web is in the mesh and not captured, so it may not start: the tunnel cannot be reached:"
        ),
        "{said}"
    );

    let mut asked = node.start_tunnel(|| Ok(PodState::Captured)).await;
    assert_eq!(node.ask("ADD", "shop").await, passed());
    let Some(PodEvent::Added { pod, .. }) = asked.recv().await else { panic!("it was not asked") };
    assert_eq!((&*pod.uid, pod.key.as_str(), pod.claim), ("u-1", "shop/web", Claim::Meshed));
    assert_eq!(pod.addresses, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
    // The namespace itself came along, whatever its path means to the tunnel.
    let here = fairway_netns::Namespace::current().unwrap();
    assert!(matches!(pod.netns, Netns::Open(namespace) if namespace == here));

    assert_eq!(node.ask("DEL", "shop").await, Output { text: String::new(), success: true });
    assert!(matches!(asked.recv().await, Some(PodEvent::Removed { uid }) if &*uid == "u-1"));
}

#[tokio::test]
async fn what_the_tunnel_refuses_may_not_start_and_the_event_says_why() {
    let node =
        Node::new(&[("/api/v1/namespaces/shop", MESHED), ("/api/v1/namespaces/shop/pods/web", POD)]).await;
    let _asked = node.start_tunnel(|| Err(PodError::Gone)).await;
    let said = refused(node.ask("ADD", "shop").await);
    assert!(said.contains("the tunnel refused: the pod was removed, or the tunnel is ending"), "{said}");
}

#[tokio::test]
async fn a_pod_of_which_nothing_is_known_may_not_start() {
    let unknown = Node::new(&[]).await;
    let said = refused(unknown.ask("ADD", "shop").await);
    assert!(
        said.contains(
            "is not known: the API server says 404 Not Found to GET /api/v1/namespaces/shop: not found"
        ),
        "{said}"
    );

    let node = Node::new(&[("/api/v1/namespaces/shop", MESHED)]).await;
    let path = node.folder.path().join("credentials");
    let credentials = Credentials { token: "stolen".into(), ..Credentials::read(&path).unwrap() };
    std::fs::write(&path, credentials.render().unwrap()).unwrap();
    assert!(refused(node.ask("ADD", "shop").await).contains("401 Unauthorized"));

    // An API server with another key is none.
    let other = Node::new(&[]).await;
    let imposed = Credentials {
        roots: Credentials::read(&other.folder.path().join("credentials")).unwrap().roots,
        ..credentials
    };
    std::fs::write(&path, imposed.render().unwrap()).unwrap();
    assert!(refused(node.ask("ADD", "shop").await).contains("cannot be reached"));

    std::fs::remove_file(&path).unwrap();
    assert!(refused(node.ask("ADD", "shop").await).contains("cannot be asked"));
    // To go is always allowed.
    assert!(node.ask("DEL", "shop").await.success);
}

#[tokio::test]
async fn it_says_what_it_speaks_and_what_it_does_not_understand() {
    let environment =
        |command: &'static str| move |name: &str| (name == "CNI_COMMAND").then(|| command.to_owned());
    let versions = run(environment("VERSION"), br#"{"cniVersion":"1.0.0"}"#).await;
    assert!(
        versions.success && versions.text.contains(r#""supportedVersions":["0.3.0","#),
        "{}",
        versions.text
    );
    for (command, input, code) in [
        ("DANCE", &br#"{"cniVersion":"1.0.0"}"#[..], 4),
        ("ADD", b"{", 6),
        // First in the chain, or alone.
        ("ADD", br#"{"cniVersion":"1.0.0","name":"a","type":"fairway-cni"}"#, 7),
    ] {
        let answer = run(environment(command), input).await;
        let error: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert!(!answer.success && error["code"] == code, "{}", answer.text);
    }
    // What is not Kubernetes' is not ours.
    let made = br#"{"cniVersion":"1.0.0","name":"a","type":"fairway-cni","prevResult":{"ips":[]}}"#;
    let answer = run(environment("ADD"), made).await;
    assert_eq!(answer, Output { text: r#"{"ips":[]}"#.to_owned(), success: true });
}
