//! A small mesh: pods in network namespaces on one bridge, a tunnel for each of two nodes, and a configuration by hand.

use fairway_config::model::{
    AppProtocol, AuthorizationKey, Endpoint, EndpointState, Endpoints, Generation, Mesh, MutualTls, Probe,
    Resource, ResourceKey, Service, ServicePort, SpiffeId, Workload,
};
use fairway_config::{Apply, Delta, Snapshot};
use fairway_identity::testing::{TestAuthority, TestIssuer};
use fairway_identity::{Identities, TlsIdentity};
use fairway_netns::Namespace;
use fairway_runtime::drain::{self, Deadlines, Phase, Trigger};
use fairway_runtime::metrics::Metrics;
use fairway_telemetry::testing::Exposition;
use fairway_testbed::{Network, Pod, Sandbox};
use fairway_ztunnel::handoff::{Handoff, HandoffGuard};
use fairway_ztunnel::ownership::Ownership;
use fairway_ztunnel::registrar::{self, Handler};
use fairway_ztunnel::registration::Server;
use fairway_ztunnel::{
    Applier, Candidate, Claim, PodError, PodEvent, PodState, PodStatus, TunnelSettings, Ztunnel,
};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A cluster of two nodes.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    pub(crate) network: Network,
    issuer: Arc<TestIssuer>,
    nodes: Vec<Node>,
    snapshot: Snapshot,
}

struct Node {
    name: &'static str,
    metrics: Metrics,
    ztunnel: Ztunnel,
    applier: Applier,
    trigger: Trigger,
    watch: drain::Watch,
    ownership: Ownership,
    /// Held by a tunnel that has taken over from another one.
    handoff_guard: Option<HandoffGuard>,
}

/// A tunnel from which another one has taken over.
pub(crate) struct Predecessor(Node);

impl Cluster {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        Self::with_sockets(sandbox, [MANY_SOCKETS; 2])
    }

    /// With so many sockets for each pod of a node.
    pub(crate) fn with_sockets(sandbox: &Sandbox, max_pod_sockets: [usize; 2]) -> Self {
        let network =
            Network::new(sandbox, &["10.7.0.1/24", "fd00:7::1/64"].map(|it| it.parse().unwrap())).unwrap();
        let issuer = TestAuthority::new("cluster.local").into_issuer();
        let node_namespace = network.node().clone();
        let [one, two] = max_pod_sockets;
        let nodes = [("one", one), ("two", two)];
        let nodes = nodes.map(|(name, most)| start(name, &issuer, &node_namespace, most));
        let folder = tempfile::tempdir().unwrap();
        Self { network, issuer, nodes: nodes.into(), snapshot: Snapshot::default(), folder }
    }

    /// Opens the registration socket of a node's tunnel.
    pub(crate) async fn open_registration(&self, node: usize) {
        let node = &self.nodes[node];
        serve(node, Server::bind(&self.socket(node.name)).await.unwrap());
    }

    /// Where a node's tunnel is registered at.
    pub(crate) fn socket(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    /// Starts a new tunnel on a node, which takes over from the running one. The running one goes on with its open connections.
    pub(crate) async fn upgrade(&mut self, node: usize) -> Predecessor {
        let mut next = start(self.nodes[node].name, &self.issuer, self.network.node(), MANY_SOCKETS);
        let changes = self.snapshot.resources().map(|it| it.key()).collect();
        next.applier.apply(&self.snapshot, &changes).unwrap();
        next.ztunnel.warm_up().await;
        let handoff = Handoff::request(&self.socket(next.name)).await.unwrap().unwrap();
        let (server, guard) = handoff.accept(&next.ztunnel.pods()).await.unwrap();
        next.handoff_guard = Some(guard);
        serve(&next, server);
        Predecessor(std::mem::replace(&mut self.nodes[node], next))
    }

    /// A pod with an address of the network; not registered, and not in the configuration.
    pub(crate) fn pod(&self, name: &str, ip: &str) -> Pod {
        self.network.add_pod(name, &[ip.parse().unwrap()]).unwrap()
    }

    /// One with an address of each family.
    pub(crate) fn dual_pod(&self, name: &str, ips: [&str; 2]) -> Pod {
        self.network.add_pod(name, &ips.map(|it| it.parse().unwrap())).unwrap()
    }

    /// Commits a change to both nodes.
    pub(crate) fn commit(&mut self, upserts: Vec<Resource>, removals: Vec<ResourceKey>) {
        let generation = Generation(self.snapshot.generation.0 + 1);
        let (next, changes) = self.snapshot.apply(Delta { generation, upserts, removals });
        for node in &mut self.nodes {
            node.applier.apply(&next, &changes).unwrap();
        }
        self.snapshot = next;
    }

    /// How many connections of a kind a node's tunnel has seen go past mTLS, at the pods' namespace.
    pub(crate) fn plaintext(&self, node: usize, kind: &str) -> u64 {
        let labels = [("namespace", "shop"), ("kind", kind)];
        self.scrape(node).sum("fairway_plaintext_connections_total", &labels) as u64
    }

    /// What a node's tunnel shows Prometheus.
    pub(crate) fn scrape(&self, node: usize) -> Exposition {
        Exposition::parse(&self.nodes[node].metrics.encode())
    }

    /// Registers a pod with the tunnel of a node, as a CNI plugin does.
    pub(crate) async fn register(&self, node: usize, name: &str, netns: &Path) -> Result<PodState, PodError> {
        let (done, outcome) = oneshot::channel();
        let (uid, key) = (uid(name), key(name));
        let event = PodEvent::Added { pod: Candidate::new(uid, key, netns), done };
        self.nodes[node].ztunnel.pods().send(event).await.unwrap();
        outcome.await.unwrap()
    }

    /// The same by somebody who has seen the label, and knows the addresses.
    pub(crate) async fn register_meshed(&self, node: usize, pod: &Pod) -> Result<PodState, PodError> {
        let (done, outcome) = oneshot::channel();
        let pod = Candidate {
            addresses: pod.addresses().to_vec(),
            claim: Claim::Meshed,
            ..Candidate::new(uid(pod.name()), key(pod.name()), pod.netns_path())
        };
        self.nodes[node].ztunnel.pods().send(PodEvent::Added { pod, done }).await.unwrap();
        outcome.await.unwrap()
    }

    pub(crate) async fn remove(&self, node: usize, name: &str) {
        let event = PodEvent::Removed { uid: uid(name).into() };
        self.nodes[node].ztunnel.pods().send(event).await.unwrap();
    }

    /// Waits until a pod's status is as wanted.
    pub(crate) async fn until(&self, node: usize, name: &str, wanted: impl Fn(&PodStatus) -> bool) {
        let view = self.nodes[node].ztunnel.view();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let reached = async {
            while !view.pods().iter().any(|pod| *pod.uid == *uid(name) && wanted(pod)) {
                ticks.tick().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), reached).await;
        assert!(in_time.is_ok(), "{:?}", view.pods());
    }

    pub(crate) fn peers(&self, node: usize) -> Vec<(String, Option<String>)> {
        let connections = self.nodes[node].ztunnel.view().connections();
        connections
            .into_iter()
            .map(|it| {
                (it.local.map(|it| it.to_string()).unwrap_or_default(), it.peer.map(|it| it.to_string()))
            })
            .collect()
    }

    pub(crate) fn identity(&self, namespace: &str, account: &str) -> Arc<TlsIdentity> {
        self.issuer.authority().identity(namespace, account)
    }

    /// Drains both nodes, one after the other.
    pub(crate) async fn drain_all(mut self) {
        for node in std::mem::take(&mut self.nodes) {
            Predecessor(node).end().await;
        }
    }

    /// Waits until a node's tunnel has closed its listeners, in the course of a drain.
    pub(crate) fn listeners_close(&self, node: usize) -> impl Future<Output = ()> + use<> {
        let watch = self.nodes[node].watch.clone();
        async move { watch.reached(Phase::Closing).await }
    }

    /// Drains a node; whether nothing had to be cut off.
    pub(crate) async fn drain(mut self, node: usize) -> bool {
        let Node { ztunnel, trigger, watch, .. } = self.nodes.remove(node);
        drop(watch);
        let deadlines = Deadlines { linger: Duration::from_millis(100), grace: Duration::from_secs(5) };
        let clean = trigger.drain(deadlines).await;
        assert!(ztunnel.ended().await);
        clean
    }
}

impl Predecessor {
    /// Ends it when the last of its connections has; whether none had to be cut off.
    pub(crate) async fn end(self) -> bool {
        // It goes on following its configuration until it ends.
        let Node { ztunnel, trigger, watch, applier: _following, .. } = self.0;
        drop(watch);
        let deadlines = Deadlines { linger: Duration::ZERO, grace: Duration::from_secs(10) };
        let clean = trigger.drain(deadlines).await;
        assert!(ztunnel.ended().await);
        clean
    }
}

/// More than a test opens.
const MANY_SOCKETS: usize = 16 * 1024;

fn start(name: &'static str, issuer: &Arc<TestIssuer>, node: &Namespace, max_pod_sockets: usize) -> Node {
    let settings = TunnelSettings {
        max_pod_sockets,
        workers: NonZeroUsize::new(2).unwrap(),
        rule_check_interval: Duration::from_millis(100),
        registration_timeout: Duration::from_millis(500),
        claim_validity: Duration::from_secs(1),
        peer_timeout: Duration::from_secs(2),
        release_linger: Duration::from_millis(200),
        release_timeout: Duration::from_secs(5),
        deadlines: Deadlines { linger: Duration::from_millis(100), grace: Duration::from_secs(5) },
        node_namespace: Some(node.clone()),
        ..TunnelSettings::new(name)
    };
    let identities = Identities::start(issuer.clone(), fairway_identity::Settings::default());
    let (trigger, watch) = drain::channel();
    let metrics = Metrics::new("ztunnel", "test");
    let (ztunnel, applier) = Ztunnel::start(settings, identities, &metrics, watch.clone()).unwrap();
    Node {
        name,
        metrics,
        ztunnel,
        applier,
        trigger,
        watch,
        ownership: Ownership::default(),
        handoff_guard: None,
    }
}

fn serve(node: &Node, server: Server) {
    let handler =
        Handler { pods: node.ztunnel.pods(), view: node.ztunnel.view(), ownership: node.ownership.clone() };
    tokio::spawn(registrar::serve(server, handler, node.watch.clone()));
}

fn uid(name: &str) -> String {
    format!("uid-{name}")
}

fn key(name: &str) -> String {
    format!("shop/{name}")
}

pub(crate) fn id(account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap()
}

/// A pod for the configuration.
pub(crate) fn workload(pod: &Pod, mesh: Mesh, authorizations: &[&str]) -> Resource {
    Resource::Workload(Arc::new(Workload {
        key: key(pod.name()).into(),
        uid: uid(pod.name()).into(),
        addresses: pod.addresses().to_vec(),
        identity: id(pod.name()),
        node: "node".into(),
        node_uid: None,
        mesh,
        aside: None,
        probes: vec![],
        authorizations: authorizations.iter().map(|name| AuthorizationKey::from(*name)).collect(),
    }))
}

/// A strict pod that kubelet probes.
pub(crate) fn probed(pod: &Pod, probes: Vec<Probe>) -> Resource {
    let Resource::Workload(strict) = workload(pod, Mesh::Captured(MutualTls::Strict), &[]) else {
        unreachable!("a workload");
    };
    Resource::Workload(Arc::new(Workload { probes, ..(*strict).clone() }))
}

/// A Service on port 80 and its endpoints, each with the identity of the pod.
pub(crate) fn service(
    name: &str,
    ip: IpAddr,
    waypoint: Option<&str>,
    endpoints: &[(&Pod, u16)],
) -> Vec<Resource> {
    let backend = format!("shop/{name}:80");
    let service = Service {
        key: format!("shop/{name}").into(),
        namespace: "shop".into(),
        addresses: vec![ip],
        ports: vec![ServicePort {
            port: 80,
            name: None,
            protocol: AppProtocol::Unspecified,
            backend: backend.clone().into(),
        }],
        waypoint: waypoint.map(Into::into),
        consumer_waypoints: Vec::new(),
        routers: Vec::new(),
    };
    vec![Resource::Service(Arc::new(service)), endpoints_of(&backend, endpoints)]
}

pub(crate) fn endpoints_of(backend: &str, endpoints: &[(&Pod, u16)]) -> Resource {
    let endpoint = |pod: &Pod, ip: &IpAddr, port| Endpoint {
        address: SocketAddr::new(*ip, port),
        state: EndpointState::Ready,
        identity: Some(id(pod.name())),
        node: None,
        hints: None,
    };
    let all = endpoints.iter().flat_map(|(pod, port)| pod.addresses().iter().map(|ip| (*pod, ip, *port)));
    let endpoints = all.map(|(pod, ip, port)| endpoint(pod, ip, port)).collect();
    Resource::Endpoints(Arc::new(Endpoints::of_anybody(backend.into(), endpoints)))
}

pub(crate) fn at(pod: &Pod, port: u16) -> SocketAddr {
    SocketAddr::new(pod.address().unwrap(), port)
}

/// A program in a pod that greets each client with the address it sees, then says back what it hears, and ends when the
/// client does.
pub(crate) async fn start_program(pod: &Pod, port: u16) {
    start_program_at(pod, SocketAddr::new([0, 0, 0, 0].into(), port)).await;
}

/// The same at an address.
pub(crate) async fn start_program_at(pod: &Pod, address: SocketAddr) {
    let listener = pod.listen(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, client) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.write_all(format!("hello {}\n", client.ip()).as_bytes()).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
                write.shutdown().await
            });
        }
    });
}

/// Talks to the program: what it said, whole; or how the connection broke.
pub(crate) async fn talk(stream: Result<TcpStream, impl ToString>, text: &str) -> Result<String, String> {
    let mut stream = stream.map_err(|error| error.to_string())?;
    let mut said = String::new();
    let talking = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        stream.read_to_string(&mut said).await
    };
    match tokio::time::timeout(Duration::from_secs(10), talking).await {
        Ok(Ok(_)) => Ok(said),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("silence".to_owned()),
    }
}
