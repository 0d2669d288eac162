//! An API server in memory: discovery, lists in pages, watches, and everything that goes wrong with them.

use crate::apiserver::testing::{self, ApiResponse, Watcher, failure, whole};
use crate::resources::Kind;
use bytes::Bytes;
use http::{Method, StatusCode};
use kube::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// An API server in memory. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<(Kind, String, String), Value>,
    history: Vec<(u64, Kind, &'static str, Value)>,
    /// Watches from before this version are too old.
    compacted: u64,
    offered: BTreeSet<Kind>,
    forbidden: BTreeSet<Kind>,
    down: bool,
    watchers: Vec<(Kind, Watcher)>,
    requests: Vec<String>,
    patches: Vec<(String, Value)>,
}

impl Server {
    /// A server that has every kind but ClusterTrustBundle, as most have, and no objects.
    pub(crate) fn new() -> Self {
        let offered = Kind::ALL.into_iter().filter(|it| *it != Kind::ClusterTrustBundle).collect();
        Self(Arc::new(Mutex::new(State { offered, version: 1, ..State::default() })))
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        testing::client(move |head, body| std::future::ready(server.answer(&head, &body)))
    }

    /// Creates or changes an object.
    pub(crate) fn put(&self, kind: Kind, mut object: Value) -> String {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["apiVersion"] = json!(api_version(kind));
        object["kind"] = json!(kind.as_str());
        let key = (kind, text(&object, "namespace"), text(&object, "name"));
        let happened = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        state.objects.insert(key, object.clone());
        state.happen(kind, happened, object);
        version.to_string()
    }

    pub(crate) fn delete(&self, kind: Kind, namespace: &str, name: &str) {
        let mut state = self.state();
        state.version += 1;
        let mut object = state.objects.remove(&(kind, namespace.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.happen(kind, "DELETED", object);
    }

    /// An object as it is now.
    pub(crate) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Value {
        self.state().objects[&(kind, namespace.to_owned(), name.to_owned())].clone()
    }

    /// Installs or removes a CRD; with it go its objects.
    pub(crate) fn offer(&self, kind: Kind, offered: bool) {
        let mut state = self.state();
        if offered {
            state.offered.insert(kind);
        } else {
            state.offered.remove(&kind);
            state.watchers.retain(|(it, _)| *it != kind);
        }
    }

    /// Says no to whoever lists or watches a kind.
    pub(crate) fn forbid(&self, kind: Kind) {
        self.state().forbidden.insert(kind);
    }

    pub(crate) fn hang_up(&self) {
        self.state().watchers.clear();
    }

    /// Stops to answer, or begins again.
    pub(crate) fn set_down(&self, down: bool) {
        let mut state = self.state();
        state.down = down;
        if down {
            state.watchers.clear();
        }
    }

    /// Is as from a backup: everything is there, but versions count from the beginning.
    pub(crate) fn restore(&self) {
        let mut state = self.state();
        state.watchers.clear();
        state.history.clear();
        state.version = 1;
    }

    /// Forgets what has changed until now.
    pub(crate) fn compact(&self) {
        let mut state = self.state();
        state.compacted = state.version;
        state.history.clear();
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// The writes since the last call: path and body.
    pub(crate) fn take_patches(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state().patches)
    }

    fn answer(&self, parts: &http::request::Parts, body: &Bytes) -> Result<ApiResponse, tower::BoxError> {
        let mut state = self.state();
        state.requests.push(format!("{} {}", parts.method, parts.uri));
        if state.down {
            return Err("connection refused".into());
        }
        let path = parts.uri.path();
        let query: HashMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|it| it.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        if parts.method == Method::PATCH {
            return Ok(state.patch(path, serde_json::from_slice(body)?));
        }
        if parts.method == Method::POST {
            return Ok(whole(StatusCode::CREATED, &json!({})));
        }
        let collection = Kind::ALL.into_iter().find(|it| path == collection(*it));
        Ok(match collection {
            None => state.discover(path),
            Some(kind) if !state.offered.contains(&kind) => failure(404, "the server could not find it"),
            Some(kind) if state.forbidden.contains(&kind) => failure(403, "it is forbidden"),
            Some(kind) if query.get("watch").is_some_and(|it| it == "true") => {
                state.watch(kind, query["resourceVersion"].parse()?)
            }
            Some(kind) => state.list(kind, &query),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn happen(&mut self, kind: Kind, happened: &'static str, object: Value) {
        self.watchers.retain(|(it, watcher)| *it != kind || watcher.tell(happened, &object));
        self.history.push((self.version, kind, happened, object));
    }

    fn discover(&self, path: &str) -> ApiResponse {
        let of_path = |it: &&Kind| collection(**it).rsplit_once('/').unwrap().0 == path;
        let resources: Vec<Value> = self
            .offered
            .iter()
            .filter(of_path)
            .flat_map(|it| {
                let named = |name: String| json!({ "name": name, "kind": it.as_str(), "namespaced": it.is_namespaced(), "singularName": "", "verbs": [] });
                [named(format!("{}/status", plural(*it))), named(plural(*it))]
            })
            .collect();
        match resources.is_empty() {
            true => failure(404, "the server could not find it"),
            false => whole(
                StatusCode::OK,
                &json!({ "kind": "APIResourceList", "groupVersion": "", "resources": resources }),
            ),
        }
    }

    fn list(&self, kind: Kind, query: &HashMap<String, String>) -> ApiResponse {
        let from: usize = query.get("continue").map_or(0, |it| it.parse().unwrap());
        let limit: usize = query["limit"].parse().unwrap();
        let all: Vec<&Value> =
            self.objects.iter().filter(|((it, ..), _)| *it == kind).map(|(_, it)| it).collect();
        let page: Vec<&&Value> = all.iter().skip(from).take(limit).collect();
        let more =
            if from + page.len() < all.len() { (from + page.len()).to_string() } else { String::new() };
        let metadata = json!({ "resourceVersion": self.version.to_string(), "continue": more });
        whole(StatusCode::OK, &json!({ "kind": "List", "metadata": metadata, "items": page }))
    }

    fn watch(&mut self, kind: Kind, from: u64) -> ApiResponse {
        if from > self.version {
            return failure(504, "Too large resource version");
        }
        let (answer, watcher) = testing::watch();
        if from < self.compacted {
            watcher.expire();
        } else {
            for (version, it, happened, object) in &self.history {
                if *it == kind && *version > from {
                    watcher.tell(happened, object);
                }
            }
            self.watchers.push((kind, watcher));
        }
        answer
    }

    /// A merge patch of a status, with the version as precondition.
    fn patch(&mut self, path: &str, body: Value) -> ApiResponse {
        self.patches.push((path.to_owned(), body.clone()));
        let key = self.objects.keys().find(|(kind, namespace, name)| {
            let base = collection(*kind);
            let (group, plural) = base.rsplit_once('/').unwrap();
            let object = match namespace.is_empty() {
                true => format!("{base}/{name}/status"),
                false => format!("{group}/namespaces/{namespace}/{plural}/{name}/status"),
            };
            object == path
        });
        let Some(key) = key.cloned() else { return failure(404, "no such object") };
        let mut object = self.objects[&key].clone();
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return failure(409, "the object has been modified");
        }
        let before = object.clone();
        for (field, value) in body["status"].as_object().unwrap() {
            object["status"][field] = value.clone();
        }
        // As where the standard channel is installed.
        let addresses = object.pointer_mut("/status/addresses").and_then(Value::as_array_mut);
        for it in addresses.into_iter().flatten() {
            it.as_object_mut().unwrap().remove("routability");
        }
        if object != before {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.objects.insert(key.clone(), object.clone());
            self.happen(key.0, "MODIFIED", object.clone());
        }
        whole(StatusCode::OK, &object)
    }
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

fn api_version(kind: Kind) -> String {
    match kind.group() {
        "" => kind.versions()[0].to_owned(),
        group => format!("{group}/{}", kind.versions()[0]),
    }
}

fn plural(kind: Kind) -> String {
    format!("{}s", kind.as_str().to_lowercase())
}

fn collection(kind: Kind) -> String {
    let base = if kind.group().is_empty() { "/api" } else { "/apis" };
    format!("{base}/{}/{}", api_version(kind), plural(kind))
}
