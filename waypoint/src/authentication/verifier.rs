//! One policy: its methods, and what they say together of a request.

use super::api_key::ApiKeyVerifier;
use super::credential::Presented;
use super::jwt::JwtVerifier;
use super::token_cache::TokenCache;
use fairway_config::model::{Authentication, CredentialMethods, CredentialPlace, Demands, Satisfy};
use fairway_policy::{Action, Attributes, Mode, Rule};
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
    satisfy: Satisfy,
    /// What needs no credentials.
    exempt: Box<[Rule]>,
    api_keys: Option<ApiKeyVerifier>,
    jwt: Option<JwtVerifier>,
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
    pub told: SmallVec<[(&'v HeaderName, HeaderValue); 2]>,
    /// Where credentials stand that do not go on to the backend.
    pub stripped: SmallVec<[&'v [CredentialPlace]; 2]>,
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
    /// It is longer than a token may be.
    #[error("the token is too long")]
    TooLong,
    /// It is no token.
    #[error("the token is malformed")]
    Malformed,
    /// None of the providers has issued it.
    #[error("the issuer is not known")]
    UnknownIssuer,
    /// Somebody else has signed it.
    #[error("the signature is not valid")]
    Signature,
    /// It does not say when it is over.
    #[error("the token has no end")]
    NoEnd,
    /// It is over, by more than clocks differ.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
}

/// What metrics and logs call the method.
const API_KEY: &str = "apiKey";
const JWT: &str = "jwt";

// === impl Verifier ===

impl Verifier {
    /// Carries out an authentication of the configuration.
    pub fn new(authentication: &Authentication) -> Self {
        let methods = match &authentication.demands {
            Demands::Closed => None,
            // Without a method nobody could say who he is.
            Demands::Credentials(methods) if methods.has_any() => Methods::new(methods),
            Demands::Credentials(_) => None,
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
        let each = |it: &Methods| {
            [it.api_keys.as_ref().map(|_| API_KEY), it.jwt.as_ref().map(|_| JWT)].into_iter().flatten()
        };
        self.methods.iter().flat_map(each).collect::<SmallVec<[_; 2]>>().into_iter()
    }

    /// Headers of requests that only this proxy sets, whoever the client is. One that only observes changes nothing.
    pub fn owned(&self) -> &[HeaderName] {
        match &self.methods {
            Some(it) if !self.is_observed() => &it.owned,
            _ => &[],
        }
    }

    /// Whether there is anything that needs no credentials.
    pub fn has_exemptions(&self) -> bool {
        self.methods.as_ref().is_some_and(|it| !it.exempt.is_empty())
    }

    /// Whether a request needs no credentials. As in an Allow, a condition that cannot be judged does not hold.
    pub fn exempts(&self, attributes: &Attributes<'_>) -> bool {
        let matches = |it: &Rule| it.matches(attributes, Action::Allow);
        self.methods.as_ref().is_some_and(|it| it.exempt.iter().any(matches))
    }

    /// What it says of a request, at a time in seconds since 1970. Each method has to be met, or one of
    /// them; where credentials are optional, a request that has none at all passes. One that is closed and only observes says nothing against any.
    pub fn verify(&self, presented: Presented<'_>, now: u64, tokens: &TokenCache) -> Verdict<'_> {
        let Some(methods) = &self.methods else { return Verdict::Anonymous };
        let mut accepted = Accepted::default();
        let (mut absent, mut invalid, mut is_any_there) = (None, None, false);
        if let Some(jwt) = &methods.jwt {
            match jwt.verify(presented, now, tokens) {
                Ok(Some(it)) => {
                    is_any_there = true;
                    accepted.told.extend(it.told);
                    accepted.stripped.push(it.stripped);
                }
                Ok(None) => {
                    absent.get_or_insert(Refusal::of_token(Why::Absent));
                }
                Err(why) => {
                    accepted.stripped.extend(jwt.stripped());
                    invalid.get_or_insert(Refusal::of_token(why));
                }
            }
        }
        if let Some(keys) = &methods.api_keys {
            match keys.verify(presented) {
                Ok(Some(client)) => {
                    is_any_there = true;
                    accepted.told.extend(keys.told(client));
                    accepted.stripped.push(keys.stripped());
                }
                Ok(None) => {
                    absent.get_or_insert_with(|| Refusal::of_key(keys, Why::Absent));
                }
                Err(why) => {
                    accepted.stripped.push(keys.stripped());
                    invalid.get_or_insert(Refusal::of_key(keys, why));
                }
            }
        }
        let is_met = match methods.satisfy {
            Satisfy::All => invalid.is_none() && absent.is_none(),
            Satisfy::Any => is_any_there,
        };
        match invalid.or(absent) {
            _ if is_met => Verdict::Accepted(accepted),
            Some(it) if it.why != Why::Absent || is_any_there || !methods.optional => Verdict::Refused(it),
            _ => Verdict::Anonymous,
        }
    }
}

// === impl Refusal ===

impl Refusal {
    fn of_key(keys: &ApiKeyVerifier, why: Why) -> Self {
        Self { method: API_KEY, why, challenge: keys.challenge() }
    }

    /// RFC 6750 §3.1: who has sent no token is not told of an error.
    fn of_token(why: Why) -> Self {
        let challenge = match why {
            Why::Absent => "Bearer",
            _ => "Bearer error=\"invalid_token\"",
        };
        Self { method: JWT, why, challenge: HeaderValue::from_static(challenge) }
    }
}

/// What it asks for, for operators and without secrets.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(methods) = &self.methods else { return f.write_str("cannot be carried out") };
        if let Some(jwt) = &methods.jwt {
            let join = if methods.satisfy == Satisfy::Any { ", or " } else { ", and " };
            write!(f, "{jwt}{}", if methods.api_keys.is_some() { join } else { "" })?;
        }
        if let Some(keys) = &methods.api_keys {
            write!(f, "{keys}")?;
        }
        f.write_str(if methods.exempt.is_empty() { "" } else { "; not of every request" })?;
        f.write_str(if methods.optional { ", or no credentials" } else { "" })?;
        f.write_str(if self.is_observed() { "; only observed" } else { "" })
    }
}

// === impl Methods ===

impl Methods {
    /// None if it cannot be carried out.
    fn new(methods: &CredentialMethods) -> Option<Self> {
        let api_keys = methods.api_keys.as_ref().map(ApiKeyVerifier::new);
        let jwt = match methods.jwt.as_slice() {
            [] => None,
            providers => Some(JwtVerifier::new(providers)?),
        };
        let of_keys = api_keys.iter().filter_map(ApiKeyVerifier::client_header);
        let mut owned: Vec<_> = of_keys.chain(jwt.iter().flat_map(JwtVerifier::owned)).cloned().collect();
        owned.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        owned.dedup();
        // One without conditions would exempt everything.
        let exempt = methods.exempt.iter().filter(|it| !it.is_empty());
        let exempt = exempt.map(|it| Rule::when(it.clone())).collect();
        let CredentialMethods { optional, satisfy, .. } = *methods;
        Some(Self { optional, satisfy, exempt, api_keys, jwt, owned: owned.into() })
    }
}
