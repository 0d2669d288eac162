//! The program: one for each node.

use crate::report::Reporter;
use crate::succession::{Duty, Estate, OnDuty, Successor};
use crate::{Settings, Ztunnel, register};
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
    #[arg(long, env = "FAIRWAY_CONTROLLER_PATIENCE", default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    controller_patience: Duration,

    #[command(flatten)]
    workers: WorkerSettings,
    #[command(flatten)]
    drain: DrainSettings,
    #[command(flatten)]
    admin: AdminSettings,
    #[command(flatten)]
    log: LogSettings,
}

/// Runs until a signal. Traffic has threads of its own; the runtime this is called in follows the controller and keeps the
/// pods.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    descriptors::raise();
    let mut signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("ztunnel", VERSION), Readiness::new());
    let (configured, captured) = (readiness.gate("first configuration"), readiness.gate("pods of the node"));

    let settings = Settings {
        workers: arguments.workers.count(),
        deadlines: arguments.drain.deadlines(),
        zone: arguments.zone.clone(),
        node_namespace: arguments.node_processes.as_deref().map(node_namespace).transpose()?,
        ..Settings::new(arguments.node.as_str())
    };
    let channel = arguments.controller.channel().context("--controller")?;
    let controller = ControllerChannel::new(channel, BearerToken::new(arguments.controller.token.clone()));
    let identities =
        Identities::start(GrpcIssuer::start(controller.clone()), fairway_identity::Settings::default());
    let (mut ztunnel, applier) = Ztunnel::start(settings, identities.clone(), &metrics, watch.clone())?;
    let view = ztunnel.view();

    let subscription = Subscription::new(Proxy::Node(arguments.node.into()), VERSION);
    let patience = arguments.controller_patience;
    let state_file = arguments.state_file.map(|path| StateFile { path, patience });
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
    let duty = Duty::in_pod(&arguments.pod);
    let office = register::Office { pods: ztunnel.pods(), view, duty: duty.clone() };
    let began = tokio::select! {
        began = begin(&ztunnel, socket, progress) => Some(began?),
        name = signals.next() => {
            tracing::info!("{name}: ending before it began");
            None
        }
    };
    let Some((server, _successor)) = began else { return Ok(ExitCode::SUCCESS) };
    let registering = tokio::spawn(register::serve(server, office, watch));
    let found = arguments.node_processes.map(|proc| ztunnel.find_pods(proc, duty.clone()));
    let reporting = tokio::spawn(when_captured(captured, found, ztunnel.reporter(duty.clone()), controller));

    let name = signals.next().await;
    // What a newer tunnel serves already needs no time to be told of; what is left here may need much.
    tokio::select! {
        _ = tokio::time::timeout(arguments.installer_wait, duty.settled()) => {}
        name = signals.next() => tracing::info!("{name} again: not waiting for the installer"),
    }
    let on_duty = *duty.watch().borrow();
    let deadlines = match on_duty {
        OnDuty::This | OnDuty::Nobody => arguments.drain.deadlines(),
        OnDuty::Next => {
            // Nor does it come back on duty, when the one after that has taken over and the next one goes.
            duty.end();
            Deadlines { linger: Duration::ZERO, grace: arguments.hand_over_grace }
        }
    };
    tracing::info!(linger = ?deadlines.linger, grace = ?deadlines.grace, "{name}: draining; the same again ends at once");
    tokio::select! {
        _ = trigger.drain(deadlines) => {}
        // Dropping the trigger, as this does, tells everybody to stop at once.
        name = signals.next() => tracing::warn!("{name} again: ending at once"),
    }
    following.abort();
    reporting.abort();
    registering.abort();
    Ok(if ztunnel.ended().await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gets the registration socket: that of the tunnel which runs here already, with its pods, or a new one.
async fn begin(
    ztunnel: &Ztunnel,
    socket: &Path,
    mut progress: watch::Receiver<client::Progress>,
) -> anyhow::Result<(register::Server, Option<Successor>)> {
    let named = || format!("--register-socket {}", socket.display());
    if tokio::net::UnixStream::connect(socket).await.is_err() {
        return Ok((register::Server::bind(socket).await.with_context(named)?, None));
    }
    tracing::info!("a tunnel runs here already; it goes on until this one can take over");
    let _ = progress.wait_for(|progress| progress.generation.0 > 0).await;
    ztunnel.warm_up().await;
    let taken = match Estate::claim(socket).await {
        Ok(Some(estate)) => estate.take(&ztunnel.pods()).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match taken {
        Ok(Some((server, successor))) => Ok((server, Some(successor))),
        Ok(None) => Ok((register::Server::bind(socket).await.with_context(named)?, None)),
        Err(error) => {
            tracing::warn!(%error, "the pods are captured anew beside it");
            Ok((register::Server::replace(socket).await.with_context(named)?, None))
        }
    }
}

/// That of the first process.
fn node_namespace(proc: &Path) -> anyhow::Result<Namespace> {
    Namespace::open(proc.join("1/ns/net"))
        .context("--node-processes: it takes the node's PID namespace and CAP_SYS_PTRACE")
}

/// When the pods that were there at the start are dealt with, this tunnel is ready, and tells the controller from then on.
async fn when_captured(
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
