//! All edges, shared by all views.

use super::{Edge, Point};
use fairway_config::model::ResourceKey;
use std::collections::HashMap;

/// The edges that all resources together contribute. Two may contribute the same one: it counts twice.
#[derive(Debug, Default)]
pub struct Graph {
    children: HashMap<Point, HashMap<Point, u32, ahash::RandomState>, ahash::RandomState>,
}

impl Graph {
    /// Adds an edge. One that is added twice has to be taken away twice.
    pub fn add(&mut self, (parent, child): &Edge) {
        *self.children.entry(parent.clone()).or_default().entry(child.clone()).or_default() += 1;
    }

    /// Takes an edge away that was added.
    pub fn remove(&mut self, (parent, child): &Edge) {
        let Some(children) = self.children.get_mut(parent) else {
            return;
        };
        if let Some(count) = children.get_mut(child) {
            *count -= 1;
            if *count == 0 {
                children.remove(child);
            }
        }
        if children.is_empty() {
            self.children.remove(parent);
        }
    }

    /// The resources that a resource leads to.
    pub fn resources_of(&self, parent: &ResourceKey) -> Vec<ResourceKey> {
        let children = self.children.get(&Point::Resource(parent.clone())).into_iter().flatten();
        let resources = children.filter_map(|(child, _)| match child {
            Point::Resource(key) => Some(key.clone()),
            _ => None,
        });
        resources.collect()
    }

    /// What a point leads to, and by how many edges.
    pub(super) fn children(&self, parent: &Point) -> impl Iterator<Item = (&Point, u32)> {
        self.children.get(parent).into_iter().flatten().map(|(child, count)| (child, *count))
    }
}
