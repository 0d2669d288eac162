//! Alternatives that one index entry leads to, in the order of precedence.

use super::compiled::{Candidate, CompiledRoute};
use super::order::compare;
use ahash::HashMap;
use std::sync::Arc;

/// Groups by text. A clone shares them; an edit copies one.
pub(super) type Groups = HashMap<Arc<str>, Arc<Vec<Candidate>>>;

/// Puts an alternative in its place.
pub(super) fn insert(group: &mut Vec<Candidate>, candidate: Candidate) {
    let at = group.partition_point(|it| compare(it, &candidate).is_lt());
    if group.len() == group.capacity() {
        // Most groups hold one.
        group.reserve_exact(group.len().max(1));
    }
    group.insert(at, candidate);
}

/// Takes away the alternatives of a route.
pub(super) fn remove(group: &mut Vec<Candidate>, route: &CompiledRoute) {
    group.retain(|it| it.route.route().key != route.route().key);
}

/// Puts an alternative in its place in its group.
pub(super) fn insert_at(groups: &mut Groups, text: &Arc<str>, candidate: Candidate) {
    match groups.get_mut(text) {
        Some(group) => insert(Arc::make_mut(group), candidate),
        None => drop(groups.insert(text.clone(), Arc::new(vec![candidate]))),
    }
}

/// Takes away the alternatives of a route from a group.
pub(super) fn remove_at(groups: &mut Groups, text: &str, route: &CompiledRoute) {
    let Some(group) = groups.get_mut(text) else { return };
    remove(Arc::make_mut(group), route);
    if group.is_empty() {
        groups.remove(text);
    }
}
