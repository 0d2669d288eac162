//! Takes out of a route what the API says is ignored, and brings its paths into the form requests are compared in.

use fairway_config::model::{Match, PathMatch, Route, normalised_path};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// The route without repeated header and query matches (the first of a name counts), its paths normalised. Almost every
/// route is clean already and is shared as it is.
pub(super) fn cleaned(mut route: Arc<Route>) -> Arc<Route> {
    let is_dirty = |it: &Match| cleaned_match(it).is_some();
    if route.rules.iter().flat_map(|it| &it.matches).any(is_dirty) {
        let route = Arc::make_mut(&mut route);
        for alternative in route.rules.iter_mut().flat_map(|it| &mut it.matches) {
            if let Some(clean) = cleaned_match(alternative) {
                *alternative = clean;
            }
        }
    }
    route
}

/// The match as it has to be, or none if it is so already.
fn cleaned_match(dirty: &Match) -> Option<Match> {
    let path = match &dirty.path {
        PathMatch::Exact(path) => cleaned_path(path).map(PathMatch::Exact),
        PathMatch::Prefix(path) => cleaned_path(path).map(PathMatch::Prefix),
        PathMatch::Regex(_) | PathMatch::Grpc(_) => None,
    };
    let mut headers = HashSet::new();
    let repeats_header = !dirty.headers.iter().all(|it| headers.insert(&it.name));
    let mut query = HashSet::new();
    let repeats_query = !dirty.query.iter().all(|it| query.insert(&it.name));
    if path.is_none() && !repeats_header && !repeats_query {
        return None;
    }
    let mut clean = dirty.clone();
    clean.path = path.unwrap_or(clean.path);
    let mut seen = HashSet::new();
    clean.headers.retain(|it| seen.insert(it.name.clone()));
    let mut seen = HashSet::new();
    clean.query.retain(|it| seen.insert(it.name.clone()));
    Some(clean)
}

/// A path in the form requests are compared in, or none if it is so already. One that could never match (a `..` in it)
/// is left alone: it never matches.
fn cleaned_path(path: &str) -> Option<Arc<str>> {
    match normalised_path(path)? {
        Cow::Owned(clean) if clean != path => Some(clean.into()),
        _ => None,
    }
}
