//! The plugin's token, and when the next one is due.

use super::disk::write;
use super::release::Release;
use crate::cni::apiserver::{ApiError, ApiServer};
use crate::cni::credentials::Credentials;
use anyhow::Context;
use http::StatusCode;
use serde_json::json;
use std::fs;
use std::time::Duration;
use tokio::time::Instant;

/// Requested lifetime of the plugin's token in seconds. Without a running installer, pods outside the mesh start for that long.
pub(super) const TOKEN_SECONDS: u32 = 7 * 24 * 60 * 60;
/// The longest time after which the token is renewed.
const LONGEST_RENEWAL: Duration = Duration::from_secs(6 * 60 * 60);
/// Pause after a failed renewal, and the shortest lifetime that is reckoned with.
const RETRY: Duration = Duration::from_secs(10);
/// The shortest time between two renewals.
const SHORTEST: Duration = Duration::from_secs(1);

/// When the next token is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    planned: Instant,
    earliest: Instant,
}

// === impl Renewal ===

impl Renewal {
    /// Requests a token and writes the plugin's credentials. Says when to do so again.
    pub(super) async fn renew(release: &Release, node: &str) -> Self {
        let result = request(release, node).await;
        let now = Instant::now();
        match result {
            Ok(granted) => Self { planned: now + renew_after(granted), earliest: now + SHORTEST },
            Err(error) => {
                tracing::error!("the plugin's token cannot be renewed: {error:#}; trying again");
                Self { planned: now + RETRY, earliest: now + RETRY }
            }
        }
    }

    /// When the next token is due: as planned, or as soon as possible if the plugin has no credentials.
    pub(super) fn due(&self, release: &Release) -> Instant {
        match Credentials::read(&release.plugin) {
            Ok(_) => self.planned,
            Err(_) => self.earliest,
        }
    }
}

/// The API server may grant less than was requested (`--service-account-max-token-expiration`).
fn renew_after(granted: Duration) -> Duration {
    (granted / 3).clamp(RETRY, LONGEST_RENEWAL)
}

/// Returns the lifetime that was granted.
async fn request(release: &Release, node: &str) -> anyhow::Result<Duration> {
    let Release { namespace, service_account, plugin, .. } = release;
    let own = release.own_credentials()?;
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token");
    let body = |bound: bool| {
        // Bound to the Node object: the token outlives this pod, and becomes invalid with the node.
        let node = bound.then(|| json!({ "kind": "Node", "apiVersion": "v1", "name": node }));
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "expirationSeconds": TOKEN_SECONDS, "boundObjectRef": node },
        })
        .to_string()
        .into_bytes()
    };
    let server = ApiServer::new(own.clone());
    let made: TokenRequest = match server.post(&path, body(true)).await {
        // Kubernetes before 1.31 cannot bind tokens to nodes.
        Err(ApiError::Refused { status, .. })
            if status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::BAD_REQUEST =>
        {
            server.post(&path, body(false)).await?
        }
        made => made?,
    };
    let credentials = Credentials { token: made.status.token, ..own };
    if let Some(directory) = plugin.parent() {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    write(plugin, &credentials.render()?, 0o600)?;
    Ok(Duration::from_secs(made.spec.granted))
}

#[derive(serde::Deserialize)]
struct TokenRequest {
    #[serde(default)]
    spec: Spec,
    status: Status,
}

#[derive(serde::Deserialize)]
struct Spec {
    /// The lifetime that was granted, which does not depend on the node's clock. `status.expirationTimestamp` does.
    #[serde(rename = "expirationSeconds", default = "requested")]
    granted: u64,
}

impl Default for Spec {
    fn default() -> Self {
        Self { granted: requested() }
    }
}

fn requested() -> u64 {
    TOKEN_SECONDS.into()
}

#[derive(serde::Deserialize)]
struct Status {
    token: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_a_third_of_the_life_that_was_granted() {
        let hours = |it: u64| Duration::from_secs(it * 60 * 60);
        for (granted, after) in [
            (hours(7 * 24), hours(6)),
            (hours(18), hours(6)),
            (hours(1), Duration::from_secs(20 * 60)),
            (Duration::from_secs(600), Duration::from_secs(200)),
            (Duration::ZERO, RETRY),
        ] {
            assert_eq!(renew_after(granted), after, "{granted:?}");
        }
    }
}
