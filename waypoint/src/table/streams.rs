//! Routes for bytes and datagrams, by listener: which of them takes a connection is known before it comes.

use super::Shared;
use crate::route::{HostIndex, Weights};
use fairway_config::model::{
    Attachment, BackendTarget, HostMatch, HostnamePattern, L4Route, ListenerKey, RouteKey,
};
use fairway_telemetry::{ConnectionLabels, Direction, Series, SeriesTable};
use rand::Rng;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A TLSRoute, TCPRoute or UDPRoute, ready to be used.
#[derive(Debug)]
pub struct CompiledL4Route {
    route: Arc<L4Route>,
    weights: Weights,
    /// Where connections count that get no backend.
    series: Series<ConnectionLabels>,
    /// Where those to each backend count.
    backend_series: Box<[Series<ConnectionLabels>]>,
}

/// The routes for bytes or datagrams of one listener.
#[derive(Clone, Debug, Default)]
pub struct StreamTable {
    routes: Vec<Arc<CompiledL4Route>>,
    /// Of the routes that want one name, the one that gets it.
    by_name: HostIndex<Arc<CompiledL4Route>>,
}

/// Routes that come and go, by listener. A route that stays in place goes as it was and comes as it is.
#[derive(Debug, Default)]
pub(super) struct StreamEdits(BTreeMap<ListenerKey, StreamEdit>);

#[derive(Debug, Default)]
struct StreamEdit {
    gone: Vec<RouteKey>,
    come: Vec<Arc<CompiledL4Route>>,
}

// === impl CompiledL4Route ===

impl CompiledL4Route {
    /// Adds up the weights. Its connections will count in `series`.
    pub fn new(route: Arc<L4Route>, series: &SeriesTable<ConnectionLabels>) -> Self {
        let counted = |target: Option<&BackendTarget>| {
            let backend = match target {
                Some(BackendTarget::Backend(key)) => Some(key.clone()),
                Some(BackendTarget::Unresolved(_)) | None => None,
            };
            let route = Some(route.key.clone());
            series.series(ConnectionLabels { route, backend, ..ConnectionLabels::new(Direction::Listener) })
        };
        let backend_series = route.backends.iter().map(|it| counted(Some(&it.target))).collect();
        let (weights, series) = (Weights::sum(route.backends.iter().map(|it| it.weight)), counted(None));
        Self { weights, series, backend_series, route }
    }

    /// Where connections count that get no backend.
    pub fn series(&self) -> &Series<ConnectionLabels> {
        &self.series
    }

    /// The route.
    pub fn route(&self) -> &L4Route {
        &self.route
    }

    /// A backend, drawn by weight, and where its connections count; none if there are none or all weigh nothing.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<(&BackendTarget, &Series<ConnectionLabels>)> {
        let index = self.weights.draw(rng)?;
        Some((&self.route.backends.get(index)?.target, self.backend_series.get(index)?))
    }
}

// === impl StreamTable ===

impl StreamTable {
    /// The route that takes connections for a name (lower case): the one with the most specific hostname at this listener;
    /// of those the one whose own hostname is the most specific; of those the oldest. Without a name only a route
    /// without hostnames does.
    pub fn choose(&self, name: Option<&str>) -> Option<&Arc<CompiledL4Route>> {
        self.by_name.covering(name.unwrap_or_default()).next()
    }

    /// All routes, in no order.
    pub fn routes(&self) -> &[Arc<CompiledL4Route>] {
        &self.routes
    }

    fn edited(&self, listener: &ListenerKey, edit: &StreamEdit) -> Self {
        let stays = |it: &&Arc<CompiledL4Route>| !edit.gone.contains(&it.route.key);
        let routes: Vec<_> = self.routes.iter().filter(stays).chain(&edit.come).cloned().collect();
        let mut candidates: Vec<_> = routes.iter().flat_map(|route| candidates(route, listener)).collect();
        candidates.sort_by(Candidate::precedence);
        let mut by_name = HostIndex::default();
        for Candidate { effective, route, .. } in candidates {
            if by_name.get(effective).is_none() {
                by_name.insert(effective, route.clone());
            }
        }
        Self { routes, by_name }
    }
}

/// A route under one of its names at a listener.
struct Candidate<'r> {
    effective: Option<&'r HostnamePattern>,
    original: Option<&'r HostnamePattern>,
    route: &'r Arc<CompiledL4Route>,
}

/// A route without hostnames stands under every name.
fn candidates<'r>(route: &'r Arc<CompiledL4Route>, listener: &ListenerKey) -> Vec<Candidate<'r>> {
    let candidate = |host: Option<&'r HostMatch>| Candidate {
        effective: host.map(|it| &it.effective),
        original: host.map(|it| &it.original),
        route,
    };
    let at = |attachment: &'r Attachment| match attachment {
        Attachment::Listener { listener: l, hostnames } if l == listener => Some(hostnames),
        _ => None,
    };
    let hostnames = route.route.attachments.iter().filter_map(at);
    hostnames
        .flat_map(|all| match all.is_empty() {
            true => vec![candidate(None)],
            false => all.iter().map(|it| candidate(Some(it))).collect(),
        })
        .collect()
}

// === impl Candidate ===

impl Candidate<'_> {
    /// What goes first is less (GEP-2643, and the conflict rules every route has: older, then by name).
    fn precedence(&self, other: &Self) -> Ordering {
        let specificity = |it: &Self| Reverse(it.original.map(HostnamePattern::specificity));
        let (one, two) = (&self.route.route, &other.route.route);
        specificity(self)
            .cmp(&specificity(other))
            .then_with(|| one.created.cmp(&two.created))
            .then_with(|| one.object.cmp(&two.object))
            .then_with(|| one.key.cmp(&two.key))
    }
}

// === impl StreamEdits ===

impl StreamEdits {
    /// Notes that a route was replaced.
    pub fn replace(&mut self, old: Option<&Arc<CompiledL4Route>>, new: Option<&Arc<CompiledL4Route>>) {
        if let Some(old) = old {
            self.visit(old, |edit| edit.gone.push(old.route.key.clone()));
        }
        if let Some(new) = new {
            self.visit(new, |edit| edit.come.push(new.clone()));
        }
    }

    /// Calls with the edit of every listener of a route, once for each.
    fn visit(&mut self, route: &CompiledL4Route, mut edit: impl FnMut(&mut StreamEdit)) {
        let mut listeners: Vec<&ListenerKey> = Vec::new();
        for attachment in &route.route.attachments {
            if let Attachment::Listener { listener, .. } = attachment {
                listeners.push(listener);
            }
        }
        listeners.sort_unstable();
        listeners.dedup();
        for listener in listeners {
            edit(self.0.entry(listener.clone()).or_default());
        }
    }

    /// Rebuilds the listeners that are touched; whether there were any.
    pub fn apply(&self, tables: &mut Shared<ListenerKey, Arc<StreamTable>>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let tables = Arc::make_mut(tables);
        for (listener, edit) in &self.0 {
            let table = tables.get(listener).map_or_else(StreamTable::default, |it| StreamTable::clone(it));
            let table = table.edited(listener, edit);
            if table.routes.is_empty() {
                tables.remove(listener);
            } else {
                tables.insert(listener.clone(), Arc::new(table));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{attachment, l4_route, listener, snapshot};
    use crate::table::Tables;
    use crate::upstream::cluster::Registry;
    use fairway_config::model::{L4Kind, Resource};
    use fairway_config::{Delta, Snapshot};

    fn resource(route: L4Route) -> Resource {
        Resource::L4Route(Arc::new(route))
    }

    fn at(listener: &str, name: &str, created: i64, hostnames: &[(&str, &str)]) -> L4Route {
        let attachments = vec![attachment(listener, hostnames)];
        L4Route { created, attachments, ..l4_route(L4Kind::Tls, name) }
    }

    fn with_listener(routes: Vec<L4Route>) -> Snapshot {
        let mut resources: Vec<_> = routes.into_iter().map(resource).collect();
        resources.push(Resource::Listener(Arc::new(listener("l", None))));
        snapshot(resources)
    }

    fn chosen(tables: &Tables, name: Option<&str>) -> Option<String> {
        let set = tables.sockets().next().unwrap();
        let route = set.listeners()[0].streams.choose(name)?;
        Some(route.route().object.name.to_string())
    }

    #[test]
    fn the_most_specific_name_wins_then_the_most_specific_original_then_the_older_then_the_name() {
        let snapshot = with_listener(vec![
            at("l", "wide", 1, &[("*.example.com", "*.com")]),
            at("l", "narrow", 9, &[("*.example.com", "*.example.com")]),
            at("l", "exact", 9, &[("a.example.com", "a.example.com")]),
            at("l", "intersected", 1, &[("a.example.com", "*.example.com")]),
            at("l", "young", 8, &[("b.example.com", "b.example.com")]),
            at("l", "old", 7, &[("b.example.com", "b.example.com")]),
            at("l", "old-too", 7, &[("b.example.com", "b.example.com")]),
            at("l", "elsewhere", 0, &[("a.example.com", "a.example.com")]),
            at("l", "rest", 9, &[]),
        ]);
        let mut tables = Tables::build(&snapshot, &mut Registry::default()).unwrap();
        for (name, expected) in [
            (Some("a.example.com"), "elsewhere"),
            (Some("b.example.com"), "old"),
            (Some("c.example.com"), "narrow"),
            (Some("c.b.example.com"), "narrow"),
            (Some("example.com"), "rest"),
            (None, "rest"),
        ] {
            assert_eq!(chosen(&tables, name).as_deref(), Some(expected), "{name:?}");
        }
        let mut snapshot = snapshot;
        for (gone, then) in [("elsewhere", "exact"), ("exact", "intersected"), ("intersected", "narrow")] {
            let removals = vec![resource(at("l", gone, 0, &[])).key()];
            let (next, changes) = snapshot.apply(Delta { removals, ..Delta::default() });
            tables = tables.next(&next, &changes, &mut Registry::default()).unwrap();
            assert_eq!(chosen(&tables, Some("a.example.com")).as_deref(), Some(then));
            snapshot = next;
        }
    }

    #[test]
    fn a_route_comes_moves_and_goes_at_one_listener_and_leaves_the_others_alone() {
        let first = with_listener(vec![at("l", "a", 0, &[]), at("other", "b", 0, &[])]);
        let mut registry = Registry::default();
        let before = Tables::build(&first, &mut registry).unwrap();
        let moved = at("l", "a", 0, &[("a.com", "a.com")]);
        let (second, changes) =
            first.apply(Delta { upserts: vec![resource(moved.clone())], ..Delta::default() });
        let after = before.next(&second, &changes, &mut registry).unwrap();
        assert_eq!((chosen(&after, None), chosen(&after, Some("a.com")).as_deref()), (None, Some("a")));
        let other = |tables: &Tables| tables.listener_streams["other"].clone();
        assert!(Arc::ptr_eq(&other(&before), &other(&after)));
        let (third, changes) =
            second.apply(Delta { removals: vec![resource(moved).key()], ..Delta::default() });
        let last = after.next(&third, &changes, &mut registry).unwrap();
        assert_eq!(chosen(&last, Some("a.com")), None);
        assert!(!last.listener_streams.contains_key("l"));
    }
}
