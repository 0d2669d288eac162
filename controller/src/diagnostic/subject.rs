//! What a diagnostic is about.

use crate::resources::{Kind, ObjectRef};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// An object of Kubernetes, also of a kind that Fairway does not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Subject {
    /// The kind, such as `HTTPRoute`.
    pub kind: Cow<'static, str>,
    /// The namespace; empty for objects that have none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: Arc<str>,
    /// The name; empty where it is not known.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: Arc<str>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Location {
    /// The file, as it was found, or relative to the directory that is checked.
    pub file: PathBuf,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
}

// === impl Subject ===

impl Subject {
    /// A kind of which no object is known.
    pub fn kind(kind: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: kind.into(), namespace: "".into(), name: "".into() }
    }

    /// The object, if it is of a kind that Fairway reads.
    pub fn object(&self) -> Option<ObjectRef> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?;
        Some(ObjectRef::new(kind, self.namespace.clone(), self.name.clone()))
    }

    /// An object of any kind; an empty namespace for one that has none.
    pub fn named(
        kind: impl Into<Cow<'static, str>>,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl From<&ObjectRef> for Subject {
    fn from(object: &ObjectRef) -> Self {
        Self::named(object.kind.as_str(), object.namespace.clone(), object.name.clone())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match (self.namespace.is_empty(), self.name.is_empty()) {
            (_, true) => Ok(()),
            (true, false) => write!(f, " {}", self.name),
            (false, false) => write!(f, " {}/{}", self.namespace, self.name),
        }
    }
}

// === impl Location ===

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}
