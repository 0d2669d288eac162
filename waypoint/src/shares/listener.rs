//! How many connections a listener has, on all threads of a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The connections of one listener. They are counted once it has a limit for them; commits do not begin the count anew.
#[derive(Debug, Default)]
pub struct ListenerConnections(AtomicU64);

/// One connection that counts. It is given back when it is dropped.
#[derive(Debug)]
pub struct ListenerPlace(Arc<ListenerConnections>);

// === impl ListenerConnections ===

impl ListenerConnections {
    /// One more, unless it has `most` already.
    pub fn take(self: &Arc<Self>, most: u64) -> Option<ListenerPlace> {
        let more = |count: u64| (count < most).then_some(count + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| ListenerPlace(self.clone()))
    }
}

// === impl ListenerPlace ===

impl ListenerPlace {
    /// Whether it is one of this listener.
    pub fn is_of(&self, listener: &Arc<ListenerConnections>) -> bool {
        Arc::ptr_eq(&self.0, listener)
    }
}

impl Drop for ListenerPlace {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_so_many_connections_and_a_place_is_given_back() {
        let listener = Arc::new(ListenerConnections::default());
        let held: Vec<_> = (0..3).map_while(|_| listener.take(2)).collect();
        assert_eq!(held.len(), 2);
        assert!(held.iter().all(|it| it.is_of(&listener)));
        // A limit that is lowered ends nothing.
        assert!(listener.take(1).is_none());
        drop(held);
        assert!(listener.take(1).is_some_and(|it| !it.is_of(&Arc::default())));
        assert_eq!(listener.0.load(Ordering::Relaxed), 0);
    }
}
