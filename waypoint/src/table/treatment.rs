//! How a socket treats connections of which nobody knows yet for which of its listeners they are.
//!
//! Before the SNI or the Host is known, no client is cut off earlier than its own listener says: of each setting the widest holds of the
//! listeners that share the socket, and one that says nothing counts as it is without a policy.

use super::listeners::BoundListener;
use fairway_config::model::{ClientTimeout, ClientTimeouts, ClientTreatment};
use std::sync::Arc;

/// The widest of each setting of these listeners; none where none of them says anything. Listeners that are closed have no say.
pub(super) fn widest(listeners: &[Arc<BoundListener>]) -> Option<Arc<ClientTreatment>> {
    let open = || listeners.iter().map(|it| &*it.listener).filter(|it| it.closed.is_none());
    let mut treatments = open().map(|it| it.treatment.as_ref());
    let first = treatments.next()?;
    if first.is_some() && treatments.clone().all(|it| it == first) {
        return first.cloned();
    }
    if first.is_none() && treatments.all(|it| it.is_none()) {
        return None;
    }
    let all: Vec<ClientTreatment> =
        open().map(|it| it.treatment.as_deref().cloned().unwrap_or_default()).collect();
    Some(Arc::new(ClientTreatment { timeouts: longest(&all) }))
}

fn longest(all: &[ClientTreatment]) -> ClientTimeouts {
    let mut longest = ClientTimeouts::default();
    for timeout in ClientTimeout::ALL {
        let of_each = all.iter().filter_map(|it| {
            it.timeouts.get(timeout).or_else(|| ClientTimeouts::BUILT_IN.get(timeout))
        });
        let is_said = all.iter().any(|it| it.timeouts.get(timeout).is_some());
        *longest.get_mut(timeout) = of_each.max().filter(|_| is_said);
    }
    longest
}
