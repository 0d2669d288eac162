//! Whoever sends whatever, and whatever is open from before: a program is reached through the tunnel, or not at all.

use crate::mesh::{Cluster, start_program_at, talk, workload};
use fairway_config::model::{Mesh, MutualTls, Resource};
use fairway_netns::Namespace;
use fairway_netns::capture::CaptureRules;
use fairway_netns::socket::{Connect, Mark, Source};
use fairway_policy::{Action, Authorization, Condition, Rule};
use fairway_testbed::segment::flags::{ACK, FIN, PSH, RST, SYN, URG};
use fairway_testbed::segment::{Form, SIGNATURE, Segment};
use fairway_testbed::{Pod, Sandbox};
use fairway_ztunnel::{FenceStatus, PodState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longer than an answer takes.
const SOON: Duration = Duration::from_secs(2);
/// More than the fence is told of, one by one.
const MANY: usize = 2001;

const KINDS: &[(u8, &[u8], Form)] = &[
    (ACK, &[], Form::Whole),
    (ACK, &SIGNATURE, Form::Whole),
    (ACK, &SIGNATURE, Form::Fragments),
    (ACK | PSH | URG, &SIGNATURE, Form::Whole),
    (SYN | ACK, &SIGNATURE, Form::Whole),
    (SYN | URG | PSH, &SIGNATURE, Form::Whole),
    (FIN | ACK, &SIGNATURE, Form::Whole),
    (RST, &[], Form::Whole),
];

/// What a pod lets in.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Strict,
    Permissive,
    /// Only its waypoint: `fairway.dev/waypoint: required`.
    Waypoint,
}

struct Stage {
    cluster: Cluster,
    server: Pod,
    outsider: Pod,
    meshed: Pod,
    older: Vec<(TcpStream, TcpStream)>,
}

/// With so many connections to the server that are older than its capture.
async fn set(sandbox: &Sandbox, older: usize) -> Stage {
    let mut cluster = Cluster::new(sandbox);
    let server = cluster.dual_pod("server", ["10.7.0.11", "fd00:7::11"]);
    let outsider = cluster.dual_pod("outsider", ["10.7.0.50", "fd00:7::50"]);
    let meshed = cluster.dual_pod("meshed", ["10.7.0.10", "fd00:7::10"]);
    for address in server.addresses() {
        start_program_at(&server, SocketAddr::new(*address, 8080)).await;
    }
    let there = SocketAddr::new(server.addresses()[0], 7000);
    let program = server.listen(there).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..older {
        open.push((outsider.connect(there).await.unwrap(), program.accept().await.unwrap().0));
    }
    cluster.commit(vec![workload(&meshed, Mesh::Captured(MutualTls::Strict), &[])], vec![]);
    cluster.commit(vec![workload(&server, Mesh::Captured(MutualTls::Strict), &[])], vec![]);
    cluster.register(0, "meshed", meshed.netns_path()).await.unwrap();
    assert_eq!(cluster.register(1, "server", server.netns_path()).await.unwrap(), PodState::Captured);
    Stage { cluster, server, outsider, meshed, older: open }
}

impl Stage {
    fn enter(&mut self, mode: Mode) {
        let rules = vec![Rule::when(vec![Condition::PeerIsNot(vec![crate::mesh::id("waypoint")])])];
        let only_waypoint = Authorization::new("only-waypoint", Action::Deny, rules);
        let (tls, authorizations): (_, &[&str]) = match mode {
            Mode::Strict => (MutualTls::Strict, &[]),
            Mode::Permissive => (MutualTls::Permissive, &[]),
            Mode::Waypoint => (MutualTls::Permissive, &["only-waypoint"]),
        };
        let workload = workload(&self.server, Mesh::Captured(tls), authorizations);
        self.cluster.commit(vec![Resource::Authorization(Arc::new(only_waypoint)), workload], vec![]);
    }

    /// Where somebody comes from, under which addresses, and with which mark.
    fn comers(&self) -> [(&'static str, Namespace, [&'static str; 2], Option<Mark>); 3] {
        let own = Some(CaptureRules::default().own_mark);
        [
            ("outside", self.outsider.namespace().clone(), ["10.7.0.50", "fd00:7::50"], None),
            // As one does who has NET_RAW in a pod of the mesh.
            ("meshed", self.meshed.namespace().clone(), ["10.7.0.10", "fd00:7::10"], own),
            ("node", self.cluster.network.node().clone(), ["10.7.0.1", "fd00:7::1"], None),
        ]
    }

    /// Whoever comes: he is refused, or the tunnel has let him in.
    async fn nobody_passes(&mut self, is_fenced: bool) {
        let mut port = 20000;
        for mode in [Mode::Strict, Mode::Permissive, Mode::Waypoint] {
            self.enter(mode);
            for (name, namespace, addresses, mark) in self.comers() {
                for (own, to) in addresses.into_iter().zip(self.server.addresses()) {
                    for &(flags, options, form) in KINDS {
                        port += 1;
                        let what = format!("{flags:#x} {form:?}, {mode:?}, from {name} to {to}, port {port}");
                        let source = SocketAddr::new(own.parse().unwrap(), port);
                        let destination = SocketAddr::new(*to, 8080);
                        let segment = Segment::new(source, destination, flags).with_options(options);
                        namespace.run(move || segment.send(form, mark)).await.unwrap().unwrap();
                        let before = self.cluster.plaintext(1, "let_in");
                        let said = come(&namespace, source, destination, mark).await;
                        let let_in = self.cluster.plaintext(1, "let_in") - before;
                        match (mode, &said) {
                            (Mode::Permissive, Ok(said)) => {
                                assert_eq!(said, &format!("hello {own}\nplain"), "{what}");
                                // On a busy machine the one before, which gave up, may be counted now.
                                assert!(let_in >= 1, "{what}");
                            }
                            (Mode::Permissive, Err(_)) => {
                                let two_openings = flags & (SYN | ACK) == SYN;
                                assert!(!is_fenced || two_openings, "{what}: {said:?}");
                            }
                            _ => assert!(said.is_err() && let_in == 0, "{what}: {said:?}"),
                        }
                    }
                }
            }
        }
    }
}

async fn come(
    from: &Namespace,
    source: SocketAddr,
    destination: SocketAddr,
    mark: Option<Mark>,
) -> Result<String, String> {
    let wanted = Connect { destination, source: Some(Source::SpoofedPort(source)), mark };
    let socket = from.connector(wanted).await.unwrap();
    let coming = async { talk(socket.connect(destination).await, "plain").await };
    tokio::time::timeout(SOON, coming).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.to_string()))
}

#[test]
fn nobody_passes_by_the_tunnel() {
    Sandbox::run_async_test("smuggling::nobody_passes_by_the_tunnel", async |sandbox| {
        let mut stage = set(sandbox, 0).await;
        let up = Some(FenceStatus::Up { older_connections: 0 });
        stage.cluster.until(1, "server", |pod| pod.fence == up).await;
        stage.nobody_passes(true).await;
        stage.cluster.until(1, "server", |pod| pod.fence == up).await;
    });
}

#[test]
fn nobody_passes_while_somebody_holds_a_connection_from_before() {
    Sandbox::run_async_test(
        "smuggling::nobody_passes_while_somebody_holds_a_connection_from_before",
        async |sandbox| {
            let mut stage = set(sandbox, 1).await;
            let but_for_one = Some(FenceStatus::Up { older_connections: 1 });
            stage.cluster.until(1, "server", |pod| pod.fence == but_for_one).await;
            stage.nobody_passes(true).await;
            let (client, _) = stage.older.remove(0);
            assert_eq!(client.try_write(b"still here").unwrap(), 10);
            drop(client);
            let up = Some(FenceStatus::Up { older_connections: 0 });
            stage.cluster.until(1, "server", |pod| pod.fence == up).await;
        },
    );
}

#[test]
fn nobody_passes_while_there_is_no_fence() {
    Sandbox::run_async_test("smuggling::nobody_passes_while_there_is_no_fence", async |sandbox| {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
        let mut stage = set(sandbox, MANY).await;
        stage.cluster.until(1, "server", |pod| pod.fence == Some(FenceStatus::Down)).await;
        stage.nobody_passes(false).await;
    });
}
