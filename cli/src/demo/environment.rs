//! The environment: pods out of network namespaces, and Fairway's own programs, each a process of its own as in a cluster.

use super::bookshop;
use super::example::{Example, ExamplePod, NODE};
use super::programs::Programs;
use super::report::Report;
use anyhow::{Context, ensure};
use fairway_config::model::Resource;
use fairway_controller::compile::{Compiler, Proxy, ProxyClass};
use fairway_controller::diagnostic::Severity;
use fairway_controller::pipeline::Rules;
use fairway_testbed::{Network, Pod, Sandbox, Subnet, Wire};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

/// The pods' network; the node is at its first address.
const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
const PREFIX: u8 = 16;
const FIRST_POD: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const FIRST_PROXY: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
/// Where Services get their addresses; nothing answers there, so that only capture can.
const SERVICE_NETWORK: &str = "10.96.0.0/16";
const READINESS_PORT: u16 = 15021;
const TRUST_DOMAIN: &str = "cluster.local";
/// The node runs two programs; ztunnel has the usual ports.
const CONTROLLER_PORTS: [&str; 6] = [
    "--admin-address",
    "127.0.0.1:15100",
    "--metrics-address",
    "127.0.0.1:15120",
    "--readiness-address",
    "127.0.0.1:15121",
];
/// Where ztunnel tells about itself.
pub const ZTUNNEL_ADMIN: &str = "127.0.0.1:15000";

/// What may be different from one environment to the next.
#[derive(Clone, Debug)]
pub struct EnvironmentOptions {
    /// The executable that every program of the demo is started from.
    pub program: PathBuf,
    /// How long a certificate is valid, as the controller's flag has it.
    pub certificate_lifetime: &'static str,
}

/// The network, the pods and the programs of the demo; dropping it ends them all.
pub struct Environment {
    /// The YAML that the controller watches.
    pub objects: PathBuf,
    /// What was on the wire.
    pub wire: Wire,
    /// Addresses of Services: `<namespace>/<name>`.
    pub services: BTreeMap<String, IpAddr>,
    pods: BTreeMap<String, RunningPod>,
    programs: Programs,
    /// Every pod of the example.
    example_pods: Vec<ExamplePod>,
    /// Every proxy that it wants.
    proxies: Vec<Proxy>,
    network: Network,
    options: EnvironmentOptions,
    next_address: u32,
    folder: tempfile::TempDir,
}

/// A pod and what runs in it.
struct RunningPod {
    pod: Pod,
    _process: Option<Child>,
}

// === impl EnvironmentOptions ===

impl EnvironmentOptions {
    /// The usual, with this program.
    pub fn of_this_program() -> anyhow::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, certificate_lifetime: "24h" })
    }
}

// === impl Environment ===

impl Environment {
    /// Sets everything up and waits until it is ready.
    pub async fn start(
        sandbox: &Sandbox,
        options: &EnvironmentOptions,
        report: &Report,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fairway-demo-").tempdir()?;
        let objects = folder.path().join("objects");
        let example = Example::read(bookshop::FILES)?;
        let addresses = example.addresses(FIRST_POD);
        for (path, text) in &example.files {
            write(&objects.join(path), text)?;
        }
        for example_pod in &example.example_pods {
            let address = addresses.get(&example_pod.key()).context("a pod without address")?;
            write(&objects.join(pod_file(example_pod)), &example_pod.running(*address))?;
        }

        report.progress("network: a bridge, and a namespace for each pod");
        let subnet = Subnet::new(NODE_ADDRESS, PREFIX).context("the pods' network")?;
        let network = Network::new(sandbox, &[subnet])?;
        let wire = Wire::start(sandbox)?;
        let compiled =
            Rules::captured(TRUST_DOMAIN.parse()?, SERVICE_NETWORK.parse()?).compile_once(&objects)?;
        if let Some(problem) = compiled.problems().find(|it| it.severity == Severity::Error) {
            anyhow::bail!("the example has a problem: {problem}");
        }
        let services = service_addresses(&compiled);
        ensure!(!services.is_empty(), "the example has no Services");
        let mut environment = Self {
            objects,
            wire,
            services,
            pods: BTreeMap::new(),
            programs: Programs::new(&options.program, folder.path().join("logs"))?,
            example_pods: example.example_pods.clone(),
            proxies: compiled.proxies().cloned().collect(),
            network,
            options: options.clone(),
            next_address: u32::from(FIRST_PROXY),
            folder,
        };

        report.progress("the controller");
        environment.start_controller().await?;
        report.progress("the node's ztunnel");
        environment.start_ztunnel().await?;
        for example_pod in &example.example_pods {
            report.progress(&format!("pod {}", example_pod.key()));
            let address = addresses.get(&example_pod.key()).context("a pod without address")?;
            environment.add_pod(example_pod, *address).await?;
        }
        for proxy in compiled.proxies() {
            report.progress(&format!("proxy {}", proxy.name));
            environment.add_proxy(proxy, proxy_pod(proxy)).await?;
        }
        Ok(environment)
    }

    /// A pod by `<namespace>/<name>`.
    pub fn pod(&self, key: &str) -> anyhow::Result<&Pod> {
        self.pods.get(key).map(|actor| &actor.pod).with_context(|| format!("there is no pod {key}"))
    }

    /// A pod's address and a port.
    pub fn pod_address(&self, key: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let address = self.pod(key)?.address().with_context(|| format!("pod {key} has no address"))?;
        Ok(SocketAddr::new(address, port))
    }

    /// A Service's address and a port.
    pub fn service(&self, key: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let address = self.services.get(key).with_context(|| format!("there is no Service {key}"))?;
        Ok(SocketAddr::new(*address, port))
    }

    /// Names of all pods.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.pods.keys().map(String::as_str)
    }

    /// The folder with everything: objects, logs, sockets.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether one of our programs has ended, and which.
    pub fn ended_program(&mut self) -> Option<String> {
        self.programs.ended_program()
    }

    /// Fairway's programs, by the names of their logs: `controller`, `ztunnel`, `<namespace>.<pod>`.
    pub fn programs(&mut self) -> &mut Programs {
        &mut self.programs
    }

    /// Adds a pod of the same kind as this one of the example; gives its key.
    pub async fn add_replica(&mut self, key: &str) -> anyhow::Result<String> {
        let example_pod =
            self.example_pods.iter().find(|it| it.key() == key).with_context(|| format!("no pod {key}"))?;
        let (example_pod, address) = (example_pod.clone().replica(self.pods.len()), self.take_address());
        let file = self.objects.join(pod_file(&example_pod));
        write(&file, &example_pod.starting(address))?;
        self.add_pod(&example_pod, address).await?;
        let log = self.programs.log(&handle(&example_pod.key()));
        let says_ready = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"));
        self.wait_for("the pod's server", says_ready).await?;
        write(&file, &example_pod.running(address))?;
        self.example_pods.push(example_pod.clone());
        Ok(example_pod.key())
    }

    /// Adds a proxy to those of a Gateway, `<namespace>/<name>`; gives its pod's key.
    pub async fn add_proxy_replica(&mut self, gateway: &str) -> anyhow::Result<String> {
        let proxy = self.proxies.iter().find(|it| it.name.to_string() == gateway);
        let proxy = proxy.with_context(|| format!("no proxy of {gateway}"))?.clone();
        let example_pod = proxy_pod(&proxy).replica(self.pods.len());
        let key = example_pod.key();
        self.add_proxy(&proxy, example_pod).await?;
        Ok(key)
    }

    /// Takes a pod out of the cluster's objects, as its deletion does; it runs on until it is stopped.
    pub fn forget_pod(&self, key: &str) -> anyhow::Result<()> {
        let path = self.objects.join(format!("pods/{}.yaml", handle(key)));
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }

    /// Ends a pod of the example.
    pub async fn stop_pod(&mut self, key: &str) -> anyhow::Result<()> {
        let example_pod =
            self.example_pods.iter().find(|it| it.key() == key).with_context(|| format!("no pod {key}"))?;
        let uid = example_pod.uid();
        drop(self.pods.remove(key));
        self.node_agent().await?.remove(&uid).await.with_context(|| format!("take pod {key} away"))
    }

    fn take_address(&mut self) -> Ipv4Addr {
        let address = Ipv4Addr::from(self.next_address);
        self.next_address += 1;
        address
    }

    async fn node_agent(&self) -> anyhow::Result<fairway_ztunnel::registration::Client> {
        Ok(fairway_ztunnel::registration::Client::connect(&self.socket("ztunnel.sock")).await?)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    fn controller_uri(&self) -> String {
        format!("unix://{}", self.socket("controller.sock").display())
    }

    /// Starts the controller on the environment's objects and state.
    pub async fn start_controller(&mut self) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.folder.path().join("run"))?;
        let arguments = [
            "controller".to_owned(),
            "--source-directory".to_owned(),
            self.objects.display().to_string(),
            "--listen".to_owned(),
            self.controller_uri(),
            "--state-directory".to_owned(),
            self.folder.path().join("state").display().to_string(),
            "--service-network".to_owned(),
            SERVICE_NETWORK.to_owned(),
            "--certificate-lifetime".to_owned(),
            self.options.certificate_lifetime.to_owned(),
        ];
        let arguments = [&arguments[..], &CONTROLLER_PORTS.map(str::to_owned)].concat();
        self.programs.start("controller", &arguments, None).await?;
        let socket = self.socket("controller.sock");
        self.wait_for("the controller to listen", || socket.exists()).await
    }

    /// Starts the node's ztunnel.
    pub async fn start_ztunnel(&mut self) -> anyhow::Result<()> {
        let socket = self.socket("ztunnel.sock");
        let arguments = [
            "ztunnel".to_owned(),
            "--node".to_owned(),
            NODE.to_owned(),
            "--controller".to_owned(),
            self.controller_uri(),
            "--register-socket".to_owned(),
            socket.display().to_string(),
        ];
        self.programs.start("ztunnel", &arguments, None).await?;
        self.wait_for("ztunnel to listen", || socket.exists()).await
    }

    /// What a node does with a pod: a network namespace, the CNI plugins (ztunnel among them), then the containers.
    async fn add_pod(&mut self, example_pod: &ExamplePod, address: Ipv4Addr) -> anyhow::Result<()> {
        let name = handle(&example_pod.key());
        let pod = self.network.add_pod(&name, &[address.into()])?;
        self.node_agent()
            .await?
            .add(&example_pod.uid(), &example_pod.namespace, &example_pod.name, pod.netns_path())
            .await
            .with_context(|| format!("register pod {}", example_pod.key()))?;
        let arguments = ["echo", "--pod", &example_pod.name].map(str::to_owned);
        let command = self.programs.command(&name, &[&arguments[..], &example_pod.arguments].concat())?;
        let process = pod.spawn(command).await?;
        self.pods.insert(example_pod.key(), RunningPod { pod, _process: Some(process) });
        Ok(())
    }

    /// What the controller does for a Gateway in a cluster: a pod that runs the proxy.
    async fn add_proxy(&mut self, proxy: &Proxy, example_pod: ExamplePod) -> anyhow::Result<()> {
        let (name, address) = (handle(&example_pod.key()), self.take_address());
        let pod = self.network.add_pod(&name, &[address.into()])?;
        let arguments = [
            "waypoint".to_owned(),
            "--gateway".to_owned(),
            proxy.name.to_string(),
            "--identity".to_owned(),
            proxy.identity.to_string(),
            "--controller".to_owned(),
            self.controller_uri(),
        ];
        write(&self.objects.join(pod_file(&example_pod)), &example_pod.running(address))?;
        self.programs.start(&name, &arguments, Some(&pod)).await?;
        self.wait_until_ready(&pod).await?;
        self.pods.insert(example_pod.key(), RunningPod { pod, _process: None });
        Ok(())
    }

    async fn wait_until_ready(&mut self, pod: &Pod) -> anyhow::Result<()> {
        let address = SocketAddr::new(pod.address().context("a proxy without address")?, READINESS_PORT);
        for _ in 0..300 {
            if is_ready(pod, address).await {
                return Ok(());
            }
            if let Some(ended_program) = self.ended_program() {
                anyhow::bail!(ended_program);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!(
            "{} is not ready after 15 s; its log is {}",
            pod.name(),
            self.programs.log(pod.name()).display()
        )
    }

    async fn wait_for(&mut self, what: &str, done: impl Fn() -> bool) -> anyhow::Result<()> {
        for _ in 0..300 {
            if done() {
                return Ok(());
            }
            if let Some(ended_program) = self.ended_program() {
                anyhow::bail!(ended_program);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("waited 15 s for {what}")
    }
}

fn proxy_pod(proxy: &Proxy) -> ExamplePod {
    let class = match proxy.class {
        ProxyClass::Gateway => "fairway",
        ProxyClass::Waypoint => "fairway-waypoint",
    };
    ExamplePod::proxy(&proxy.name.namespace, &proxy.name.name, class)
}

async fn is_ready(pod: &Pod, address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = pod.connect(address).await?;
        stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

fn service_addresses(compiled: &Compiler) -> BTreeMap<String, IpAddr> {
    let service = |resource: &Resource| match resource {
        Resource::Service(it) => Some((it.key.to_string(), *it.addresses.first()?)),
        _ => None,
    };
    compiled.resources().filter_map(|(_, resource)| service(resource)).collect()
}

/// A name that can stand in a path: `bookshop.reader`.
fn handle(key: &str) -> String {
    key.replace('/', ".")
}

fn pod_file(example_pod: &ExamplePod) -> String {
    format!("pods/{}.yaml", handle(&example_pod.key()))
}

/// Writes a file the way an editor does: whole, under another name first.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("a file without folder")?;
    std::fs::create_dir_all(folder)?;
    let draft = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(draft.path(), text)?;
    draft.persist(path).with_context(|| format!("write {}", path.display()))?;
    Ok(())
}
