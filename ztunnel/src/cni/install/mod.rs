//! The installer: a container of the tunnel's DaemonSet that keeps the plugin on the node.
//!
//! What it keeps is on the node's disk, for good: after a boot the container runtime finds the plugin in its configuration
//! before any pod of ours runs. So it is taken away only when the release is gone, and not whenever this ends: on SIGTERM it asks the API server
//! whether the DaemonSet still is.

mod disk;
#[cfg(test)]
mod tests;

use super::apiserver::{ApiError, ApiServer};
use super::conflist::{self, File, PLUGIN, Plan};
use super::credentials::Credentials;
use super::membership::Object;
use crate::register::Client;
use anyhow::Context;
use disk::{Watcher, files, write};
use fairway_runtime::logs;
use fairway_runtime::settings::LogSettings;
use fairway_runtime::signals::Signals;
use http::StatusCode;
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How often everything is looked at though nothing was heard.
const LOOK: Duration = Duration::from_secs(5);
/// How long a token is asked to be good for: so long pods outside the mesh start though Fairway is down.
const TOKEN_SECONDS: u32 = 7 * 24 * 60 * 60;
/// When the next one is asked for.
const RENEW: Duration = Duration::from_secs(6 * 60 * 60);
/// The same after a failure.
const RENEW_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// For the API server to say that the release is gone; what goes with it goes in an order.
const FAREWELL: Duration = Duration::from_secs(20);
/// For the tunnel to hear something.
const GREETING: Duration = Duration::from_secs(2);
/// For it to let its pods go.
const RELEASE: Duration = Duration::from_secs(15);

/// Where things are, and what the plugin is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The node's directory of CNI programs, as this container sees it
    #[arg(long, default_value = "/host/opt/cni/bin", value_name = "DIR")]
    programs: PathBuf,

    /// The node's directory of CNI configurations, as this container sees it
    #[arg(long, default_value = "/host/etc/cni/net.d", value_name = "DIR")]
    configurations: PathBuf,

    /// The same directory as the node sees it
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "DIR")]
    node_configurations: PathBuf,

    /// The tunnel's socket, on the node and in this container
    #[arg(long, default_value = "/run/fairway/ztunnel.sock", value_name = "PATH")]
    socket: PathBuf,

    /// Namespaces whose pods the plugin lets pass unseen, with commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    exempt: Vec<String>,

    /// The namespace of the DaemonSet and of the plugin's service account
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    namespace: String,

    /// The DaemonSet this belongs to
    #[arg(long, default_value = "fairway-ztunnel", value_name = "NAME")]
    daemon_set: String,

    /// The service account as which the plugin asks the API server
    #[arg(long, default_value = "fairway-cni", value_name = "NAME")]
    service_account: String,

    /// The name of this node
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: String,

    /// The name of this pod, in which the tunnel runs, too
    #[arg(long, env = "POD_NAME", default_value = "", value_name = "NAME")]
    pod: String,

    /// Where the node reaches the API server, as HOST:PORT [default: as this container does]
    #[arg(long, value_name = "HOST:PORT")]
    api_server: Option<String>,

    /// This container's own credentials: a directory with `token` and `ca.crt`
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount", value_name = "DIR")]
    credentials: PathBuf,

    #[command(flatten)]
    log: LogSettings,
}

/// Runs until a signal.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let _logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    let mut signals = Signals::install()?;
    let installer = Installer::new(arguments)?;
    let name = tokio::select! {
        name = signals.next() => name,
        kept = installer.keep() => { kept?; return Ok(ExitCode::FAILURE) }
    };
    match installer.is_release_gone().await {
        true => {
            tracing::info!("{name}: the release is gone; the plugin is taken away");
            installer.uninstall().await;
        }
        false => {
            tracing::info!("{name}: ending; the plugin stays for the next");
            installer.say_that_it_stays().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the plugin on the node.
struct Installer {
    arguments: Arguments,
    server: String,
    program: PathBuf,
}

// === impl Installer ===

impl Installer {
    fn new(arguments: Arguments) -> anyhow::Result<Self> {
        let server = match &arguments.api_server {
            Some(server) => server.clone(),
            None => {
                let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
                let (host, port) =
                    (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
                match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                }
            }
        };
        let program = std::env::current_exe().context("the program itself")?;
        Ok(Self { arguments, server, program })
    }

    /// Installs, and puts back what somebody takes away. Credentials come first: with the plugin in place and without
    /// them no pod would start.
    async fn keep(&self) -> anyhow::Result<()> {
        let mut renew = self.renew().await;
        while !self.credentials_file().exists() {
            sleep_until(renew).await;
            renew = self.renew().await;
        }
        self.install_program(Existing::Replace)?;
        let watcher = Watcher::start(&[&self.arguments.configurations, &self.arguments.programs])?;
        let mut said = None;
        loop {
            match self.look() {
                Ok(()) => said = None,
                // Said once, not at every look.
                Err(error) => {
                    let error = format!("{error:#}");
                    if said.as_ref() != Some(&error) {
                        tracing::error!("the plugin is not as it should be: {error}");
                        said = Some(error);
                    }
                }
            }
            tokio::select! {
                () = watcher.heard() => {}
                () = sleep(LOOK) => {}
                () = sleep_until(renew) => renew = self.renew().await,
            }
        }
    }

    /// Puts right what is not.
    fn look(&self) -> anyhow::Result<()> {
        self.install_program(Existing::Keep)?;
        let directory = &self.arguments.configurations;
        // A step may make the next one necessary; three are the most.
        for _ in 0..3 {
            match conflist::plan(&files(directory)?, &self.entry())? {
                Plan::Nothing => return Ok(()),
                Plan::Write(File { name, text }) => {
                    write(&directory.join(&name), text.as_bytes(), 0o600)?;
                    tracing::info!(file = name, "the plugin is in the node's configuration");
                }
                Plan::Remove(name) => {
                    fs::remove_file(directory.join(&name)).with_context(|| name.clone())?;
                    tracing::info!(file = name, "removed");
                }
            }
        }
        Ok(())
    }

    /// Our plugin's part of the configuration.
    fn entry(&self) -> String {
        let Arguments { node_configurations, socket, exempt, .. } = &self.arguments;
        json!({
            "type": PLUGIN,
            "credentials": node_configurations.join("fairway/credentials"),
            "socket": socket,
            "exemptNamespaces": exempt,
        })
        .to_string()
    }

    fn install_program(&self, existing: Existing) -> anyhow::Result<()> {
        let target = self.arguments.programs.join(PLUGIN);
        if existing == Existing::Keep && target.exists() {
            return Ok(());
        }
        let program = fs::read(&self.program).with_context(|| self.program.display().to_string())?;
        write(&target, &program, 0o755)?;
        tracing::info!(program = %target.display(), "the plugin is on the node");
        Ok(())
    }

    fn credentials_file(&self) -> PathBuf {
        self.arguments.configurations.join("fairway/credentials")
    }

    /// Gets a new token for the plugin. Says when to do so again.
    async fn renew(&self) -> Instant {
        match self.request_token().await {
            Ok(()) => Instant::now() + RENEW,
            Err(error) => {
                tracing::error!("the plugin's credentials cannot be renewed: {error:#}");
                Instant::now() + RENEW_AFTER_FAILURE
            }
        }
    }

    async fn request_token(&self) -> anyhow::Result<()> {
        let Arguments { namespace, service_account, node, .. } = &self.arguments;
        let own = self.own_credentials()?;
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token");
        let ask = |bound: bool| {
            // Bound to the node: it ends with the node, and not with this pod, as it would if it were this pod's own.
            let node = bound.then(|| json!({ "kind": "Node", "apiVersion": "v1", "name": node }));
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "spec": { "expirationSeconds": TOKEN_SECONDS, "boundObjectRef": node },
            })
            .to_string()
            .into_bytes()
        };
        let server = ApiServer::new(own.clone());
        let made: TokenRequest = match server.post(&path, ask(true)).await {
            // Before Kubernetes 1.31 tokens cannot be bound to nodes.
            Err(ApiError::Refused { status, .. })
                if status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::BAD_REQUEST =>
            {
                server.post(&path, ask(false)).await?
            }
            made => made?,
        };
        let plugins = Credentials { token: made.status.token, ..own };
        let file = self.credentials_file();
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        write(&file, &plugins.render()?, 0o600)
    }

    fn own_credentials(&self) -> anyhow::Result<Credentials> {
        let read = |name: &str| {
            let path = self.arguments.credentials.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        Ok(Credentials { server: self.server.clone(), roots: read("ca.crt")?, token: read("token")? })
    }

    /// Whether the DaemonSet is gone, or about to be. If that cannot be known it is not: an outage is no uninstall.
    async fn is_release_gone(&self) -> bool {
        let Arguments { namespace, daemon_set, .. } = &self.arguments;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{daemon_set}");
        let asking = async {
            loop {
                let Ok(own) = self.own_credentials() else { return false };
                match ApiServer::new(own).metadata::<Object>(&path).await {
                    Ok(found) => return found.metadata.deletion.is_some(),
                    Err(error) => match error.status() {
                        // Not there; or not even the service account as which this asks.
                        Some(StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED) => return true,
                        // The right to ask went first, or was never there: the service account tells.
                        Some(StatusCode::FORBIDDEN) => sleep(Duration::from_millis(500)).await,
                        _ => {
                            tracing::warn!("whether the release is gone is not known: {error}");
                            return false;
                        }
                    },
                }
            }
        };
        timeout(FAREWELL, asking).await.unwrap_or(false)
    }

    /// The tunnel waits for it before it ends; an older one does not understand, and does not wait either.
    async fn say_that_it_stays(&self) {
        let Arguments { socket, pod, .. } = &self.arguments;
        let saying = async { Client::connect(socket).await?.stay(pod).await };
        let _ = timeout(GREETING, saying).await;
    }

    /// Leaves nothing. The configuration first: from then on no pod is meant to be captured.
    async fn uninstall(&self) {
        let Arguments { configurations, programs, socket, .. } = &self.arguments;
        let said = |what: &Path, done: io::Result<()>| match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("{} cannot be removed: {error}", what.display());
            }
            _ => {}
        };
        for file in files(configurations).unwrap_or_default().iter().filter(|it| conflist::is_ours(&it.name))
        {
            let path = configurations.join(&file.name);
            said(&path, fs::remove_file(&path));
        }
        let releasing = async { Client::connect(socket).await?.release().await };
        match timeout(RELEASE, releasing).await {
            Ok(Ok(())) => tracing::info!("every pod is let go"),
            Ok(Err(error)) => tracing::error!("pods are still captured; restart them: {error}"),
            Err(_) => tracing::error!("pods are still captured; restart them: the tunnel does not answer"),
        }
        let credentials = configurations.join("fairway");
        said(&credentials, fs::remove_dir_all(&credentials));
        let program = programs.join(PLUGIN);
        said(&program, fs::remove_file(&program));
    }
}

/// What becomes of a program that is there: this version's replaces it once; later it may be a newer one's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Keep,
}

#[derive(serde::Deserialize)]
struct TokenRequest {
    status: TokenRequestStatus,
}

#[derive(serde::Deserialize)]
struct TokenRequestStatus {
    token: String,
}
