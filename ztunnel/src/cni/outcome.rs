//! What a plugin answers (CNI 1.1, section 5).

use serde_json::json;

/// The newest version that is spoken.
pub const NEWEST: &str = "1.1.0";
/// Every version that is.
const SPOKEN: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A variable of the environment is missing or wrong.
    Environment,
    /// What came is not JSON, or not such.
    Decode,
    /// The configuration makes no sense.
    Configuration,
    /// It will work later; kubelet tries again, and says in an event why it has to.
    TryAgain,
}

/// Why a pod does not get its network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    code: Code,
    message: String,
}

// === impl Failure ===

impl Failure {
    /// One with this message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// As the runtime reads it.
    pub fn render(&self, cni_version: &str) -> String {
        let code = match self.code {
            Code::Environment => 4,
            Code::Decode => 6,
            Code::Configuration => 7,
            Code::TryAgain => 11,
        };
        json!({ "cniVersion": cni_version, "code": code, "msg": self.message }).to_string()
    }
}

/// The answer to VERSION.
pub fn versions() -> String {
    json!({ "cniVersion": NEWEST, "supportedVersions": SPOKEN }).to_string()
}
