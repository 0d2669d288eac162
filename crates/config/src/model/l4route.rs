//! Routes that do not look into what they carry.

use super::reference::of_target;
use super::route::without;
use super::{
    Attachment, BackendTarget, ListenerKey, ObjectName, References, Requires, ResourceKey, RouteKey,
};
use std::sync::Arc;

/// A TLSRoute, TCPRoute or UDPRoute, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct L4Route {
    /// `<kind>/<namespace>/<name>`: [`Self::kind`] with the name of [`Self::object`].
    pub key: RouteKey,
    /// Which kind of object it came from.
    pub kind: L4Kind,
    /// The object it came from.
    pub object: ObjectName,
    /// When the object was made, seconds since 1970: of two that want the same connections the older wins.
    pub created: i64,
    /// Where it holds; never empty. Hostnames are of a TLSRoute only, and mean the SNI.
    pub attachments: Vec<Attachment>,
    /// The name a user gave its one rule.
    pub rule: Option<Arc<str>>,
    /// Chosen by weight, per connection (UDP: per client address and port). None, or one that leads nowhere: closed.
    pub backends: Vec<WeightedTarget>,
}

/// The kind of object an L4 route came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum L4Kind {
    /// A TLSRoute: by the server name of the client's first message.
    Tls,
    /// A TCPRoute: every connection of the listener.
    Tcp,
    /// A UDPRoute: every datagram of the listener.
    Udp,
}

/// A backend and its share of the connections.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedTarget {
    /// The share, in proportion to the sum.
    pub weight: u32,
    /// The backend that gets the share, or why there is none.
    pub target: BackendTarget,
}

// === impl L4Route ===

impl Requires for L4Route {}

impl L4Route {
    /// The version for a proxy at which some of its listeners are closed; none if none of them is. Where all are, it closes what it
    /// takes. Where others are open it holds at those alone, and a closed one has no route for its connections.
    pub(super) fn closed_at(&self, is_closed: impl Fn(&ListenerKey) -> bool) -> Option<Self> {
        let open = without(&self.attachments, is_closed)?;
        Some(match open.is_empty() {
            true => Self { backends: Vec::new(), ..self.clone() },
            false => Self { attachments: open, ..self.clone() },
        })
    }
}

impl References for L4Route {
    fn references(&self) -> Vec<ResourceKey> {
        self.backends.iter().filter_map(|it| of_target(&it.target)).collect()
    }
}
