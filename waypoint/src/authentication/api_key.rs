//! Keys that clients send. Only their digests are known here.

use super::credential::{Extracted, Presented};
use super::verifier::Why;
use ahash::HashMap;
use fairway_config::model::{ApiKeys, CredentialPlace};
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Verifies the keys of a policy.
pub struct ApiKeyVerifier {
    /// By the first half of the digest of a key: its second half, and whose key it is.
    clients: HashMap<[u8; 16], ([u8; 16], Arc<str>)>,
    places: Box<[CredentialPlace]>,
    forward: bool,
    client_header: Option<HeaderName>,
}

// === impl ApiKeyVerifier ===

impl ApiKeyVerifier {
    /// The verifier of these keys.
    pub fn new(keys: &ApiKeys) -> Self {
        let halves = |digest: &[u8; 32]| {
            let mut both = [[0; 16]; 2];
            both.iter_mut().flatten().zip(digest).for_each(|(to, from)| *to = *from);
            let [first, second] = both;
            (first, second)
        };
        let clients = keys.keys.iter().map(|it| {
            let (first, second) = halves(&it.digest);
            (first, (second, it.client.clone()))
        });
        Self {
            clients: clients.collect(),
            places: keys.places.as_slice().into(),
            forward: keys.forward,
            client_header: keys.client_header.clone(),
        }
    }

    /// Whose key a request has; none if it has no key.
    pub fn verify(&self, presented: Presented<'_>) -> Result<Option<&Arc<str>>, Why> {
        match presented.first(&self.places) {
            Extracted::Absent => Ok(None),
            Extracted::Many => Err(Why::Many),
            Extracted::One(key) => self.client(&key).map(Some).ok_or(Why::UnknownKey),
        }
    }

    /// A key is found by a digest that nobody can choose, and compared in a time that does not depend on it.
    fn client(&self, key: &[u8]) -> Option<&Arc<str>> {
        let digest = Sha256::digest(key);
        let (first, second) = digest.split_at_checked(16)?;
        let (expected, client) = self.clients.get(first)?;
        bool::from(expected.as_slice().ct_eq(second)).then_some(client)
    }

    /// Where keys stand that do not go on to the backend.
    pub fn stripped(&self) -> &[CredentialPlace] {
        if self.forward { &[] } else { &self.places }
    }

    /// The header that the backend is told by, which no client can set.
    pub fn client_header(&self) -> Option<&HeaderName> {
        self.client_header.as_ref()
    }

    /// What the backend is told of a client.
    pub fn told<'v>(&'v self, client: &str) -> Option<(&'v HeaderName, HeaderValue)> {
        // The name of a client is the key of a Secret's data, which has letters, digits and `-._`.
        Some((self.client_header.as_ref()?, HeaderValue::from_str(client).ok()?))
    }

    /// The scheme that a client is asked for with (RFC 9110 §11.6.1).
    pub fn challenge(&self) -> HeaderValue {
        let is_bearer = |it: &CredentialPlace| matches!(it, CredentialPlace::Header { prefix, .. } if prefix.trim().eq_ignore_ascii_case("bearer"));
        match self.places.first().is_some_and(is_bearer) {
            true => HeaderValue::from_static("Bearer"),
            false => HeaderValue::from_static("ApiKey"),
        }
    }
}

impl fmt::Debug for ApiKeyVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyVerifier").field("places", &self.places).finish_non_exhaustive()
    }
}

/// What it asks for, without secrets.
impl fmt::Display for ApiKeyVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {} keys in ", self.clients.len())?;
        for (index, place) in self.places.iter().enumerate() {
            let or = if index == 0 { "" } else { " or " };
            match place {
                CredentialPlace::Header { name, .. } => write!(f, "{or}header {name}")?,
                CredentialPlace::Cookie(name) => write!(f, "{or}cookie {name}")?,
                CredentialPlace::Query(name) => write!(f, "{or}parameter {name}")?,
            }
        }
        Ok(())
    }
}
