//! TCP between two pods: plain, and carried by two ztunnels (the client's and the server's, both on this machine).

use crate::cluster::{self, Cluster, Member, PLAIN};
use crate::report::median;
use anyhow::Context;
use fairway_testbed::{Entered, Pod, Sandbox};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
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

const MEMBERS: [Member; 4] = [
    Member { namespace: "meshed", name: "client" },
    Member { namespace: "meshed", name: "server" },
    Member { namespace: PLAIN, name: "client" },
    Member { namespace: PLAIN, name: "server" },
];

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
    let fairway = cluster::program(settings.fairway.as_deref())?;
    let cluster = Cluster::start(sandbox, &fairway, "", &MEMBERS).await?;
    let pod = |key| cluster.pod(key);
    let (meshed_client, meshed_server) = (pod("meshed/client")?, pod("meshed/server")?);
    let (plain_client, plain_server) = (pod("plain/client")?, pod("plain/server")?);

    let (mut plain, mut tunnelled, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    transfer(&meshed_client, &meshed_server, settings.connections, Duration::from_secs(1)).await?;
    for _ in 0..settings.runs {
        let duration = Duration::from_secs(settings.seconds);
        plain.push(rate(
            transfer(&plain_client, &plain_server, settings.connections, duration).await?,
            duration,
        ));
        let before = cluster.cpu().await?;
        let bytes = transfer(&meshed_client, &meshed_server, settings.connections, duration).await?;
        cpu.push((cluster.cpu().await? - before) / (bytes as f64 / 1e9));
        tunnelled.push(rate(bytes, duration));
    }
    let figures = Figures {
        plain_gbit_s: median(plain),
        tunnelled_gbit_s: median(tunnelled),
        ztunnel_cpu_seconds_per_gb: median(cpu),
        ztunnel_memory_bytes: cluster.tunnel_memory().await?,
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

fn rate(bytes: u64, duration: Duration) -> f64 {
    bytes as f64 * 8.0 / duration.as_secs_f64() / 1e9
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
