//! Path prefixes, element by element.

use ahash::HashMap;
use std::sync::Arc;

/// Values under path prefixes. Every prefix begins with `/` or is empty, and ends without one. A clone shares all nodes;
/// an edit copies those on its way only.
#[derive(Clone, Debug)]
pub(super) struct PrefixTrie<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    values: Vec<T>,
    children: Children<T>,
}

/// Most nodes have few children, and a short scan takes less memory and no more time than a hash map.
#[derive(Clone, Debug)]
enum Children<T> {
    Few(Vec<(Arc<str>, Arc<Node<T>>)>),
    Many(Box<HashMap<Arc<str>, Arc<Node<T>>>>),
}

/// How many children are scanned.
const FEW: usize = 6;

// === impl PrefixTrie ===

impl<T> Default for PrefixTrie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T: Clone> PrefixTrie<T> {
    /// Edits the values under a prefix; nodes that hold nothing any more are taken away.
    pub fn edit(&mut self, prefix: &str, edit: impl FnOnce(&mut Vec<T>)) {
        self.root.edit(&elements(prefix).collect::<Vec<_>>(), edit);
    }
}

impl<T> PrefixTrie<T> {
    /// Calls `visit` with the values of every prefix of a path, the shortest first.
    pub fn prefixes_of<'t>(&'t self, path: &str, mut visit: impl FnMut(&'t [T])) {
        let mut node = &self.root;
        let mut elements = elements(path);
        loop {
            if !node.values.is_empty() {
                visit(&node.values);
            }
            let Some(child) = elements.next().and_then(|it| node.children.get(it)) else { return };
            node = child;
        }
    }

    /// Calls `visit` with every value, in no order.
    pub fn visit_all<'t>(&'t self, mut visit: impl FnMut(&'t T)) {
        self.root.visit_all(&mut visit);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

fn elements(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').map(|it| it.split('/')).into_iter().flatten()
}

// === impl Node ===

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { values: Vec::new(), children: Children::Few(Vec::new()) }
    }
}

impl<T> Node<T> {
    fn visit_all<'t>(&'t self, visit: &mut impl FnMut(&'t T)) {
        self.values.iter().for_each(&mut *visit);
        match &self.children {
            Children::Few(few) => few.iter().for_each(|(_, child)| child.visit_all(visit)),
            Children::Many(many) => many.values().for_each(|child| child.visit_all(visit)),
        }
    }

    fn is_empty(&self) -> bool {
        let has_children = match &self.children {
            Children::Few(few) => !few.is_empty(),
            Children::Many(many) => !many.is_empty(),
        };
        self.values.is_empty() && !has_children
    }
}

impl<T: Clone> Node<T> {
    /// As deep as the prefix has elements; the API allows 1,024 characters.
    fn edit(&mut self, way: &[&str], edit: impl FnOnce(&mut Vec<T>)) {
        match way {
            [] => edit(&mut self.values),
            [element, rest @ ..] => {
                let child = Arc::make_mut(self.children.entry(element));
                child.edit(rest, edit);
                if child.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }
}

// === impl Children ===

impl<T> Children<T> {
    fn get(&self, element: &str) -> Option<&Node<T>> {
        match self {
            Self::Few(few) => few.iter().find(|(it, _)| **it == *element).map(|(_, node)| &**node),
            Self::Many(many) => many.get(element).map(|it| &**it),
        }
    }

    fn entry(&mut self, element: &str) -> &mut Arc<Node<T>> {
        if let Self::Few(few) = self
            && few.len() >= FEW
            && !few.iter().any(|(it, _)| **it == *element)
        {
            *self = Self::Many(Box::new(few.drain(..).collect()));
        }
        match self {
            Self::Few(few) => {
                let at = few.iter().position(|(it, _)| **it == *element).unwrap_or_else(|| {
                    few.reserve_exact(1);
                    few.push((element.into(), Arc::default()));
                    few.len() - 1
                });
                &mut few[at].1
            }
            Self::Many(many) => many.entry(element.into()).or_default(),
        }
    }

    fn remove(&mut self, element: &str) {
        match self {
            Self::Few(few) => few.retain(|(it, _)| **it != *element),
            Self::Many(many) => drop(many.remove(element)),
        }
    }
}
