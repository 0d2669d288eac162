//! Tokens that were verified and are not over: found by their SHA-256, in as many places as there are.
//!
//! A place is one atomic pointer, so nobody waits for anybody. Only tokens that are valid take one, and one that is over gives it up.
//! Two tokens of one place take turns: the one that is not remembered is verified again.

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// As many tokens are remembered, by all policies of a proxy together.
const PLACES: usize = 8_192;
/// Bytes that are remembered of what a backend is told. A token with more is verified each time.
const MOST_TOLD: usize = 2 * 1024;

/// Tokens that were verified. Cheap to clone.
#[derive(Clone, Default)]
pub struct TokenCache(Arc<OnceLock<Box<[ArcSwapOption<Remembered>]>>>);

/// A token, as far as it is remembered: by the verifier that has verified it, and by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

/// What is remembered of it.
#[derive(Debug)]
pub struct Remembered {
    /// Which token it is.
    pub digest: TokenDigest,
    /// When it is over, in seconds since 1970.
    pub expires: u64,
    /// The place of its provider.
    pub provider: usize,
    /// What the backend is told, for each claim that it is told of.
    pub told: Box<[Option<HeaderValue>]>,
}

// === impl TokenCache ===

impl TokenCache {
    /// A token that is not over.
    pub fn get(&self, digest: &TokenDigest, now: u64) -> Option<Arc<Remembered>> {
        let found = self.0.get()?.get(digest.place())?.load();
        let found = found.as_ref().filter(|it| it.digest == *digest && now < it.expires)?;
        Some(found.clone())
    }

    /// Remembers a token in the place of whichever had it.
    pub fn put(&self, token: Remembered) {
        let told: usize = token.told.iter().flatten().map(HeaderValue::len).sum();
        if told > MOST_TOLD {
            return;
        }
        let places = self.0.get_or_init(|| (0..PLACES).map(|_| ArcSwapOption::empty()).collect());
        if let Some(place) = places.get(token.digest.place()) {
            place.store(Some(Arc::new(token)));
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

// === impl TokenDigest ===

impl TokenDigest {
    /// That of a token for a verifier.
    pub fn of(verifier: u64, token: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(verifier.to_be_bytes()).chain_update(token);
        Self(digest.finalize().into())
    }

    fn place(&self) -> usize {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) as usize % PLACES
    }
}
