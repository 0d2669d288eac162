//! What is compiled, a proxy accepts: there is one validation. Objects of every kind of nonsense are compiled, sent as the
//! controller sends them, and put in force as a Gateway and a waypoint put them in force.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is the failure of the test that called it"
)]

mod world;

use fairway_config::model::{AddressSource, Resource, ResourceKind};
use fairway_config::{Delta, Snapshot, wire};
use fairway_controller::compile::{Capture, CompileSettings, Compiler};
use fairway_controller::source::{Completion, FileChange, Scan, Standalone};
use fairway_waypoint::table::Tables;
use fairway_waypoint::upstream::cluster::Registry;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

const HEADERS: &[&str] = &[
    "Host",
    "connection",
    "TE",
    "Keep-Alive",
    "Transfer-Encoding",
    "content-length",
    "upgrade",
    "trailer",
    "Proxy-Connection",
    "expect",
    "",
    "a b",
    "ü",
    "x-a",
    "X-A",
    "cookie",
    "a\r\nb",
    ":path",
    "http2-settings",
];
const VALUES: &[&str] = &["", "1", "a b", "a\r\nx: y", "ü", "\t", "*"];
const PATHS: &[&str] = &[
    "",
    "/",
    "/a",
    "a",
    "/a/",
    "/a//",
    "//",
    "/t?foo=bar",
    "/t?",
    "/a b",
    "/ü",
    "/a#f",
    "/a%zz",
    "/a%2",
    "/a\r\nX-Evil: 1",
    "/a\"b",
    "/a<b>",
    "/../x",
    "/a\\b",
    "//evil.com",
    "http://evil.com/",
    "/%2e%2e/x",
    "*",
];
const EXPRESSIONS: &[&str] = &[
    "",
    ".*",
    "/a+",
    "[",
    "a)(b",
    "(?!a)b",
    r"[\pL\pN]{100}",
    r"(?:a{1000}){1000}",
    r"\w+",
    "(?i)/A",
    "^/a$",
    r"\b.*",
    "/%c3%a9",
    "*",
    r"(a)\1",
    "(?P<n>a)",
    "(?x) a b",
    r"\xFF",
    r"(?-u:\xFF)",
];
const HOSTS: &[&str] = &[
    "a.ex",
    "*.ex",
    "",
    "a b",
    "a.ex:80",
    "user@a.ex",
    "-a.ex",
    "10.0.0.1",
    "[::1]",
    "ü.ex",
    "A.EX",
    "a..ex",
    "a.ex/x",
];
const ORIGINS: &[&str] = &[
    "*",
    "https://a.ex",
    "https://*.ex",
    "nowhere",
    "",
    "http://",
    "https://a.ex:443",
    "https://*",
    "ftp://a.ex",
    "https://[*",
];
const METHODS: &[&str] = &["GET", "*", "", "get", "A B", "PROPFIND"];
const DURATIONS: &[&str] = &["10s", "0s", "", "10", "-1s", "1h1m1s1ms", "99999h", "1d"];

fn any_of(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(texts)
}

fn named() -> impl Strategy<Value = Value> {
    (any_of(HEADERS), any_of(VALUES)).prop_map(|(name, value)| json!({ "name": name, "value": value }))
}

fn modifier() -> impl Strategy<Value = Value> {
    let list = || prop::collection::vec(named(), 0..3);
    (list(), list(), prop::collection::vec(any_of(HEADERS), 0..3))
        .prop_map(|(set, add, remove)| json!({ "set": set, "add": add, "remove": remove }))
}

fn path() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_of(PATHS).prop_map(|it| json!({ "type": "ReplaceFullPath", "replaceFullPath": it })),
        any_of(PATHS).prop_map(|it| json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": it })),
        Just(json!({ "type": "ReplaceFullPath" })),
    ]
}

fn reference() -> impl Strategy<Value = Value> {
    let name = select(&["web", "gone"][..]);
    (name, select(&[80, 81, 99][..])).prop_map(|(name, port)| json!({ "name": name, "port": port }))
}

fn cors() -> impl Strategy<Value = Value> {
    let list = |texts| prop::collection::vec(any_of(texts), 0..3);
    (list(ORIGINS), any::<bool>(), list(METHODS), list(HEADERS), list(HEADERS), select(&[-1, 0, 5][..]))
        .prop_map(|(origins, credentials, methods, headers, expose, age)| {
            json!({ "allowOrigins": origins, "allowCredentials": credentials, "allowMethods": methods,
                    "allowHeaders": headers, "exposeHeaders": expose, "maxAge": age })
        })
}

fn shared_filter() -> impl Strategy<Value = Value> {
    let share = select(&[-1, 0, 50, 100, 101][..]);
    prop_oneof![
        modifier().prop_map(|it| json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": it })),
        modifier().prop_map(|it| json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": it })),
        (reference(), share)
            .prop_map(|(to, share)| json!({ "type": "RequestMirror", "requestMirror": { "backendRef": to, "percent": share } })),
        Just(json!({ "type": "RequestHeaderModifier" })),
        Just(json!({ "type": "ExtensionRef", "extensionRef": { "group": "a.ex", "kind": "K", "name": "n" } })),
    ]
}

fn external_auth() -> impl Strategy<Value = Value> {
    let list = || prop::option::of(prop::collection::vec(any_of(HEADERS), 1..3));
    let paths = prop::option::of(any_of(PATHS));
    let body = prop::option::weighted(0.2, select(&[0, 1, 65_535][..]));
    (reference(), any::<bool>(), paths, list(), list(), body).prop_map(
        |(to, is_http, path, headers, response_headers, body)| {
            let mut auth = json!({ "backendRef": to });
            auth["protocol"] = if is_http { "HTTP" } else { "GRPC" }.into();
            let mut part = json!({});
            if let Some(headers) = headers {
                part["allowedHeaders"] = headers.into();
            }
            if let (Some(path), true) = (path, is_http) {
                part["path"] = path.into();
            }
            if let (Some(headers), true) = (response_headers, is_http) {
                part["allowedResponseHeaders"] = headers.into();
            }
            auth[if is_http { "http" } else { "grpc" }] = part;
            if let Some(most) = body {
                auth["forwardBody"] = json!({ "maxSize": most });
            }
            auth
        },
    )
}

fn http_filter() -> impl Strategy<Value = Value> {
    let part = || (any_of(HOSTS), prop::option::of(path()));
    let port = select(&[0, 1, 80, 70_000][..]);
    let status = select(&[200, 301, 302, 308, 999][..]);
    prop_oneof![
        3 => shared_filter(),
        1 => (part(), port, status).prop_map(|((host, path), port, status)| {
            json!({ "type": "RequestRedirect",
                    "requestRedirect": { "hostname": host, "path": path, "port": port, "statusCode": status } })
        }),
        1 => path().prop_map(|it| json!({ "type": "RequestRedirect", "requestRedirect": { "path": it } })),
        1 => part().prop_map(|(host, path)| json!({ "type": "URLRewrite", "urlRewrite": { "hostname": host, "path": path } })),
        1 => path().prop_map(|it| json!({ "type": "URLRewrite", "urlRewrite": { "path": it } })),
        1 => cors().prop_map(|it| json!({ "type": "CORS", "cors": it })),
        1 => external_auth().prop_map(|it| json!({ "type": "ExternalAuth", "externalAuth": it })),
    ]
}

fn comparison(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        (any_of(names), any_of(VALUES)).prop_map(|(name, value)| json!({ "name": name, "value": value })),
        (any_of(names), any_of(EXPRESSIONS))
            .prop_map(|(name, value)| json!({ "name": name, "value": value, "type": "RegularExpression" })),
    ]
}

fn http_match() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        any_of(PATHS).prop_map(|it| json!({ "type": "Exact", "value": it })),
        any_of(PATHS).prop_map(|it| json!({ "type": "PathPrefix", "value": it })),
        any_of(EXPRESSIONS).prop_map(|it| json!({ "type": "RegularExpression", "value": it })),
    ];
    let list = |names| prop::collection::vec(comparison(names), 0..3);
    (path, list(HEADERS), list(VALUES))
        .prop_map(|(path, headers, query)| json!({ "path": path, "headers": headers, "queryParams": query }))
}

fn grpc_match() -> impl Strategy<Value = Value> {
    let method = (any_of(EXPRESSIONS), any_of(EXPRESSIONS), select(&["Exact", "RegularExpression"][..]))
        .prop_map(|(service, method, how)| json!({ "service": service, "method": method, "type": how }));
    (method, prop::collection::vec(comparison(HEADERS), 0..3))
        .prop_map(|(method, headers)| json!({ "method": method, "headers": headers }))
}

fn rule(
    matches: impl Strategy<Value = Value>,
    filter: impl Strategy<Value = Value> + Clone + 'static,
    is_http: bool,
) -> impl Strategy<Value = Value> {
    let filters = prop::collection::vec(filter, 0..2);
    let backend = (reference(), select(&[-1, 0, 1, 1_000_000, i32::MAX][..]), filters.clone()).prop_map(
        |(mut to, weight, filters)| {
            to["weight"] = weight.into();
            to["filters"] = filters.into();
            to
        },
    );
    let limits = (any_of(DURATIONS), any_of(DURATIONS))
        .prop_map(|(a, b)| json!({ "request": a, "backendRequest": b }));
    let retry = (select(&[-1, 0, 3][..]), select(&[200, 503, 999][..]), any_of(DURATIONS)).prop_map(
        |(attempts, code, backoff)| json!({ "attempts": attempts, "codes": [code], "backoff": backoff }),
    );
    let parts = (
        prop::collection::vec(matches, 0..3),
        filters,
        prop::collection::vec(backend, 0..3),
        prop::option::weighted(0.3, limits),
        prop::option::weighted(0.3, retry),
    );
    parts.prop_map(move |(matches, filters, backends, timeouts, retry)| {
        let mut rule = json!({ "matches": matches, "filters": filters, "backendRefs": backends });
        if is_http {
            rule["timeouts"] = timeouts.unwrap_or_default();
            rule["retry"] = retry.unwrap_or_default();
        }
        rule
    })
}

fn route(kind: &'static str, rules: impl Strategy<Value = Vec<Value>>) -> impl Strategy<Value = Value> {
    let parents = select(vec![
        json!([{ "name": "g" }]),
        json!([{ "group": "", "kind": "Service", "name": "web" }]),
        json!([{ "name": "g" }, { "group": "", "kind": "Service", "name": "web" }]),
    ]);
    (parents, prop::collection::vec(any_of(HOSTS), 0..2), rules).prop_map(move |(parents, hosts, rules)| {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
                "metadata": { "name": "r", "namespace": "shop" },
                "spec": { "parentRefs": parents, "hostnames": hosts, "rules": rules } })
    })
}

fn routes() -> impl Strategy<Value = Value> {
    let http = prop::collection::vec(rule(http_match(), http_filter().boxed(), true), 1..4);
    let grpc = prop::collection::vec(rule(grpc_match(), shared_filter().boxed(), false), 1..4);
    prop_oneof![route("HTTPRoute", http), route("GRPCRoute", grpc)]
}

/// What the rest of the world looks like.
fn world() -> Vec<Value> {
    vec![
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": { "name": "g", "namespace": "shop" },
                "spec": { "gatewayClassName": "fairway", "listeners": [{ "name": "http", "port": 8080, "protocol": "HTTP" }] } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "clusterIP": "10.96.0.9", "ports": [{ "name": "a", "port": 80 }, { "name": "b", "port": 81, "appProtocol": "mysql" }] } }),
    ]
}

/// What is compiled of these objects.
fn compiled(objects: &[Value]) -> Option<Vec<Resource>> {
    let text: Vec<String> = objects.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
    let mut scan = Scan::default();
    let edits = scan.apply([("a.yaml".into(), FileChange::Text(text.join("\n---\n")))]);
    // The API server's schema refuses it before anybody compiles it.
    if edits.len() < objects.len() {
        return None;
    }
    let settings = CompileSettings {
        capture: Capture::On,
        ..CompileSettings::standalone("cluster.local".parse().unwrap())
    };
    let mut standalone = Standalone::new(Completion::for_settings(&settings));
    let mut compiler = Compiler::new(settings);
    compiler.apply(standalone.complete(edits));
    Some(compiler.resources().map(|(_, it)| it.clone()).collect())
}

fn accept(resources: &[Resource]) -> Result<(), String> {
    let mut upserts = Vec::new();
    for it in resources {
        let bytes = wire::encode(it).bytes.clone();
        let decoded = wire::decode(bytes).map_err(|error| format!("{}: {error}", it.key()))?;
        if decoded != *it {
            return Err(format!("{} is another when it arrives: {it:?} {decoded:?}", it.key()));
        }
        upserts.push(decoded);
    }
    let (snapshot, _) = Snapshot::default().apply(Delta { upserts, ..Delta::default() });
    let built = Tables::build(&snapshot, &mut Registry::default());
    built.map(drop).map_err(|rejected| format!("{rejected:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compiled_a_proxy_accepts_and_every_rule_is_still_there(route in routes()) {
        let objects: Vec<Value> = world().into_iter().chain([route.clone()]).collect();
        let Some(resources) = compiled(&objects) else { return Ok(()) };
        let accepted = accept(&resources);
        prop_assert!(accepted.is_ok(), "{}", accepted.unwrap_err());
        let written = route["spec"]["rules"].as_array().unwrap().len();
        for it in &resources {
            if let Resource::Route(it) = it {
                prop_assert_eq!(it.rules.len(), written, "a rule is gone, and its requests with it");
            }
        }
        let taken = route["spec"]["hostnames"].as_array().unwrap().is_empty();
        let routes = resources.iter().filter(|it| it.key().kind == ResourceKind::Route).count();
        prop_assert!(routes > 0 || !taken, "the route is nowhere");
    }

    #[test]
    fn what_is_compiled_of_all_kinds_of_objects_a_proxy_accepts(objects in world::everything()) {
        let Some(resources) = compiled(&objects) else { return Ok(()) };
        let accepted = accept(&resources);
        prop_assert!(accepted.is_ok(), "{}", accepted.unwrap_err());
    }
}

/// Whether it is a listener that learns in another way than from the connection where a client is.
fn believes(resource: &Resource) -> bool {
    matches!(resource, Resource::Listener(it) if it.address_source != AddressSource::Connection)
}

/// The objects are of use: most of them pass the schemas, and there is something of each kind of resource.
#[test]
fn what_is_generated_comes_about() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut taken, mut believing, mut kinds) = (0, 0, std::collections::BTreeSet::new());
    for _ in 0..200 {
        let objects = world::everything().new_tree(&mut runner).unwrap().current();
        let Some(resources) = compiled(&objects) else { continue };
        taken += 1;
        kinds.extend(resources.iter().map(|it| it.key().kind));
        believing += resources.iter().filter(|it| believes(it)).count();
    }
    assert!(taken > 60, "{taken}");
    assert!(believing > 0, "listeners that learn where clients are: {believing}");
    assert_eq!(kinds.len(), ResourceKind::ALL.len(), "{kinds:?}");
}
