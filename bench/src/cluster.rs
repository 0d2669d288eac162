//! A node on this machine: pods out of network namespaces, a controller, the node's tunnel, and a Gateway's proxy.

use crate::process::Process;
use anyhow::{Context, ensure};
use fairway_testbed::{Network, Pod, Sandbox, Subnet};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const NODE: &str = "bench";
const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));
const SERVICE_NETWORK: &str = "10.96.0.0/16";
const CONTROLLER_ADMIN: &str = "127.0.0.1:15100";
const ADMIN: &str = "127.0.0.1:15000";
const READINESS_PORT: u16 = 15021;
/// What the metrics of every program begin with, after its own name.
const CPU_SECONDS: &str = "process_cpu_seconds";
const MEMORY_BYTES: &str = "process_resident_memory_bytes";

/// A pod that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its namespace. Pods of `plain` are outside the mesh.
    pub namespace: &'static str,
    /// Its name, and its service account's.
    pub name: &'static str,
}

/// Namespaces that are not in the mesh.
pub const PLAIN: &str = "plain";
/// Where the Gateway and its proxy are.
const GATEWAY_NAMESPACE: &str = "edge";
const GATEWAY_POD: &str = "public-fairway";

/// What runs. Dropped, it ends.
pub struct Cluster {
    pods: BTreeMap<String, Arc<Pod>>,
    fairway: PathBuf,
    // Before the network: processes end before their namespaces.
    programs: Vec<Process>,
    _proxy: Option<Child>,
    network: Network,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts controller and tunnel on these objects, adds the pods, and captures those of the mesh. All namespaces but
    /// [`PLAIN`] are in the mesh.
    pub async fn start(
        sandbox: &Sandbox,
        fairway: &Path,
        objects: &str,
        members: &[Member],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("objects"))?;
        std::fs::write(folder.path().join("objects/all.yaml"), manifests(objects, members))?;
        let subnet = Subnet::new(NODE_ADDRESS, 16).context("the pods' network")?;
        let network = Network::new(sandbox, &[subnet])?;
        let mut cluster = Self {
            pods: BTreeMap::new(),
            fairway: fairway.to_owned(),
            programs: Vec::new(),
            _proxy: None,
            network,
            folder,
        };
        cluster.start_programs().await?;
        for (member, address) in members.iter().zip(addresses()) {
            let key = format!("{}/{}", member.namespace, member.name);
            let pod = cluster.network.add_pod(&key.replace('/', "."), &[address])?;
            if member.namespace != PLAIN {
                fairway_ztunnel::registration::Client::connect(&cluster.socket("ztunnel.sock"))
                    .await?
                    .add(&uid(member), member.namespace, member.name, pod.netns_path())
                    .await
                    .with_context(|| format!("register {key}"))?;
            }
            cluster.pods.insert(key, Arc::new(pod));
        }
        Ok(cluster)
    }

    /// Starts the proxy of the Gateway `edge/public`, with one thread; gives its address.
    pub async fn start_gateway(&mut self) -> anyhow::Result<IpAddr> {
        let address = IpAddr::V4(Ipv4Addr::new(10, 78, 2, 1));
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {GATEWAY_POD}\n  namespace: {GATEWAY_NAMESPACE}\n  uid: gateway\n  \
             labels: {{gateway.networking.k8s.io/gateway-name: public, gateway.networking.k8s.io/gateway-class-name: fairway}}\n\
             spec: {{nodeName: {NODE}, serviceAccountName: {GATEWAY_POD}, containers: [{{name: proxy, image: it}}]}}\n{}",
            status(address)
        );
        std::fs::write(self.folder.path().join("objects/gateway-pod.yaml"), manifest)?;
        let pod = self.network.add_pod(&format!("{GATEWAY_NAMESPACE}.{GATEWAY_POD}"), &[address])?;
        let mut command = Command::new(&self.fairway);
        command
            .args(["waypoint", "--gateway", "edge/public", "--threads", "1", "--controller"])
            .arg(self.controller())
            .args(["--identity", "spiffe://cluster.local/ns/edge/sa/public-fairway"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self._proxy = Some(pod.spawn(command).await?);
        let pod = Arc::new(pod);
        self.pods.insert(format!("{GATEWAY_NAMESPACE}/{GATEWAY_POD}"), pod.clone());
        for _ in 0..200 {
            let readiness = SocketAddr::new(address, READINESS_PORT);
            if let Ok(answer) = get(pod.connect(readiness).await, "/healthz/ready").await
                && answer.starts_with("HTTP/1.1 200")
            {
                return Ok(address);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the Gateway's proxy is not ready after 10 s")
    }

    /// A pod by `<namespace>/<name>`.
    pub fn pod(&self, key: &str) -> anyhow::Result<Arc<Pod>> {
        self.pods.get(key).cloned().with_context(|| format!("there is no pod {key}"))
    }

    /// Seconds of CPU that the node's tunnel, and the Gateway's proxy if there is one, have used.
    pub async fn cpu(&self) -> anyhow::Result<f64> {
        let tunnel = gauge(Ok::<_, std::io::Error>(TcpStream::connect(ADMIN).await?), CPU_SECONDS).await?;
        let Some(gateway) = self.pods.get(&format!("{GATEWAY_NAMESPACE}/{GATEWAY_POD}")) else {
            return Ok(tunnel);
        };
        Ok(tunnel + gauge(gateway.connect(ADMIN.parse()?).await, CPU_SECONDS).await?)
    }

    /// Bytes of resident memory of the node's tunnel.
    pub async fn tunnel_memory(&self) -> anyhow::Result<f64> {
        gauge(Ok::<_, std::io::Error>(TcpStream::connect(ADMIN).await?), MEMORY_BYTES).await
    }

    async fn start_programs(&mut self) -> anyhow::Result<()> {
        let program = self.fairway.display().to_string();
        let text = |path: &str| self.folder.path().join(path).display().to_string();
        let own = |arguments: &[&str]| arguments.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let controller = self.controller();
        let arguments = own(&[
            "controller",
            "--source-directory",
            &text("objects"),
            "--listen",
            &controller,
            "--state-directory",
            &text("state"),
            "--service-network",
            SERVICE_NETWORK,
            "--admin-address",
            CONTROLLER_ADMIN,
            "--metrics-address",
            "off",
            "--readiness-address",
            "off",
        ]);
        let socket = self.socket("ztunnel.sock");
        let tunnel = own(&[
            "ztunnel",
            "--node",
            NODE,
            "--controller",
            &controller,
            "--register-socket",
            &socket.display().to_string(),
        ]);
        self.programs.push(Process::start("0,1", &program, &arguments, CONTROLLER_ADMIN.parse()?).await?);
        self.programs.push(Process::start("0,1", &program, &tunnel, ADMIN.parse()?).await?);
        for _ in 0..100 {
            if socket.exists() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the tunnel does not take pods after 5 s")
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn controller(&self) -> String {
        format!("unix://{}", self.socket("controller.sock").display())
    }
}

/// The `fairway` program that is wanted, or the one beside this program.
pub fn program(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match wanted {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("fairway"),
    };
    ensure!(path.exists(), "{} is not there: build it with `make build`, or give --fairway", path.display());
    Ok(path)
}

/// The pods' addresses, in their order.
fn addresses() -> impl Iterator<Item = IpAddr> {
    (1..=254).map(|host| IpAddr::V4(Ipv4Addr::new(10, 78, 1, host)))
}

fn uid(member: &Member) -> String {
    format!("{}-{}", member.namespace, member.name)
}

fn status(address: IpAddr) -> String {
    format!(
        "status: {{podIP: {address}, podIPs: [{{ip: {address}}}], conditions: [{{type: Ready, status: \"True\"}}]}}\n"
    )
}

fn manifests(objects: &str, members: &[Member]) -> String {
    let mut namespaces: Vec<&str> =
        members.iter().map(|it| it.namespace).chain([GATEWAY_NAMESPACE]).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let mut text = objects.to_owned();
    for namespace in namespaces {
        let mesh = if namespace == PLAIN { "disabled" } else { "enabled" };
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{fairway.dev/mesh: {mesh}}}}}\n"
        ));
    }
    for (member, address) in members.iter().zip(addresses()) {
        let Member { namespace, name } = member;
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\n\
             metadata: {{name: {name}, namespace: {namespace}, uid: {uid}, labels: {{app: {name}}}}}\n\
             spec: {{nodeName: {NODE}, serviceAccountName: {name}, containers: [{{name: it, image: it}}]}}\n{status}",
            uid = uid(member),
            status = status(address),
        ));
    }
    text
}

async fn get<E: std::error::Error + Send + Sync + 'static>(
    stream: Result<TcpStream, E>,
    path: &str,
) -> anyhow::Result<String> {
    let mut stream = stream?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// A figure that a program counts of itself. (Inside the sandbox /proc numbers processes as the outside does.)
async fn gauge<E: std::error::Error + Send + Sync + 'static>(
    stream: Result<TcpStream, E>,
    name: &str,
) -> anyhow::Result<f64> {
    let text = get(stream, "/metrics").await?;
    let value = text.lines().filter(|line| !line.starts_with('#') && line.contains(name)).find_map(|line| {
        let (_, value) = line.rsplit_once(' ')?;
        value.parse().ok()
    });
    value.with_context(|| format!("the program does not count {name}"))
}
