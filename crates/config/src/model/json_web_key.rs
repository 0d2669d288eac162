//! JSON Web Keys (RFC 7517): what tokens are verified with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Keys that an issuer signs its tokens with, as far as they can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonWebKeySet {
    /// The keys, in the order of the set.
    pub keys: Vec<JsonWebKey>,
}

/// One of them. It is used with one algorithm and no other, whatever a token says (RFC 8725 §3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct JsonWebKey {
    /// What tokens call it by.
    pub id: Option<Arc<str>>,
    /// What it is used for.
    pub algorithm: SigningAlgorithm,
    /// The numbers that it is made of.
    pub material: KeyMaterial,
}

/// The numbers of a key.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the member of that name in RFC 7518 §6")]
pub enum KeyMaterial {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { x: Vec<u8>, y: Vec<u8> },
    Ed { x: Vec<u8> },
    Secret { k: Vec<u8> },
}

/// How tokens are signed (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the value of `alg` of that name")]
pub enum SigningAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// Whether secrets may be among the keys. Who publishes a set publishes no secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They may, as a user has written them.
    Allowed,
    /// They are passed over.
    PassedOver,
}

/// Why a text is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// It is not JSON, or not of that form.
    #[error("it is no JSON Web Key Set: {0}")]
    Malformed(String),
    /// None of its keys can be used.
    #[error("it has no key that tokens can be verified with{}", .0.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    NoKey(Option<String>),
    /// It has more keys than an issuer has.
    #[error("it has {0} keys, and a set has at most {MOST_KEYS}")]
    TooMany(usize),
}

/// As many keys a set has at most.
const MOST_KEYS: usize = 64;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

// === impl JsonWebKeySet ===

impl JsonWebKeySet {
    /// Reads a set. Keys that cannot be used are passed over, as RFC 7517 §5 has it: an issuer may have keys for others.
    pub fn parse(text: &str, secrets: Secrets) -> Result<Self, InvalidKeySet> {
        let set: Set = serde_json::from_str(text).map_err(|it| InvalidKeySet::Malformed(it.to_string()))?;
        if set.keys.len() > MOST_KEYS {
            return Err(InvalidKeySet::TooMany(set.keys.len()));
        }
        let (mut keys, mut why) = (Vec::new(), None);
        for (index, written) in set.keys.into_iter().enumerate() {
            match JsonWebKey::read(written, secrets) {
                Ok(key) => keys.push(key),
                Err(reason) => {
                    why.get_or_insert_with(|| format!("keys[{index}] {reason}"));
                }
            }
        }
        if keys.is_empty() { Err(InvalidKeySet::NoKey(why)) } else { Ok(Self { keys }) }
    }

    /// The key that a token names, or the only one if it names none.
    pub fn find(&self, id: Option<&str>, algorithm: SigningAlgorithm) -> Option<&JsonWebKey> {
        match id {
            Some(id) => self.keys.iter().find(|it| it.id.as_deref() == Some(id) && it.algorithm == algorithm),
            None => match self.keys.as_slice() {
                [only] if only.algorithm == algorithm => Some(only),
                _ => None,
            },
        }
    }

    /// Whether a key is called so.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|it| it.id.as_deref() == Some(id))
    }
}

// === impl JsonWebKey ===

impl JsonWebKey {
    fn read(written: serde_json::Value, secrets: Secrets) -> Result<Self, String> {
        let key: Written = serde_json::from_value(written).map_err(|it| format!("is no key: {it}"))?;
        if key.usage.as_deref().is_some_and(|it| it != "sig") {
            return Err("is not for signatures".to_owned());
        }
        if key.key_ops.as_ref().is_some_and(|it| !it.iter().any(|it| it == "verify")) {
            return Err("is not to verify with".to_owned());
        }
        let number = |name: &str, it: &Option<String>| {
            let text = it.as_deref().ok_or_else(|| format!("has no `{name}`"))?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("has a `{name}` that is not base64url"))
        };
        let (kty, crv) = (key.kty.as_str(), key.crv.as_deref());
        let usual = match (kty, crv) {
            ("RSA", _) => SigningAlgorithm::Rs256,
            ("EC", Some("P-256")) => SigningAlgorithm::Es256,
            ("EC", Some("P-384")) => SigningAlgorithm::Es384,
            ("OKP", Some("Ed25519")) => SigningAlgorithm::EdDsa,
            ("oct", _) if secrets == Secrets::Allowed => SigningAlgorithm::Hs256,
            ("oct", _) => return Err("is a secret, and these are no keys to publish".to_owned()),
            _ => return Err(format!("has the type {kty} {}, which is not known", crv.unwrap_or_default())),
        };
        let algorithm = match &key.alg {
            None => usual,
            Some(alg) => SigningAlgorithm::named(alg)
                .filter(|it| it.fits(usual))
                .ok_or_else(|| format!("has the algorithm {alg}, which is not one for {kty}"))?,
        };
        let material = match kty {
            "RSA" => {
                let (n, e) = (number("n", &key.n)?, number("e", &key.e)?);
                let bits = 8 * n.iter().skip_while(|it| **it == 0).count();
                if !(2048..=8192).contains(&bits) {
                    return Err(format!("has {bits} bits: RSA takes 2048 to 8192"));
                }
                KeyMaterial::Rsa { n, e }
            }
            "EC" => {
                let (x, y) = (number("x", &key.x)?, number("y", &key.y)?);
                let length = if algorithm == SigningAlgorithm::Es384 { 48 } else { 32 };
                if x.len() != length || y.len() != length {
                    return Err("has no point of its curve".to_owned());
                }
                KeyMaterial::Ec { x, y }
            }
            "OKP" => {
                let x = number("x", &key.x)?;
                if x.len() != 32 {
                    return Err("has no point of its curve".to_owned());
                }
                KeyMaterial::Ed { x }
            }
            _ => {
                let k = number("k", &key.k)?;
                // RFC 7518 §3.2: as long as the hash.
                let least = match algorithm {
                    SigningAlgorithm::Hs512 => 64,
                    SigningAlgorithm::Hs384 => 48,
                    _ => 32,
                };
                if k.len() < least {
                    return Err(format!("has {} bytes: {} takes {least} or more", k.len(), algorithm.name()));
                }
                KeyMaterial::Secret { k }
            }
        };
        Ok(Self { id: key.kid.map(Into::into), algorithm, material })
    }
}

impl fmt::Debug for JsonWebKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be a secret.
        f.debug_struct("JsonWebKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

// === impl SigningAlgorithm ===

impl SigningAlgorithm {
    const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The one of this name; none if it is not known, as `none` is not.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The value of `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether a key whose usual algorithm is the other one can be used with it.
    fn fits(self, usual: Self) -> bool {
        let is_rsa = |it| {
            matches!(it, Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512)
        };
        let is_secret = |it| matches!(it, Self::Hs256 | Self::Hs384 | Self::Hs512);
        self == usual || is_rsa(self) && is_rsa(usual) || is_secret(self) && is_secret(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn b64(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xa5; bytes])
    }

    fn parse(keys: serde_json::Value, secrets: Secrets) -> Result<JsonWebKeySet, InvalidKeySet> {
        JsonWebKeySet::parse(&json!({ "keys": keys }).to_string(), secrets)
    }

    #[test]
    fn a_key_has_one_algorithm_and_what_is_not_understood_is_passed_over() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": b64(256), "e": "AQAB" });
        let with = |base: &serde_json::Value, more: serde_json::Value| {
            let mut key = base.clone();
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        let ec = json!({ "kty": "EC", "crv": "P-256", "x": b64(32), "y": b64(32) });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(32) });
        let oct = json!({ "kty": "oct", "k": b64(32) });
        for (key, algorithm) in [
            (rsa.clone(), Some(SigningAlgorithm::Rs256)),
            (with(&rsa, json!({ "alg": "PS384" })), Some(SigningAlgorithm::Ps384)),
            (with(&rsa, json!({ "use": "sig", "key_ops": ["verify"] })), Some(SigningAlgorithm::Rs256)),
            (with(&rsa, json!({ "alg": "HS256" })), None),
            (with(&rsa, json!({ "alg": "none" })), None),
            (with(&rsa, json!({ "alg": "rs256" })), None),
            (with(&rsa, json!({ "use": "enc" })), None),
            (with(&rsa, json!({ "key_ops": ["encrypt"] })), None),
            (with(&rsa, json!({ "n": b64(128) })), None),
            (with(&rsa, json!({ "n": "a+b" })), None),
            (ec.clone(), Some(SigningAlgorithm::Es256)),
            (with(&ec, json!({ "alg": "ES384" })), None),
            (with(&ec, json!({ "crv": "P-521" })), None),
            (with(&ec, json!({ "x": b64(31) })), None),
            (ed, Some(SigningAlgorithm::EdDsa)),
            (oct.clone(), Some(SigningAlgorithm::Hs256)),
            (with(&oct, json!({ "alg": "HS512" })), None),
            (with(&oct, json!({ "k": b64(31) })), None),
        ] {
            let read = parse(json!([key]), Secrets::Allowed);
            assert_eq!(read.as_ref().ok().map(|it| it.keys[0].algorithm), algorithm, "{key}: {read:?}");
        }
        assert!(matches!(parse(json!([oct]), Secrets::PassedOver), Err(InvalidKeySet::NoKey(_))));
        let both = parse(json!([oct, rsa, 7, { "kty": "new" }]), Secrets::PassedOver).unwrap();
        assert_eq!(both.keys.len(), 1);
        assert!(matches!(JsonWebKeySet::parse("{}", Secrets::Allowed), Err(InvalidKeySet::Malformed(_))));
        assert!(matches!(parse(json!([]), Secrets::Allowed), Err(InvalidKeySet::NoKey(None))));
        assert!(!format!("{both:?}").contains("165"), "no key is in a log");
    }

    #[test]
    fn a_token_without_a_key_id_is_verified_with_the_only_key_and_never_by_trying_several() {
        let key = |id: &str| json!({ "kty": "oct", "kid": id, "k": b64(32) });
        let two = parse(json!([key("a"), key("b")]), Secrets::Allowed).unwrap();
        let one = parse(json!([key("a")]), Secrets::Allowed).unwrap();
        let hs256 = SigningAlgorithm::Hs256;
        assert!(one.find(None, hs256).is_some() && two.find(None, hs256).is_none());
        assert!(two.find(Some("b"), hs256).is_some());
        assert!(two.find(Some("b"), SigningAlgorithm::Hs384).is_none());
        assert!(one.find(Some("c"), hs256).is_none());
    }
}
