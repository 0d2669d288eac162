//! The program: one for each node.

use crate::{Settings, Ztunnel, register};
use anyhow::Context;
use fairway_config::stream::{Proxy, Subscription, client};
use fairway_identity::{BearerToken, ControllerChannel, GrpcIssuer, Identities};
use fairway_runtime::admin::Pages;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::readiness::{Gate, Readiness};
use fairway_runtime::settings::{
    AdminSettings, ControllerSettings, DrainSettings, LogSettings, WorkerSettings,
};
use fairway_runtime::signals::{Signals, drain_on_signal};
use fairway_runtime::{drain, logs};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::sync::watch;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Captures the pods of a node and carries their TCP over mTLS
///
/// It needs CAP_NET_ADMIN and CAP_SYS_ADMIN, to open sockets and load rules in the pods' network namespaces. Pods are
/// registered at a unix socket, by the CNI plugin; which of them are in the mesh the controller says.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The name of this node, as the Node object has it
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: String,

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

    /// A file in which to keep the configuration in force, so that it survives a restart without a controller
    #[arg(long, env = "FAIRWAY_STATE_FILE", value_name = "PATH")]
    state_file: Option<PathBuf>,

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
    let signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("ztunnel", VERSION), Readiness::new());
    let configured = readiness.gate("first configuration");

    let settings = Settings {
        workers: arguments.workers.count(),
        deadlines: arguments.drain.deadlines(),
        ..Settings::new(arguments.node.as_str())
    };
    let channel = arguments.controller.channel().context("--controller")?;
    let controller = ControllerChannel::new(channel, BearerToken::new(arguments.controller.token.clone()));
    let identities =
        Identities::start(GrpcIssuer::start(controller.clone()), fairway_identity::Settings::default());
    let (ztunnel, applier) = Ztunnel::start(settings, identities.clone(), &metrics, watch.clone())?;
    let view = ztunnel.view();

    let subscription = Subscription { proxy: Proxy::Node(arguments.node.into()), version: VERSION.into() };
    let (progress, following) =
        client::follow(controller, subscription, arguments.state_file, Box::new(applier));
    let following = tokio::spawn(following);
    tokio::spawn(open_when_configured(configured, progress));

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
    let server = register::Server::bind(socket)
        .await
        .with_context(|| format!("--register-socket {}", socket.display()))?;
    let registering = tokio::spawn(register::serve(server, ztunnel.pods(), view, watch));

    drain_on_signal(signals, trigger, arguments.drain.deadlines()).await;
    following.abort();
    registering.abort();
    Ok(if ztunnel.ended().await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn open_when_configured(gate: Gate, mut progress: watch::Receiver<client::Progress>) {
    if progress.wait_for(|progress| progress.generation.0 > 0).await.is_ok() {
        gate.open();
    }
}

fn json<T: serde::Serialize>(value: T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}
