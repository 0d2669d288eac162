//! What an object in the cluster says of its status now.

use crate::events::Regarding;
use crate::resources::{ApiResource, ObjectRef};
use serde_json::Value;
use std::sync::Arc;

/// What an object in the cluster says of its status now: kept as text, since of most nothing is ever read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub api_resource: Arc<ApiResource>,
    pub uid: Arc<str>,
    /// Its resourceVersion: a write is only right on what it was made from.
    pub version: Arc<str>,
    /// Its status as JSON; none when it has none.
    pub status: Option<Box<str>>,
}

// === impl Record ===

impl Record {
    /// The object, as Events name it.
    pub fn regarding(&self, object: &ObjectRef) -> Regarding {
        let api_version = self.api_resource.api_version();
        Regarding { object: object.clone(), api_version, uid: self.uid.clone() }
    }

    /// Its status; an empty one when it has none.
    pub fn parsed(&self) -> Value {
        let parsed = self.status.as_deref().and_then(|it| serde_json::from_str(it).ok());
        parsed.unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }
}
