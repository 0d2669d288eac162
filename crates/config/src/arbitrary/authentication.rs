//! Authentications for property tests.

use super::{condition, name, route, text};
use crate::model::{
    ApiKeys, Authentication, ClaimHeader, ClientKey, CredentialMethods, CredentialPlace, Demands,
    JwtProvider, Satisfy,
};
use fairway_policy::Mode;
use proptest::collection::{hash_map, vec};
use proptest::option::of;
use proptest::prelude::*;

/// Authentications by every method, and closed ones.
pub fn authentication() -> impl Strategy<Value = Authentication> {
    let mode = prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)];
    let demands = prop_oneof![
        1 => Just(Demands::Closed),
        4 => methods().prop_map(Demands::Credentials),
    ];
    (name(), mode, demands).prop_map(|(name, mode, demands)| Authentication { name, mode, demands })
}

fn methods() -> impl Strategy<Value = CredentialMethods> {
    let jwt = hash_map(name(), provider(), 0..3).prop_map(|it| {
        let of_issuer = |(issuer, it): (_, JwtProvider)| JwtProvider { issuer, ..it };
        it.into_iter().map(of_issuer).collect::<Vec<_>>()
    });
    let satisfy = prop_oneof![Just(Satisfy::All), Just(Satisfy::Any)];
    let exempt = vec(vec(condition(), 0..3), 0..3);
    let parts = (any::<bool>(), satisfy, exempt, of(api_keys()), jwt);
    parts.prop_filter_map("a method", |(optional, satisfy, exempt, api_keys, jwt)| {
        Some(CredentialMethods { optional, satisfy, exempt, api_keys, jwt })
            .filter(CredentialMethods::has_any)
    })
}

fn provider() -> impl Strategy<Value = JwtProvider> {
    let claim = (name(), route::header_name()).prop_map(|(claim, header)| ClaimHeader { claim, header });
    let key_set = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
        .prop_map(|it| format!(r#"{{"keys":[{{"kty":"oct","k":"{it}"}}]}}"#));
    (name(), key_set, vec(name(), 0..3), vec(place(), 1..3), any::<bool>(), vec(claim, 0..3)).prop_map(
        |(name, key_set, audiences, places, forward, claims)| JwtProvider {
            issuer: name.clone(),
            name,
            audiences,
            key_set: key_set.into(),
            places,
            forward,
            claims,
        },
    )
}

fn api_keys() -> impl Strategy<Value = ApiKeys> {
    let keys = hash_map(any::<[u8; 32]>(), name(), 0..3);
    let keys =
        keys.prop_map(|it| it.into_iter().map(|(digest, client)| ClientKey { client, digest }).collect());
    (keys, vec(place(), 1..3), any::<bool>(), of(route::header_name()))
        .prop_map(|(keys, places, forward, client_header)| ApiKeys { keys, places, forward, client_header })
}

fn place() -> impl Strategy<Value = CredentialPlace> {
    prop_oneof![
        (route::header_name(), text()).prop_map(|(name, prefix)| CredentialPlace::Header { name, prefix }),
        name().prop_map(CredentialPlace::Cookie),
        name().prop_map(CredentialPlace::Query),
    ]
}
