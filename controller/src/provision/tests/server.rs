//! An API server in memory, with what matters of server-side apply: who has which fields, conflicts, preconditions.

use crate::apiserver::testing::{self, ApiResponse, Watcher, failure, whole};
use bytes::Bytes;
use http::{Method, StatusCode};
use kube::Client;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

type Key = (String, String, String);
/// Fields by their path, lists as a whole.
type Leaves = BTreeMap<Vec<String>, Value>;

/// An API server in memory. Clones are of the same.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<Key, Stored>,
    watchers: Vec<(String, Option<String>, Watcher)>,
    writes: Vec<String>,
    /// Refuses writes to what has this in its path.
    refused: Option<(String, u16)>,
    tokens: HashMap<String, Value>,
    reviews: usize,
    refuses_reviews: bool,
}

struct Stored {
    object: Value,
    /// Each manager's fields, as far as it has them.
    managers: BTreeMap<String, Leaves>,
}

impl ApiServer {
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        testing::client(move |head, body| std::future::ready(server.answer(&head, &body)))
    }

    /// An object, if it is there.
    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state().objects.get(&key(plural, namespace, name)).map(Stored::shown)
    }

    /// `<plural>/<name>` of everything there is.
    pub(crate) fn names(&self) -> Vec<String> {
        self.state().objects.keys().map(|(plural, _, name)| format!("{plural}/{name}")).collect()
    }

    /// Makes an object as somebody else.
    pub(crate) fn put(&self, plural: &str, manager: &str, object: Value) {
        let at = key(plural, text(&object, "namespace"), text(&object, "name"));
        self.state().apply(&at, manager, true, object);
    }

    /// Changes fields of an object as somebody else.
    pub(crate) fn edit(&self, plural: &str, namespace: &str, name: &str, manager: &str, fields: Value) {
        let mut fields = fields;
        fields["metadata"]["name"] = json!(name);
        fields["metadata"]["namespace"] = json!(namespace);
        self.state().apply(&key(plural, namespace, name), manager, true, fields);
    }

    pub(crate) fn delete(&self, plural: &str, namespace: &str, name: &str) {
        self.state().delete(&key(plural, namespace, name));
    }

    /// What was written since the last call.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().writes)
    }

    /// Refuses writes to paths with this in them; none refuses nothing.
    pub(crate) fn refuse(&self, what: Option<(&str, u16)>) {
        self.state().refused = what.map(|(path, code)| (path.to_owned(), code));
    }

    /// What a review of a token says.
    pub(crate) fn know_token(&self, token: &str, status: Value) {
        self.state().tokens.insert(token.to_owned(), status);
    }

    /// Whether nobody may have tokens reviewed.
    pub(crate) fn refuse_reviews(&self, refuse: bool) {
        self.state().refuses_reviews = refuse;
    }

    /// How many tokens were reviewed.
    pub(crate) fn reviews(&self) -> usize {
        self.state().reviews
    }

    fn answer(&self, parts: &http::request::Parts, body: &Bytes) -> Result<ApiResponse, tower::BoxError> {
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body)? };
        let query = query(parts.uri.query().unwrap_or_default());
        let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let (namespace, rest) = match segments.iter().position(|it| *it == "namespaces") {
            Some(at) => (segments[at + 1], &segments[at + 2..]),
            None => ("", segments.split_last().map(|(last, _)| std::slice::from_ref(last)).unwrap()),
        };
        let plural = rest[0].to_owned();
        let at = key(&plural, namespace, rest.get(1).copied().unwrap_or_default());
        let mut state = self.state();
        let is_write = parts.method != Method::GET && plural != "tokenreviews";
        let refused = state.refused.as_ref().filter(|(it, _)| is_write && parts.uri.path().contains(it));
        if let Some((_, code)) = refused {
            return Ok(failure(*code, "it is refused"));
        }
        Ok(match parts.method {
            Method::GET if query.get("watch").is_some_and(|it| it == "true") => {
                let from = query["resourceVersion"].parse::<u64>()?;
                state.watch(plural, query.get("labelSelector").cloned(), from)
            }
            Method::GET if rest.len() == 1 => state.list(&plural, namespace, &query),
            Method::GET => match state.objects.get(&at) {
                Some(it) => whole(StatusCode::OK, &it.shown()),
                None => failure(404, "not found"),
            },
            Method::POST if plural == "tokenreviews" && state.refuses_reviews => failure(403, "forbidden"),
            Method::POST if plural == "tokenreviews" => {
                state.reviews += 1;
                let token = body["spec"]["token"].as_str().unwrap_or_default();
                let unknown = json!({"authenticated": false, "error": "invalid bearer token"});
                let status = state.tokens.get(token).unwrap_or(&unknown);
                whole(StatusCode::CREATED, &json!({"metadata": {}, "spec": {}, "status": status}))
            }
            Method::POST => {
                let at = key(&plural, namespace, text(&body, "name"));
                match state.objects.contains_key(&at) {
                    true => failure(409, "it exists already"),
                    false => state.apply(&at, "create", true, body),
                }
            }
            Method::PUT => match state.objects.get(&at) {
                None => failure(404, "not found"),
                Some(it) if text(&it.object, "resourceVersion") != text(&body, "resourceVersion") => {
                    failure(409, "it was changed")
                }
                Some(_) => state.apply(&at, "create", true, body),
            },
            Method::PATCH => {
                let force = query.get("force").is_some_and(|it| it == "true");
                state.apply(&at, &query["fieldManager"].replace("%2F", "/"), force, body)
            }
            Method::DELETE => {
                let uid = body["preconditions"]["uid"].as_str().unwrap_or_default().to_owned();
                match state.objects.get(&at) {
                    None => failure(404, "not found"),
                    Some(it) if text(&it.object, "uid") != uid => failure(409, "another uid"),
                    Some(_) => state.delete(&at),
                }
            }
            _ => failure(405, "what?"),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn apply(&mut self, at: &Key, manager: &str, force: bool, mut body: Value) -> ApiResponse {
        let metadata = body["metadata"].as_object_mut().unwrap();
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        metadata.remove("creationTimestamp");
        let uid = metadata.remove("uid");
        let there = self.objects.get(at);
        let same =
            uid.as_ref().is_none_or(|uid| there.is_some_and(|it| it.object["metadata"]["uid"] == *uid));
        if !same {
            return failure(409, "the uid in the precondition is another");
        }
        let new = leaves(&body);
        let mut stored = match self.objects.remove(at) {
            Some(it) => it,
            None => {
                let uid = format!("uid-{}", self.version);
                let metadata = json!({"uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"});
                Stored { object: json!({"metadata": metadata}), managers: BTreeMap::new() }
            }
        };
        let differs = |(path, value): (&Vec<String>, &Value)| new.get(path).is_some_and(|it| it != value);
        let others = stored.managers.iter().filter(|(name, _)| *name != manager);
        if !force && others.clone().any(|(_, it)| it.iter().any(differs)) {
            self.objects.insert(at.clone(), stored);
            return failure(409, "somebody else has these fields");
        }
        let before = stored.object.clone();
        for (_, it) in stored.managers.iter_mut().filter(|(name, _)| *name != manager) {
            it.retain(|path, value| new.get(path).is_none_or(|it| it == value));
        }
        let old = stored.managers.insert(manager.to_owned(), new.clone()).unwrap_or_default();
        for path in old.keys().filter(|it| !new.contains_key(*it)) {
            if !stored.managers.values().any(|it| it.contains_key(path)) {
                remove(&mut stored.object, path);
            }
        }
        for (path, value) in new {
            set(&mut stored.object, &path, value);
        }
        fill_in(&at.0, &mut stored.object);
        let changed = stored.object != before;
        if changed {
            self.version += 1;
            stored.object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.writes.push(format!("{} {}", at.0, at.2));
        }
        let shown = stored.shown();
        let happened = if text(&before, "resourceVersion").is_empty() { "ADDED" } else { "MODIFIED" };
        self.objects.insert(at.clone(), stored);
        if changed {
            self.tell(&at.0, happened, &shown);
        }
        whole(StatusCode::OK, &shown)
    }

    fn delete(&mut self, at: &Key) -> ApiResponse {
        let gone = self.objects.remove(at).unwrap();
        self.version += 1;
        self.writes.push(format!("delete {} {}", at.0, at.2));
        let mut shown = gone.shown();
        shown["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(&at.0, "DELETED", &shown);
        whole(StatusCode::OK, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    fn list(&self, plural: &str, namespace: &str, query: &HashMap<String, String>) -> ApiResponse {
        let named = query.get("fieldSelector").and_then(|it| it.strip_prefix("metadata.name="));
        let selector = query.get("labelSelector");
        let wanted = |((of, space, name), it): &(&Key, &Stored)| {
            of == plural
                && (namespace.is_empty() || space == namespace)
                && named.is_none_or(|it| it == name)
                && selector.is_none_or(|selector| has_label(&it.object, selector))
        };
        let items: Vec<Value> = self.objects.iter().filter(wanted).map(|(_, it)| it.shown()).collect();
        let version = self.version.to_string();
        whole(
            StatusCode::OK,
            &json!({"kind": "List", "metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    fn watch(&mut self, plural: String, selector: Option<String>, from: u64) -> ApiResponse {
        let (answer, watcher) = testing::watch();
        if from < self.version {
            // It keeps no history.
            watcher.expire();
        } else {
            self.watchers.push((plural, selector, watcher));
        }
        answer
    }

    fn tell(&mut self, plural: &str, happened: &str, object: &Value) {
        self.watchers.retain(|(of, selector, watcher)| {
            let concerns = of == plural && selector.as_ref().is_none_or(|it| has_label(object, it));
            !concerns || watcher.tell(happened, object)
        });
    }
}

impl Stored {
    fn shown(&self) -> Value {
        let managed = self.managers.iter().map(|(manager, leaves)| {
            let mut fields = json!({});
            for path in leaves.keys() {
                let path: Vec<String> = path.iter().map(|it| format!("f:{it}")).collect();
                set(&mut fields, &path, json!({}));
            }
            json!({"manager": manager, "operation": "Apply", "fieldsV1": fields})
        });
        let mut object = self.object.clone();
        object["metadata"]["managedFields"] = managed.collect();
        object
    }
}

/// What a server would fill in.
fn fill_in(plural: &str, object: &mut Value) {
    match plural {
        "deployments" => {
            object["spec"]["progressDeadlineSeconds"] = json!(600);
            if object["spec"]["replicas"].is_null() {
                object["spec"]["replicas"] = json!(1);
            }
            let containers =
                object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(|it| it["terminationMessagePath"] = json!("/dev/log"));
        }
        "services" => object["spec"]["clusterIP"] = json!("10.96.0.7"),
        _ => {}
    }
}

fn leaves(object: &Value) -> Leaves {
    fn walk(value: &Value, path: &mut Vec<String>, out: &mut Leaves) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, value) in map {
                    path.push(name.clone());
                    walk(value, path, out);
                    path.pop();
                }
            }
            leaf => drop(out.insert(path.clone(), leaf.clone())),
        }
    }
    let mut out = Leaves::new();
    walk(object, &mut Vec::new(), &mut out);
    out
}

fn set(object: &mut Value, path: &[String], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for name in parents {
        at = &mut at[name];
    }
    at[last] = value;
}

fn remove(object: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for name in parents {
        at = &mut at[name];
    }
    let empty = &mut Map::new();
    at.as_object_mut().unwrap_or(empty).remove(last);
}

fn key(plural: &str, namespace: &str, name: &str) -> Key {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn has_label(object: &Value, selector: &str) -> bool {
    let (key, value) = selector.split_once('=').unwrap();
    object["metadata"]["labels"][key] == value
}

fn query(text: &str) -> HashMap<String, String> {
    let decode = |it: &str| it.replace("%2F", "/").replace("%3D", "=");
    text.split('&').filter_map(|it| it.split_once('=')).map(|(key, it)| (decode(key), decode(it))).collect()
}
