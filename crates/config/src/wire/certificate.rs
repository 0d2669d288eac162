//! Certificates on the wire.

use super::invalid::Invalid;
use super::value;
use crate::model::Certificate;
use crate::proto;

pub(super) fn encode(certificate: &Certificate) -> proto::Certificate {
    proto::Certificate {
        key: certificate.key.to_string(),
        chain_pem: certificate.chain_pem().to_owned(),
        private_key_pem: certificate.private_key_pem().to_owned(),
    }
}

pub(super) fn decode(message: proto::Certificate) -> Result<Certificate, Invalid> {
    let key = value::key(message.key).map_err(|it| it.within("key"))?;
    Certificate::from_pem(key, &message.chain_pem, &message.private_key_pem)
        .map_err(|error| Invalid::new("", error))
}
