//! What is the same for every proxy of an installation.

use super::Rights;
use std::time::Duration;

/// What is the same for every proxy of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image of the proxy.
    pub image: String,
    /// When a node pulls it; none leaves it to Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Secrets with which it is pulled, in each Gateway's namespace.
    pub image_pull_secrets: Vec<String>,
    /// Where proxies find the controller: https://host:port
    pub controller: String,
    /// The `--log` of proxies; none is their default.
    pub log: Option<String>,
    /// How long a waypoint that nothing needs any more is kept.
    pub waypoint_linger: Duration,
    /// The name of the GatewayClass of the waypoints that the controller makes by itself.
    pub waypoint_class: String,
    /// The `--log-format` of proxies; none is their default.
    pub log_format: Option<String>,
    /// What parameters, and Gateways themselves, may choose.
    pub rights: Rights,
}

// === impl Settings ===

impl Settings {
    /// The settings that nobody tuned.
    pub fn new(image: impl Into<String>, controller: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            controller: controller.into(),
            waypoint_linger: Duration::from_secs(600),
            waypoint_class: "fairway-waypoint".to_owned(),
            log: None,
            log_format: None,
            rights: Rights::default(),
        }
    }
}
