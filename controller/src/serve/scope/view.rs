//! What one proxy needs, kept up to date edge by edge.

use super::{Edge, Graph, Point};
use fairway_config::model::{ResourceKey, ResourceKind};
use fairway_config::stream::Proxy;
use std::collections::{HashMap, HashSet};
use std::mem;

/// The scope of one proxy.
#[derive(Debug, PartialEq)]
pub struct View {
    /// Whose scope it is; none for one that has nothing but what its roots lead to.
    proxy: Option<Proxy>,
    /// By how many edges from points that are reached a point is reached. The graph has no cycles.
    ways: HashMap<Point, u32, ahash::RandomState>,
    /// Resources that have come in or gone out since they were last asked for.
    flipped: HashSet<ResourceKey, ahash::RandomState>,
}

impl View {
    /// The scope from scratch.
    pub fn new(proxy: Proxy, graph: &Graph) -> Self {
        let root = match &proxy {
            Proxy::Gateway(gateway) => Some(Point::Gateway(gateway.to_string().into())),
            Proxy::Node(node) => Some(Point::Node(node.clone())),
            Proxy::Everything => None,
        };
        Self::from_roots(Some(proxy), root, graph)
    }

    /// These resources and what they lead to, from scratch.
    pub fn of_resources(keys: impl IntoIterator<Item = ResourceKey>, graph: &Graph) -> Self {
        Self::from_roots(None, keys.into_iter().map(Point::Resource), graph)
    }

    fn from_roots(proxy: Option<Proxy>, roots: impl IntoIterator<Item = Point>, graph: &Graph) -> Self {
        let mut view = Self { proxy, ways: HashMap::default(), flipped: HashSet::default() };
        for root in roots {
            view.reach(&root, 1, graph);
        }
        view.flipped.clear();
        view
    }

    /// The resources that are reached.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceKey> {
        self.ways.keys().filter_map(|point| match point {
            Point::Resource(key) => Some(key),
            _ => None,
        })
    }

    /// Whether the proxy needs this resource.
    pub fn wants(&self, key: &ResourceKey) -> bool {
        let all_of_kind = match self.proxy {
            Some(Proxy::Everything) => true,
            Some(Proxy::Node(_)) => {
                matches!(key.kind, ResourceKind::Service | ResourceKind::Endpoints | ResourceKind::Workload)
            }
            Some(Proxy::Gateway(_)) | None => false,
        };
        all_of_kind || self.ways.contains_key(&Point::Resource(key.clone()))
    }

    /// The edge has just been added to the graph.
    pub fn added(&mut self, (parent, child): &Edge, graph: &Graph) {
        if self.ways.contains_key(parent) {
            self.reach(child, 1, graph);
        }
    }

    /// The edge has just been taken from the graph.
    pub fn removed(&mut self, (parent, child): &Edge, graph: &Graph) {
        if self.ways.contains_key(parent) {
            self.leave(child, 1, graph);
        }
    }

    /// What has come in or gone out since the last call.
    pub fn take_flipped(&mut self) -> HashSet<ResourceKey, ahash::RandomState> {
        mem::take(&mut self.flipped)
    }

    // Both walks are as deep as the picture in the module's head, no deeper.

    fn reach(&mut self, point: &Point, ways: u32, graph: &Graph) {
        let count = self.ways.entry(point.clone()).or_default();
        *count += ways;
        if *count == ways {
            self.flip(point);
            for (child, ways) in graph.children(point) {
                self.reach(child, ways, graph);
            }
        }
    }

    fn leave(&mut self, point: &Point, ways: u32, graph: &Graph) {
        let Some(count) = self.ways.get_mut(point) else {
            return;
        };
        *count = count.saturating_sub(ways);
        if *count == 0 {
            self.ways.remove(point);
            self.flip(point);
            for (child, ways) in graph.children(point) {
                self.leave(child, ways, graph);
            }
        }
    }

    fn flip(&mut self, point: &Point) {
        if let Point::Resource(key) = point
            && !self.flipped.remove(key)
        {
            self.flipped.insert(key.clone());
        }
    }
}
