//! The installer: a container of the tunnel's DaemonSet that keeps the plugin on the node.
//!
//! The plugin stays on the node's disk when the installer ends: after a boot the container runtime must find it before any pod of
//! ours runs. It is removed only when the release is uninstalled (`release`): on SIGTERM the installer asks the API server whether
//! the DaemonSet still exists.

mod disk;
mod release;
#[cfg(test)]
mod tests;
mod token;

use super::conflist::{self, File, PLUGIN, Plan};
use super::credentials::Credentials;
use crate::registration::Client;
use anyhow::Context;
use disk::{Watcher, files, write};
use fairway_runtime::logs;
use fairway_runtime::settings::LogSettings;
use fairway_runtime::signals::Signals;
use release::{AccountWatch, Release};
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use token::Renewal;
use tokio::time::{sleep, sleep_until, timeout};

/// Interval of checks without a file event.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time for the API server to say whether the release still exists.
const RELEASE_CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the tunnel to acknowledge an announcement.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the tunnel to release its pods.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(15);

/// The command line of the installer.
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

/// Runs until SIGTERM or SIGINT. Then removes the plugin if the release is gone, or leaves it for the next installer.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let _logs = logs::start(&arguments.log.log, arguments.log.log_format)?;
    let mut signals = Signals::install()?;
    let installer = Installer::new(arguments)?;
    let account = AccountWatch::start(installer.release.clone());
    let name = tokio::select! {
        name = signals.next() => name,
        kept = installer.run() => { kept?; return Ok(ExitCode::FAILURE) }
    };
    match installer.release.is_gone(&account, RELEASE_CHECK_TIMEOUT).await {
        true => {
            tracing::info!("{name}: the release is uninstalled; removing the plugin");
            installer.uninstall().await;
        }
        false => {
            tracing::info!("{name}: ending; the plugin stays on the node");
            installer.announce_that_mesh_stays().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs the plugin and keeps it installed.
struct Installer {
    arguments: Arguments,
    release: Release,
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
        let release = Release {
            namespace: arguments.namespace.clone(),
            daemon_set: arguments.daemon_set.clone(),
            service_account: arguments.service_account.clone(),
            own: arguments.credentials.clone(),
            plugin: arguments.configurations.join("fairway/credentials"),
            server,
        };
        let program = std::env::current_exe().context("the program itself")?;
        Ok(Self { arguments, release, program })
    }

    /// Installs the plugin, and restores what another program changes, its credentials, too. Writes the credentials first: with the
    /// plugin and without them no pod of the node would start.
    async fn run(&self) -> anyhow::Result<()> {
        let mut renewal = self.renew().await;
        while !self.release.plugin.exists() {
            sleep_until(renewal.due(&self.release)).await;
            renewal = self.renew().await;
        }
        self.install_program(Existing::Replace)?;
        let watcher = Watcher::start(&[&self.arguments.configurations, &self.arguments.programs])?;
        let mut logged = None;
        loop {
            match self.reconcile() {
                Ok(()) => logged = None,
                // Logged once, not at each attempt.
                Err(error) => {
                    let error = format!("{error:#}");
                    if logged.as_ref() != Some(&error) {
                        tracing::error!("the plugin cannot be installed: {error}; trying again");
                        logged = Some(error);
                    }
                }
            }
            tokio::select! {
                () = watcher.changed() => {}
                () = sleep(CHECK_INTERVAL) => {}
                () = sleep_until(renewal.due(&self.release)) => renewal = self.renew().await,
            }
        }
    }

    /// Writes what is missing or differs.
    fn reconcile(&self) -> anyhow::Result<()> {
        self.install_program(Existing::Keep)?;
        let directory = &self.arguments.configurations;
        // A change may require another one: write the new name, remove the old one.
        for _ in 0..3 {
            match conflist::plan(&files(directory)?, &self.entry())? {
                Plan::Nothing => return Ok(()),
                Plan::Write(File { name, text }) => {
                    write(&directory.join(&name), text.as_bytes(), 0o600)?;
                    tracing::info!(file = name, "the plugin was added to the node's CNI configuration");
                }
                Plan::Remove(name) => {
                    fs::remove_file(directory.join(&name)).with_context(|| name.clone())?;
                    tracing::info!(file = name, "the CNI configuration with the plugin was removed");
                }
            }
        }
        Ok(())
    }

    /// Our plugin's entry in the network configuration.
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
        tracing::info!(program = %target.display(), "the plugin was installed");
        Ok(())
    }

    async fn renew(&self) -> Renewal {
        Renewal::renew(&self.release, &self.arguments.node).await
    }

    /// Tells the tunnel, which waits for it before it ends. An older tunnel refuses the request and does not wait.
    async fn announce_that_mesh_stays(&self) {
        let Arguments { socket, pod, .. } = &self.arguments;
        let announcing = async { Client::connect(socket).await?.stay(pod).await };
        let _ = timeout(NOTIFY_TIMEOUT, announcing).await;
    }

    /// Removes everything. The configuration goes first: from then on pods start without the plugin.
    async fn uninstall(&self) {
        let Arguments { configurations, programs, socket, .. } = &self.arguments;
        let log_error = |path: &Path, result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("{} cannot be removed: {error}", path.display());
            }
            _ => {}
        };
        for file in files(configurations).unwrap_or_default().iter().filter(|it| conflist::is_ours(&it.name))
        {
            let path = configurations.join(&file.name);
            log_error(&path, fs::remove_file(&path));
        }
        let releasing = async { Client::connect(socket).await?.release().await };
        match timeout(RELEASE_TIMEOUT, releasing).await {
            Ok(Ok(())) => tracing::info!("every pod of the node is released"),
            Ok(Err(error)) => {
                tracing::error!("the tunnel has not released the node's pods: {error}; restart the pods")
            }
            Err(_) => {
                tracing::error!("the tunnel has not released the node's pods in time; restart the pods")
            }
        }
        // The release takes a while. Meanwhile the installer of a new installation may have begun to use these files.
        if self.release.is_installed_again().await {
            tracing::info!("the release is installed again; its plugin stays");
            return;
        }
        let credentials = configurations.join("fairway");
        log_error(&credentials, fs::remove_dir_all(&credentials));
        let program = programs.join(PLUGIN);
        log_error(&program, fs::remove_file(&program));
    }
}

/// What to do with an executable that exists. The installer replaces it once, at its start. Later it may belong to a newer
/// version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Keep,
}

/// Reads the token and the roots that kubelet keeps in `directory`.
fn own_credentials(directory: &Path, server: &str) -> anyhow::Result<Credentials> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    Ok(Credentials { server: server.to_owned(), roots: read("ca.crt")?, token: read("token")? })
}
