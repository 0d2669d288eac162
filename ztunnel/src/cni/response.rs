//! The plugin's output (CNI 1.1, section 5).

use serde_json::json;

/// The newest version of CNI that the plugin supports.
pub const NEWEST: &str = "1.1.0";
/// All versions of CNI that the plugin supports.
const SUPPORTED: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The error codes that the plugin uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 4: an environment variable is missing or invalid.
    Environment,
    /// 6: the input is not JSON of the expected structure.
    Decode,
    /// 7: the network configuration is invalid.
    Configuration,
    /// 11: try again later. Kubelet does, and reports the message in an Event.
    TryAgain,
}

/// Why a pod does not get its network. The message ends up in an Event of the pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CniError {
    code: Code,
    message: String,
}

// === impl CniError ===

impl CniError {
    /// An error with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The error as JSON.
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

/// The result of VERSION.
pub fn versions() -> String {
    json!({ "cniVersion": NEWEST, "supportedVersions": SUPPORTED }).to_string()
}
