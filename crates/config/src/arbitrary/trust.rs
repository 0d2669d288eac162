//! Generators of what TLS believes: authorities for clients and for backends.

use super::{key_pair, text};
use crate::model::{
    BackendSecurity, BackendTls, BackendTrust, ClientValidation, SubjectName, TrustBundle, WithoutCertificate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

fn bundle() -> impl Strategy<Value = TrustBundle> {
    (1..3_usize).prop_filter_map("a bundle", |count| TrustBundle::from_pem(&key_pair().0.repeat(count)).ok())
}

pub(super) fn clients() -> impl Strategy<Value = ClientValidation> {
    let without = prop_oneof![Just(WithoutCertificate::Refused), Just(WithoutCertificate::Served)];
    (bundle(), without).prop_map(|(trust, without)| ClientValidation { trust, without })
}

pub(super) fn security() -> impl Strategy<Value = BackendSecurity> {
    let name = || "[a-z]{1,6}(\\.[a-z]{1,6}){0,2}".prop_map(Arc::<str>::from);
    let subject = prop_oneof![
        name().prop_map(SubjectName::Dns),
        name().prop_map(|name| SubjectName::Uri(format!("spiffe://{name}/x").into())),
    ];
    let trust = prop_oneof![Just(BackendTrust::System), bundle().prop_map(BackendTrust::Bundle)];
    let tls = (name(), vec(subject, 0..3), trust).prop_map(|(hostname, names, trust)| BackendTls {
        hostname,
        names,
        trust,
    });
    prop_oneof![
        Just(BackendSecurity::Plain),
        tls.prop_map(BackendSecurity::Tls),
        text().prop_map(BackendSecurity::Unusable),
    ]
}
