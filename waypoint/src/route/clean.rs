//! Brings the matches of a route into the form that requests are compared with.

use fairway_config::model::{Match, Route};
use std::sync::Arc;

/// The route with its matches in canonical form. Almost every route has that form and is shared as it is.
pub(super) fn cleaned(mut route: Arc<Route>) -> Arc<Route> {
    let is_dirty = |it: &Match| it.canonical().is_some();
    if route.rules.iter().flat_map(|it| &it.matches).any(is_dirty) {
        let route = Arc::make_mut(&mut route);
        for alternative in route.rules.iter_mut().flat_map(|it| &mut it.matches) {
            if let Some(canonical) = alternative.canonical() {
                *alternative = canonical;
            }
        }
    }
    route
}
