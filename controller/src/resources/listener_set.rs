//! ListenerSets: listeners that others add to a Gateway (GEP-1713).

use fairway_config::model::ObjectName;
use fairway_gateway_api::gateways::GatewayListeners;
use fairway_gateway_api::listenersets::ListenerSetParentRef;
use serde::Deserialize;

/// What a ListenerSet asks for. Its entries have the fields of a Gateway's listeners, so they are read as such.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway that the listeners are added to (GEP-1713).
    pub parent_ref: ListenerSetParentRef,
    /// The listeners it adds to it.
    pub listeners: Vec<GatewayListeners>,
}

// === impl ListenerSetSpec ===

impl ListenerSetSpec {
    /// The Gateway it is for, seen from its own namespace; none when its parent is no Gateway.
    pub fn gateway(&self, own_namespace: &str) -> Option<ObjectName> {
        let it = &self.parent_ref;
        let is_gateway = it.group.as_deref().is_none_or(|it| it == fairway_gateway_api::GROUP)
            && it.kind.as_deref().is_none_or(|it| it == "Gateway");
        let namespace = it.namespace.as_deref().unwrap_or(own_namespace);
        is_gateway.then(|| ObjectName::new(namespace, it.name.as_str()))
    }
}
