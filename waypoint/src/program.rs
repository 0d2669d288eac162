//! The program: one for each Gateway, and one for each namespace that needs a waypoint.

use crate::{ProxySettings, Waypoint};
use anyhow::Context;
use clap::ValueEnum;
use fairway_balance::Locality;
use fairway_config::model::{ObjectName, SpiffeId};
use fairway_config::stream::client::{self, StateFile};
use fairway_config::stream::{Proxy, Subscription};
use fairway_identity::{BearerToken, ControllerChannel, GrpcIssuer, Identities};
use fairway_runtime::admin::Pages;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::readiness::{Gate, Readiness};
use fairway_runtime::settings::{
    AdminSettings, ControllerSettings, DrainSettings, LogSettings, WorkerSettings, parse_duration,
};
use fairway_runtime::signals::{Signals, drain_on_signal};
use fairway_runtime::{descriptors, drain, logs};
use fairway_telemetry::{AccessLog, DEFAULT_SERIES};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serves a Gateway, or the HTTP routes of a namespace's Services
///
/// What it serves the controller says: listeners, routes, endpoints, certificates. Which Gateway it is for is all it has
/// to be told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The Gateway this proxy is for, such as shop/public
    #[arg(long, env = "FAIRWAY_GATEWAY", value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    gateway: ObjectName,

    #[command(flatten)]
    controller: ControllerSettings,

    /// Its own identity in the mesh, such as spiffe://cluster.local/ns/shop/sa/waypoint
    ///
    /// Without one it takes no tunnels, and endpoints in the mesh are answered for with 503.
    #[arg(long, env = "FAIRWAY_IDENTITY", value_name = "SPIFFE ID")]
    identity: Option<SpiffeId>,

    /// The node it runs on, as the Node object has it
    ///
    /// With the zone for Services that want their clients served near by.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: Option<String>,

    /// The zone of that node, as its label topology.kubernetes.io/zone has it
    #[arg(long, env = "NODE_ZONE", value_name = "NAME")]
    zone: Option<String>,

    /// A file in which to keep the configuration in force, so that it survives a restart without a controller
    #[arg(long, env = "FAIRWAY_STATE_FILE", value_name = "PATH")]
    state_file: Option<PathBuf>,

    /// After a restart, how long to wait for a controller before what is in that file is put in force
    ///
    /// It may be somewhat older than what was in force. Until then nothing is served.
    #[arg(long, env = "FAIRWAY_INITIAL_FETCH_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    initial_fetch_timeout: Duration,

    /// Which requests to log: none, those the proxy itself answered with an error, or all
    #[arg(long, env = "FAIRWAY_ACCESS_LOG", default_value = "errors", value_name = "WHICH")]
    access_log: Logged,

    /// With --access-log all: one request in this many
    #[arg(long, env = "FAIRWAY_ACCESS_LOG_SAMPLE", default_value = "1", value_name = "N")]
    access_log_sample: u32,

    /// How many series metrics keep apart; what is beyond them counts as `other`
    #[arg(long, env = "FAIRWAY_SERIES_LIMIT", default_value_t = DEFAULT_SERIES, value_name = "N")]
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Logged {
    None,
    Errors,
    All,
}

/// Runs until a signal. Traffic has threads of its own; the runtime this is called in follows the controller.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    descriptors::raise();
    let signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("waypoint", VERSION), Readiness::new());
    let configured = readiness.gate("first configuration");

    let settings = ProxySettings {
        workers: arguments.workers.count(),
        identity: arguments.identity.clone(),
        access_log: match arguments.access_log {
            Logged::None => AccessLog::Off,
            Logged::Errors => AccessLog::Errors,
            Logged::All => AccessLog::OneIn(arguments.access_log_sample),
        },
        series: arguments.series_limit,
        locality: Locality::new(arguments.node, arguments.zone),
        ..ProxySettings::new(arguments.gateway.clone())
    };
    let channel = arguments.controller.channel().context("--controller")?;
    let controller = ControllerChannel::new(channel, BearerToken::new(arguments.controller.token.clone()));
    let identities =
        Identities::start(GrpcIssuer::start(controller.clone()), fairway_identity::Settings::default());
    let identity = arguments.identity.map(|id| identities.subscribe(&id));
    let (waypoint, applier) = Waypoint::start(settings, identity, watch)?;
    metrics.with_registry(|registry| waypoint.metrics().register(registry));

    let subscription = Subscription::new(Proxy::Gateway(arguments.gateway), VERSION);
    let initial_fetch_timeout = arguments.initial_fetch_timeout;
    let state_file = arguments.state_file.map(|path| StateFile::new(path, initial_fetch_timeout));
    let (progress, following) = client::follow(controller, subscription, state_file, Box::new(applier));
    let following = tokio::spawn(following);
    tokio::spawn(open_when_configured(configured, progress));

    let (view, explaining) = (waypoint.view(), waypoint.view());
    let _admin = Pages::new(readiness, metrics)
        .logging(logs.control())
        .query_page("/config", "the routes, backends and endpoints in force (format=text)", move |query| {
            view.config(query)
        })
        .query_page("/explain", "what becomes of a request: ?url=http://shop.example/cart", move |query| {
            explaining.explain(query)
        })
        .page("/identities", "the identities that are held", move || {
            serde_json::to_value(identities.states()).unwrap_or_default()
        })
        .serve(&arguments.admin)?;

    drain_on_signal(signals, trigger, arguments.drain.deadlines()).await;
    following.abort();
    Ok(if waypoint.join().await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn open_when_configured(gate: Gate, mut progress: watch::Receiver<client::Progress>) {
    if progress.wait_for(|progress| progress.generation.0 > 0).await.is_ok() {
        gate.open();
    }
}

fn parse_name(text: &str) -> Result<ObjectName, &'static str> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err("write the Gateway's namespace and name, such as shop/public"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_a_namespace_and_a_name() {
        assert_eq!(parse_name("shop/public"), Ok(ObjectName::new("shop", "public")));
        for text in ["", "public", "/public", "shop/", "a/b/c"] {
            assert!(parse_name(text).is_err(), "{text}");
        }
    }
}
