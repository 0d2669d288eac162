//! A Gateway: its spec, and the one thing in its status that compiling goes by.

use super::Meta;
use crate::provision::metadata::IMPLIED;
use fairway_gateway_api::gateways::GatewaySpec;
use serde_json::Value;

/// A Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Who it is.
    pub meta: Meta,
    /// What it asks for.
    pub spec: GatewaySpec,
    /// Whether traffic has been moved to this waypoint: from then on nothing goes around it. Our own word, kept in the
    /// Gateway's status, so that it outlives the controller.
    pub bound: bool,
}

// === impl Gateway ===

impl Gateway {
    /// Whether we made it, for routes that ask for a waypoint.
    pub fn is_implied(&self) -> bool {
        self.meta.annotation(IMPLIED) == Some("true")
    }

    /// Whether a status says that traffic has been moved to the waypoint.
    pub fn says_bound(status: &Value) -> bool {
        let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|it| it["type"] == crate::status::reason::BOUND && it["status"] == "True")
    }
}
