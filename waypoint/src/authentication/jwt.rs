//! JSON Web Tokens (RFC 7519) of issuers whose keys are known.
//!
//! The provider is chosen by what the token says of its issuer, the key by its id, and the algorithm is the key's (RFC 8725). Nothing is
//! tried.

use super::credential::{Extracted, Presented};
use super::token_cache::{Remembered, TokenCache, TokenDigest};
use super::verifier::Why;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fairway_config::model::{
    ClaimHeader, CredentialPlace, JsonWebKey, JsonWebKeySet, JwtProvider, KeyMaterial, Secrets,
    SigningAlgorithm,
};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many bytes a token has at most.
const MOST_BYTES: usize = 8 * 1024;
/// Seconds that the clocks of an issuer and of this proxy may be apart.
const LEEWAY: u64 = 60;

/// Places where a token may stand, and the providers that look there.
type ProvidersAt = (Box<[CredentialPlace]>, Vec<usize>);

/// Verifies the tokens of a policy.
pub struct JwtVerifier {
    /// Tells its results from those of every other in a cache that all share.
    id: u64,
    providers: Box<[Provider]>,
    /// The places in which tokens stand, and the providers that look there.
    places: Box<[ProvidersAt]>,
}

struct Provider {
    name: Arc<str>,
    issuer: Arc<str>,
    audiences: Box<[Arc<str>]>,
    keys: JsonWebKeySet,
    places: Box<[CredentialPlace]>,
    forward: bool,
    claims: Box<[ClaimHeader]>,
}

/// A token that is valid.
#[derive(Debug)]
pub struct Verified<'v> {
    /// What the backend is told of its claims.
    pub told: Vec<(&'v HeaderName, HeaderValue)>,
    /// Where the token stands, if it does not go on.
    pub stripped: &'v [CredentialPlace],
}

/// Of the head of a token what decides. A member that stands twice is refused.
#[derive(Deserialize)]
struct Head {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that have to be understood (RFC 7515 §4.1.11). None is.
    #[serde(default)]
    crit: Option<Value>,
    /// Whether the payload is encoded (RFC 7797). It is.
    #[serde(default)]
    b64: Option<Value>,
}

// === impl JwtVerifier ===

impl JwtVerifier {
    /// The verifier of the tokens of these providers; none if the keys of one of them cannot be read.
    pub fn new(providers: &[JwtProvider]) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let read = |it: &JwtProvider| {
            Some(Provider {
                name: it.name.clone(),
                issuer: it.issuer.clone(),
                audiences: it.audiences.as_slice().into(),
                keys: JsonWebKeySet::parse(&it.key_set, Secrets::Allowed).ok()?,
                places: it.places.as_slice().into(),
                forward: it.forward,
                claims: it.claims.as_slice().into(),
            })
        };
        let providers = providers.iter().map(read).collect::<Option<Box<[Provider]>>>()?;
        let mut places: Vec<ProvidersAt> = Vec::new();
        for (index, it) in providers.iter().enumerate() {
            match places.iter_mut().find(|(at, _)| *at == it.places) {
                Some((_, all)) => all.push(index),
                None => places.push((it.places.clone(), vec![index])),
            }
        }
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Some(Self { id, providers, places: places.into() })
    }

    /// Headers that backends are told by, which no client can set.
    pub fn owned(&self) -> impl Iterator<Item = &HeaderName> {
        self.providers.iter().flat_map(|it| &it.claims).map(|it| &it.header)
    }

    /// Where tokens stand that do not go on, whosever they are.
    pub fn stripped(&self) -> impl Iterator<Item = &[CredentialPlace]> {
        self.providers.iter().filter(|it| !it.forward).map(|it| &*it.places)
    }

    /// Whether a request has a valid token; none if it has no token. `now` is in seconds since 1970.
    pub fn verify(
        &self,
        presented: Presented<'_>,
        now: u64,
        cache: &TokenCache,
    ) -> Result<Option<Verified<'_>>, Why> {
        for (places, providers) in &self.places {
            match presented.first(places) {
                Extracted::Absent => {}
                Extracted::Many => return Err(Why::Many),
                Extracted::One(token) => return self.verify_token(&token, providers, now, cache).map(Some),
            }
        }
        Ok(None)
    }

    fn verify_token(
        &self,
        token: &[u8],
        providers: &[usize],
        now: u64,
        cache: &TokenCache,
    ) -> Result<Verified<'_>, Why> {
        if token.len() > MOST_BYTES {
            return Err(Why::TooLong);
        }
        let digest = TokenDigest::of(self.id, token);
        if let Some(remembered) = cache.get(&digest, now)
            && let Some(provider) = self.providers.get(remembered.provider)
        {
            return Ok(provider.accept(remembered.told.iter().cloned()));
        }
        let (provider, expires, claims) = self.judge(token, providers, now)?;
        let it = self.providers.get(provider).ok_or(Why::UnknownIssuer)?;
        let told: Box<[Option<HeaderValue>]> = it.claims.iter().map(|it| told(&claims, &it.claim)).collect();
        cache.put(Remembered { digest, expires, provider, told: told.clone() });
        Ok(it.accept(told.into_iter()))
    }

    /// The provider of a token, when it is over, and what it says.
    fn judge(
        &self,
        token: &[u8],
        providers: &[usize],
        now: u64,
    ) -> Result<(usize, u64, Map<String, Value>), Why> {
        let token = std::str::from_utf8(token).map_err(|_| Why::Malformed)?;
        let (message, signature) = token.rsplit_once('.').ok_or(Why::Malformed)?;
        let (head, payload) = message.split_once('.').ok_or(Why::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Why::Malformed);
        let head: Head = serde_json::from_slice(&decode(head)?).map_err(|_| Why::Malformed)?;
        if head.crit.is_some() || head.b64.is_some() {
            return Err(Why::Malformed);
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(&decode(payload)?).map_err(|_| Why::Malformed)?;
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Why::UnknownIssuer)?;
        let of_issuer = |it: &&usize| self.providers.get(**it).is_some_and(|it| *it.issuer == *issuer);
        let index = *providers.iter().find(of_issuer).ok_or(Why::UnknownIssuer)?;
        let provider = self.providers.get(index).ok_or(Why::UnknownIssuer)?;
        let algorithm = SigningAlgorithm::named(&head.alg).ok_or(Why::UnknownKey)?;
        let key = provider.keys.find(head.kid.as_deref(), algorithm).ok_or(Why::UnknownKey)?;
        let signature = decode(signature)?;
        if !is_signed(key, message.as_bytes(), &signature) {
            return Err(Why::Signature);
        }
        let expires = provider.check(&claims, now)?;
        Ok((index, expires, claims))
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier").field("issuers", &self.to_string()).finish_non_exhaustive()
    }
}

/// What it asks for.
impl fmt::Display for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token of ")?;
        for (index, it) in self.providers.iter().enumerate() {
            let or = if index == 0 { "" } else { " or " };
            write!(f, "{or}{} ({})", it.name, it.issuer)?;
        }
        Ok(())
    }
}

// === impl Provider ===

impl Provider {
    /// When a token with these claims is over, if it is good now.
    fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<u64, Why> {
        let expires = claims.get("exp").and_then(seconds).ok_or(Why::NoEnd)?;
        let expires = expires.saturating_add(LEEWAY);
        if expires <= now {
            return Err(Why::Expired);
        }
        match claims.get("nbf").map(seconds) {
            None => {}
            Some(Some(from)) if from <= now.saturating_add(LEEWAY) => {}
            Some(_) => return Err(Why::NotYet),
        }
        let is_ours =
            |it: &Value| it.as_str().is_some_and(|it| self.audiences.iter().any(|ours| **ours == *it));
        let is_for_us = match claims.get("aud") {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if is_for_us { Ok(expires) } else { Err(Why::Audience) }
    }

    fn accept(&self, told: impl Iterator<Item = Option<HeaderValue>>) -> Verified<'_> {
        let told = self.claims.iter().zip(told).filter_map(|(it, value)| Some((&it.header, value?)));
        Verified { told: told.collect(), stripped: if self.forward { &[] } else { &self.places } }
    }
}

/// A time in seconds since 1970, which may have a fraction (RFC 7519 §2). One before is never.
fn seconds(value: &Value) -> Option<u64> {
    match value.as_u64() {
        Some(whole) => Some(whole),
        None => {
            let number = value.as_f64().filter(|it| (0.0..9e15).contains(it))?;
            // Within what was just said.
            Some(number as u64)
        }
    }
}

/// What a backend is told of a claim: text as it is, everything else as JSON, so that no part of it can be taken for another one.
fn told(claims: &Map<String, Value>, name: &str) -> Option<HeaderValue> {
    let text = match find(claims, name)? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_text = text.bytes().all(|it| it == b' ' || it.is_ascii_graphic());
    // What no header can say is not said. Blanks around it would be lost.
    if !is_text || text.trim() != text {
        return None;
    }
    HeaderValue::from_str(&text).ok()
}

/// A claim: by its name, or by the names of those around it, joined by dots.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (outer, inner) = name.split_once('.')?;
    find(claims.get(outer)?.as_object()?, inner)
}

/// Whether the message is signed with a key, by the algorithm of the key.
fn is_signed(key: &JsonWebKey, message: &[u8], signature: &[u8]) -> bool {
    let verified = match (&key.material, key.algorithm) {
        (KeyMaterial::Secret { k }, algorithm) => {
            let hash = match algorithm {
                SigningAlgorithm::Hs384 => hmac::HMAC_SHA384,
                SigningAlgorithm::Hs512 => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            };
            hmac::verify(&hmac::Key::new(hash, k), message, signature)
        }
        (KeyMaterial::Rsa { n, e }, algorithm) => {
            let parameters = match algorithm {
                SigningAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                SigningAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                SigningAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                SigningAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                SigningAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                _ => &signature::RSA_PKCS1_2048_8192_SHA256,
            };
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
        }
        (KeyMaterial::Ec { x, y }, algorithm) => {
            let point = [&[0x04], x.as_slice(), y].concat();
            let curve = match algorithm {
                SigningAlgorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
                _ => &signature::ECDSA_P256_SHA256_FIXED,
            };
            UnparsedPublicKey::new(curve, point).verify(message, signature)
        }
        (KeyMaterial::Ed { x }, _) => {
            UnparsedPublicKey::new(&signature::ED25519, x).verify(message, signature)
        }
    };
    verified.is_ok()
}
