//! Texts that repeat are held once: a configuration names the same listener, namespace and backend over and over.
//!
//! What came last is remembered in a table of fixed size, so that this costs nothing at rest: repetitions come close
//! together, as a controller sends an object's resources one after the other.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Texts that are remembered; a power of two.
const PLACES: usize = 512;
/// Longer texts do not repeat.
const LONGEST: usize = 256;

struct Recent {
    hasher: RandomState,
    places: Vec<Option<Arc<str>>>,
}

thread_local! {
    static RECENT: RefCell<Recent> =
        RefCell::new(Recent { hasher: RandomState::new(), places: vec![None; PLACES] });
}

/// The text, shared with an equal one that came lately.
pub(super) fn shared(text: &str) -> Arc<str> {
    if text.len() > LONGEST {
        return text.into();
    }
    RECENT.with_borrow_mut(|recent| {
        let at = recent.hasher.hash_one(text) as usize % PLACES;
        let Some(place) = recent.places.get_mut(at) else { return text.into() };
        match place {
            Some(held) if **held == *text => held.clone(),
            _ => place.insert(text.into()).clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_held_once_and_what_differs_stays_apart() {
        let (one, same) = (shared("infra/gateway/http"), shared("infra/gateway/http"));
        assert!(Arc::ptr_eq(&one, &same));
        let all: Vec<_> = (0..10 * PLACES).map(|it| shared(&format!("team-{it}/web"))).collect();
        for (number, text) in all.iter().enumerate() {
            assert_eq!(**text, *format!("team-{number}/web"));
        }
        assert_eq!(*one, *same);
    }
}
