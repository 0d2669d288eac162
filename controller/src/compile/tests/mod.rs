//! Small YAML in, conditions and configuration out.

mod access;
mod addresses;
mod appearing;
mod authentication;
mod backend_tls;
mod certificates;
mod client_addresses;
mod client_costs;
mod client_openings;
mod client_treatment;
mod client_unknown;
mod clients;
mod closed;
mod cost;
mod crd_rules;
mod dropped;
mod endpoints;
mod expressions;
mod fields;
mod gateways;
mod held;
mod influence;
mod isolation;
mod l4;
mod largest;
mod limits;
mod listener_filters;
mod listener_sets;
mod listeners;
mod memory;
mod mesh;
mod one_type;
mod parameters;
mod properties;
mod references;
mod routes;
mod shadows;
mod slice_addresses;
mod structure;
mod trust_bundles;
mod unreadable;
mod waypoints;
mod workloads;

use super::{Capture, CompileSettings, Compiler, Loopback, Mode, Output};
use crate::resources::Edit;
use crate::source::{Completion, LastGood, Standalone, objects};
use crate::status::ObjectStatus;
use fairway_config::model::{Resource, ResourceKey, ResourceKind, Route};
use std::sync::Arc;

/// A compiler with something in it.
struct World {
    compiler: Compiler,
    standalone: Option<Standalone>,
    last_good: LastGood,
}

impl World {
    /// On one machine, with capture.
    fn captured(yaml: &str) -> Self {
        Self::new(yaml, CompileSettings { capture: Capture::On, ..settings() })
    }

    /// On one machine, without capture.
    fn plain(yaml: &str) -> Self {
        Self::new(yaml, settings())
    }

    /// In a cluster: nothing is filled in.
    fn cluster(yaml: &str) -> Self {
        let settings = CompileSettings {
            capture: Capture::On,
            mode: Mode::Kubernetes,
            loopback: Loopback::Refused,
            rights: crate::provision::Rights::default(),
            ..settings()
        };
        Self::new_in_cluster(settings, yaml)
    }

    fn new_in_cluster(settings: CompileSettings, yaml: &str) -> Self {
        let mut world =
            Self { compiler: Compiler::new(settings), standalone: None, last_good: LastGood::default() };
        world.add(yaml);
        world
    }

    fn new(yaml: &str, settings: CompileSettings) -> Self {
        let standalone = Some(Standalone::new(Completion::for_settings(&settings)));
        let mut world =
            Self { compiler: Compiler::new(settings), standalone, last_good: LastGood::default() };
        world.add(yaml);
        world
    }

    fn add(&mut self, yaml: &str) -> Output {
        self.apply(objects(yaml).into_iter().map(Edit::Upsert).collect())
    }

    fn remove(&mut self, yaml: &str) -> Output {
        self.apply(objects(yaml).into_iter().map(|it| Edit::Remove(it.reference())).collect())
    }

    fn apply(&mut self, edits: Vec<Edit>) -> Output {
        let mut edits = match &mut self.standalone {
            Some(it) => it.complete(edits),
            None => edits,
        };
        self.last_good.carry(&mut edits);
        let output = self.compiler.apply(edits);
        assert_eq!(output.faults, Vec::<String>::new());
        output
    }

    fn status(&self, object: &str) -> &ObjectStatus {
        let found = self.compiler.statuses().find(|(it, _)| it.to_string() == object);
        found.unwrap_or_else(|| panic!("{object} has no status")).1
    }

    /// `Type=Status/Reason` of each condition, under what it is about.
    fn conditions(&self, object: &str) -> Vec<String> {
        let row = |(of, it): (String, &crate::status::Condition)| {
            format!("{of}: {}={}/{}", it.kind, it.status, it.reason).trim_start_matches(": ").to_owned()
        };
        self.status(object).conditions().into_iter().map(row).collect()
    }

    #[track_caller]
    fn expect(&self, object: &str, condition: &str) {
        let conditions = self.conditions(object);
        assert!(conditions.iter().any(|it| it == condition), "{object}: no `{condition}` in {conditions:#?}");
    }

    /// The message of a condition of an object.
    fn message(&self, object: &str, kind: &str) -> String {
        let conditions = self.status(object).conditions();
        conditions
            .iter()
            .find(|(_, it)| it.kind == kind)
            .map(|(_, it)| it.message.to_string())
            .unwrap_or_default()
    }

    /// The message of a condition of a part of an object, such as `listener http`.
    fn message_of(&self, object: &str, part: &str, kind: &str) -> String {
        let conditions = self.status(object).conditions();
        let found = conditions.iter().find(|(of, it)| of == part && it.kind == kind);
        found.map(|(_, it)| it.message.to_string()).unwrap_or_default()
    }

    fn resource(&self, kind: ResourceKind, name: &str) -> Option<&Resource> {
        let key = ResourceKey::new(kind, name);
        self.compiler.resources().find(|(it, _)| **it == key).map(|(_, it)| it)
    }

    fn route(&self, name: &str) -> Option<&Arc<Route>> {
        match self.resource(ResourceKind::Route, name)? {
            Resource::Route(it) => Some(it),
            _ => None,
        }
    }

    fn keys(&self, kind: ResourceKind) -> Vec<String> {
        let keys = self.compiler.resources().filter(|(it, _)| it.kind == kind);
        let mut keys: Vec<String> = keys.map(|(it, _)| it.name.to_string()).collect();
        keys.sort();
        keys
    }

    fn problems(&self) -> Vec<String> {
        self.compiler.problems().map(ToString::to_string).collect()
    }
}

fn settings() -> CompileSettings {
    CompileSettings::standalone("cluster.local".parse().unwrap())
}

/// A Gateway with one listener that takes everything.
const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: edge }
spec:
  gatewayClassName: fairway
  listeners:
    - { name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }
";

/// A Service with a pod behind it.
const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { fairway.dev/mesh: enabled } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  selector: { app: web }
  ports: [{ name: http, port: 80, targetPort: 8080 }, { name: admin, port: 81, targetPort: admin }]
---
apiVersion: v1
kind: Pod
metadata: { name: web-1, namespace: shop, uid: u1, labels: { app: web } }
spec:
  serviceAccountName: web
  nodeName: n1
  containers: [{ name: c, image: x, ports: [{ name: admin, containerPort: 9001 }] }]
status: { podIP: 10.0.0.1 }
";
