//! Who shows a token, as the API server says.

use base64::Engine;
use fairway_config::model::ObjectName;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who shows a token, as the API server says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reviewed {
    /// The service account it was made for.
    pub service_account: ObjectName,
    /// The pod it is bound to: with the pod's end the token is worth nothing.
    pub pod: ReviewedPod,
    /// The node that pod runs on; none where the API server does not say so (before Kubernetes 1.30).
    pub node: Option<Arc<str>>,
    /// When the token is worth nothing any more; none where it does not say.
    pub expires: Option<SystemTime>,
}

/// How long a token is believed that does not say how long it is good for.
const UNSAID: Duration = Duration::from_secs(3600);

/// The pod a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReviewedPod {
    /// Its name; its namespace is that of the service account.
    pub name: Arc<str>,
    /// It tells the pod from others that had the name before.
    pub uid: Arc<str>,
}

/// Why a token does not say who shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReviewed {
    /// The API server does not know it: forged, of another cluster, expired, its pod gone, or for somebody else.
    #[error("the API server does not take the token: {0}")]
    Refused(String),
    /// It was made to be shown elsewhere.
    #[error("the token is not for the audience {0}; mount one that is")]
    OtherAudience(&'static str),
    /// A person, or a node.
    #[error("the token is that of `{0}`, not of a service account")]
    NotServiceAccount(String),
    /// Whoever may make tokens could have made it.
    #[error("the token of {0} is not bound to a pod; mount a projected token")]
    NotBound(ObjectName),
}

const PREFIX: &str = "system:serviceaccount:";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

// === impl Reviewed ===

impl Reviewed {
    /// The same, with the end that its token names: the API server, which has checked the token, does not say it.
    pub(super) fn until_end_of(self, token: &str) -> Self {
        Self { expires: end_of(token), ..self }
    }

    /// Waits until the token has expired.
    pub async fn expired(&self) {
        let left = match self.expires {
            Some(end) => end.duration_since(SystemTime::now()).unwrap_or_default(),
            None => UNSAID,
        };
        tokio::time::sleep(left.min(UNSAID.saturating_mul(24))).await;
    }

    /// Reads the API server's verdict on a token for this audience.
    pub fn read(status: &TokenReviewStatus, audience: &'static str) -> Result<Self, NotReviewed> {
        if status.authenticated != Some(true) {
            let why = status.error.clone().filter(|it| !it.is_empty());
            return Err(NotReviewed::Refused(
                why.unwrap_or_else(|| "it is not valid, or not any more".into()),
            ));
        }
        // An API server that does not know audiences says nothing of them; its yes is not for this one then.
        if !status.audiences.iter().flatten().any(|it| it == audience) {
            return Err(NotReviewed::OtherAudience(audience));
        }
        let user = status.user.clone().unwrap_or_default();
        let name = user.username.unwrap_or_default();
        let account = name.strip_prefix(PREFIX).and_then(|it| it.split_once(':'));
        let Some((namespace, account)) = account else {
            return Err(NotReviewed::NotServiceAccount(name));
        };
        let service_account = ObjectName::new(namespace, account);
        let extra = user.extra.unwrap_or_default();
        let first = |key: &str| extra.get(key).and_then(|it| it.first()).map(|it| Arc::from(it.as_str()));
        match (first(POD_NAME), first(POD_UID)) {
            (Some(name), Some(uid)) => Ok(Self {
                service_account,
                pod: ReviewedPod { name, uid },
                node: first(NODE_NAME),
                expires: None,
            }),
            _ => Err(NotReviewed::NotBound(service_account)),
        }
    }
}

/// The `exp` of a JSON Web Token (RFC 7519 section 4.1.4).
fn end_of(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: u64,
    }
    let payload = token.split('.').nth(1)?;
    let payload =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let Claims { exp } = serde_json::from_slice(&payload).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(exp))
}
