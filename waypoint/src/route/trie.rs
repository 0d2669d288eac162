//! Path prefixes, element by element.

use ahash::HashMap;

/// Values under path prefixes. Every prefix begins with `/` or is empty, and ends without one.
#[derive(Debug, Default)]
pub(super) struct PrefixTrie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    children: Children<T>,
}

/// Most nodes have few children, and a short scan takes less memory and no more time than a hash map.
#[derive(Debug)]
enum Children<T> {
    Few(Vec<(Box<str>, Node<T>)>),
    Many(Box<HashMap<Box<str>, Node<T>>>),
}

/// How many children are scanned.
const FEW: usize = 6;

// === impl PrefixTrie ===

impl<T> PrefixTrie<T> {
    /// The value under a prefix, to be set.
    pub fn entry(&mut self, prefix: &str) -> &mut Option<T> {
        let mut node = &mut self.root;
        for element in elements(prefix) {
            node = node.children.entry(element);
        }
        &mut node.value
    }

    /// Calls `visit` with the value of every prefix of a path, the shortest first.
    pub fn prefixes_of<'t>(&'t self, path: &str, mut visit: impl FnMut(&'t T)) {
        let mut node = &self.root;
        let mut elements = elements(path);
        loop {
            if let Some(value) = &node.value {
                visit(value);
            }
            let Some(child) = elements.next().and_then(|it| node.children.get(it)) else {
                return;
            };
            node = child;
        }
    }
}

fn elements(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').map(|it| it.split('/')).into_iter().flatten()
}

// === impl Node ===

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { value: None, children: Children::Few(Vec::new()) }
    }
}

// === impl Children ===

impl<T> Children<T> {
    fn get(&self, element: &str) -> Option<&Node<T>> {
        match self {
            Self::Few(few) => few.iter().find(|(it, _)| **it == *element).map(|(_, node)| node),
            Self::Many(many) => many.get(element),
        }
    }

    fn entry(&mut self, element: &str) -> &mut Node<T> {
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
                    few.push((element.into(), Node::default()));
                    few.len() - 1
                });
                &mut few[at].1
            }
            Self::Many(many) => many.entry(element.into()).or_default(),
        }
    }
}
