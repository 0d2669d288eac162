//! `fairway run`: mesh and gateway on one machine, from a watched directory, in one process.

mod capture;
mod fleet;

use anyhow::Context;
use capture::{CaptureSetting, Node};
use fairway_controller::admission::SameUser;
use fairway_controller::ca::{self, Authority, FileStore, InProcess, Memory};
use fairway_controller::compile::{AddressPool, InvalidPool};
use fairway_controller::pipeline::{Pipeline, PipelineState, Rules};
use fairway_controller::serve::{self, Hub};
use fairway_identity::{Identities, TrustDomain};
use fairway_runtime::admin::Pages;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::readiness::{Gate, Readiness};
use fairway_runtime::settings::{AdminSettings, DrainSettings, LogSettings, WorkerSettings};
use fairway_runtime::signals::{Signals, drain_on_signal};
use fairway_runtime::{drain, logs};
use fleet::Fleet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs gateways and meshes from a watched directory of Kubernetes YAML
///
/// Gateways listen on their spec.addresses, on 127.0.0.1 without one. Endpoints come from EndpointSlices (or from Pods with a
/// status.podIP); Services without a cluster IP get one in 127.96.0.0/16, where routes bound to them can be tried with curl.
/// A file or object with a mistake leaves its last good state in force; the log says file, object, field and remedy.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The directory; *.yaml, *.yml and *.json in it and below it.
    directory: PathBuf,

    /// Whether to capture the TCP of Pods annotated with `fairway.dev/netns: <path of a network namespace>`.
    ///
    /// `auto` does so where the process has the privileges and a Pod has the annotation.
    #[arg(long, value_enum, default_value = "auto")]
    capture: CaptureSetting,

    /// Where captured machines' Services without a cluster IP get one.
    #[arg(long, default_value = "10.96.0.0/16", value_name = "NETWORK")]
    service_network: String,

    /// Where to keep the roots of the mesh; without it they are new at every start.
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,

    /// The domain of the mesh's identities.
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: TrustDomain,

    #[command(flatten)]
    workers: WorkerSettings,
    #[command(flatten)]
    drain: DrainSettings,
    #[command(flatten)]
    admin: AdminSettings,
    #[command(flatten)]
    log: LogSettings,
}

/// Runs until a signal.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    fairway_runtime::descriptors::raise();
    let signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("fairway", VERSION), Readiness::new());
    let configured = readiness.gate("first configuration");

    let authority = open_authority(&arguments).await?;
    let identities =
        Identities::start(Arc::new(InProcess::new(authority.clone())), fairway_identity::Settings::default());
    tokio::spawn(async move { authority.keep().await });

    let uncaptured = Rules::uncaptured(arguments.trust_domain.clone());
    let captured = arguments.capture.decide(&uncaptured.compile_once(&arguments.directory)?)?;
    let rules = if captured { captured_rules(&arguments)? } else { uncaptured };
    let hub = Hub::new();
    let mut pipeline = Pipeline::open(&arguments.directory, rules, hub.clone())?;
    let workers = arguments.workers.count();
    let mut fleet = Fleet::new(hub.clone(), identities.clone(), workers, watch.clone(), metrics.clone());
    let mut node = match captured {
        true => Some(Node::start(&hub, identities, workers, &metrics, watch.clone())?),
        false => None,
    };

    let (published, state) = watch::channel(PipelineState::default());
    let (shown, states, acknowledged) = (state.clone(), fleet.states(), Mutex::new(hub.states()));
    let _admin = Pages::new(readiness, metrics)
        .logging(logs.control())
        .page("/state", "what is in force, and where", move || {
            describe(&shown.borrow(), &states, &acknowledged)
        })
        .serve(&arguments.admin)?;

    let stopping = watch;
    let directing = tokio::spawn(async move {
        let mut waiting = Some(configured);
        loop {
            let state = tokio::select! {
                next = pipeline.advance() => next,
                () = stopping.reached(drain::Phase::Draining) => None,
            };
            let Some(state) = state else { break };
            fleet.follow(&state.proxies, state.generation).await;
            let mut captures = match &mut node {
                Some(node) => node.follow(pipeline.compiler()).await,
                None => JoinSet::new(),
            };
            fleet.settled(state.generation).await;
            published.send_replace(state);
            match waiting.take() {
                Some(gate) => {
                    while captures.join_next().await.is_some() {}
                    announce(&gate, &fleet);
                }
                // A pod that takes its time must not hold up later changes.
                None => captures.detach_all(),
            }
        }
        drop(stopping);
        let well = fleet.ended().await;
        match node {
            Some(node) => node.ended().await && well,
            None => well,
        }
    });
    drain_on_signal(signals, trigger, arguments.drain.deadlines()).await;
    hub.close();
    Ok(if directing.await? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn announce(gate: &Gate, fleet: &Fleet) {
    gate.open();
    for line in fleet.describe() {
        tracing::info!("{line}");
    }
    tracing::info!("ready");
}

async fn open_authority(arguments: &Arguments) -> anyhow::Result<Arc<Authority>> {
    let (domain, settings) = (arguments.trust_domain.clone(), ca::Settings::default());
    let entitlement = SameUser::as_this_process();
    Ok(match &arguments.state_directory {
        Some(directory) => {
            let store = FileStore::open(directory).context("--state-directory")?;
            Authority::open(domain, settings, store, entitlement).await?
        }
        None => Authority::open(domain, settings, Memory::default(), entitlement).await?,
    })
}

fn captured_rules(arguments: &Arguments) -> anyhow::Result<Rules> {
    let services: AddressPool =
        arguments.service_network.parse().map_err(|error: InvalidPool| error).context("--service-network")?;
    Ok(Rules::captured(arguments.trust_domain.clone(), services))
}

fn describe(
    state: &PipelineState,
    states: &fleet::States,
    acknowledged: &Mutex<serve::States>,
) -> serde_json::Value {
    let proxies = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).get();
    let mut described = state.describe(&proxies);
    described["proxies"] = states.describe();
    described
}
