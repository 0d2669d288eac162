//! The gateway alone: one pinned processor for the proxy, another for load and backend.

use crate::cluster;
use crate::contender::{Certificate, Contender};
use crate::envoy;
use crate::load::{self, Kind, Target};
use crate::process::Process;
use crate::report::{self, Row, Sample};
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// How the clients speak. Others than Fairway take part in HTTP/1.1 keep-alive only.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "http1")]
    load: Vec<Kind>,
    /// The `fairway` program; without it, the one beside this program. Several take turns, such as one before a change and
    /// one after it.
    #[arg(long, value_name = "[NAME=]PATH", value_parser = program)]
    fairway: Vec<(String, PathBuf)>,
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
    let mut programs = settings.fairway.clone();
    if programs.is_empty() {
        programs.push(("fairway".to_owned(), cluster::program(None)?));
    }
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

    let certificate = Certificate::new(HOST)?;
    let none = vec![(String::new(), PathBuf::new())];
    let entries = wanted.into_iter().filter(|it| it.available(envoy.as_deref())).flat_map(|contender| {
        let programs = if contender == Contender::Fairway { &programs } else { &none };
        programs.iter().map(move |program| (contender, program))
    });
    let mut field = Vec::new();
    for (index, (contender, (name, program))) in entries.enumerate() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 18300 + u16::try_from(index)?));
        let folder = folder.path().join(index.to_string());
        std::fs::create_dir_all(&folder)?;
        let launch = contender.prepare(&folder, program, envoy.as_deref(), listen, backend, &certificate)?;
        let process = Process::start(PROXY_PROCESSOR, &launch.program, &launch.arguments, listen)
            .await
            .with_context(|| format!("start {}", contender.name()))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let name = if name.is_empty() { contender.name().to_owned() } else { name.clone() };
        field.push((contender, name, listen, process.memory()?, process));
    }
    let mut all = Vec::new();
    for kind in &settings.load {
        let takes_part = |contender: Contender| *kind == Kind::Http1 || contender == Contender::Fairway;
        let entries: Vec<_> = field.iter().filter(|(contender, ..)| takes_part(*contender)).collect();
        let mut rows: Vec<Row> = entries
            .iter()
            .map(|(_, name, _, memory, _)| Row {
                name: name.clone(),
                load: kind.name(),
                memory_at_rest: *memory,
                samples: Vec::new(),
            })
            .collect();
        // The first turn is not counted: connections pooled, caches filled, allocators grown.
        for run in 0..=settings.runs {
            for ((_, name, listen, _, process), row) in entries.iter().zip(&mut rows) {
                eprint!("\r{}: run {run}/{}: {name:<12}", kind.name(), settings.runs);
                let target =
                    Target { kind: *kind, address: *listen, host: HOST, authority: certificate.der.clone() };
                let seconds = if run == 0 { 1 } else { settings.seconds };
                let before = process.cpu()?;
                let outcome = load::run(&target, settings.connections, Duration::from_secs(seconds))
                    .await
                    .with_context(|| format!("{name}, {}", kind.name()))?;
                let cpu = process.cpu()? - before;
                if run == 0 {
                    continue;
                }
                row.samples.push(Sample {
                    rate: outcome.requests as f64 / outcome.elapsed.as_secs_f64(),
                    cpu_micros: cpu.as_secs_f64() * 1e6 / outcome.requests as f64,
                    p50_micros: report::percentile(&outcome.latencies, 50),
                    p99_micros: report::percentile(&outcome.latencies, 99),
                    memory: process.memory()?,
                });
            }
        }
        eprint!("\r{:<80}\r", "");
        if !settings.json {
            println!(
                "{}, {} clients, one processor, medians of {} runs of {} s",
                kind.name(),
                settings.connections,
                settings.runs,
                settings.seconds
            );
            report::print(&rows);
        }
        all.extend(rows);
    }
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(())
}

/// A program, and its name in the report.
fn program(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').unwrap_or(("fairway", text));
    match Path::new(path) {
        found if found.exists() => Ok((name.to_owned(), found.to_owned())),
        missing => Err(format!("{} is not there", missing.display())),
    }
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
