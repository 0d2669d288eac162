//! The controller of a cluster: every replica watches and compiles; the one that leads serves the proxies, writes
//! status, provisions and issues identities.

mod leader_services;
mod rights;
mod term;

use crate::admission::AuthorizationIndex;
use crate::compile::{Capture, CompileSettings};
use crate::leader::{Candidate, Lost, Timing};
use crate::metrics::{show, show_leading};
use crate::pipeline::ClusterPipeline;
use crate::serve::Hub;
use crate::source::Cluster;
use crate::source::cluster::Feeds;
use crate::status::StatusCache;
use anyhow::Context;
use fairway_runtime::admin::Pages;
use fairway_runtime::logs;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::metrics::Outcomes;
use fairway_runtime::readiness::Readiness;
use fairway_runtime::settings::parse_duration;
use fairway_runtime::signals::Signals;
use kube::{Client, Config};
use leader_services::{LeaderArguments, LeaderServices};
pub(crate) use rights::told as told_rights;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use term::Term;
use tokio::sync::watch;
use tracing::{info, warn};

/// What concerns only a cluster.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ClusterArguments {
    /// The namespace the controller runs in (only with --kubernetes)
    #[arg(long, env = "POD_NAMESPACE", default_value = "fairway-system", value_name = "NAMESPACE")]
    namespace: String,

    /// The name of this replica's pod (only with --kubernetes)
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pod_name: Option<String>,

    /// The address of this replica's pod, at which proxies reach it while it leads (only with --kubernetes)
    #[arg(long, env = "POD_IP", value_name = "IP")]
    pod_ip: Option<IpAddr>,

    /// How long a leader that says nothing is still taken for one; longer bears a slower API server (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_LEASE_DURATION", default_value = "15s", value_name = "TIME", value_parser = parse_duration)]
    lease_duration: Duration,

    /// Whether there are tunnels on the nodes, and so a mesh: without, there are Gateways only (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_MESH", default_value = "on", value_name = "MODE", value_enum)]
    mesh: MeshMode,

    /// The name of the XMesh that stands for this mesh (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_MESH_NAME", default_value = "fairway", value_name = "NAME")]
    mesh_name: String,

    #[command(flatten)]
    services: LeaderArguments,
    #[command(flatten)]
    rights: rights::RightsArguments,
}

/// Whether there is a mesh.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum MeshMode {
    /// Tunnels capture the pods of the mesh.
    On,
    /// There are Gateways only.
    Off,
}

/// Who this replica is, and where.
#[derive(Clone, Debug)]
struct Replica {
    namespace: String,
    pod: Arc<str>,
    address: IpAddr,
    listen: SocketAddr,
}

/// What every replica has, leading or not.
struct Base {
    client: Client,
    replica: Replica,
    hub: Arc<Hub>,
    status_cache: Arc<StatusCache>,
    authorization_index: Arc<AuthorizationIndex>,
    issued: Outcomes,
    settings: CompileSettings,
}

pub(super) async fn run(arguments: super::Arguments) -> anyhow::Result<ExitCode> {
    let logs = logs::start(&without_client(&arguments.log.log), arguments.log.log_format)?;
    fairway_runtime::descriptors::raise();
    let mut signals = Signals::install()?;
    let (metrics, readiness) = (Metrics::new("controller", super::VERSION), Readiness::new());
    let compiled = readiness.gate("first compile");
    let base = Base::new(&arguments).await?;
    let Base { client, replica, hub, status_cache, authorization_index, issued, settings } = &base;
    // So that what is missing is said at the start and not by the first leader.
    drop(LeaderServices::new(&base, &arguments)?);
    let timing = Timing::for_lease(arguments.cluster.lease_duration);

    let cluster = Cluster::watch(client.clone());
    let feeds = cluster.feeds();
    let mut pipeline = ClusterPipeline::new(
        cluster,
        settings.clone(),
        hub.clone(),
        status_cache.clone(),
        authorization_index.clone(),
    );
    show(&metrics, &pipeline.shown(), hub, issued);
    status_cache.writes().register(
        &metrics,
        "status_writes",
        "Writes of statuses",
        &["written", "overtaken", "failed"],
    );
    let (wanted, problems, unreadable) = (pipeline.wanted(), pipeline.problems(), pipeline.unreadable());
    let mut compiling = tokio::spawn(async move {
        while pipeline.advance().await.is_some() {
            compiled.open();
        }
    });

    let (leading, is_leading) = watch::channel(false);
    show_leading(&metrics, is_leading.clone());
    let states = Mutex::new(hub.states());
    let (objects, feeds_shown) = (status_cache.clone(), feeds.clone());
    let _admin = Pages::new(readiness, metrics)
        .logging(logs.control())
        .page("/objects", "every object's conditions, and what is wrong", move || {
            let problems: Vec<String> = problems.borrow().iter().map(ToString::to_string).collect();
            json!({ "objects": objects.describe(), "problems": problems })
        })
        .page("/proxies", "the connected proxies and what they acknowledged", move || {
            super::describe_proxies(&states)
        })
        .page(
            "/source",
            "how each kind is watched, and whether this replica leads",
            move || json!({ "kinds": describe_feeds(&feeds_shown.borrow()), "leads": *is_leading.borrow() }),
        )
        .serve(&arguments.admin)?;

    // Whoever leads has a configuration to serve.
    let compiled = async {
        hub.first_commit().await;
        info!("the configuration is compiled; waiting for the Lease");
    };
    tokio::select! {
        () = compiled => {}
        end = &mut compiling => return Err(unwatched(end)),
        name = signals.next() => return Ok(ended(name)),
    }
    loop {
        let candidate = Candidate::new(client.clone(), &replica.namespace, replica.pod.clone(), timing);
        let mut leadership = tokio::select! {
            leadership = candidate.win() => leadership,
            end = &mut compiling => return Err(unwatched(end)),
            name = signals.next() => return Ok(ended(name)),
        };
        leading.send_replace(true);
        let services = LeaderServices::new(&base, &arguments)?;
        let mut term = Term::begin(&base, services, wanted.clone(), unreadable.clone());
        let end = tokio::select! {
            lost = leadership.keep() => End::Lost(lost),
            failed = term.failed() => End::Failed(failed),
            end = &mut compiling => End::Failed(unwatched(end)),
            name = signals.next() => End::Asked(name),
        };
        // Nothing of the term may outlive it: another replica is about to begin its own.
        term.end().await;
        leading.send_replace(false);
        match end {
            // What was compiled is as right as before; only the others lead now.
            End::Lost(why) => warn!("this replica no longer leads, and waits for the Lease again: {why}"),
            End::Asked(name) => {
                leadership.release().await;
                return Ok(ended(name));
            }
            // A fresh start is the one state that is surely right; kubelet gives it.
            End::Failed(why) => {
                leadership.release().await;
                return Err(why);
            }
        }
    }
}

/// How a term ends.
enum End {
    /// The Lease is not ours any more.
    Lost(Lost),
    /// Something does not work without which it makes no sense to lead.
    Failed(anyhow::Error),
    Asked(&'static str),
}

fn ended(signal: &str) -> ExitCode {
    info!("{signal}: ending");
    ExitCode::SUCCESS
}

fn unwatched(end: Result<(), tokio::task::JoinError>) -> anyhow::Error {
    anyhow::anyhow!("the cluster cannot be watched any more: {end:?}")
}

// === impl Base ===

impl Base {
    async fn new(arguments: &super::Arguments) -> anyhow::Result<Self> {
        let config = Config::infer().await.context("neither a kubeconfig nor a service account was found")?;
        let client = Client::try_from(config).context("connecting to the API server")?;
        let cluster = &arguments.cluster;
        let listen = arguments.listen.as_deref().unwrap_or("0.0.0.0:15010");
        let listen: SocketAddr =
            listen.parse().with_context(|| format!("--listen: `{listen}` is not IP:PORT"))?;
        let replica = Replica {
            namespace: cluster.namespace.clone(),
            pod: cluster.pod_name.as_deref().context("--pod-name (or POD_NAME) is needed")?.into(),
            address: cluster.pod_ip.context("--pod-ip (or POD_IP) is needed")?,
            listen,
        };
        let settings = CompileSettings {
            capture: match cluster.mesh {
                MeshMode::On => Capture::On,
                MeshMode::Off => Capture::Off,
            },
            mesh_name: cluster.mesh_name.as_str().into(),
            rights: cluster.rights.rights(),
            proxy_image: cluster.services.waypoint_image.as_deref().map(Into::into),
            ..CompileSettings::kubernetes(arguments.trust_domain.clone())
        };
        Ok(Self {
            client,
            replica,
            hub: Hub::new(),
            status_cache: Arc::default(),
            authorization_index: Arc::default(),
            issued: Outcomes::default(),
            settings,
        })
    }
}

/// The client's own lines say nothing that we do not say, and say it for every try.
fn without_client(filter: &str) -> String {
    match filter.contains("kube_client") {
        true => filter.to_owned(),
        false => format!("{filter},kube_client=off"),
    }
}

fn describe_feeds(feeds: &Feeds) -> serde_json::Value {
    let described = feeds.iter().map(|(kind, state)| (kind.as_str().to_owned(), json!(state)));
    described.collect::<serde_json::Map<_, _>>().into()
}
