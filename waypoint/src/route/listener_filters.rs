//! The filters of a listener (GEP-5224): they see each request that it takes, before a route is matched.

use super::hop::Hop;
use crate::stage::StageList;
use fairway_config::model::{InvalidFilter, Listener};

/// The filters of a listener, compiled.
#[derive(Debug)]
pub struct ListenerFilters {
    stages: StageList,
    hop: Hop,
}

// === impl ListenerFilters ===

impl ListenerFilters {
    /// Compiles those of a listener; none if it has none, and then nothing is looked at.
    pub fn of(listener: &Listener) -> Result<Option<Box<Self>>, InvalidFilter> {
        listener.check()?;
        if listener.filters.is_empty() {
            return Ok(None);
        }
        let stages = StageList::as_written(&listener.filters);
        Ok(Some(Box::new(Self { stages, hop: Hop::for_listener(&listener.key) })))
    }

    /// What is done to every request, in the order written.
    pub fn stages(&self) -> &StageList {
        &self.stages
    }

    /// The mark of what its filters send.
    pub(crate) fn hop(&self) -> &Hop {
        &self.hop
    }
}
