//! Whom TLS believes, on the wire.

use super::invalid::{Invalid, each, required};
use super::value;
use crate::model::{
    BackendSecurity, BackendTls, BackendTrust, ClientValidation, SubjectName, TrustBundle, WithoutCertificate,
};
use crate::proto::{self, backend_security::Kind, backend_tls::Trust, subject_name};

pub(super) fn encode_clients(clients: &ClientValidation) -> proto::ClientValidation {
    let without = match clients.without {
        WithoutCertificate::Refused => proto::WithoutCertificate::Refused,
        WithoutCertificate::Served => proto::WithoutCertificate::Served,
    };
    proto::ClientValidation { trust_pem: clients.trust.pem().to_owned(), without: without.into() }
}

pub(super) fn decode_clients(message: proto::ClientValidation) -> Result<ClientValidation, Invalid> {
    Ok(ClientValidation {
        trust: bundle(&message.trust_pem).map_err(|it| it.within("trust_pem"))?,
        without: match proto::WithoutCertificate::try_from(message.without) {
            Ok(proto::WithoutCertificate::Refused) => WithoutCertificate::Refused,
            Ok(proto::WithoutCertificate::Served) => WithoutCertificate::Served,
            Ok(proto::WithoutCertificate::Unspecified) | Err(_) => {
                return Err(Invalid::unknown_value("without", message.without));
            }
        },
    })
}

pub(super) fn encode_security(security: &BackendSecurity) -> proto::BackendSecurity {
    let kind = match security {
        BackendSecurity::Plain => Kind::Plain(proto::InTheClear {}),
        BackendSecurity::Tls(tls) => Kind::Tls(encode_tls(tls)),
        BackendSecurity::Unusable(why) => Kind::Unusable(why.to_string()),
    };
    proto::BackendSecurity { kind: Some(kind) }
}

pub(super) fn decode_security(message: proto::BackendSecurity) -> Result<BackendSecurity, Invalid> {
    required(message.kind, "", |kind| {
        Ok(match kind {
            Kind::Plain(proto::InTheClear {}) => BackendSecurity::Plain,
            Kind::Tls(tls) => BackendSecurity::Tls(decode_tls(tls).map_err(|it| it.within("tls"))?),
            Kind::Unusable(why) => BackendSecurity::Unusable(why.into()),
        })
    })
}

fn encode_tls(tls: &BackendTls) -> proto::BackendTls {
    let trust = match &tls.trust {
        BackendTrust::System => Trust::System(proto::SystemTrust {}),
        BackendTrust::Bundle(bundle) => Trust::BundlePem(bundle.pem().to_owned()),
    };
    proto::BackendTls {
        hostname: tls.hostname.to_string(),
        names: tls.names.iter().map(encode_name).collect(),
        trust: Some(trust),
    }
}

fn decode_tls(message: proto::BackendTls) -> Result<BackendTls, Invalid> {
    Ok(BackendTls {
        hostname: value::name(message.hostname).map_err(|it| it.within("hostname"))?,
        names: each(message.names, "names", |it| required(it.kind, "", decode_name))?,
        trust: required(message.trust, "trust", |trust| match trust {
            Trust::System(proto::SystemTrust {}) => Ok(BackendTrust::System),
            Trust::BundlePem(pem) => bundle(&pem).map(BackendTrust::Bundle),
        })?,
    })
}

fn encode_name(name: &SubjectName) -> proto::SubjectName {
    use subject_name::Kind;
    let kind = match name {
        SubjectName::Dns(name) => Kind::Dns(name.to_string()),
        SubjectName::Uri(uri) => Kind::Uri(uri.to_string()),
    };
    proto::SubjectName { kind: Some(kind) }
}

fn decode_name(kind: subject_name::Kind) -> Result<SubjectName, Invalid> {
    use subject_name::Kind;
    let name = match kind {
        Kind::Dns(name) => SubjectName::Dns(name.into()),
        Kind::Uri(uri) => SubjectName::Uri(uri.into()),
    };
    if name.is_valid() { Ok(name) } else { Err(Invalid::new("", "is not a name a certificate can bear")) }
}

fn bundle(pem: &str) -> Result<TrustBundle, Invalid> {
    TrustBundle::from_pem(pem).map_err(|error| Invalid::new("", error))
}
