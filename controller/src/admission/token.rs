//! What can be seen of a token without asking anybody: that it cannot be one of ours.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// No token of a service account is longer.
const LONGEST: usize = 16 * 1024;
/// How much the clocks of the API server and of this program may differ.
const SKEW: u64 = 60;

/// Why a token cannot be one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Implausible {
    /// Nothing, or far too much.
    #[error("it is empty, or longer than any")]
    Length,
    /// Not what service accounts have.
    #[error("it is not a JSON Web Token")]
    Form,
    /// Its `aud` names others; with the audience that is asked for.
    #[error("it is not for the audience {0}; mount one that is")]
    Audience(&'static str),
    /// Its `exp` is past.
    #[error("it has expired")]
    Expired,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    exp: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    Nobody,
    One(String),
    Many(Vec<String>),
}

/// Refuses what the API server would certainly refuse: to ask it costs more than to be asked. It proves nothing: the signature
/// is for the API server to judge.
pub fn check(token: &str, audience: &'static str, now: SystemTime) -> Result<(), Implausible> {
    if token.is_empty() || token.len() > LONGEST {
        return Err(Implausible::Length);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Implausible::Form);
    };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Implausible::Form);
    if decoded(header)?.is_empty() || decoded(signature)?.is_empty() {
        return Err(Implausible::Form);
    }
    let claims: Claims = serde_json::from_slice(&decoded(claims)?).map_err(|_| Implausible::Form)?;
    let is_ours = match &claims.aud {
        Audience::Nobody => false,
        Audience::One(one) => one == audience,
        Audience::Many(many) => many.iter().any(|it| it == audience),
    };
    if !is_ours {
        return Err(Implausible::Audience(audience));
    }
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    match claims.exp {
        Some(until) if until + (SKEW as f64) < now as f64 => Err(Implausible::Expired),
        _ => Ok(()),
    }
}

/// A token as a service account has it, but for the signature.
#[cfg(test)]
pub(super) fn like(name: &str) -> String {
    let part = |it: serde_json::Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let header = part(serde_json::json!({"alg": "RS256"}));
    let claims = part(serde_json::json!({"aud": ["fairway.dev"], "exp": 4_000_000_000u64, "sub": name}));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode("signature"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_cannot_be_a_token_of_ours_is_seen_without_asking() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (token, verdict) in [
            (like("web"), Ok(())),
            (token(r#"{"aud":"fairway.dev"}"#), Ok(())),
            (token(r#"{"aud":["x","fairway.dev"],"exp":999950}"#), Ok(())),
            (token(r#"{"aud":["fairway.dev"],"exp":999900}"#), Err(Implausible::Expired)),
            (
                token(r#"{"aud":["https://kubernetes.default.svc"]}"#),
                Err(Implausible::Audience("fairway.dev")),
            ),
            (token("{}"), Err(Implausible::Audience("fairway.dev"))),
            (token("[]"), Err(Implausible::Audience("fairway.dev"))),
            (token("[1]"), Err(Implausible::Form)),
            (token(r#"{"aud":{}}"#), Err(Implausible::Form)),
            (token("not json"), Err(Implausible::Form)),
            ("garbage".to_owned(), Err(Implausible::Form)),
            ("a.b".to_owned(), Err(Implausible::Form)),
            ("a.b.c.d".to_owned(), Err(Implausible::Form)),
            ("e30.!.c2ln".to_owned(), Err(Implausible::Form)),
            (".e30.".to_owned(), Err(Implausible::Form)),
            (String::new(), Err(Implausible::Length)),
            ("a".repeat(LONGEST + 1), Err(Implausible::Length)),
        ] {
            assert_eq!(check(&token, "fairway.dev", now), verdict, "{token:.80}");
        }
    }
}
