//! Tokens of issuers: whose are taken, and with which keys they are verified.

use super::Defects;
use super::place::{own_header, places};
use crate::resources::authentication_policy::{
    ClaimToHeader, CredentialSource, CredentialSourceType, JwtAuthentication, JwtProvider as Written,
};
use fairway_config::model::{ClaimHeader, JsonWebKeySet, JwtProvider, Secrets};
use std::collections::BTreeSet;

/// As many bytes a set of keys has at most.
const MOST_BYTES: usize = 64 * 1024;

pub(super) fn compile(written: &JwtAuthentication, defects: &mut Defects) -> Vec<JwtProvider> {
    let (mut names, mut issuers) = (BTreeSet::new(), BTreeSet::new());
    if written.providers.is_empty() {
        defects.invalid("spec.jwt.providers", "the list is empty");
    }
    let mut providers = Vec::new();
    for (index, it) in written.providers.iter().enumerate() {
        let field = format!("spec.jwt.providers[{index}]");
        if it.name.is_empty() || !names.insert(&it.name) {
            defects
                .invalid(format!("{field}.name"), format!("`{}` is empty, or names two providers", it.name));
        }
        // The provider is chosen by the issuer: of two it could be either.
        if it.issuer.is_empty() || !issuers.insert(&it.issuer) {
            defects.invalid(
                format!("{field}.issuer"),
                format!("`{}` is empty, or that of two providers", it.issuer),
            );
        }
        providers.extend(provider(&field, it, defects));
    }
    providers
}

fn provider(field: &str, written: &Written, defects: &mut Defects) -> Option<JwtProvider> {
    let Written { name, issuer, audiences, jwks, extract_from, forward, claim_to_headers } = written;
    let audiences = audiences.as_deref();
    if audiences.is_some_and(|it| it.is_empty() || it.iter().any(String::is_empty)) {
        let reason = "it has no audience, or an empty one; leave it out to take tokens for anybody";
        defects.invalid(format!("{field}.audiences"), reason);
    }
    let usual = [CredentialSource {
        kind: CredentialSourceType::Header,
        name: "authorization".to_owned(),
        prefix: Some("Bearer ".to_owned()),
    }];
    let sources = extract_from.as_deref().unwrap_or(&usual);
    let places = places(&format!("{field}.extractFrom"), sources, defects);
    let (mut claims, mut headers) = (Vec::new(), BTreeSet::new());
    for (index, ClaimToHeader { claim, header }) in claim_to_headers.iter().flatten().enumerate() {
        let field = format!("{field}.claimToHeaders[{index}]");
        if claim.is_empty() {
            defects.invalid(format!("{field}.claim"), "a claim has a name");
        }
        let header = own_header(&format!("{field}.header"), header, &places, defects)?;
        if !headers.insert(header.as_str().to_owned()) {
            defects.invalid(format!("{field}.header"), format!("two claims have header `{header}`"));
        }
        claims.push(ClaimHeader { claim: claim.as_str().into(), header });
    }
    let key_set = jwks.inline.as_str();
    let field = format!("{field}.jwks.inline");
    if key_set.len() > MOST_BYTES {
        defects.invalid(&field, format!("the set of keys has more than {} KiB", MOST_BYTES / 1024));
    } else if let Err(error) = JsonWebKeySet::parse(key_set, Secrets::Allowed) {
        defects.invalid(&field, error.to_string());
    }
    Some(JwtProvider {
        name: name.as_str().into(),
        issuer: issuer.as_str().into(),
        audiences: audiences.unwrap_or_default().iter().map(|it| it.as_str().into()).collect(),
        key_set: key_set.into(),
        places,
        forward: forward.unwrap_or_default(),
        claims,
    })
}
