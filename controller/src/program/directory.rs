//! The controller of a watched directory, on one machine.

use crate::admission::SameUser;
use crate::admission::SameUserOnly;
use crate::ca::{Authority, FileStore, IdentityService};
use crate::compile::{AddressPool, InvalidPool};
use crate::metrics::show;
use crate::pipeline::{Pipeline, PipelineState, Rules};
use crate::serve::Hub;
use crate::serve::grpc::service;
use anyhow::Context;
use fairway_runtime::admin::Pages;
use fairway_runtime::metrics::Metrics;
use fairway_runtime::metrics::Outcomes;
use fairway_runtime::readiness::Readiness;
use fairway_runtime::signals::{Signals, drain_on_signal};
use fairway_runtime::transport::{self, UnixSocket};
use fairway_runtime::{drain, logs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Server;

/// Where proxies are served if nothing else is said.
const LISTEN: &str = "unix:///run/fairway/controller.sock";

/// What concerns only a directory.
#[derive(clap::Args, Debug)]
pub(super) struct DirectoryArguments {
    /// Where the roots of the mesh are kept; whoever can read it can be anyone in the mesh (only with --source-directory)
    #[arg(long, env = "FAIRWAY_STATE_DIRECTORY", default_value = "/var/lib/fairway", value_name = "DIR")]
    state_directory: PathBuf,

    /// Where Services without a cluster IP get one, such as 10.96.0.0/16 (only with --source-directory)
    #[arg(long, env = "FAIRWAY_SERVICE_NETWORK", default_value = "10.96.0.0/16", value_name = "NETWORK")]
    service_network: String,
}

/// Runs until a signal.
pub(super) async fn run(arguments: super::Arguments, source: &Path) -> anyhow::Result<ExitCode> {
    let logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    fairway_runtime::descriptors::raise();
    let signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let (metrics, readiness) = (Metrics::new("controller", super::VERSION), Readiness::new());
    let compiled = readiness.gate("first compile");

    let services: AddressPool = arguments
        .directory
        .service_network
        .parse()
        .map_err(|error: InvalidPool| error)
        .context("--service-network")?;
    let authority = open_authority(&arguments).await?;
    let hub = Hub::new();
    let rules = Rules::captured(arguments.trust_domain.clone(), services);
    let mut pipeline = Pipeline::open(source, rules, hub.clone()).context("--source-directory")?;
    let issued = Outcomes::default();
    show(&metrics, &pipeline.shown(), &hub, &issued);
    let (published, state) = watch::channel(PipelineState::default());
    let compiling = tokio::spawn(async move {
        while let Some(next) = pipeline.advance().await {
            compiled.open();
            published.send_replace(next);
        }
        tracing::error!("the directory cannot be watched any more; what is in force stays so");
    });

    let (states, refusing) = (Mutex::new(hub.states()), Mutex::new(hub.states()));
    let _admin = Pages::new(readiness, metrics)
        .logging(logs.control())
        .page("/objects", "every object's conditions, and what is wrong", move || {
            let proxies = refusing.lock().unwrap_or_else(PoisonError::into_inner).get();
            state.borrow().describe(&proxies)
        })
        .page("/proxies", "the connected proxies and what they acknowledged", move || {
            super::describe_proxies(&states)
        })
        .serve(&arguments.admin)?;

    let socket =
        UnixSocket::bind(socket_path(arguments.listen.as_deref().unwrap_or(LISTEN))?).context("--listen")?;
    let services = Server::builder()
        .add_service(service(hub.clone(), SameUserOnly::as_this_process()))
        .add_service(IdentityService::server(authority.clone(), watch.clone(), issued));
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

async fn open_authority(arguments: &super::Arguments) -> anyhow::Result<Arc<Authority>> {
    let store = FileStore::open(&arguments.directory.state_directory).context("--state-directory")?;
    let authority = Authority::open(
        arguments.trust_domain.clone(),
        arguments.authority(),
        store,
        SameUser::as_this_process(),
    );
    Ok(authority.await?)
}

fn socket_path(uri: &str) -> anyhow::Result<&Path> {
    let path = uri.strip_prefix("unix://").map(Path::new).filter(|path| path.is_absolute());
    path.with_context(|| format!("--listen: `{uri}` is not unix:///absolute/path"))
}
