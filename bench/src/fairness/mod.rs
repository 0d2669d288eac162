//! Whether readers that stop, and other tenants, delay anybody: the same measurement with and without them, in turns.
//!
//! What counts is the ratio between two measurements of one round, and the CPU time that a gigabyte costs: both hold on a
//! machine that does something else beside.

mod client;
mod server;
mod table;

use crate::cluster::{self, Cluster, Member, PLAIN};
use crate::report::percentile;
use client::{Load, Way};
use fairway_testbed::{Entered, Sandbox};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use table::{Figure, Table};

#[derive(clap::Args)]
pub struct Settings {
    /// Which ways to measure; without it, all.
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Vec<Route>,
    /// Readers that stop, each number a run beside the run without.
    #[arg(long, value_delimiter = ',', default_value = "1,4,100,1000")]
    stalled: Vec<usize>,
    /// Bytes that each of them reads, as fast as they come, before it stops.
    #[arg(long, default_value_t = 0)]
    read_before: usize,
    /// Rounds; in each, everything is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds that each throughput is measured.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// Requests whose time is taken in each run.
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// The `fairway` program; without it, the one beside this program.
    #[arg(long)]
    fairway: Option<PathBuf>,
    /// For people, or for machines.
    #[arg(long, value_enum, default_value = "text")]
    output: table::Output,
}

/// A way from a client to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Route {
    /// From pod to pod without Fairway: what such readers cost where nobody stands between, because the programs' own send buffers
    /// fill what TCP of the machine may have.
    Plain,
    /// From pod to pod, through the node's tunnel.
    Tunnel,
    /// From outside through a Gateway to a server that speaks HTTP/2 and is not in the mesh.
    Http2,
    /// From outside through a Gateway to a pod of the mesh.
    Gateway,
    /// Two tenants at one node's tunnel: what one does to the requests of the other.
    Tenants,
    /// Two tenants behind one Gateway.
    GatewayTenants,
}

const ALL: [Route; 6] =
    [Route::Plain, Route::Tunnel, Route::Http2, Route::Gateway, Route::Tenants, Route::GatewayTenants];

const MEMBERS: [Member; 8] = [
    Member { namespace: "tenant-a", name: "client" },
    Member { namespace: "tenant-a", name: "server" },
    Member { namespace: "tenant-b", name: "client" },
    Member { namespace: "tenant-b", name: "server" },
    Member { namespace: PLAIN, name: "client" },
    Member { namespace: PLAIN, name: "server" },
    Member { namespace: PLAIN, name: "other-client" },
    Member { namespace: PLAIN, name: "other-server" },
];

const OBJECTS: &str = include_str!("objects.yaml");

/// How long what has ended may take to be gone.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures, in namespaces of its own; call it before there is a runtime.
pub fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    match Sandbox::enter()? {
        Entered::Ended(ended) => Ok(ended.exit_code()),
        Entered::Inside(sandbox) => {
            fairway_runtime::descriptors::raise();
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(measure(&sandbox, settings))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn measure(sandbox: &Sandbox, settings: &Settings) -> anyhow::Result<()> {
    let fairway = cluster::program(settings.fairway.as_deref())?;
    let mut cluster = Cluster::start(sandbox, &fairway, OBJECTS, &MEMBERS).await?;
    let gateway = cluster.start_gateway().await?;
    for namespace in ["tenant-a/server", "tenant-b/server", "plain/server", "plain/other-server"] {
        server::start(cluster.pod(namespace)?).await?;
    }
    for member in MEMBERS {
        reuse_ports(&cluster, &format!("{}/{}", member.namespace, member.name)).await?;
    }
    let routes = if settings.ways.is_empty() { &ALL[..] } else { &settings.ways[..] };
    let mut tables = Vec::new();
    for route in routes {
        let table = match route {
            Route::Plain | Route::Tunnel | Route::Http2 | Route::Gateway => {
                readers_that_stop(&cluster, gateway, *route, settings).await?
            }
            Route::Tenants | Route::GatewayTenants => tenants(&cluster, gateway, *route, settings).await?,
        };
        if settings.output == table::Output::Text {
            table.print();
        }
        tables.push(table);
    }
    if settings.output == table::Output::Json {
        println!("{}", serde_json::to_string_pretty(&tables)?);
    }
    Ok(())
}

/// The same downloads and requests without and with readers that stop, on the same way.
async fn readers_that_stop(
    cluster: &Cluster,
    gateway: IpAddr,
    route: Route,
    settings: &Settings,
) -> anyhow::Result<Table> {
    let (title, way) = match route {
        Route::Http2 => ("Gateway to an HTTP/2 server", way(cluster, "plain/client", gateway, "h2.example")?),
        Route::Gateway => {
            ("Gateway to a pod of the mesh", way(cluster, "plain/client", gateway, "a.example")?)
        }
        Route::Plain => ("pod to pod, without Fairway", direct(cluster, PLAIN)?),
        _ => ("pod to pod, one node's tunnel", direct(cluster, "tenant-a")?),
    };
    let loads = settings.stalled.iter().map(|stalled| Load {
        stalled: *stalled,
        read_before: settings.read_before,
        ..Load::default()
    });
    let mut table = Table::new(title, settings.rounds);
    let loads: Vec<Load> = std::iter::once(Load::default()).chain(loads).collect();
    // Warm: connections pooled, identities there.
    way.latencies(50).await?;
    for round in 0..settings.rounds {
        for load in &loads {
            eprint!("\r{title}: round {}/{}, {:<20}", round + 1, settings.rounds, load.name());
            let running = load.start(&way).await?;
            tokio::time::sleep(SETTLE).await;
            let mut figures = Vec::new();
            for connections in [1, 8] {
                let before = cluster.cpu().await?;
                let rate = way.throughput(connections, Duration::from_millis(settings.millis)).await?;
                // The time in which windows grow is in it, a fifth more.
                let bytes = rate * settings.millis as f64 * 1.2e-3;
                let cost = (cluster.cpu().await? - before) / (bytes / 1e9);
                figures.push(Figure::rate(&format!("{connections} × Gbit/s"), rate * 8e-9));
                figures.push(Figure::cost(&format!("{connections} × CPU s/GB"), cost));
            }
            figures.extend(latency_figures(&way.latencies(settings.requests).await?));
            figures.push(Figure::cost("TCP MiB", kernel_memory()?));
            table.add(&load.name(), figures);
            drop(running);
            tokio::time::sleep(SETTLE).await;
        }
    }
    eprint!("\r{:<60}\r", "");
    Ok(table)
}

/// What tenant A does, and how long tenant B's requests take meanwhile.
async fn tenants(
    cluster: &Cluster,
    gateway: IpAddr,
    route: Route,
    settings: &Settings,
) -> anyhow::Result<Table> {
    let (title, attacker, victim) = match route {
        Route::GatewayTenants => (
            "tenant B beside tenant A, one Gateway",
            way(cluster, "plain/client", gateway, "a.example")?,
            way(cluster, "plain/other-client", gateway, "b.example")?,
        ),
        _ => (
            "tenant B beside tenant A, one node's tunnel",
            direct(cluster, "tenant-a")?,
            direct(cluster, "tenant-b")?,
        ),
    };
    // The same without Fairway between: what sharing the processors costs.
    let around = direct(cluster, PLAIN)?;
    let stalled = settings.stalled.iter().copied().max().unwrap_or(1000);
    let read_before = settings.read_before;
    let loads = [
        ("alone", &attacker, Load::default()),
        ("A: readers that stop", &attacker, Load { stalled, read_before, ..Load::default() }),
        ("A: 8 downloads", &attacker, Load { bulk: 8, ..Load::default() }),
        ("A: 8 × connect, request, close", &attacker, Load { churn: 8, ..Load::default() }),
        ("A: all of that", &attacker, Load { stalled, read_before, bulk: 8, churn: 8 }),
        ("8 downloads without Fairway", &around, Load { bulk: 8, ..Load::default() }),
    ];
    let mut table = Table::new(title, settings.rounds);
    victim.latencies(50).await?;
    for round in 0..settings.rounds {
        for (name, way, load) in &loads {
            eprint!("\r{title}: round {}/{}, {name:<32}", round + 1, settings.rounds);
            let running = load.start(way).await?;
            tokio::time::sleep(SETTLE).await;
            table.add(name, latency_figures(&victim.latencies(settings.requests).await?));
            drop(running);
            tokio::time::sleep(SETTLE).await;
        }
    }
    eprint!("\r{:<90}\r", "");
    Ok(table)
}

/// What the kernel keeps for all TCP sockets of the machine, in MiB. Beyond `net.ipv4.tcp_mem` it takes from all of them.
fn kernel_memory() -> anyhow::Result<f64> {
    use anyhow::Context;
    let sockets = std::fs::read_to_string("/proc/net/sockstat")?;
    let line =
        sockets.lines().find_map(|it| it.strip_prefix("TCP:")).context("no line of TCP in sockstat")?;
    let pages = line
        .split_whitespace()
        .skip_while(|it| *it != "mem")
        .nth(1)
        .context("no memory of TCP in sockstat")?;
    Ok(pages.parse::<f64>()? * 4096.0 / (1 << 20) as f64)
}

fn latency_figures(sorted: &[Duration]) -> Vec<Figure> {
    vec![Figure::cost("p50 µs", percentile(sorted, 50)), Figure::cost("p99 µs", percentile(sorted, 99))]
}

fn way(cluster: &Cluster, pod: &str, address: IpAddr, host: &'static str) -> anyhow::Result<Way> {
    Ok(Way { pod: cluster.pod(pod)?, address: SocketAddr::new(address, 80), host })
}

/// From a namespace's client to its server's own address.
fn direct(cluster: &Cluster, namespace: &str) -> anyhow::Result<Way> {
    use anyhow::Context;
    let server = cluster.pod(&format!("{namespace}/server"))?;
    let address = SocketAddr::new(server.address().context("a pod without address")?, server::HTTP1_PORT);
    Ok(Way { pod: cluster.pod(&format!("{namespace}/client"))?, address, host: "server" })
}

/// Thousands of connections a minute go to one server: ports of closed ones are used again after a second. Where that cannot
/// be set, some wait for a port.
async fn reuse_ports(cluster: &Cluster, pod: &str) -> anyhow::Result<()> {
    let _ = cluster.pod(pod)?.run(async || std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")).await?;
    Ok(())
}
