//! Remembers for a moment whose a token is: a proxy asks for many identities with one token.

use super::questions::Questions;
use super::reviewed::Reviewed;
use super::reviewer::{ReviewError, Reviewer};
use fairway_identity::BoxFuture;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Remembers for a moment whose a token is.
#[derive(Debug)]
pub struct Cached<R> {
    reviewer: R,
    questions: Questions,
    /// By the token's hash: a dump of this memory is no bunch of keys.
    known: Mutex<HashMap<[u8; 32], Known, ahash::RandomState>>,
}

#[derive(Clone, Debug)]
struct Known {
    verdict: Result<Reviewed, ReviewError>,
    until: Instant,
}

/// How long a yes is good: so much longer than its pod may a token be of use here.
const YES: Duration = Duration::from_secs(30);
/// How long a no is: who comes with it again and again costs the API server little.
const NO: Duration = Duration::from_secs(5);
/// How many are remembered.
const MOST: usize = 16 * 1024;
/// No token of a service account is longer.
const LONGEST: usize = 16 * 1024;

// === impl Cached ===

impl<R: Reviewer> Cached<R> {
    /// Remembers what this one says.
    pub fn new(reviewer: R) -> Self {
        Self { reviewer, questions: Questions::default(), known: Mutex::default() }
    }

    async fn ask(&self, source: Option<IpAddr>, token: &str) -> Result<Reviewed, ReviewError> {
        if token.is_empty() || token.len() > LONGEST {
            let why = super::NotReviewed::Refused(format!("it has {} bytes", token.len()));
            return Err(why.into());
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        let now = Instant::now();
        if let Some(known) = self.known().get(&key).filter(|it| now < it.until) {
            return known.verdict.clone();
        }
        let verdict = {
            let _turn = self.questions.turn(source).await?;
            self.reviewer.review(token).await
        };
        let good_for = match &verdict {
            Ok(_) => YES,
            Err(ReviewError::NotReviewed(_)) => NO,
            // The next try may succeed.
            Err(ReviewError::Unavailable(_)) => return verdict,
        };
        // From before it was asked.
        self.remember(key, Known { verdict: verdict.clone(), until: now + good_for });
        verdict
    }

    fn remember(&self, key: [u8; 32], it: Known) {
        let mut known = self.known();
        if known.len() >= MOST {
            let now = Instant::now();
            known.retain(|_, it| now < it.until);
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.insert(key, it);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known, ahash::RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Reviewer> Reviewer for Cached<R> {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, ReviewError>> {
        Box::pin(self.ask(None, token))
    }

    fn review_from<'a>(
        &'a self,
        source: Option<IpAddr>,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Reviewed, ReviewError>> {
        Box::pin(self.ask(source, token))
    }
}
