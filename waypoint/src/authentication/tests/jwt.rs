//! Tokens: which are taken, and what is said of those that are not.

use super::{header, request};
use crate::authentication::{JwtVerifier, Presented, TokenCache, Why};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fairway_config::model::{ClaimHeader, CredentialPlace, JwtProvider};
use http::HeaderName;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

/// The present of these tests.
const NOW: u64 = 1_800_000_000;

/// A secret of an issuer, and its key set.
const SECRET: [u8; 32] = [7; 32];

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn secrets(ids: &[&str]) -> String {
    let key = |id: &&str| json!({ "kty": "oct", "kid": id, "k": b64(SECRET) });
    json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() }).to_string()
}

fn provider(issuer: &str, key_set: String) -> JwtProvider {
    let claim = |claim: &str, header: &'static str| ClaimHeader {
        claim: claim.into(),
        header: HeaderName::from_static(header),
    };
    JwtProvider {
        name: issuer.into(),
        issuer: issuer.into(),
        audiences: vec!["shop".into(), "blog".into()],
        key_set: key_set.into(),
        places: vec![header("authorization", "Bearer ")],
        forward: false,
        claims: vec![claim("sub", "x-user"), claim("realm.roles", "x-roles"), claim("n", "x-n")],
    }
}

fn claims() -> Value {
    json!({ "iss": "https://a.ex", "aud": "shop", "sub": "ada", "exp": NOW + 10 })
}

fn with(base: Value, more: Value) -> Value {
    let mut base = base;
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => drop(base.as_object_mut().unwrap().insert(name.clone(), value.clone())),
        }
    }
    base
}

fn sign(secret: &[u8], message: &str) -> String {
    b64(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()))
}

/// A token with this head, signed with the secret.
fn signed(head: Value, claims: Value) -> String {
    let message = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
    format!("{message}.{}", sign(&SECRET, &message))
}

fn usual_head() -> Value {
    json!({ "alg": "HS256", "kid": "a" })
}

/// Who the backend is told that the client is.
fn verified(verifier: &JwtVerifier, token: &str, now: u64) -> Result<Vec<(String, String)>, Why> {
    let parts = request("/", &[("authorization", &format!("Bearer {token}"))]);
    let found = verifier.verify(Presented::of(&parts), now, &TokenCache::default())?.unwrap();
    assert_eq!(found.stripped.len(), 1);
    let told =
        found.told.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    Ok(told.collect())
}

fn verifier(key_set: String) -> JwtVerifier {
    JwtVerifier::new(&[provider("https://b.ex", secrets(&["b"])), provider("https://a.ex", key_set)]).unwrap()
}

#[test]
fn a_token_is_taken_if_all_of_it_is_right_and_else_it_is_not() {
    let verifier = verifier(secrets(&["a", "c"]));
    let user = |name: &str| Ok(vec![("x-user".to_owned(), name.to_owned())]);
    let (head, far) = (usual_head(), NOW + 1000);
    for (head, claims, expected) in [
        (head.clone(), claims(), user("ada")),
        (json!({ "alg": "HS256", "kid": "c", "typ": "JWT" }), claims(), user("ada")),
        (head.clone(), with(claims(), json!({ "aud": ["other", "blog"] })), user("ada")),
        (head.clone(), with(claims(), json!({ "nbf": NOW + 60, "iat": far })), user("ada")),
        (head.clone(), with(claims(), json!({ "exp": NOW - 59 })), user("ada")),
        (head.clone(), with(claims(), json!({ "exp": (NOW + 5) as f64 + 0.5 })), user("ada")),
        (head.clone(), with(claims(), json!({ "exp": NOW - 60 })), Err(Why::Expired)),
        (head.clone(), with(claims(), json!({ "exp": null })), Err(Why::NoEnd)),
        (head.clone(), with(claims(), json!({ "exp": "4000000000" })), Err(Why::NoEnd)),
        (head.clone(), with(claims(), json!({ "exp": -1 })), Err(Why::NoEnd)),
        (head.clone(), with(claims(), json!({ "nbf": NOW + 61 })), Err(Why::NotYet)),
        (head.clone(), with(claims(), json!({ "nbf": "soon" })), Err(Why::NotYet)),
        (head.clone(), with(claims(), json!({ "aud": "other" })), Err(Why::Audience)),
        (head.clone(), with(claims(), json!({ "aud": null })), Err(Why::Audience)),
        (head.clone(), with(claims(), json!({ "aud": ["Shop", "shop "] })), Err(Why::Audience)),
        (head.clone(), with(claims(), json!({ "iss": "https://a.ex/" })), Err(Why::UnknownIssuer)),
        (head.clone(), with(claims(), json!({ "iss": ["https://a.ex"] })), Err(Why::UnknownIssuer)),
        (head.clone(), with(claims(), json!({ "iss": null })), Err(Why::UnknownIssuer)),
        // Its own issuer's keys, and no other's.
        (head, with(claims(), json!({ "iss": "https://b.ex" })), Err(Why::UnknownKey)),
        (json!({ "alg": "HS256", "kid": "b" }), claims(), Err(Why::UnknownKey)),
        // Several keys are not tried.
        (json!({ "alg": "HS256" }), claims(), Err(Why::UnknownKey)),
        (json!({ "alg": "HS512", "kid": "a" }), claims(), Err(Why::UnknownKey)),
        (json!({ "alg": "none", "kid": "a" }), claims(), Err(Why::UnknownKey)),
        (json!({ "alg": "hs256", "kid": "a" }), claims(), Err(Why::UnknownKey)),
        (json!({ "kid": "a" }), claims(), Err(Why::Malformed)),
        (json!({ "alg": "HS256", "kid": "a", "crit": ["exp"] }), claims(), Err(Why::Malformed)),
        (json!({ "alg": "HS256", "kid": "a", "b64": false }), claims(), Err(Why::Malformed)),
        (json!([]), claims(), Err(Why::Malformed)),
    ] {
        let token = signed(head.clone(), claims.clone());
        assert_eq!(verified(&verifier, &token, NOW), expected, "{head} {claims}");
    }
}

#[test]
fn a_token_that_was_changed_or_is_none_is_not_taken() {
    let verifier = verifier(secrets(&["a"]));
    let token = signed(usual_head(), claims());
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let other = b64(with(claims(), json!({ "sub": "eve" })).to_string());
    let none = b64(json!({ "alg": "none", "kid": "a" }).to_string());
    let twice = b64(r#"{"alg":"none","alg":"HS256","kid":"a"}"#);
    for (token, why) in [
        (format!("{head}.{other}.{signature}"), Why::Signature),
        (format!("{head}.{payload}."), Why::Signature),
        (format!("{head}.{payload}.{}", b64([0; 32])), Why::Signature),
        (format!("{none}.{payload}."), Why::UnknownKey),
        (format!("{twice}.{payload}.{signature}"), Why::Malformed),
        (format!("{head}.{payload}"), Why::Malformed),
        (format!("{head}.{payload}.{signature}.x"), Why::Malformed),
        (format!("{head}=.{payload}.{signature}"), Why::Malformed),
        (String::new(), Why::Malformed),
        ("..".to_owned(), Why::Malformed),
        ("a".repeat(8193), Why::TooLong),
    ] {
        assert_eq!(verified(&verifier, &token, NOW), Err(why), "{token}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // The classic: the token says HS256, and is signed with the public key as the secret.
    let pair = KeyPair::generate().unwrap();
    let point = pair.der_bytes();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..65]));
    let key_set =
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y }] }).to_string();
    let verifier = verifier(key_set);
    let message = format!("{}.{}", b64(usual_head().to_string()), b64(claims().to_string()));
    let signature = sign(point, &message);
    assert_eq!(verified(&verifier, &format!("{message}.{signature}"), NOW), Err(Why::UnknownKey));
    // With the private key it is one.
    let head = json!({ "alg": "ES256", "kid": "a" });
    let message = format!("{}.{}", b64(head.to_string()), b64(claims().to_string()));
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der()).unwrap();
    let signature = b64(key.sign(&rand::SystemRandom::new(), message.as_bytes()).unwrap());
    assert!(verified(&verifier, &format!("{message}.{signature}"), NOW).is_ok());
}

#[test]
fn backends_are_told_claims_so_that_no_part_of_one_can_be_taken_for_another() {
    let verifier = verifier(secrets(&["a"]));
    let told = |more: Value| {
        let told = verified(&verifier, &signed(usual_head(), with(claims(), more)), NOW).unwrap();
        told.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    for (more, expected) in [
        (
            json!({ "n": 7, "realm": { "roles": ["a", "b,admin"] } }),
            &["x-user=ada", "x-roles=[\"a\",\"b,admin\"]", "x-n=7"][..],
        ),
        (json!({ "realm.roles": "flat", "realm": { "roles": "deep" } }), &["x-user=ada", "x-roles=flat"]),
        (json!({ "sub": "a\r\nx: y" }), &[]),
        (json!({ "sub": "ä", "n": true }), &["x-n=true"]),
        (json!({ "sub": " ada" }), &[]),
        (json!({ "sub": "", "realm": "roles" }), &["x-user="]),
    ] {
        assert_eq!(told(more.clone()), expected, "{more}");
    }
}

#[test]
fn what_was_verified_is_remembered_for_its_verifier_and_until_it_is_over() {
    let cache = TokenCache::default();
    let (first, second) = (verifier(secrets(&["a"])), verifier(secrets(&["other"])));
    let token = signed(usual_head(), claims());
    let parts = request("/", &[("authorization", &format!("Bearer {token}"))]);
    let user = |verifier: &JwtVerifier, now| {
        verifier.verify(Presented::of(&parts), now, &cache).map(|it| it.unwrap().told[0].1.clone())
    };
    assert_eq!(user(&first, NOW).unwrap(), "ada");
    assert_eq!(user(&first, NOW).unwrap(), "ada");
    assert_eq!(user(&second, NOW), Err(Why::UnknownKey), "what one has verified is nothing to another");
    assert_eq!(user(&first, NOW + 69).unwrap(), "ada");
    assert_eq!(user(&first, NOW + 70), Err(Why::Expired));
}

#[test]
fn the_first_place_with_a_token_decides() {
    let mut of_cookie = provider("https://b.ex", secrets(&["a"]));
    of_cookie.places = vec![CredentialPlace::Cookie("t".into())];
    let verifier = JwtVerifier::new(&[provider("https://a.ex", secrets(&["a"])), of_cookie]).unwrap();
    let (of_a, of_b) = (
        signed(usual_head(), claims()),
        signed(usual_head(), with(claims(), json!({ "iss": "https://b.ex" }))),
    );
    let ask = |headers: &[(&str, &str)]| {
        let cache = TokenCache::default();
        verifier.verify(Presented::of(&request("/", headers)), NOW, &cache).map(|it| it.is_some())
    };
    let (bearer_a, bearer_b) = (format!("Bearer {of_a}"), format!("bearer {of_b}"));
    assert_eq!(ask(&[]), Ok(false));
    assert_eq!(ask(&[("authorization", &bearer_a)]), Ok(true));
    assert_eq!(ask(&[("cookie", &format!("t={of_b}"))]), Ok(true));
    // A provider takes tokens from its own places.
    assert_eq!(ask(&[("authorization", &bearer_b)]), Err(Why::UnknownIssuer));
    assert_eq!(
        ask(&[("authorization", "Bearer none"), ("cookie", &format!("t={of_b}"))]),
        Err(Why::Malformed)
    );
    assert_eq!(ask(&[("authorization", "Basic none"), ("cookie", &format!("t={of_b}"))]), Ok(true));
}
