//! Keys that clients send: of Secrets only their digests leave the controller.

use super::Defects;
use super::place::{own_header, places};
use crate::compile::gateway::reference::{Reference, permit};
use crate::compile::program::Reader;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::authentication_policy::{
    ApiKeyAuthentication, CredentialRef, CredentialSource, CredentialSourceType,
};
use crate::resources::{CREDENTIALS, Credentials, Kind, ObjectRef, Secret};
use fairway_config::model::{ApiKeys, ClientKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// As many keys a policy has at most.
const MOST_KEYS: usize = 2_000;
/// What stands before a digest.
const DIGEST: &str = "sha256:";

pub(super) fn compile(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    written: &ApiKeyAuthentication,
    defects: &mut Defects,
) -> Option<ApiKeys> {
    let ApiKeyAuthentication { credential_refs, extract_from, forward, forward_client_id_header } = written;
    let usual =
        [CredentialSource { kind: CredentialSourceType::Header, name: "x-api-key".to_owned(), prefix: None }];
    let field = "spec.apiKey";
    let sources = extract_from.as_deref().unwrap_or(&usual);
    let places = places(&format!("{field}.extractFrom"), sources, defects);
    let client_header = forward_client_id_header
        .as_deref()
        .and_then(|it| own_header(&format!("{field}.forwardClientIDHeader"), it, &places, defects));
    if credential_refs.is_empty() {
        defects.invalid(format!("{field}.credentialRefs"), "the list is empty");
    }
    // By digest, so that one key of two clients is seen.
    let mut keys: BTreeMap<[u8; 32], ClientKey> = BTreeMap::new();
    for (index, reference) in credential_refs.iter().enumerate() {
        let field = format!("{field}.credentialRefs[{index}]");
        let Some(credentials) = resolve(reader, from, &field, reference, defects) else { continue };
        for (client, value) in credentials.iter() {
            let what = format!("key `{client}` of Secret {}", reference.name);
            let digest = match digest(value) {
                Ok(digest) => digest,
                Err(why) => {
                    defects.invalid(&field, format!("{what} {why}"));
                    continue;
                }
            };
            if let Some(other) = keys.get(&digest) {
                defects.invalid(
                    &field,
                    format!("{what} has the same value as that of client `{}`", other.client),
                );
                continue;
            }
            keys.insert(digest, ClientKey { client: client.clone(), digest });
        }
    }
    if keys.len() > MOST_KEYS {
        let reason = format!("there are {} keys, and a policy has at most {MOST_KEYS}", keys.len());
        defects.invalid(format!("{field}.credentialRefs"), reason);
        return None;
    }
    let forward = forward.unwrap_or_default();
    Some(ApiKeys { keys: keys.into_values().collect(), places, forward, client_header })
}

/// The digest of a key, or why it is none. What cannot be sent in a request would lock its client out without a word.
fn digest(value: &[u8]) -> Result<[u8; 32], &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "is not text")?;
    if let Some(digits) = text.strip_prefix(DIGEST) {
        return hexadecimal(digits).ok_or("has no 64 hexadecimal digits behind `sha256:`");
    }
    if text.is_empty() {
        return Err("is empty");
    }
    if text.ends_with(['\n', '\r']) {
        return Err("ends with a line break; write it without one (printf instead of echo)");
    }
    if !text.bytes().all(|it| it.is_ascii_graphic()) {
        return Err("has characters that no key has: it takes visible ones of ASCII");
    }
    Ok(Sha256::digest(value).into())
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if digits.len() != 2 * digest.len() || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// The credentials of the Secret that a policy refers to.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    from: &ObjectRef,
    field: &str,
    reference: &CredentialRef,
    defects: &mut Defects,
) -> Option<Credentials> {
    let CredentialRef { group, kind, name, namespace } = reference;
    let (group, kind) = (group.as_deref().unwrap_or_default(), kind.as_deref().unwrap_or("Secret"));
    if (group, kind) != ("", "Secret") {
        defects.invalid(format!("{field}.kind"), "credentials are in Secrets");
        return None;
    }
    let namespace = namespace.as_deref().filter(|it| !it.is_empty());
    let secret = match permit(reader, from, Kind::Secret, Reference { group, kind, namespace, name }) {
        Ok(secret) => secret,
        Err(error) => {
            defects.referred(Diagnostic { field: field.to_owned(), ..error });
            return None;
        }
    };
    let found = reader.input::<Secret>(&secret).and_then(|it| it.credentials.clone());
    if found.is_none() {
        let message = format!("there is no Secret {secret} of type {CREDENTIALS}");
        let remedy = format!(
            "create it (kubectl create secret generic {} --namespace {} --type={CREDENTIALS}), or correct the name",
            secret.name, secret.namespace
        );
        let reason = Reason::AuthenticationPolicyCredentialsNotFound;
        defects.referred(Diagnostic::error(reason, field, message, remedy));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_it_is_or_as_its_digest_and_nothing_else_is_taken_for_one() {
        let of_key = digest(b"s3cret").unwrap();
        let digits: String = of_key.iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(digest(format!("sha256:{digits}").as_bytes()), Ok(of_key));
        assert_eq!(digest(format!("sha256:{}", digits.to_uppercase()).as_bytes()), Ok(of_key));
        for wrong in [
            "",
            "s3cret\n",
            "s3 cret",
            "ключ",
            "sha256:",
            "sha256:00",
            &format!("sha256:{digits}0"),
            "sha256:+",
        ] {
            assert!(digest(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(digest(&[0xff]).is_err());
        let signs = format!("sha256:{}", "+1".repeat(32));
        assert!(digest(signs.as_bytes()).is_err(), "a sign is no digit");
    }
}
