//! The roots as text, for a file or a Secret. What a newer version has added is passed over: a rollback has to find its roots.

use super::root::{Origin, Root, RootError, system_time};
use super::rotation::{Next, Retired, Roots, Signed};
use super::settings::DAY;
use fairway_identity::TrustDomain;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a text does not hold roots.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Not what was written.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// A certificate or key in it is damaged.
    #[error("{0}")]
    Root(#[from] RootError),
    /// Those of another mesh.
    #[error("they are of trust domain {found}, this mesh is {ours}; use another state directory")]
    OtherTrustDomain {
        /// The trust domain of the saved roots.
        found: String,
        /// The trust domain that this controller is configured with.
        ours: TrustDomain,
    },
}

#[derive(Serialize, Deserialize)]
struct Saved {
    trust_domain: String,
    revision: u64,
    signing: SavedRoot,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<SavedSigned>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<SavedNext>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<SavedRetired>,
}

#[derive(Serialize, Deserialize)]
struct SavedRoot {
    origin: SavedOrigin,
    certificate: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedOrigin {
    Made,
    Given,
}

#[derive(Serialize, Deserialize)]
struct SavedSigned {
    /// How long leaves live that this root signs, in seconds.
    lifetime: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longer_until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct SavedNext {
    signs_from: i64,
    root: SavedRoot,
}

#[derive(Serialize, Deserialize)]
struct SavedRetired {
    trusted_until: i64,
    certificate: String,
}

/// Writes the roots with their keys. The text is a secret.
pub(super) fn encode(roots: &Roots, trust_domain: &TrustDomain) -> Result<String, SavedError> {
    let saved = Saved {
        trust_domain: trust_domain.to_string(),
        revision: roots.revision,
        signing: SavedRoot::from_root(&roots.signing),
        signed: Some(SavedSigned {
            lifetime: roots.signed.lifetime.as_secs(),
            longer_until: roots.signed.longer_until.map(unix_seconds),
        }),
        next: roots.next.as_ref().map(|it| SavedNext {
            signs_from: unix_seconds(it.signs_from),
            root: SavedRoot::from_root(&it.root),
        }),
        retired: roots
            .retired
            .iter()
            .map(|it| SavedRetired {
                trusted_until: unix_seconds(it.trusted_until),
                certificate: to_pem(&it.certificate),
            })
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&saved)?)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(text: &str, ours: &TrustDomain) -> Result<Roots, SavedError> {
    let saved: Saved = serde_json::from_str(text)?;
    if saved.trust_domain != ours.as_str() {
        return Err(SavedError::OtherTrustDomain { found: saved.trust_domain, ours: ours.clone() });
    }
    let next = saved.next.map(|it| -> Result<_, RootError> {
        Ok(Next { root: Arc::new(it.root.load()?), signs_from: system_time(it.signs_from) })
    });
    let retired = saved.retired.into_iter().map(|it| -> Result<_, RootError> {
        let certificate =
            CertificateDer::from_pem_slice(it.certificate.as_bytes()).map_err(RootError::Pem)?;
        Ok(Retired { certificate, trusted_until: system_time(it.trusted_until) })
    });
    Ok(Roots {
        revision: saved.revision,
        signing: Arc::new(saved.signing.load()?),
        // Of a version that did not say: as long as certificates live if nobody says otherwise.
        signed: saved.signed.map_or(Signed { lifetime: DAY, longer_until: None }, |it| Signed {
            lifetime: Duration::from_secs(it.lifetime),
            longer_until: it.longer_until.map(system_time),
        }),
        next: next.transpose()?,
        retired: retired.collect::<Result<_, _>>()?,
    })
}

fn to_pem(certificate: &CertificateDer<'_>) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec()))
}

/// Rounded up: a moment of a rotation must not come earlier for having been written down.
fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() + u64::from(since.subsec_nanos() > 0)).unwrap_or(i64::MAX)
}

impl SavedRoot {
    fn from_root(root: &Root) -> Self {
        Self {
            origin: match root.origin() {
                Origin::Made => SavedOrigin::Made,
                Origin::Given => SavedOrigin::Given,
            },
            certificate: to_pem(root.certificate()),
            key: root.key_pem(),
        }
    }

    fn load(self) -> Result<Root, RootError> {
        let origin = match self.origin {
            SavedOrigin::Made => Origin::Made,
            SavedOrigin::Given => Origin::Given,
        };
        Root::load(&self.certificate, &self.key, origin)
    }
}
