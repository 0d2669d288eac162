//! How clients say who they are.

use super::authorization::require;
use super::{Capabilities, Capability, References, Requires};
use fairway_policy::{Condition, Mode};
use http::HeaderName;
use std::fmt;
use std::sync::Arc;

/// What one policy asks of whoever comes by a listener, a rule or a backend that names it. All that are named have to be met.
#[derive(Clone, Debug, PartialEq)]
pub struct Authentication {
    /// What listeners, rules and backends call it by.
    pub name: Arc<str>,
    /// Whether what it decides counts.
    pub mode: Mode,
    /// What it asks for.
    pub demands: Demands,
}

/// What a policy asks for, as far as it can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Demands {
    /// It cannot: nothing passes.
    Closed,
    /// Credentials of these methods.
    Credentials(CredentialMethods),
}

/// The methods of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CredentialMethods {
    /// Whether a request without credentials passes. One whose credentials are not valid never does.
    pub optional: bool,
    /// How many of the methods have to be met.
    pub satisfy: Satisfy,
    /// What needs no credentials: what one of these lists of conditions matches. As in an Allow, a condition that cannot be judged does
    /// not hold.
    pub exempt: Vec<Vec<Condition>>,
    /// Keys that clients send.
    pub api_keys: Option<ApiKeys>,
    /// Issuers of tokens that clients send. Empty: no token is asked for.
    pub jwt: Vec<JwtProvider>,
}

/// How many of a policy's methods have to be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Satisfy {
    /// Each of those that are there.
    #[default]
    All,
    /// One of those that are there.
    Any,
}

/// Keys that clients send.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeys {
    /// Whose keys there are. No key stands twice.
    pub keys: Vec<ClientKey>,
    /// Where a key is looked for, in this order; never empty.
    pub places: Vec<CredentialPlace>,
    /// Whether the key goes on to the backend.
    pub forward: bool,
    /// The header that tells the backend who the client is. No client can set it.
    pub client_header: Option<HeaderName>,
}

/// A client's key, as far as it is known here: its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// What the client is called.
    pub client: Arc<str>,
    /// The SHA-256 of the key.
    pub digest: [u8; 32],
}

/// An issuer of tokens. Which one a token is of is what it says itself.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtProvider {
    /// As the user named it.
    pub name: Arc<str>,
    /// What its tokens have as `iss`.
    pub issuer: Arc<str>,
    /// One of them has to be in `aud`; if there are none, nobody looks there.
    pub audiences: Vec<Arc<str>>,
    /// Its keys: a JSON Web Key Set, as text.
    pub key_set: Arc<str>,
    /// Where its tokens are looked for, in this order; never empty.
    pub places: Vec<CredentialPlace>,
    /// Whether the token goes on to the backend.
    pub forward: bool,
    /// What the backend is told. No client can set these headers.
    pub claims: Vec<ClaimHeader>,
}

/// A claim that a backend is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHeader {
    /// Its name, or the names of those around it, joined by dots.
    pub claim: Arc<str>,
    /// The header that tells it, in lower case.
    pub header: HeaderName,
}

/// Where credentials stand in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// A header has them.
    Header {
        /// Its name, in lower case.
        name: HeaderName,
        /// What stands before them, without regard to case; empty if nothing does.
        prefix: Arc<str>,
    },
    /// A cookie of this name has them.
    Cookie(Arc<str>),
    /// A parameter of the query has them.
    Query(Arc<str>),
}

// === impl CredentialMethods ===

impl CredentialMethods {
    /// Whether it has a method at all.
    pub fn has_any(&self) -> bool {
        let Self { optional: _, satisfy: _, exempt: _, api_keys, jwt } = self;
        api_keys.is_some() || !jwt.is_empty()
    }
}

// === impl ClientKey ===

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A short key could be found by its digest.
        f.debug_struct("ClientKey").field("client", &self.client).finish_non_exhaustive()
    }
}

// === impl Authentication ===

impl Authentication {
    /// One that lets nothing pass.
    pub fn closed(name: Arc<str>, mode: Mode) -> Self {
        Self { name, mode, demands: Demands::Closed }
    }
}

impl References for Authentication {}

impl Requires for Authentication {
    fn requires(&self) -> Capabilities {
        let mut required = Capabilities::from_iter([Capability::Authentication]);
        if let Demands::Credentials(methods) = &self.demands {
            methods.exempt.iter().flatten().for_each(|it| require(it, &mut required));
            required.extend(methods.api_keys.as_ref().map(|_| Capability::ApiKeys));
            required.extend(methods.jwt.first().map(|_| Capability::Jwt));
        }
        required
    }

    /// Who does not authenticate gets nothing: what names it is closed there. One that does not know a method lets nobody pass.
    fn closed_for(&self, known: Capabilities) -> Option<Self> {
        known.contains(Capability::Authentication).then(|| Self::closed(self.name.clone(), self.mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_does_not_authenticate_gets_nothing_and_one_that_does_not_know_a_method_is_closed() {
        let place = CredentialPlace::Cookie("key".into());
        let keys = ApiKeys { keys: vec![], places: vec![place], forward: false, client_header: None };
        let methods = CredentialMethods { api_keys: Some(keys), ..CredentialMethods::default() };
        let written =
            Authentication { name: "p".into(), mode: Mode::Enforce, demands: Demands::Credentials(methods) };
        assert_eq!(
            written.requires(),
            Capabilities::from_iter([Capability::Authentication, Capability::ApiKeys])
        );
        assert_eq!(written.closed_for(Capabilities::FIRST_EDITION), None);
        let closed = written.closed_for(Capabilities::from_iter([Capability::Authentication])).unwrap();
        assert_eq!(closed.demands, Demands::Closed);
    }

    #[test]
    fn a_digest_is_in_no_log() {
        let key = ClientKey { client: "ada".into(), digest: [7; 32] };
        assert_eq!(format!("{key:?}"), "ClientKey { client: \"ada\", .. }");
    }
}
