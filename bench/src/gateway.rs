//! The gateway alone: HTTP/1.1 keep-alive, one pinned processor for the proxy, another for load and backend.

use crate::contender::Contender;
use crate::process::Process;
use crate::report::{self, Row, Sample};
use crate::{envoy, load};
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Settings {
    /// Who takes part, the first being what others are compared with; without it, all that can be had.
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Counted runs of each contender; they take turns.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long each run takes, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that are kept busy.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The `fairway` program; without it, the one beside this program.
    #[arg(long)]
    fairway: Option<PathBuf>,
    /// Print the figures as JSON, for scripts.
    #[arg(long)]
    json: bool,
}

/// The processor of the contender, and the one of load and backend.
const PROXY_PROCESSOR: &str = "0";
const LOAD_PROCESSOR: &str = "1";
const HOST: &str = "books.example";

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let fairway = match settings.fairway {
        Some(path) => path,
        None => own.with_file_name("fairway"),
    };
    ensure!(
        fairway.exists(),
        "{} is not there: build it with `make build`, or give --fairway",
        fairway.display()
    );
    let wanted = if settings.contenders.is_empty() {
        vec![Contender::Bare, Contender::Fairway, Contender::Nginx, Contender::Haproxy, Contender::Envoy]
    } else {
        settings.contenders
    };
    let envoy = wanted.contains(&Contender::Envoy).then(envoy::bring).flatten();
    pin_self(LOAD_PROCESSOR)?;

    let folder = tempfile::tempdir()?;
    let backend: SocketAddr = "127.0.0.1:18200".parse()?;
    let arguments = ["backend".to_owned(), "--listen".to_owned(), backend.to_string()];
    let _backend = Process::start(LOAD_PROCESSOR, &own.to_string_lossy(), &arguments, backend).await?;

    let mut field = Vec::new();
    for (index, contender) in wanted.into_iter().filter(|it| it.available(envoy.as_deref())).enumerate() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 18300 + u16::try_from(index)?));
        let launch = contender.prepare(folder.path(), &fairway, envoy.as_deref(), listen, backend)?;
        let process = Process::start(PROXY_PROCESSOR, &launch.program, &launch.arguments, listen)
            .await
            .with_context(|| format!("start {}", contender.name()))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let row = Row { name: contender.name(), memory_at_rest: process.memory()?, samples: Vec::new() };
        // Warm: connections pooled, caches filled, allocators grown.
        load::run(listen, HOST, settings.connections, Duration::from_secs(1))
            .await
            .context(contender.name())?;
        field.push((listen, process, row));
    }
    for run in 0..settings.runs {
        for (listen, process, row) in &mut field {
            eprint!("\rrun {}/{}: {:<12}", run + 1, settings.runs, row.name);
            let before = process.cpu()?;
            let outcome =
                load::run(*listen, HOST, settings.connections, Duration::from_secs(settings.seconds)).await?;
            let cpu = process.cpu()? - before;
            row.samples.push(Sample {
                rate: outcome.requests as f64 / outcome.elapsed.as_secs_f64(),
                cpu_micros: cpu.as_secs_f64() * 1e6 / outcome.requests as f64,
                p50_micros: report::percentile(&outcome.latencies, 50),
                p99_micros: report::percentile(&outcome.latencies, 99),
                memory: process.memory()?,
            });
        }
    }
    eprint!("\r{:<40}\r", "");
    let rows: Vec<Row> = field.into_iter().map(|(_, _, row)| row).collect();
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!(
            "plain HTTP/1.1 keep-alive, {} connections, one processor, medians of {} runs of {} s",
            settings.connections, settings.runs, settings.seconds
        );
        report::print(&rows);
    }
    Ok(())
}

/// Moves this process to one processor: the load must not take the contender's.
fn pin_self(processors: &str) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let status = std::process::Command::new("taskset")
        .args(["-cp", processors, &pid])
        .stdout(std::process::Stdio::null())
        .status()
        .context("run taskset (of util-linux)")?;
    ensure!(status.success(), "taskset could not move this process to processor {processors}");
    Ok(())
}
