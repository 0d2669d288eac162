//! What of TLS a policy lets listeners speak with clients.

use crate::resources::unreadable::Unreadable;
use fairway_config::model::{CipherSuite, KeyExchangeGroup, TlsAlgorithms, TlsVersion};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of TLS is spoken with clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minVersion) || has(self.cipherSuites) || has(self.curves)").message("tls says minVersion, cipherSuites or curves"))]
#[x_kube(validation = Rule::new("!has(self.cipherSuites) || self.cipherSuites.exists(it, it in ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'])").message("cipherSuites has at least one of TLS 1.3: TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 or TLS_CHACHA20_POLY1305_SHA256"))]
pub struct ClientTls {
    /// The lowest version that is spoken; without it 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<MinTlsVersion>,
    /// The cipher suites that are spoken, at least one of TLS 1.3; without it all that are listed here. Where none of TLS 1.2 is named,
    /// TLS 1.3 alone is spoken. Their order means nothing: the client's holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 9))]
    pub cipher_suites: Option<Vec<CipherSuiteName>>,
    /// The groups of the key exchange that are spoken; without it all that are listed here but SecP256r1MLKEM768. Where none is of
    /// TLS 1.2 (those with MLKEM768 are of TLS 1.3), TLS 1.3 alone is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 5))]
    pub curves: Option<Vec<CurveName>>,
}

/// The lowest version of TLS that is spoken; without it 1.2.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinTlsVersion {
    /// TLS 1.2 and TLS 1.3.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 and nothing older.
    #[serde(rename = "1.3")]
    V1_3,
}

/// A cipher suite, by its name in the registry of IANA.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherSuiteName {
    /// As `TLS_AES_128_GCM_SHA256` names it.
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128GcmSha256,
    /// As `TLS_AES_256_GCM_SHA384` names it.
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256GcmSha384,
    /// As `TLS_CHACHA20_POLY1305_SHA256` names it.
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    ChaCha20Poly1305Sha256,
    /// As `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256` names it.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdheEcdsaAes128GcmSha256,
    /// As `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384` names it.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdheEcdsaAes256GcmSha384,
    /// As `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` names it.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    EcdheRsaAes128GcmSha256,
    /// As `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384` names it.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    EcdheRsaAes256GcmSha384,
    /// As `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256` names it.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheRsaChaCha20Poly1305Sha256,
    /// As `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256` names it.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheEcdsaChaCha20Poly1305Sha256,
}

/// A group of the key exchange, by its name in the registry of IANA.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurveName {
    /// As `secp256r1` names it.
    #[serde(rename = "secp256r1")]
    Secp256r1,
    /// As `secp384r1` names it.
    #[serde(rename = "secp384r1")]
    Secp384r1,
    /// As `x25519` names it.
    #[serde(rename = "x25519")]
    X25519,
    /// As `SecP256r1MLKEM768` names it.
    #[serde(rename = "SecP256r1MLKEM768")]
    Secp256r1MlKem768,
    /// As `X25519MLKEM768` names it.
    #[serde(rename = "X25519MLKEM768")]
    X25519MlKem768,
}

// === impl MinTlsVersion ===

impl From<MinTlsVersion> for TlsVersion {
    fn from(version: MinTlsVersion) -> Self {
        match version {
            MinTlsVersion::V1_2 => Self::V1_2,
            MinTlsVersion::V1_3 => Self::V1_3,
        }
    }
}

// === impl CipherSuiteName ===

impl From<CipherSuiteName> for CipherSuite {
    fn from(name: CipherSuiteName) -> Self {
        match name {
            CipherSuiteName::Aes128GcmSha256 => Self::Aes128GcmSha256,
            CipherSuiteName::Aes256GcmSha384 => Self::Aes256GcmSha384,
            CipherSuiteName::ChaCha20Poly1305Sha256 => Self::ChaCha20Poly1305Sha256,
            CipherSuiteName::EcdheEcdsaAes128GcmSha256 => Self::EcdheEcdsaAes128GcmSha256,
            CipherSuiteName::EcdheEcdsaAes256GcmSha384 => Self::EcdheEcdsaAes256GcmSha384,
            CipherSuiteName::EcdheRsaAes128GcmSha256 => Self::EcdheRsaAes128GcmSha256,
            CipherSuiteName::EcdheRsaAes256GcmSha384 => Self::EcdheRsaAes256GcmSha384,
            CipherSuiteName::EcdheRsaChaCha20Poly1305Sha256 => Self::EcdheRsaChaCha20Poly1305Sha256,
            CipherSuiteName::EcdheEcdsaChaCha20Poly1305Sha256 => Self::EcdheEcdsaChaCha20Poly1305Sha256,
        }
    }
}

// === impl CurveName ===

impl From<CurveName> for KeyExchangeGroup {
    fn from(name: CurveName) -> Self {
        match name {
            CurveName::Secp256r1 => Self::Secp256r1,
            CurveName::Secp384r1 => Self::Secp384r1,
            CurveName::X25519 => Self::X25519,
            CurveName::Secp256r1MlKem768 => Self::Secp256r1MlKem768,
            CurveName::X25519MlKem768 => Self::X25519MlKem768,
        }
    }
}

// === impl ClientTls ===

impl ClientTls {
    /// What proxies are told.
    pub(super) fn to_model(&self) -> Result<(TlsVersion, TlsAlgorithms), Unreadable> {
        let wrong =
            |field: &str, reason: &str| Unreadable { field: field.to_owned(), reason: reason.to_owned() };
        if self.min_version.is_none() && self.cipher_suites.is_none() && self.curves.is_none() {
            return Err(wrong("", "it says nothing"));
        }
        let suites = self.cipher_suites.as_deref().unwrap_or_default();
        let suites: Vec<CipherSuite> = suites.iter().map(|it| (*it).into()).collect();
        if self.cipher_suites.is_some() && !suites.iter().any(|it| it.is_of_tls_1_3()) {
            return Err(wrong("cipherSuites", "there is none of TLS 1.3 among them"));
        }
        let groups = self.curves.as_deref().unwrap_or_default();
        let groups: Vec<KeyExchangeGroup> = groups.iter().map(|it| (*it).into()).collect();
        if self.curves.is_some() && groups.is_empty() {
            return Err(wrong("curves", "there is none"));
        }
        let min_version = self.min_version.map(TlsVersion::from).unwrap_or_default();
        Ok((min_version, TlsAlgorithms { cipher_suites: suites, groups }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(written: Value) -> Result<(TlsVersion, TlsAlgorithms), String> {
        let tls: ClientTls = serde_json::from_value(written).map_err(|it| it.to_string())?;
        tls.to_model().map_err(|it| it.field)
    }

    #[test]
    fn every_algorithm_that_proxies_speak_has_its_name() {
        for suite in CipherSuite::ALL {
            let read = read(json!({ "cipherSuites": [suite.name(), "TLS_AES_128_GCM_SHA256"] })).unwrap();
            assert_eq!(read.1.cipher_suites, [*suite, CipherSuite::Aes128GcmSha256]);
        }
        for group in KeyExchangeGroup::ALL {
            assert_eq!(read(json!({ "curves": [group.name()] })).unwrap().1.groups, [*group]);
        }
    }

    #[test]
    fn what_would_leave_nothing_or_quietly_an_older_tls_is_refused() {
        for (written, field) in [
            (json!({}), ""),
            (json!({ "cipherSuites": [] }), "cipherSuites"),
            (json!({ "cipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"] }), "cipherSuites"),
            (json!({ "curves": [] }), "curves"),
        ] {
            assert_eq!(read(written.clone()), Err(field.to_owned()), "{written}");
        }
        for written in [
            json!({ "cipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"] }),
            json!({ "curves": ["secp521r1"] }),
            json!({ "curves": ["X25519"] }),
        ] {
            assert!(read(written.clone()).unwrap_err().contains("unknown variant"), "{written}");
        }
        let (version, algorithms) = read(json!({ "minVersion": "1.3" })).unwrap();
        assert!(version == TlsVersion::V1_3 && algorithms.is_empty());
    }
}
