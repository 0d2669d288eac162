//! The program `fairway-ztunnel`, of which one runs on each node.

use crate::handoff::{Handoff, HandoffGuard};
use crate::ownership::{Owner, Ownership};
use crate::pod::Leftovers;
use crate::report::Reporter;
use crate::{TunnelSettings, Ztunnel, registrar, registration};
use anyhow::Context;
use fairway_config::stream::client::{self, StateFile};
use fairway_config::stream::{Proxy, Subscription};
use fairway_identity::{BearerToken, ControllerChannel, GrpcIssuer, Identities};
use fairway_netns::Namespace;
use fairway_runtime::admin::Pages;
use fairway_runtime::drain::Deadlines;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::readiness::{Gate, Readiness};
use fairway_runtime::settings::{
    AdminSettings, ControllerSettings, DrainSettings, LogSettings, WorkerSettings, parse_duration,
};
use fairway_runtime::signals::Signals;
use fairway_runtime::{descriptors, drain, logs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Captures the pods of a node and carries their TCP over mTLS
///
/// It needs CAP_NET_ADMIN and CAP_SYS_ADMIN, to open sockets and load rules in the pods' network namespaces. Pods are
/// registered at a unix socket, by the CNI plugin; which of them are in the mesh the controller says. With
/// --node-processes it also finds pods that nobody registered, which needs CAP_SYS_PTRACE. If a tunnel is running already, its pods
/// are taken over from it with their sockets.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The name of this node, as the Node object has it
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: String,

    /// The zone of this node, as its label topology.kubernetes.io/zone has it
    #[arg(long, env = "NODE_ZONE", value_name = "NAME")]
    zone: Option<String>,

    #[command(flatten)]
    controller: ControllerSettings,

    /// The unix socket at which pods are registered; only its owner may use it
    #[arg(
        long,
        env = "FAIRWAY_REGISTER_SOCKET",
        default_value = "/run/fairway/ztunnel.sock",
        value_name = "PATH"
    )]
    register_socket: PathBuf,

    /// Where the node's processes are: /proc in the node's PID namespace (hostPID)
    ///
    /// Pods that nobody registered are found there, and whether it is kubelet that probes a pod is seen there. Without it
    /// only pods that are registered are captured, and probes are plaintext like any other.
    #[arg(long, env = "FAIRWAY_NODE_PROCESSES", value_name = "PATH")]
    node_processes: Option<PathBuf>,

    /// The name of this tunnel's pod, in which the CNI plugin's installer runs, too
    #[arg(long, env = "POD_NAME", default_value = "", value_name = "NAME")]
    pod: String,

    /// How long connections may go on here, after SIGTERM, once a newer tunnel has taken over
    ///
    /// In Kubernetes less than the pod's terminationGracePeriodSeconds.
    #[arg(long, env = "FAIRWAY_HAND_OVER_GRACE", default_value = "1h", value_name = "TIME", value_parser = parse_duration)]
    hand_over_grace: Duration,

    /// How long to wait after SIGTERM for the plugin's installer to say whether the mesh leaves this node, if no newer tunnel
    /// has taken over
    ///
    /// If it leaves, the pods have to be let go before this ends, or they would reach nobody.
    #[arg(long, env = "FAIRWAY_INSTALLER_WAIT", default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    installer_wait: Duration,

    /// A file in which to keep the configuration in force, so that it survives a restart without a controller
    #[arg(long, env = "FAIRWAY_STATE_FILE", value_name = "PATH")]
    state_file: Option<PathBuf>,

    /// After a restart, how long to wait for a controller before what is in that file is put in force
    ///
    /// It may be somewhat older than what was in force. Until then pods of the mesh reach nobody.
    #[arg(long, env = "FAIRWAY_INITIAL_FETCH_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    initial_fetch_timeout: Duration,

    /// How many series metrics keep apart; what is beyond them counts as `other`
    #[arg(long, env = "FAIRWAY_SERIES_LIMIT", default_value_t = fairway_telemetry::DEFAULT_SERIES, value_name = "N")]
    series_limit: usize,

    #[command(flatten)]
    workers: WorkerSettings,
    #[command(flatten)]
    drain: DrainSettings,
    #[command(flatten)]
    admin: AdminSettings,
    #[command(flatten)]
    log: LogSettings,
}

/// Runs until SIGTERM or SIGINT and then drains. Worker threads carry the traffic; the calling runtime follows the controller and
/// reconciles the pods. Fails if the arguments, the sockets or the node's namespace cannot be used.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    descriptors::raise();
    let mut signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("ztunnel", VERSION), Readiness::new());
    let (configured, captured) = (readiness.gate("first configuration"), readiness.gate("pods of the node"));

    let settings = TunnelSettings {
        workers: arguments.workers.count(),
        deadlines: arguments.drain.deadlines(),
        zone: arguments.zone.clone(),
        series: arguments.series_limit,
        node_namespace: arguments.node_processes.as_deref().map(node_namespace).transpose()?,
        ..TunnelSettings::new(arguments.node.as_str())
    };
    let channel = arguments.controller.channel().context("--controller")?;
    let controller = ControllerChannel::new(channel, BearerToken::new(arguments.controller.token.clone()));
    let identities =
        Identities::start(GrpcIssuer::start(controller.clone()), fairway_identity::Settings::default());
    let (mut ztunnel, applier) = Ztunnel::start(settings, identities.clone(), &metrics, watch.clone())?;
    let view = ztunnel.view();

    let subscription = Subscription::new(Proxy::Node(arguments.node.into()), VERSION);
    let initial_fetch_timeout = arguments.initial_fetch_timeout;
    let ownership = Ownership::new(&arguments.pod);
    // The next tunnel process on this node has the same file.
    let (owns_file, owned) = watch::channel(true);
    let state_file =
        arguments.state_file.map(|path| StateFile::new(path, initial_fetch_timeout).while_owned(owned));
    tokio::spawn(share_file(ownership.clone(), owns_file));
    let (progress, following) =
        client::follow(controller.clone(), subscription, state_file, Box::new(applier));
    let following = tokio::spawn(following);
    tokio::spawn(open_when_configured(configured, progress.clone()));

    let (pods, connections, config) = (view.clone(), view.clone(), view.clone());
    let _admin = Pages::new(readiness, metrics)
        .logging(logs.control())
        .page("/pods", "the registered pods and how far their capture is", move || json(pods.pods()))
        .page("/connections", "the connections and tunnels that are open", move || {
            json(connections.connections())
        })
        .page("/config", "the configuration in force", move || config.config())
        .page("/identities", "the identities that are held", move || json(identities.states()))
        .serve(&arguments.admin)?;

    let socket = &arguments.register_socket;
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("--register-socket {}", socket.display()))?;
    }
    let handler = registrar::Handler { pods: ztunnel.pods(), view, ownership: ownership.clone() };
    let acquired = tokio::select! {
        acquired = acquire_registration_socket(&ztunnel, socket, progress) => Some(acquired?),
        name = signals.next() => {
            tracing::info!("{name} during startup: ending");
            None
        }
    };
    let Some((server, handoff)) = acquired else { return Ok(ExitCode::SUCCESS) };
    let leftovers = match handoff {
        Some(_) => Leftovers::LeaveToPredecessor,
        None => Leftovers::Remove,
    };
    let registering = tokio::spawn(registrar::serve(server, handler, watch));
    let found = arguments.node_processes.map(|proc| ztunnel.find_pods(proc, ownership.clone(), leftovers));
    let reporting =
        tokio::spawn(report_when_captured(captured, found, ztunnel.reporter(ownership.clone()), controller));

    let name = signals.next().await;
    // After a handoff, new connections already go to the successor: no linger is needed. Open ones may need a long grace.
    tokio::select! {
        _ = tokio::time::timeout(arguments.installer_wait, ownership.wait_until_settled()) => {}
        name = signals.next() => tracing::info!("{name} again: no longer waiting for the installer"),
    }
    let owner = *ownership.watch().borrow();
    let deadlines = match owner {
        Owner::This | Owner::Nobody => arguments.drain.deadlines(),
        Owner::Successor => {
            // If the successor is succeeded in turn and exits, this process must not become the owner again.
            ownership.relinquish();
            Deadlines { linger: Duration::ZERO, grace: arguments.hand_over_grace }
        }
    };
    tracing::info!(linger = ?deadlines.linger, grace = ?deadlines.grace, "{name}: draining; a second signal ends at once");
    tokio::select! {
        _ = trigger.drain(deadlines) => {}
        // Dropping the trigger forces the end of every connection.
        name = signals.next() => tracing::warn!("{name} again: ending at once"),
    }
    following.abort();
    reporting.abort();
    registering.abort();
    Ok(if ztunnel.ended().await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gets the registration socket: by handoff from the tunnel that runs on this node, or by binding a new one.
async fn acquire_registration_socket(
    ztunnel: &Ztunnel,
    socket: &Path,
    mut progress: watch::Receiver<client::Progress>,
) -> anyhow::Result<(registration::Server, Option<HandoffGuard>)> {
    let named = || format!("--register-socket {}", socket.display());
    if tokio::net::UnixStream::connect(socket).await.is_err() {
        return Ok((registration::Server::bind(socket).await.with_context(named)?, None));
    }
    tracing::info!("another tunnel runs on this node; it goes on until this one can take over its pods");
    let _ = progress.wait_for(|progress| progress.generation.0 > 0).await;
    ztunnel.warm_up().await;
    let taken = match Handoff::request(socket).await {
        Ok(Some(handoff)) => handoff.accept(&ztunnel.pods()).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match taken {
        Ok(Some((server, successor))) => Ok((server, Some(successor))),
        Ok(None) => Ok((registration::Server::bind(socket).await.with_context(named)?, None)),
        Err(error) => {
            tracing::warn!(%error, "the handoff has failed; this tunnel captures the pods anew, beside the running one");
            Ok((registration::Server::replace(socket).await.with_context(named)?, None))
        }
    }
}

/// Leaves the state file to the process that has taken over the pods, for as long as it has them.
async fn share_file(ownership: Ownership, owns_file: watch::Sender<bool>) {
    let mut owner = ownership.watch();
    loop {
        let owns = *owner.borrow_and_update() == Owner::This;
        owns_file.send_replace(owns);
        if owner.changed().await.is_err() {
            return;
        }
    }
}

/// Opens the network namespace of process 1.
fn node_namespace(proc: &Path) -> anyhow::Result<Namespace> {
    Namespace::open(proc.join("1/ns/net"))
        .context("--node-processes: it takes the node's PID namespace and CAP_SYS_PTRACE")
}

/// Opens the gate when the pods that were there at the start are captured or have failed; then reports to the controller.
async fn report_when_captured(
    gate: Gate,
    found: Option<watch::Receiver<bool>>,
    reporter: Reporter,
    controller: ControllerChannel,
) {
    if let Some(mut found) = found
        && found.wait_for(|found| *found).await.is_err()
    {
        return;
    }
    gate.open();
    reporter.run(controller).await;
}

async fn open_when_configured(gate: Gate, mut progress: watch::Receiver<client::Progress>) {
    if progress.wait_for(|progress| progress.generation.0 > 0).await.is_ok() {
        gate.open();
    }
}

fn json<T: serde::Serialize>(value: T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}
