//! How many streams of configuration one pod has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One, and while the pod comes again, those of which it is not known yet that they have ended.
pub(super) const STREAMS_EACH: usize = 4;

/// The streams of each pod, by uid. Clones share one count.
#[derive(Clone, Debug, Default)]
pub(super) struct PodStreams(Arc<Mutex<Counts>>);

type Counts = HashMap<Arc<str>, usize, ahash::RandomState>;

/// One stream of a pod. It is given back when it is dropped.
#[derive(Debug)]
pub(super) struct PodStream {
    streams: PodStreams,
    pod: Arc<str>,
}

// === impl PodStreams ===

impl PodStreams {
    /// One more stream of a pod, if it may have one.
    pub(super) fn admit(&self, pod: &Arc<str>) -> Option<PodStream> {
        let mut counts = self.counts();
        let count = counts.entry(pod.clone()).or_default();
        if *count >= STREAMS_EACH {
            return None;
        }
        *count += 1;
        Some(PodStream { streams: self.clone(), pod: pod.clone() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PodStream {
    fn drop(&mut self) {
        let mut counts = self.streams.counts();
        if let Some(count) = counts.get_mut(&self.pod) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.pod);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_so_many_streams_and_gets_them_back() {
        let (streams, pod, other) = (PodStreams::default(), Arc::<str>::from("u1"), Arc::<str>::from("u2"));
        let mut held: Vec<_> = (0..STREAMS_EACH).map(|_| streams.admit(&pod).unwrap()).collect();
        assert!(streams.admit(&pod).is_none());
        assert!(streams.admit(&other).is_some());
        held.pop();
        assert!(streams.admit(&pod).is_some());
        held.clear();
        assert!(streams.counts().is_empty());
    }
}
