//! Where credentials are looked for.

use super::Defects;
use crate::resources::authentication_policy::{CredentialSource, CredentialSourceType};
use fairway_config::model::{CredentialPlace, check_header};
use fairway_policy::matching::is_spelling;
use http::HeaderName;

/// The places, headers first, then cookies, then the query.
pub(super) fn places(
    field: &str,
    written: &[CredentialSource],
    defects: &mut Defects,
) -> Vec<CredentialPlace> {
    let mut all: Vec<(usize, &CredentialSource)> = written.iter().enumerate().collect();
    all.sort_by_key(|(_, it)| it.kind);
    if all.is_empty() {
        defects.invalid(field, "the list is empty; leave it out to look at the header x-api-key");
    }
    all.into_iter().filter_map(|(index, it)| place(&format!("{field}[{index}]"), it, defects)).collect()
}

fn place(field: &str, written: &CredentialSource, defects: &mut Defects) -> Option<CredentialPlace> {
    let CredentialSource { kind, name, prefix } = written;
    if *kind != CredentialSourceType::Header && prefix.is_some() {
        defects.invalid(format!("{field}.prefix"), "only what stands in a header has a prefix");
    }
    match kind {
        CredentialSourceType::Header => {
            let name = header(&format!("{field}.name"), name, defects)?;
            let prefix = prefix.as_deref().unwrap_or_default();
            let is_text = |it: u8| it == b' ' || it.is_ascii_graphic();
            if !prefix.bytes().all(is_text) {
                defects.invalid(format!("{field}.prefix"), "the prefix has characters that no header has");
            }
            Some(CredentialPlace::Header { name, prefix: prefix.into() })
        }
        CredentialSourceType::Cookie => {
            // RFC 6265 §4.1.1: a token.
            let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
            if name.is_empty() || !name.bytes().all(is_token) {
                defects.invalid(format!("{field}.name"), format!("`{name}` is not the name of a cookie"));
            }
            Some(CredentialPlace::Cookie(name.as_str().into()))
        }
        CredentialSourceType::Query => {
            if name.is_empty() {
                defects.invalid(format!("{field}.name"), "a parameter has a name");
            }
            Some(CredentialPlace::Query(name.as_str().into()))
        }
    }
}

/// A header that a policy reads or sets.
pub(super) fn header(field: &str, written: &str, defects: &mut Defects) -> Option<HeaderName> {
    let Ok(name) = written.parse::<HeaderName>() else {
        defects.invalid(field, format!("`{written}` is not the name of a header"));
        return None;
    };
    if check_header(&name).is_err() {
        defects.invalid(field, format!("header `{name}` belongs to the connection, or is the Host"));
    }
    Some(name)
}

/// A header that only the proxy sets, and that none of the places is: there the client's credentials would be taken out.
pub(super) fn own_header(
    field: &str,
    written: &str,
    places: &[CredentialPlace],
    defects: &mut Defects,
) -> Option<HeaderName> {
    let name = header(field, written, defects)?;
    let is_it = |it: &CredentialPlace| match it {
        CredentialPlace::Header { name: other, .. } => {
            is_spelling(other.as_str().as_bytes(), name.as_str().as_bytes())
        }
        CredentialPlace::Cookie(_) => name == http::header::COOKIE,
        CredentialPlace::Query(_) => false,
    };
    if places.iter().any(is_it) {
        defects.invalid(field, format!("header `{name}` is one in which clients send their credentials"));
    }
    Some(name)
}
