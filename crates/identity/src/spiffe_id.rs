//! The identity of a workload: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The domain whose roots sign every identity of a mesh (SPIFFE-ID §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// A workload's identity. Cheap to clone; compares by its whole text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId(Arc<str>);

/// Why a text is not the identity of a workload of a mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// Not a SPIFFE id or trust domain at all.
    #[error("`{text}` is not a SPIFFE id: {reason}")]
    NotSpiffe {
        /// The text that was to be parsed.
        text: String,
        /// What the SPIFFE library says of it.
        reason: String,
    },
    /// A SPIFFE id, but not of the form a mesh uses.
    #[error("`{0}` does not have the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
    NotWorkload(String),
}

// === impl TrustDomain ===

impl TrustDomain {
    /// Parses a trust domain name such as `cluster.local`.
    pub fn new(name: &str) -> Result<Self, InvalidSpiffeId> {
        let parsed = spiffe::TrustDomain::new(name).map_err(|error| InvalidSpiffeId::NotSpiffe {
            text: name.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self(parsed.as_str().into()))
    }

    /// The name, without `spiffe://`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

// === impl SpiffeId ===

impl SpiffeId {
    /// The identity of a Kubernetes service account.
    pub fn of_service_account(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, InvalidSpiffeId> {
        format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// The identity as a URI: `spiffe://cluster.local/ns/shop/sa/web`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the trust domain.
    pub fn trust_domain(&self) -> &str {
        self.parts().0
    }

    /// The namespace of the Kubernetes ServiceAccount.
    pub fn namespace(&self) -> &str {
        self.parts().1
    }

    /// The Kubernetes service account.
    pub fn service_account(&self) -> &str {
        self.parts().2
    }

    fn parts(&self) -> (&str, &str, &str) {
        // The constructor admits nothing that `split` refuses.
        split(&self.0).unwrap_or(("", "", ""))
    }
}

fn split(uri: &str) -> Option<(&str, &str, &str)> {
    let mut segments = uri.strip_prefix("spiffe://")?.split('/');
    let (trust_domain, ns, namespace) = (segments.next()?, segments.next()?, segments.next()?);
    let (sa, service_account) = (segments.next()?, segments.next()?);
    (ns == "ns" && sa == "sa" && segments.next().is_none()).then_some((
        trust_domain,
        namespace,
        service_account,
    ))
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = spiffe::SpiffeId::new(text).map_err(|error| InvalidSpiffeId::NotSpiffe {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        let uri = parsed.to_string();
        match split(&uri) {
            Some(_) => Ok(Self(uri.into())),
            None => Err(InvalidSpiffeId::NotWorkload(uri)),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for SpiffeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_tells_its_parts() {
        let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/reviews".parse().unwrap();
        assert_eq!(
            (id.trust_domain(), id.namespace(), id.service_account()),
            ("cluster.local", "shop", "reviews")
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "https://cluster.local/ns/a/sa/b",
            "spiffe://cluster.local",
            "spiffe://cluster.local/ns/a/sa/b/c",
            "spiffe://cluster.local/ns/a/sb/b",
            "spiffe://cluster.local/ns//sa/b",
            "spiffe://cluster.local/ns/a/sa/",
            "spiffe:///ns/a/sa/b",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
