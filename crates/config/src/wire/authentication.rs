//! Authentication on the wire.

use super::authorization::{decode_alternatives, decode_mode, encode_alternatives, encode_mode};
use super::invalid::{Invalid, each, optional, required};
use super::value;
use crate::model::{
    ApiKeys, Authentication, ClaimHeader, ClientKey, CredentialMethods, CredentialPlace, Demands,
    JsonWebKeySet, JwtProvider, Satisfy, Secrets,
};
use crate::proto::{self, credential_place::Kind, jwt_provider::Keys};
use bytes::Bytes;
use std::collections::HashSet;

pub(super) fn encode(authentication: &Authentication) -> proto::Authentication {
    let base = proto::Authentication {
        name: authentication.name.to_string(),
        mode: encode_mode(authentication.mode).into(),
        ..proto::Authentication::default()
    };
    match &authentication.demands {
        Demands::Closed => proto::Authentication { closed: true, ..base },
        Demands::Credentials(methods) => {
            let CredentialMethods { optional, satisfy, exempt, api_keys, jwt } = methods;
            let providers: Vec<_> = jwt.iter().map(encode_provider).collect();
            proto::Authentication {
                optional: *optional,
                any: *satisfy == Satisfy::Any,
                exempt: (!exempt.is_empty()).then(|| encode_alternatives(exempt)),
                api_keys: api_keys.as_ref().map(encode_api_keys),
                jwt: (!providers.is_empty()).then_some(proto::Jwt { providers }),
                ..base
            }
        }
    }
}

pub(super) fn decode(message: proto::Authentication) -> Result<Authentication, Invalid> {
    let proto::Authentication { name, mode, closed, optional: is_optional, any, exempt, api_keys, jwt } =
        message;
    let name = value::name(name).map_err(|it| it.within("name"))?;
    let mode = decode_mode(mode)?;
    let methods = CredentialMethods {
        optional: is_optional,
        satisfy: if any { Satisfy::Any } else { Satisfy::All },
        exempt: optional(exempt, "exempt", decode_alternatives)?.unwrap_or_default(),
        api_keys: optional(api_keys, "api_keys", decode_api_keys)?,
        jwt: optional(jwt, "jwt", decode_jwt)?.unwrap_or_default(),
    };
    let demands = match (closed, methods.has_any()) {
        (true, false) if !is_optional && !any && methods.exempt.is_empty() => Demands::Closed,
        (true, _) => return Err(Invalid::new("closed", "there is something beside it")),
        (false, true) => Demands::Credentials(methods),
        // It would let everybody pass, or nobody; which of these is not said.
        (false, false) => return Err(Invalid::new("", "no method is set")),
    };
    Ok(Authentication { name, mode, demands })
}

fn encode_api_keys(it: &ApiKeys) -> proto::ApiKeys {
    let key = |it: &ClientKey| proto::ClientKey {
        client: it.client.to_string(),
        digest: Bytes::copy_from_slice(&it.digest),
    };
    proto::ApiKeys {
        keys: it.keys.iter().map(key).collect(),
        places: it.places.iter().map(encode_place).collect(),
        forward: it.forward,
        client_header: it.client_header.as_ref().map(ToString::to_string),
    }
}

fn decode_api_keys(message: proto::ApiKeys) -> Result<ApiKeys, Invalid> {
    let keys = each(message.keys, "keys", decode_key)?;
    let mut known = HashSet::new();
    if !keys.iter().all(|it| known.insert(it.digest)) {
        return Err(Invalid::new("keys", "a key stands twice"));
    }
    Ok(ApiKeys {
        keys,
        places: decode_places(message.places)?,
        forward: message.forward,
        client_header: optional(message.client_header, "client_header", value::header_name)?,
    })
}

fn decode_key(message: proto::ClientKey) -> Result<ClientKey, Invalid> {
    let length = message.digest.len();
    Ok(ClientKey {
        client: value::name(message.client).map_err(|it| it.within("client"))?,
        digest: <[u8; 32]>::try_from(&*message.digest)
            .map_err(|_| Invalid::new("digest", format!("a digest has 32 bytes, this one has {length}")))?,
    })
}

fn encode_provider(it: &JwtProvider) -> proto::JwtProvider {
    let claim =
        |it: &ClaimHeader| proto::ClaimHeader { claim: it.claim.to_string(), header: it.header.to_string() };
    proto::JwtProvider {
        name: it.name.to_string(),
        issuer: it.issuer.to_string(),
        audiences: it.audiences.iter().map(ToString::to_string).collect(),
        keys: Some(Keys::KeySet(it.key_set.to_string())),
        places: it.places.iter().map(encode_place).collect(),
        forward: it.forward,
        claims: it.claims.iter().map(claim).collect(),
    }
}

fn decode_jwt(message: proto::Jwt) -> Result<Vec<JwtProvider>, Invalid> {
    let providers = each(message.providers, "providers", decode_provider)?;
    let mut known = HashSet::new();
    if providers.is_empty() || !providers.iter().all(|it| known.insert(it.issuer.clone())) {
        return Err(Invalid::new("providers", "there is none, or an issuer stands twice"));
    }
    Ok(providers)
}

fn decode_provider(message: proto::JwtProvider) -> Result<JwtProvider, Invalid> {
    let key_set = required(message.keys, "keys", |Keys::KeySet(text)| {
        JsonWebKeySet::parse(&text, Secrets::Allowed).map_err(|error| Invalid::new("key_set", error))?;
        Ok(text.into())
    })?;
    Ok(JwtProvider {
        name: value::name(message.name).map_err(|it| it.within("name"))?,
        issuer: value::name(message.issuer).map_err(|it| it.within("issuer"))?,
        audiences: each(message.audiences, "audiences", value::name)?,
        key_set,
        places: decode_places(message.places)?,
        forward: message.forward,
        claims: each(message.claims, "claims", |it| {
            Ok(ClaimHeader {
                claim: value::name(it.claim).map_err(|it| it.within("claim"))?,
                header: value::header_name(it.header).map_err(|it| it.within("header"))?,
            })
        })?,
    })
}

fn encode_place(place: &CredentialPlace) -> proto::CredentialPlace {
    let kind = match place {
        CredentialPlace::Header { name, prefix } => {
            Kind::Header(proto::HeaderPlace { name: name.to_string(), prefix: prefix.to_string() })
        }
        CredentialPlace::Cookie(name) => Kind::Cookie(name.to_string()),
        CredentialPlace::Query(name) => Kind::Query(name.to_string()),
    };
    proto::CredentialPlace { kind: Some(kind) }
}

fn decode_places(messages: Vec<proto::CredentialPlace>) -> Result<Vec<CredentialPlace>, Invalid> {
    if messages.is_empty() {
        return Err(Invalid::new("places", "there has to be one"));
    }
    each(messages, "places", decode_place)
}

fn decode_place(message: proto::CredentialPlace) -> Result<CredentialPlace, Invalid> {
    required(message.kind, "", |kind| {
        Ok(match kind {
            Kind::Header(it) => CredentialPlace::Header {
                name: value::header_name(it.name).map_err(|it| it.within("header.name"))?,
                prefix: value::text(it.prefix)?,
            },
            Kind::Cookie(name) => {
                CredentialPlace::Cookie(value::name(name).map_err(|it| it.within("cookie"))?)
            }
            Kind::Query(name) => CredentialPlace::Query(value::name(name).map_err(|it| it.within("query"))?),
        })
    })
}
