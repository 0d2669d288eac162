//! What still has to happen before a program may be sent traffic: named gates, all of which must be open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The gates of a program. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<GateState>>>);

/// One thing to wait for. It opens once and stays open; one that is dropped unopened stays shut, so that a task that
/// dies before it is done leaves the program not ready.
///
/// ```
/// use fairway_runtime::readiness::Readiness;
///
/// let readiness = Readiness::new();
/// assert!(readiness.is_ready(), "there is nothing to wait for");
/// drop(readiness.gate("an identity"));
/// assert_eq!(readiness.pending(), ["an identity"], "it is waited for, although nobody is left to open it");
/// ```
#[derive(Debug)]
pub struct Gate {
    readiness: Readiness,
    index: usize,
}

#[derive(Debug)]
struct GateState {
    name: &'static str,
    open: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Without a gate a program is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a gate, shut. Its name completes "waiting for …".
    pub fn gate(&self, name: &'static str) -> Gate {
        let mut gates = self.gates();
        gates.push(GateState { name, open: false });
        Gate { readiness: self.clone(), index: gates.len() - 1 }
    }

    /// The names of the gates that are shut, in the order they were made.
    pub fn pending(&self) -> Vec<&'static str> {
        self.gates().iter().filter(|it| !it.open).map(|it| it.name).collect()
    }

    /// Whether all gates are open.
    pub fn is_ready(&self) -> bool {
        self.gates().iter().all(|it| it.open)
    }

    fn gates(&self) -> MutexGuard<'_, Vec<GateState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Gate ===

impl Gate {
    /// Opens the gate for good.
    pub fn open(&self) {
        let mut gates = self.readiness.gates();
        let Some(gate) = gates.get_mut(self.index) else {
            return;
        };
        if !gate.open {
            gate.open = true;
            tracing::debug!("ready: {}", gate.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_gate_has_opened() {
        let readiness = Readiness::new();
        let (configuration, identity) = (readiness.gate("first configuration"), readiness.gate("identity"));
        assert_eq!(readiness.pending(), ["first configuration", "identity"]);
        configuration.open();
        configuration.open();
        assert_eq!((readiness.pending(), readiness.is_ready()), (vec!["identity"], false));
        identity.open();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_gate_that_is_dropped_shut_stays_shut() {
        let readiness = Readiness::new();
        drop(readiness.gate("identity"));
        assert_eq!(readiness.pending(), ["identity"]);
    }
}
