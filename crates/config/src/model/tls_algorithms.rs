//! The algorithms of TLS that a listener can be told to speak, by their names and numbers in the registries of IANA.

/// Which algorithms of TLS a listener speaks. An empty list is those that proxies speak by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsAlgorithms {
    /// Of each version those that are for it. A version of which there is none is not spoken.
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups of the key exchange.
    pub groups: Vec<KeyExchangeGroup>,
}

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        impl $name {
            /// Every one that proxies can speak.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its number in the registry.
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number,)+
                }
            }

            /// Its name in the registry.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The one of this number; none if proxies cannot speak it.
            pub fn of_number(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.number() == number)
            }

            /// The one of this name; none if proxies cannot speak it.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.name() == name)
            }
        }
    };
}

registry! {
    /// A cipher suite (TLS Cipher Suites).
    CipherSuite {
        Aes128GcmSha256 = 0x1301, "TLS_AES_128_GCM_SHA256";
        Aes256GcmSha384 = 0x1302, "TLS_AES_256_GCM_SHA384";
        ChaCha20Poly1305Sha256 = 0x1303, "TLS_CHACHA20_POLY1305_SHA256";
        EcdheEcdsaAes128GcmSha256 = 0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        EcdheEcdsaAes256GcmSha384 = 0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
        EcdheRsaAes128GcmSha256 = 0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        EcdheRsaAes256GcmSha384 = 0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
        EcdheRsaChaCha20Poly1305Sha256 = 0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
        EcdheEcdsaChaCha20Poly1305Sha256 = 0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    }
}

registry! {
    /// A group of the key exchange, which was called a curve (TLS Supported Groups).
    KeyExchangeGroup {
        Secp256r1 = 0x0017, "secp256r1";
        Secp384r1 = 0x0018, "secp384r1";
        X25519 = 0x001D, "x25519";
        Secp256r1MlKem768 = 0x11EB, "SecP256r1MLKEM768";
        X25519MlKem768 = 0x11EC, "X25519MLKEM768";
    }
}

// === impl CipherSuite ===

impl CipherSuite {
    /// Whether it is of TLS 1.3, and not of TLS 1.2.
    pub const fn is_of_tls_1_3(self) -> bool {
        self.number() >> 8 == 0x13
    }
}

// === impl TlsAlgorithms ===

impl TlsAlgorithms {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.cipher_suites.is_empty() && self.groups.is_empty()
    }
}
