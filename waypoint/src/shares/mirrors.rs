//! Places of mirrored requests: a backend that does not answer holds its own, and not those of others.

use super::{EACH, FREE, Share, Shares};
use fairway_config::model::BackendKey;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// The mirrored requests that are under way on a worker.
#[derive(Debug, Default)]
pub struct MirrorPlaces {
    taken: Rc<Cell<usize>>,
    by_backend: Shares<BackendKey>,
    by_namespace: Shares<Arc<str>>,
}

/// The place of one mirrored request.
#[derive(Debug)]
pub struct MirrorPlace {
    taken: Rc<Cell<usize>>,
    _of_backend: Share<BackendKey>,
    _of_namespace: Share<Arc<str>>,
}

// === impl MirrorPlaces ===

impl MirrorPlaces {
    /// A place for a request to a backend, of `limit` that all may have. Once half are in use a backend has a sixteenth of them, and
    /// once three quarters are the backends of one namespace have a sixteenth together.
    pub fn take(&self, backend: &BackendKey, limit: usize) -> Option<MirrorPlace> {
        let taken = self.taken.get();
        if taken >= limit {
            return None;
        }
        let most = |is_scarce: bool| if is_scarce { limit / EACH } else { usize::MAX };
        let namespace = backend.as_str().split_once('/').map_or("", |(namespace, _)| namespace);
        let of_backend = self.by_backend.take(backend.clone(), most(taken > limit / FREE))?;
        let of_namespace = self.by_namespace.take(namespace.into(), most(taken > limit / 4 * 3))?;
        self.taken.set(taken + 1);
        Some(MirrorPlace { taken: self.taken.clone(), _of_backend: of_backend, _of_namespace: of_namespace })
    }
}

impl Drop for MirrorPlace {
    fn drop(&mut self) {
        self.taken.set(self.taken.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many places as there are for a backend.
    fn fill(places: &MirrorPlaces, backend: &str) -> Vec<MirrorPlace> {
        std::iter::from_fn(|| places.take(&backend.into(), 128)).collect()
    }

    #[test]
    fn a_backend_that_does_not_answer_leaves_the_others_their_places() {
        let places = MirrorPlaces::default();
        let silent = fill(&places, "evil/silent:80");
        assert_eq!(silent.len(), 65);
        let other = fill(&places, "evil/other:80");
        assert_eq!(other.len(), 8, "a backend of the same namespace too");
        assert_eq!(fill(&places, "shop/web:80").len(), 8);
        drop((silent, other));
        assert_eq!(fill(&places, "evil/silent:80").len(), 65);
    }

    #[test]
    fn a_namespace_with_many_backends_leaves_the_others_their_places() {
        let places = MirrorPlaces::default();
        let theirs: Vec<_> = (0..100).flat_map(|it| fill(&places, &format!("evil/s{it}:80"))).collect();
        assert_eq!(theirs.len(), 97);
        let mut others = Vec::new();
        for namespace in ["a", "b", "c"] {
            let places = fill(&places, &format!("{namespace}/s:80"));
            assert_eq!(places.len(), 8, "{namespace}");
            others.extend(places);
        }
    }

    #[test]
    fn there_are_no_more_places_than_the_limit() {
        let places = MirrorPlaces::default();
        let all: Vec<_> = (0..100).flat_map(|it| fill(&places, &format!("n{it}/s:80"))).collect();
        assert_eq!(all.len(), 128);
        drop(all);
        assert!(places.by_backend.0.borrow().is_empty() && places.by_namespace.0.borrow().is_empty());
    }
}
