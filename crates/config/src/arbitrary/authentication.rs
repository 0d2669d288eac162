//! Authentications for property tests.

use super::{name, route, text};
use crate::model::{ApiKeys, Authentication, ClientKey, CredentialMethods, CredentialPlace, Demands};
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
    (any::<bool>(), api_keys())
        .prop_map(|(optional, api_keys)| CredentialMethods { optional, api_keys: Some(api_keys) })
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
