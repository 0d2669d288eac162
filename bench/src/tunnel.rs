//! TCP between two pods: plain, and carried by two ztunnels (the client's and the server's, both on this machine).

use crate::process::Process;
use crate::report::median;
use anyhow::{Context, ensure};
use fairway_testbed::{Entered, Network, Pod, Sandbox, Subnet};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

#[derive(clap::Args)]
pub struct Settings {
    /// Counted runs of each way; they take turns.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long each run takes, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// The `fairway` program; without it, the one beside this program.
    #[arg(long)]
    fairway: Option<PathBuf>,
    /// Print the figures as JSON, for scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    plain_gbit_s: f64,
    tunnelled_gbit_s: f64,
    ztunnel_cpu_seconds_per_gb: f64,
    ztunnel_memory_bytes: f64,
}

const PORT: u16 = 9000;
const NODE: &str = "bench";
const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));
const ADMIN: &str = "127.0.0.1:15000";

/// Measures, in namespaces of its own; call it before there is a runtime.
pub fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    match Sandbox::enter()? {
        Entered::Ended(ended) => Ok(ended.exit_code()),
        Entered::Inside(sandbox) => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(measure(&sandbox, settings))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn measure(sandbox: &Sandbox, settings: &Settings) -> anyhow::Result<()> {
    let fairway = match &settings.fairway {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("fairway"),
    };
    ensure!(
        fairway.exists(),
        "{} is not there: build it with `make build`, or give --fairway",
        fairway.display()
    );
    let folder = tempfile::tempdir()?;
    let pods =
        [("meshed", "client", 1), ("meshed", "server", 2), ("plain", "client", 3), ("plain", "server", 4)];
    write_objects(folder.path(), &pods)?;

    let subnet = Subnet::new(NODE_ADDRESS, 16).context("the pods' network")?;
    let network = Network::new(sandbox, &[subnet])?;
    let _programs = start(&fairway, folder.path()).await?;
    let mut made = Vec::new();
    for (namespace, name, host) in pods {
        let pod = network.add_pod(&format!("{namespace}.{name}"), &[address(host)])?;
        fairway_ztunnel::register::Client::connect(&folder.path().join("ztunnel.sock"))
            .await?
            .add(&format!("{namespace}-{name}"), namespace, name, pod.netns_path())
            .await
            .with_context(|| format!("register {namespace}/{name}"))?;
        made.push(pod);
    }
    let [meshed_client, meshed_server, plain_client, plain_server] = made.as_slice() else {
        anyhow::bail!("four pods were wanted");
    };

    let (mut plain, mut tunnelled, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    transfer(meshed_client, meshed_server, settings.connections, Duration::from_secs(1)).await?;
    for _ in 0..settings.runs {
        let duration = Duration::from_secs(settings.seconds);
        plain.push(rate(
            transfer(plain_client, plain_server, settings.connections, duration).await?,
            duration,
        ));
        let before = gauge("process_cpu_seconds").await?;
        let bytes = transfer(meshed_client, meshed_server, settings.connections, duration).await?;
        cpu.push((gauge("process_cpu_seconds").await? - before) / (bytes as f64 / 1e9));
        tunnelled.push(rate(bytes, duration));
    }
    let figures = Figures {
        plain_gbit_s: median(plain),
        tunnelled_gbit_s: median(tunnelled),
        ztunnel_cpu_seconds_per_gb: median(cpu),
        ztunnel_memory_bytes: gauge("process_resident_memory_bytes").await?,
    };
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        println!(
            "TCP pod to pod, {} connection(s), medians of {} runs of {} s, everything on this machine's processors\n\
             plain                   {:>8.2} Gbit/s\n\
             through two ztunnels    {:>8.2} Gbit/s, {:.2} s of CPU per GB (both ends), {:.1} MiB resident",
            settings.connections,
            settings.runs,
            settings.seconds,
            figures.plain_gbit_s,
            figures.tunnelled_gbit_s,
            figures.ztunnel_cpu_seconds_per_gb,
            figures.ztunnel_memory_bytes / 1_048_576.0,
        );
    }
    Ok(())
}

fn address(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 78, 1, host))
}

fn rate(bytes: u64, duration: Duration) -> f64 {
    bytes as f64 * 8.0 / duration.as_secs_f64() / 1e9
}

fn write_objects(folder: &Path, pods: &[(&str, &str, u8)]) -> anyhow::Result<()> {
    let mut text = String::from(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: meshed, labels: {fairway.dev/mesh: enabled}}\n",
    );
    for (namespace, name, host) in pods {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, uid: {namespace}-{name}}}\n\
             spec: {{nodeName: {NODE}, serviceAccountName: {name}, containers: [{{name: it, image: it}}]}}\n\
             status: {{podIP: {ip}, podIPs: [{{ip: {ip}}}], conditions: [{{type: Ready, status: \"True\"}}]}}\n",
            ip = address(*host),
        ));
    }
    std::fs::create_dir_all(folder.join("objects"))?;
    std::fs::write(folder.join("objects/pods.yaml"), text)?;
    Ok(())
}

/// Starts controller and tunnel.
async fn start(fairway: &Path, folder: &Path) -> anyhow::Result<(Process, Process)> {
    let controller = format!("unix://{}", folder.join("controller.sock").display());
    let text = |path: &str| folder.join(path).display().to_string();
    let program = fairway.display().to_string();
    let arguments = [
        "controller",
        "--source-directory",
        &text("objects"),
        "--listen",
        &controller,
        "--state-directory",
        &text("state"),
        "--admin-address",
        "127.0.0.1:15100",
        "--metrics-address",
        "off",
        "--readiness-address",
        "off",
    ];
    let own = |arguments: &[&str]| arguments.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let admin: SocketAddr = "127.0.0.1:15100".parse()?;
    let running = Process::start("0,1", &program, &own(&arguments), admin).await?;
    let socket = text("ztunnel.sock");
    let arguments = ["ztunnel", "--node", NODE, "--controller", &controller, "--register-socket", &socket];
    let ztunnel = Process::start("0,1", &program, &own(&arguments), ADMIN.parse()?).await?;
    for _ in 0..100 {
        if Path::new(&socket).exists() {
            return Ok((running, ztunnel));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("ztunnel does not take pods after 5 s")
}

/// A figure that the tunnel counts of itself. (Inside the sandbox /proc numbers processes as the outside does.)
async fn gauge(name: &str) -> anyhow::Result<f64> {
    let mut stream = tokio::net::TcpStream::connect(ADMIN).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let value = text.lines().filter(|line| !line.starts_with('#') && line.contains(name)).find_map(|line| {
        let (_, value) = line.rsplit_once(' ')?;
        value.parse().ok()
    });
    value.with_context(|| format!("the tunnel does not count {name}"))
}

/// Bytes that arrive in this time.
async fn transfer(client: &Pod, server: &Pod, connections: usize, duration: Duration) -> anyhow::Result<u64> {
    let destination = SocketAddr::new(server.address().context("a pod without address")?, PORT);
    let listener = server.listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT)).await?;
    let deadline = Instant::now() + duration;
    let receiving = tokio::spawn(async move {
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await?;
            tasks.push(tokio::spawn(async move {
                let (mut buffer, mut total) = (vec![0; 256 * 1024], 0_u64);
                loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return total,
                        Ok(read) if Instant::now() < deadline => total += read as u64,
                        Ok(_) => return total,
                    }
                }
            }));
        }
        let mut total = 0;
        for task in tasks {
            total += task.await.unwrap_or(0);
        }
        anyhow::Ok(total)
    });
    for _ in 0..connections {
        let mut stream = client.connect(destination).await?;
        tokio::spawn(async move {
            let buffer = vec![7; 256 * 1024];
            while Instant::now() < deadline && stream.write_all(&buffer).await.is_ok() {}
        });
    }
    receiving.await?
}
