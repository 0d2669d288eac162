//! A Gateway: its spec, and the one thing in its status that compiling goes by.

use super::Meta;
use fairway_gateway_api::gateways::GatewaySpec;

/// The annotation of a Gateway that nobody wrote.
pub const IMPLIED: &str = "fairway.dev/implied";

/// A Gateway, with the one condition of its status that compiling reads again.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Name, namespace, labels, generation.
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
}
