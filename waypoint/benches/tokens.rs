//! What a token costs a request: one that is remembered, and one that is verified. `cargo bench -p fairway-waypoint --bench tokens`. One that
//! is remembered is to cost 1 µs at most.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fairway_config::model::{ClaimHeader, CredentialPlace, JwtProvider};
use fairway_waypoint::authentication::{JwtVerifier, Presented, TokenCache};
use http::{HeaderName, Request};
use std::hint::black_box;
use tokio::time::Instant;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUESTS: u32 = 200_000;
const NOW: u64 = 1_800_000_000;

fn main() {
    for bytes in [100, 500, 2_000] {
        let token = token(bytes);
        let request = Request::builder().header("authorization", format!("Bearer {token}"));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let verifier = JwtVerifier::new(&[provider()]).expect("keys");
        for (what, is_remembered) in [("remembered", true), ("verified", false)] {
            let cache = TokenCache::default();
            let began = Instant::now();
            for _ in 0..REQUESTS {
                let fresh = TokenCache::default();
                let cache = if is_remembered { &cache } else { &fresh };
                let found = verifier.verify(black_box(Presented::of(&parts)), NOW, cache);
                assert!(black_box(found).is_ok_and(|it| it.is_some()));
            }
            let each = began.elapsed().as_nanos() / u128::from(REQUESTS);
            println!("a token of {:>4} bytes, {what:<10} {each:>6} ns a request", token.len());
        }
    }
}

const SECRET: [u8; 32] = [7; 32];

fn token(filler: usize) -> String {
    let claims = format!(
        r#"{{"iss":"https://a.ex","aud":"shop","sub":"ada","exp":{},"x":"{}"}}"#,
        NOW + 3600,
        "x".repeat(filler)
    );
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn provider() -> JwtProvider {
    JwtProvider {
        name: "a".into(),
        issuer: "https://a.ex".into(),
        audiences: vec!["shop".into()],
        key_set: format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, URL_SAFE_NO_PAD.encode(SECRET)).into(),
        places: vec![CredentialPlace::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() }],
        forward: false,
        claims: vec![ClaimHeader { claim: "sub".into(), header: HeaderName::from_static("x-user") }],
    }
}
