//! Whether the release is still installed, as the API server says it to a credential that it accepts.
//!
//! One refused credential (401) proves nothing: the API server refuses the token of a pod that was deleted by force, or of a Node object
//! that was deleted. Two of two accounts do: the installer's own, and the plugin's, which is not bound to a pod. An uninstall deletes the service accounts, too, and then
//! nobody of this release can ask any more. So the installer watches the plugin's service account while it runs: the API server
//! reports its deletion on the open watch.

use crate::cni::apiserver::{ApiError, ApiServer, Change};
use crate::cni::credentials::Credentials;
use crate::cni::membership::Object;
use http::StatusCode;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Pause between two questions while the release is being uninstalled.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// Pause before the next watch if one cannot be started, or ends at once.
const WATCH_RETRY: Duration = Duration::from_secs(10);

/// Where the objects of the release and the credentials are.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// The namespace that the chart is installed in.
    pub(super) namespace: String,
    /// The name of the DaemonSet.
    pub(super) daemon_set: String,
    /// The name of the plugin's service account.
    pub(super) service_account: String,
    /// The directory with this container's `token` and `ca.crt`.
    pub(super) own: PathBuf,
    /// The file with the plugin's credentials.
    pub(super) plugin: PathBuf,
    /// `host:port` of the API server.
    pub(super) server: String,
}

/// What the API server says about the DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DaemonSetLookup {
    /// It exists and is not being deleted.
    Installed,
    /// It does not exist, or is being deleted.
    Gone,
    /// The API server does not know who asks (401).
    Unknown,
    /// The rights are refused (403), or there is no credential to ask with.
    Refused,
    /// No answer, or another error than those above.
    Silent,
}

/// A watch of the plugin's service account. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct AccountWatch {
    deleted: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

// === impl Release ===

impl Release {
    /// Whether the DaemonSet is gone or being deleted. `false` if nobody proves it within `limit`: an outage is not an uninstall,
    /// and neither is a refused token.
    pub(super) async fn is_gone(&self, account: &AccountWatch, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let own = self.ask(self.own_credentials()).await;
            let answer = match own {
                DaemonSetLookup::Unknown | DaemonSetLookup::Refused => {
                    match self.ask(Credentials::read(&self.plugin).map_err(Into::into)).await {
                        // Neither account is there any more. A pod that was deleted by force has only its own token refused.
                        DaemonSetLookup::Unknown if own == DaemonSetLookup::Unknown => DaemonSetLookup::Gone,
                        DaemonSetLookup::Unknown => DaemonSetLookup::Refused,
                        answer => answer,
                    }
                }
                answer => answer,
            };
            match answer {
                DaemonSetLookup::Installed => return false,
                DaemonSetLookup::Gone => return true,
                DaemonSetLookup::Unknown | DaemonSetLookup::Refused | DaemonSetLookup::Silent
                    if account.is_deleted() =>
                {
                    return true;
                }
                DaemonSetLookup::Unknown | DaemonSetLookup::Refused
                    if Instant::now() + ASK_INTERVAL < end =>
                {
                    sleep(ASK_INTERVAL).await
                }
                DaemonSetLookup::Unknown | DaemonSetLookup::Refused | DaemonSetLookup::Silent => {
                    tracing::warn!("whether the release is uninstalled is not known, so the plugin stays");
                    return false;
                }
            }
        }
    }

    /// Whether the API server confirms to the plugin's credentials that the release is installed.
    pub(super) async fn is_installed_again(&self) -> bool {
        self.ask(Credentials::read(&self.plugin).map_err(Into::into)).await == DaemonSetLookup::Installed
    }

    async fn ask(&self, credentials: anyhow::Result<Credentials>) -> DaemonSetLookup {
        let Self { namespace, daemon_set, .. } = self;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{daemon_set}");
        // Without credentials there is nothing that the API server could accept.
        let Ok(credentials) = credentials else { return DaemonSetLookup::Refused };
        match ApiServer::new(credentials).metadata::<Object>(&path).await {
            Ok(found) if found.metadata.deletion.is_some() => DaemonSetLookup::Gone,
            Ok(_) => DaemonSetLookup::Installed,
            Err(error) => match error.status() {
                Some(StatusCode::NOT_FOUND) => DaemonSetLookup::Gone,
                Some(StatusCode::UNAUTHORIZED) => DaemonSetLookup::Unknown,
                Some(StatusCode::FORBIDDEN) => DaemonSetLookup::Refused,
                _ => {
                    tracing::warn!("the API server does not say whether the release is installed: {error}");
                    DaemonSetLookup::Silent
                }
            },
        }
    }

    pub(super) fn own_credentials(&self) -> anyhow::Result<Credentials> {
        super::own_credentials(&self.own, &self.server)
    }
}

// === impl AccountWatch ===

impl AccountWatch {
    /// Watches until this is dropped.
    pub(super) fn start(release: Release) -> Self {
        let deleted = Arc::new(AtomicBool::new(false));
        let seen = deleted.clone();
        let watching = async move {
            let mut logged = false;
            loop {
                let began = Instant::now();
                match watch_account(&release, &seen).await {
                    Ok(()) => {
                        logged = false;
                        if began.elapsed() < WATCH_RETRY {
                            sleep(WATCH_RETRY).await;
                        }
                    }
                    Err(error) => {
                        if !logged {
                            tracing::warn!(
                                "an uninstall would not be noticed: the service account {} cannot be watched: {error:#}; trying again",
                                release.service_account
                            );
                        }
                        logged = true;
                        sleep(WATCH_RETRY).await;
                    }
                }
            }
        };
        Self { deleted, task: tokio::spawn(watching) }
    }

    /// Whether the API server has reported the deletion of the account, and no account of its name since.
    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Relaxed)
    }
}

impl Drop for AccountWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One watch, from the present version of the account on: no change between two watches is missed.
async fn watch_account(release: &Release, deleted: &AtomicBool) -> anyhow::Result<()> {
    let Release { namespace, service_account, .. } = release;
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let server = ApiServer::new(release.own_credentials()?);
    let account = match server.metadata::<Object>(&format!("{accounts}/{service_account}")).await {
        Err(ApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
            deleted.store(true, Ordering::Relaxed);
            return Ok(());
        }
        account => account?,
    };
    let set = |account: &Object| deleted.store(account.metadata.deletion.is_some(), Ordering::Relaxed);
    set(&account);
    let mut changes = server.watch::<Object>(&accounts, service_account, &account.metadata.version).await?;
    while let Some(change) = changes.next().await {
        match change {
            Change::Present(account) => set(&account),
            Change::Deleted => deleted.store(true, Ordering::Relaxed),
        }
    }
    Ok(())
}
