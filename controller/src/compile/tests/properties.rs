//! Any sequence of edits gives what compiling the result from scratch gives.

use super::settings;
use crate::compile::{Capture, Compiler, Mode, Output, Problem, Proxy, Settings};
use crate::resources::{Edit, Object, ObjectRef};
use crate::source::{Completion, Standalone, objects};
use crate::status::ObjectStatus;
use fairway_config::model::{ObjectName, Resource, ResourceKey};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::LazyLock;

/// Objects in variants: an edit puts one of them in or takes one out.
static POOL: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let mut pool = Vec::new();
    let mut add = |yaml: &str| pool.extend(objects(yaml));
    for labels in
        ["", "fairway.dev/mesh: enabled, team: x", "fairway.dev/mesh: enabled, fairway.dev/mtls: strict"]
    {
        for name in ["a", "b"] {
            add(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {{ {labels} }} }}"
            ));
        }
    }
    for (namespace, name) in [("a", "s"), ("a", "t"), ("b", "s")] {
        for (labels, spec) in [
            ("", "clusterIP: 10.1.0.1, selector: { app: x }, ports: [{ port: 80, targetPort: web }]"),
            (
                "fairway.dev/waypoint: required",
                "clusterIP: 10.1.0.1, selector: { app: x }, ports: [{ name: p, port: 80 }, { name: second, port: 81, appProtocol: grpc }]",
            ),
            ("", "clusterIP: None, ports: [{ port: 80 }]"),
            ("", "clusterIP: 127.0.0.5, ports: [{ port: 81, appProtocol: tcp }]"),
        ] {
            add(&format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ {labels} }} }}\nspec: {{ {spec} }}"
            ));
        }
    }
    for (namespace, name, address) in [("a", "p", "10.0.0.1"), ("a", "q", "10.0.0.2"), ("b", "p", "10.0.0.3")]
    {
        for (labels, spec) in [
            (
                "app: x",
                "serviceAccountName: one, containers: [{ name: c, image: i, ports: [{ name: web, containerPort: 8080 }] }]",
            ),
            ("app: x, fairway.dev/mesh: disabled", "containers: []"),
            (
                "app: other, gateway.networking.k8s.io/gateway-name: waypoint",
                "serviceAccountName: two, containers: []",
            ),
            ("gateway.networking.k8s.io/gateway-name: g", "hostNetwork: true, containers: []"),
        ] {
            add(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ {labels} }} }}\nspec: {{ {spec} }}\n\
                 status: {{ podIP: {address}, conditions: [{{ type: Ready, status: 'True' }}] }}"
            ));
        }
    }
    for (service, body) in [
        (
            "s",
            "ports: [{ name: '', port: 1 }], endpoints: [{ addresses: [10.0.0.1] }, { addresses: [10.0.0.9] }]",
        ),
        ("s", "ports: [{ name: p, port: 2 }], endpoints: [{ addresses: [10.0.0.2] }]"),
        (
            "t",
            "ports: [{ name: p, port: 2 }], endpoints: [{ addresses: [10.0.0.3], conditions: { ready: false } }]",
        ),
    ] {
        let (ports, endpoints) = body.split_once(", endpoints").unwrap();
        add(&format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: x, namespace: a, labels: {{ kubernetes.io/service-name: {service} }} }}\n\
             addressType: IPv4\n{ports}\nendpoints{endpoints}\n"
        ));
    }
    for (name, controller) in [
        ("fairway", "fairway.dev/controller"),
        ("fairway-waypoint", "fairway.dev/controller"),
        ("fairway", "x.example/other"),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: {name} }}\nspec: {{ controllerName: {controller} }}"
        ));
    }
    for (namespace, name, class, listeners) in [
        ("a", "g", "fairway", "[{ name: l, port: 80, protocol: HTTP }]"),
        (
            "a",
            "g",
            "fairway",
            "[{ name: l, port: 80, protocol: HTTP, hostname: '*.x.com', allowedRoutes: { namespaces: { from: All } } }, { name: m, port: 81, protocol: TCP }]",
        ),
        (
            "a",
            "g",
            "fairway",
            "[{ name: l, port: 80, protocol: HTTP, allowedRoutes: { kinds: [{ kind: HTTPRoute }], namespaces: { from: Selector, selector: { matchLabels: { team: x } } } } }]",
        ),
        (
            "a",
            "g",
            "fairway",
            "[{ name: l, port: 80, protocol: HTTPS, tls: { certificateRefs: [{ name: c, namespace: b }] } }]",
        ),
        ("a", "g", "fairway-waypoint", "[{ name: l, port: 15008, protocol: HBONE }]"),
        ("a", "waypoint", "fairway", "[{ name: l, port: 82, protocol: HTTP }]"),
        ("b", "w", "fairway-waypoint", "[{ name: l, port: 15008, protocol: HBONE }]"),
        ("b", "w", "fairway-waypoint", "[{ name: l, port: 80, protocol: HTTP }]"),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec: {{ gatewayClassName: {class}, listeners: {listeners} }}"
        ));
    }
    let parents = [
        "[{ name: g, namespace: a }]",
        "[{ name: g, namespace: a, sectionName: l }, { group: '', kind: Service, name: s, namespace: a }]",
        "[{ group: '', kind: Service, name: s, namespace: a, port: 80 }]",
        "[{ group: '', kind: Service, name: s, namespace: b }, { group: '', kind: Service, name: t, namespace: a }]",
        "[{ name: w, namespace: b }]",
    ];
    for (kind, namespace, name) in
        [("HTTPRoute", "a", "r"), ("HTTPRoute", "b", "r"), ("GRPCRoute", "a", "r"), ("GRPCRoute", "b", "q")]
    {
        for (index, parents) in parents.iter().enumerate() {
            let hostnames = ["[]", "[a.x.com]", "['*.com', b.x.com]"][index % 3];
            let backend =
                ["{ name: s, port: 80 }", "{ name: s, namespace: b, port: 80 }, { name: t, port: 81 }"]
                    [index % 2];
            add(&format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: '2026-01-0{}T00:00:00Z' }}\n\
                 spec: {{ parentRefs: {parents}, hostnames: {hostnames}, rules: [{{ backendRefs: [{backend}] }}] }}",
                1 + index % 3
            ));
        }
    }
    for (from, to) in [
        ("HTTPRoute", "kind: Service"),
        ("Gateway", "kind: Secret, name: c"),
        ("GRPCRoute", "kind: Service, name: s"),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{ name: g, namespace: b }}\n\
             spec: {{ from: [{{ group: gateway.networking.k8s.io, kind: {from}, namespace: a }}], to: [{{ group: '', {to} }}] }}"
        ));
    }
    let certified = rcgen::generate_simple_self_signed(["x.com".to_owned()]).unwrap();
    for (chain, key) in
        [(certified.cert.pem(), certified.signing_key.serialize_pem()), ("x".into(), "y".into())]
    {
        let text = |text: String| serde_json::Value::String(text).to_string();
        add(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: c, namespace: b }}\ntype: kubernetes.io/tls\nstringData: {{ tls.crt: {}, tls.key: {} }}",
            text(chain),
            text(key)
        ));
    }
    pool
});

/// What somebody knows who heard every output.
#[derive(Debug, Default, PartialEq)]
struct Listener {
    resources: BTreeMap<ResourceKey, Resource>,
    statuses: BTreeMap<ObjectRef, ObjectStatus>,
    proxies: BTreeMap<ObjectName, Proxy>,
    problems: BTreeMap<ObjectRef, Vec<Problem>>,
}

impl Listener {
    fn hear(&mut self, output: Output) {
        for key in output.removals {
            assert!(self.resources.remove(&key).is_some(), "{key} was never there");
        }
        for it in output.upserts {
            assert_ne!(self.resources.get(&it.key()), Some(&it), "nothing new");
            self.resources.insert(it.key(), it);
        }
        for (object, status) in output.statuses {
            assert_ne!(self.statuses.get(&object), Some(&status), "nothing new");
            self.statuses.insert(object, status);
        }
        output.retired.iter().for_each(|it| drop(self.proxies.remove(it)));
        self.proxies.extend(output.proxies.into_iter().map(|it| (it.name.clone(), it)));
        for (object, problems) in output.problems {
            match problems.is_empty() {
                true => drop(self.problems.remove(&object)),
                false => drop(self.problems.insert(object, problems)),
            }
        }
    }

    /// What differs, in words.
    fn difference(&self, other: &Self) -> Vec<String> {
        fn differ<K: Ord + Debug, V: PartialEq + Debug>(
            a: &BTreeMap<K, V>,
            b: &BTreeMap<K, V>,
        ) -> Vec<String> {
            let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
            let differ = |it: &&K| a.get(it) != b.get(it);
            keys.into_iter()
                .filter(differ)
                .map(|it| format!("{it:?}: {:#?} / {:#?}", a.get(it), b.get(it)))
                .collect()
        }
        let mut all = differ(&self.resources, &other.resources);
        all.extend(differ(&self.statuses, &other.statuses));
        all.extend(differ(&self.proxies, &other.proxies));
        all.extend(differ(&self.problems, &other.problems));
        all
    }

    /// The statuses of objects that are gone are nobody's business; everything else must be the same.
    fn of(compiler: &Compiler) -> Self {
        let mut problems: BTreeMap<ObjectRef, Vec<Problem>> = BTreeMap::new();
        for it in compiler.problems() {
            problems.entry(it.object.clone()).or_default().push(it.clone());
        }
        Self {
            resources: compiler.resources().map(|(key, it)| (key.clone(), it.clone())).collect(),
            statuses: compiler.statuses().map(|(key, it)| (key.clone(), it.clone())).collect(),
            proxies: compiler.proxies().map(|it| (it.name.clone(), it.clone())).collect(),
            problems,
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Vec<(usize, bool)>>> {
    let edit = (0..POOL.len(), prop::bool::weighted(0.75));
    prop::collection::vec(prop::collection::vec(edit, 1..6), 1..24)
}

fn modes() -> impl Strategy<Value = Settings> {
    let capture = prop_oneof![Just(Capture::On), Just(Capture::Off)];
    let mode = prop_oneof![Just(Mode::Standalone), Just(Mode::Kubernetes)];
    (capture, mode).prop_map(|(capture, mode)| Settings { capture, mode, ..settings() })
}

fn edit((index, put): (usize, bool)) -> Edit {
    match put {
        true => Edit::Upsert(POOL[index].clone()),
        false => Edit::Remove(POOL[index].reference()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_edits_gives_what_a_rebuild_gives(batches in edits(), settings in modes()) {
        let mut compiler = Compiler::new(settings.clone());
        let mut heard = Listener::default();
        for batch in batches {
            heard.hear(compiler.apply(batch.into_iter().map(edit)));
            let mut rebuilt = Compiler::new(settings.clone());
            rebuilt.apply(compiler.objects().iter().cloned().map(Edit::Upsert));
            let (ours, theirs) = (Listener::of(&compiler), Listener::of(&rebuilt));
            prop_assert_eq!(ours.difference(&theirs), Vec::<String>::new());
            heard.statuses.retain(|it, _| ours.statuses.contains_key(it));
            prop_assert_eq!(heard.difference(&ours), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_filled_in_is_what_would_be_filled_in_from_scratch(batches in edits()) {
        let completion = Completion::of(&settings());
        let mut standalone = Standalone::new(completion.clone());
        let (mut written, mut filled) = (BTreeMap::new(), BTreeMap::new());
        let take = |into: &mut BTreeMap<ObjectRef, Object>, edit: Edit| match edit {
            Edit::Upsert(it) => drop(into.insert(it.reference(), it)),
            Edit::Remove(it) => drop(into.remove(&it)),
        };
        for batch in batches {
            let batch: Vec<Edit> = batch.into_iter().map(edit).collect();
            batch.iter().for_each(|it| take(&mut written, it.clone()));
            standalone.complete(batch).into_iter().for_each(|it| take(&mut filled, it));
            let mut from_scratch = BTreeMap::new();
            let mut rebuilt = Standalone::new(completion.clone());
            let edits = rebuilt.complete(written.values().cloned().map(Edit::Upsert));
            edits.into_iter().for_each(|it| take(&mut from_scratch, it));
            prop_assert_eq!(&filled, &from_scratch);
        }
    }
}
