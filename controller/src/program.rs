//! The controller as a program: a directory in, configuration and identities out, over gRPC.

use crate::admission::SameUserOnly;
use crate::ca::{Authority, FileStore, IdentityService, SameUser};
use crate::compile::{AddressPool, InvalidPool};
use crate::pipeline::{Pipeline, Rules, Standing};
use crate::serve::grpc::service;
use crate::serve::{Hub, States};
use anyhow::Context;
use fairway_identity::TrustDomain;
use fairway_runtime::admin::Pages;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::readiness::Readiness;
use fairway_runtime::settings::{AdminSettings, DrainSettings, LogSettings, parse_duration};
use fairway_runtime::signals::{Signals, drain_on_signal};
use fairway_runtime::transport::{self, UnixSocket};
use fairway_runtime::{drain, logs};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Server;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Compiles Gateway API objects and serves each proxy what it needs: configuration and identities
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A directory of Kubernetes YAML; it is watched
    #[arg(long, env = "FAIRWAY_SOURCE_DIRECTORY", value_name = "DIR")]
    source_directory: PathBuf,

    /// The unix socket at which proxies are served: unix:///path; only programs of the same user are let in
    #[arg(
        long,
        env = "FAIRWAY_LISTEN",
        default_value = "unix:///run/fairway/controller.sock",
        value_name = "URI"
    )]
    listen: String,

    /// Where the roots of the mesh are kept; whoever can read it can be anyone in the mesh
    #[arg(long, env = "FAIRWAY_STATE_DIRECTORY", default_value = "/var/lib/fairway", value_name = "DIR")]
    state_directory: PathBuf,

    /// The domain of the mesh's identities: spiffe://DOMAIN/ns/…/sa/…
    #[arg(long, env = "FAIRWAY_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: TrustDomain,

    /// Where Services without a cluster IP get one, such as 10.96.0.0/16
    #[arg(long, env = "FAIRWAY_SERVICE_NETWORK", default_value = "10.96.0.0/16", value_name = "NETWORK")]
    service_network: String,

    /// How long a certificate is valid; it is renewed at half of that
    #[arg(long, env = "FAIRWAY_CERTIFICATE_LIFETIME", default_value = "24h", value_name = "TIME", value_parser = parse_duration)]
    certificate_lifetime: Duration,

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
    let signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("controller", VERSION), Readiness::new());
    let compiled = readiness.gate("first compile");

    let services: AddressPool =
        arguments.service_network.parse().map_err(|error: InvalidPool| error).context("--service-network")?;
    let authority = open_authority(&arguments).await?;
    let hub = Hub::new();
    let rules = Rules::captured(arguments.trust_domain.clone(), services);
    let mut pipeline =
        Pipeline::open(&arguments.source_directory, rules, hub.clone()).context("--source-directory")?;
    let (standings, standing) = watch::channel(Standing::default());
    let compiling = tokio::spawn(async move {
        while let Some(next) = pipeline.advance().await {
            compiled.open();
            standings.send_replace(next);
        }
        tracing::error!("the directory cannot be watched any more; what is in force stays so");
    });

    let states = Mutex::new(hub.states());
    let _admin = Pages::new(readiness, metrics)
        .logging(logs.control())
        .page("/objects", "every object's conditions, and what is wrong", move || {
            standing.borrow().describe()
        })
        .page("/proxies", "the connected proxies and what they acknowledged", move || {
            describe_proxies(&states)
        })
        .serve(&arguments.admin)?;

    let socket = UnixSocket::bind(socket_path(&arguments.listen)?).context("--listen")?;
    let services = Server::builder()
        .add_service(service(hub.clone(), SameUserOnly::as_this_process()))
        .add_service(IdentityService::server(authority.clone(), watch.clone()));
    let stopped = watch.clone();
    let serving = tokio::spawn(transport::serve(services, socket, async move {
        stopped.reached(drain::Phase::Draining).await;
    }));
    drop(watch);
    let keeping = tokio::spawn(async move { authority.keep().await });

    // Proxies go on without a controller, so there is nobody to wait for.
    drain_on_signal(
        signals,
        trigger,
        drain::Deadlines { linger: Duration::ZERO, ..arguments.drain.deadlines() },
    )
    .await;
    hub.close();
    compiling.abort();
    keeping.abort();
    serving.await.context("serving")?.context("serving")?;
    Ok(ExitCode::SUCCESS)
}

async fn open_authority(arguments: &Arguments) -> anyhow::Result<Arc<Authority>> {
    let settings =
        crate::ca::Settings { lifetime: arguments.certificate_lifetime, ..crate::ca::Settings::default() };
    let store = FileStore::open(&arguments.state_directory).context("--state-directory")?;
    let authority =
        Authority::open(arguments.trust_domain.clone(), settings, store, SameUser::as_this_process()).await?;
    Ok(authority)
}

fn socket_path(uri: &str) -> anyhow::Result<&Path> {
    let path = uri.strip_prefix("unix://").map(Path::new).filter(|path| path.is_absolute());
    path.with_context(|| format!("--listen: `{uri}` is not unix:///absolute/path"))
}

fn describe_proxies(states: &Mutex<States>) -> serde_json::Value {
    let states = states.lock().unwrap_or_else(PoisonError::into_inner).get();
    let described = states.iter().map(|it| {
        json!({
            "proxy": it.proxy.to_string(),
            "version": &*it.version,
            "acknowledged": it.acked.0,
            "rejected": it.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    described.collect()
}
