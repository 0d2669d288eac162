//! One policy: its methods, and what they say together of a request.

use super::api_key::ApiKeyVerifier;
use super::credential::Presented;
use fairway_config::model::{Authentication, CredentialMethods, CredentialPlace, Demands};
use fairway_policy::Mode;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::fmt;

/// Carries out one policy.
#[derive(Debug)]
pub struct Verifier {
    mode: Mode,
    /// None lets nothing pass.
    methods: Option<Methods>,
}

#[derive(Debug)]
struct Methods {
    optional: bool,
    api_keys: Option<ApiKeyVerifier>,
    /// Headers of requests that only this proxy sets.
    owned: Box<[HeaderName]>,
}

/// What a policy says of a request.
#[derive(Debug)]
pub enum Verdict<'v> {
    /// It has no credentials, and needs none.
    Anonymous,
    /// Its credentials are valid.
    Accepted(Accepted<'v>),
    /// It has not said who it is.
    Refused(Refusal),
}

/// What follows from credentials that are valid.
#[derive(Debug, Default)]
pub struct Accepted<'v> {
    /// What the backend is told of the client.
    pub told: SmallVec<[(&'v HeaderName, HeaderValue); 1]>,
    /// Where credentials stand that do not go on to the backend.
    pub stripped: SmallVec<[&'v [CredentialPlace]; 1]>,
}

/// Why a client has not said who it is.
#[derive(Debug)]
pub struct Refusal {
    /// The method that refuses, for metrics and logs.
    pub method: &'static str,
    /// Why, for the log.
    pub why: Why,
    /// What the client is asked for.
    pub challenge: HeaderValue,
}

/// Why credentials are not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There are none where some are asked for.
    #[error("the request has no credentials")]
    Absent,
    /// There are several, of which servers would choose differently.
    #[error("the request has credentials more than once")]
    Many,
    /// No client has this key.
    #[error("the key is not known")]
    UnknownKey,
}

/// What metrics and logs call the method.
const API_KEY: &str = "apiKey";

// === impl Verifier ===

impl Verifier {
    /// Carries out an authentication of the configuration.
    pub fn new(authentication: &Authentication) -> Self {
        let methods = match &authentication.demands {
            Demands::Closed => None,
            // Without a method nobody could say who he is.
            Demands::Credentials(methods) => methods.has_any().then(|| Methods::new(methods)),
        };
        Self { mode: authentication.mode, methods }
    }

    /// Whether what it says is only counted.
    pub fn is_observed(&self) -> bool {
        self.mode == Mode::Observe
    }

    /// Whether nothing passes, since it cannot be carried out.
    pub fn is_closed(&self) -> bool {
        self.methods.is_none() && !self.is_observed()
    }

    /// The methods that it may name in a refusal.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.methods.iter().flat_map(|it| it.api_keys.as_ref().map(|_| API_KEY))
    }

    /// Headers of requests that only this proxy sets, whoever the client is. One that only observes changes nothing.
    pub fn owned(&self) -> &[HeaderName] {
        match &self.methods {
            Some(it) if !self.is_observed() => &it.owned,
            _ => &[],
        }
    }

    /// What it says of a request. One that is closed and only observes says nothing against any.
    pub fn verify(&self, presented: Presented<'_>) -> Verdict<'_> {
        let Some(methods) = &self.methods else { return Verdict::Anonymous };
        let Some(keys) = &methods.api_keys else { return Verdict::Anonymous };
        let refused = |why| Verdict::Refused(Refusal { method: API_KEY, why, challenge: keys.challenge() });
        match keys.verify(presented) {
            Ok(Some(client)) => {
                let mut accepted = Accepted::default();
                accepted.told.extend(keys.told(client));
                accepted.stripped.push(keys.stripped());
                Verdict::Accepted(accepted)
            }
            Ok(None) if methods.optional => Verdict::Anonymous,
            Ok(None) => refused(Why::Absent),
            Err(why) => refused(why),
        }
    }
}

/// What it asks for, for operators and without secrets.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(methods) = &self.methods else { return f.write_str("cannot be carried out") };
        if let Some(keys) = &methods.api_keys {
            write!(f, "{keys}")?;
        }
        f.write_str(if methods.optional { ", or no credentials" } else { "" })?;
        f.write_str(if self.is_observed() { "; only observed" } else { "" })
    }
}

// === impl Methods ===

impl Methods {
    fn new(methods: &CredentialMethods) -> Self {
        let api_keys = methods.api_keys.as_ref().map(ApiKeyVerifier::new);
        let owned = api_keys.iter().filter_map(ApiKeyVerifier::client_header).cloned().collect();
        Self { optional: methods.optional, api_keys, owned }
    }
}
