//! The authentications of a configuration, and where what they refuse counts.

use super::Shared;
use crate::authentication::{TokenCache, Verifier};
use fairway_config::Snapshot;
use fairway_config::model::{AuthenticationKey, ResourceKey};
use fairway_telemetry::{PolicyLabels, RuleName, Series, Telemetry};
use std::sync::Arc;

/// The authentications of a configuration. Cheap to clone. One that no commit changes keeps what it remembers.
#[derive(Clone, Debug, Default)]
pub struct AuthenticationTable {
    policies: Shared<AuthenticationKey, Arc<Authenticator>>,
    /// What all of them remember of tokens.
    tokens: TokenCache,
}

/// One of them, with where it counts.
#[derive(Debug)]
pub struct Authenticator {
    /// What it asks for.
    pub verifier: Verifier,
    /// Where what each of its methods refuses counts.
    series: Box<[(&'static str, Series<PolicyLabels>)]>,
}

// === impl AuthenticationTable ===

impl AuthenticationTable {
    /// The authentication of this name; none if it is not known, and then nothing passes.
    pub fn get(&self, key: &AuthenticationKey) -> Option<&Authenticator> {
        self.policies.get(key).map(|it| &**it)
    }

    /// What all of them remember of tokens.
    pub fn tokens(&self) -> &TokenCache {
        &self.tokens
    }

    /// Those of the next configuration.
    pub(super) fn next<'a>(
        &self,
        snapshot: &Snapshot,
        changed: impl Iterator<Item = &'a ResourceKey>,
        telemetry: &Telemetry,
    ) -> Self {
        let mut next = self.clone();
        let table = Arc::make_mut(&mut next.policies);
        for key in changed {
            match snapshot.authentications.get(&*key.name) {
                None => drop(table.remove(&*key.name)),
                Some(new) => {
                    let key = AuthenticationKey::from(key.name.clone());
                    let verifier = Verifier::new(new);
                    let policy: Arc<str> = key.policy().into();
                    let series = verifier.methods().map(|method| {
                        let rule = Some(RuleName::Named(method.into()));
                        let labels = PolicyLabels { policy: policy.clone(), rule };
                        (method, telemetry.policies().series(labels))
                    });
                    let series = series.collect();
                    table.insert(key, Arc::new(Authenticator { verifier, series }));
                }
            }
        }
        next
    }
}

// === impl Authenticator ===

impl Authenticator {
    /// Where what a method refuses counts.
    pub fn series(&self, method: &str) -> Option<&Series<PolicyLabels>> {
        self.series.iter().find(|(of, _)| *of == method).map(|(_, series)| series)
    }
}
