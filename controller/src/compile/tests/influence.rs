//! A field that `fields.txt` calls handled has an influence: an object without it, or with another value of it, is compiled to
//! something else, or told something else.

use super::fields::{Class, rows};
use super::gateways::secret;
use super::{World, clients};
use crate::resources::Edit;
use crate::source::{FileChange, Scan};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Words of the API, and values that are right in many places.
const OTHERS: [&str; 33] = [
    "other",
    "Exact",
    "RegularExpression",
    "PathPrefix",
    "ReplaceFullPath",
    "ReplacePrefixMatch",
    "Same",
    "All",
    "None",
    "In",
    "NotIn",
    "POST",
    "http",
    "GRPCRoute",
    "Secret",
    "3s",
    "AllowInsecureFallback",
    "Hostname",
    "URI",
    "Passthrough",
    "TCP",
    "HTTP",
    "Gateway",
    "example.com",
    "b.example.com",
    "https://b.example.com",
    "192.0.2.8",
    "spiffe://b.example.com/x",
    "fairway-waypoint",
    "example.com/other",
    "Service",
    "System",
    "x-other",
];

/// Fields that say which of their neighbours is there: the API lets neither stand without the other.
const SAYS_WHICH_PART: [&str; 5] = [
    "filters[].type",
    "requests[].type",
    "requestRedirect.path.type",
    "urlRewrite.path.type",
    "subjectAltNames[].type",
];

/// One step on the way to a value.
#[derive(Clone)]
enum Step {
    Name(String),
    Index(usize),
}

/// The values that have no fields, and how they are reached.
fn leaves(
    value: &Value,
    row: &str,
    way: &mut Vec<Step>,
    rows: &BTreeSet<&str>,
    out: &mut Vec<(String, Vec<Step>)>,
) {
    let map = format!("{row}{{}}");
    match value {
        Value::Object(_) if rows.contains(&*map) => out.push((map, way.clone())),
        Value::Object(fields) => {
            for (name, it) in fields {
                way.push(Step::Name(name.clone()));
                let row = if row.ends_with(' ') { format!("{row}{name}") } else { format!("{row}.{name}") };
                leaves(it, &row, way, rows, out);
                way.pop();
            }
        }
        Value::Array(items) => {
            for (index, it) in items.iter().enumerate() {
                way.push(Step::Index(index));
                leaves(it, &format!("{row}[]"), way, rows, out);
                way.pop();
            }
        }
        _ => out.push((row.to_owned(), way.clone())),
    }
}

fn at<'a>(value: &'a mut Value, way: &[Step]) -> &'a mut Value {
    way.iter().fold(value, |value, step| match step {
        Step::Name(name) => &mut value[name],
        Step::Index(index) => &mut value[*index],
    })
}

/// The object with another value in a place, or none.
fn mutants(object: &Value, way: &[Step]) -> Vec<Value> {
    let with = |value: Value| {
        let mut mutant = object.clone();
        *at(&mut mutant, way) = value;
        mutant
    };
    let mut without = object.clone();
    let (last, before) = way.split_last().unwrap();
    match (at(&mut without, before), last) {
        (Value::Object(fields), Step::Name(name)) => drop(fields.remove(name)),
        (Value::Array(items), Step::Index(index)) => drop(items.remove(*index)),
        _ => panic!(),
    }
    let mut mutants = vec![without];
    match at(&mut object.clone(), way) {
        Value::Bool(it) => mutants.push(with(json!(!*it))),
        Value::Number(it) => {
            let it = it.as_i64().unwrap();
            mutants.extend([it + 1, it - 1, 81, 504].map(|it| with(json!(it))));
        }
        Value::String(it) => {
            mutants.push(with(json!(format!("{it}x"))));
            mutants.extend(OTHERS.iter().filter(|other| *other != it).map(|it| with(json!(it))));
        }
        Value::Object(it) => {
            let other = it.keys().map(|key| (key.clone(), json!("other"))).collect();
            mutants.push(with(Value::Object(other)));
        }
        other => panic!("{other} is no leaf"),
    }
    mutants
}

/// The edits of a text; none when something in it is not in order.
fn edits(text: &str) -> Option<Vec<Edit>> {
    let mut scan = Scan::default();
    let edits = scan.apply([("test.yaml".into(), FileChange::Text(text.to_owned()))]);
    scan.problems().is_empty().then_some(edits)
}

/// Everything that compiling says.
fn said(scene: &[Edit], subject: Vec<Edit>) -> BTreeSet<String> {
    let mut world = World::cluster("");
    world.apply(scene.iter().cloned().chain(subject).collect());
    let compiler = &world.compiler;
    let resources = compiler.resources().map(|(_, it)| format!("{it:?}"));
    let statuses = compiler.statuses().map(|(object, it)| format!("{object} {it:?}"));
    let proxies = compiler.proxies().map(|it| format!("{it:?}"));
    resources.chain(statuses).chain(proxies).chain(world.problems()).collect()
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    let version = if version.is_empty() { "gateway.networking.k8s.io/v1" } else { version };
    format!(
        "\n---\napiVersion: {version}\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ team: a, env: prod }} }}\nspec: {spec}\n"
    )
}

const SELECTOR: &str = "{ from: Selector, selector: { matchLabels: { team: a }, matchExpressions: [{ key: env, operator: In, values: [prod] }] } }";

fn scene() -> String {
    let namespace = |name: &str| {
        format!(
            "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {{ team: a, env: prod }} }}\n"
        )
    };
    let all = "allowedRoutes: { namespaces: { from: All } }";
    let public = format!(
        "{{ gatewayClassName: fairway, defaultScope: All, allowedListeners: {{ namespaces: {{ from: All }} }}, listeners: [\
         {{ name: http, port: 80, protocol: HTTP, {all} }}, {{ name: b, port: 81, protocol: HTTP, {all} }}, \
         {{ name: tls, port: 443, protocol: TLS, tls: {{ mode: Passthrough }}, {all} }}, \
         {{ name: tcp, port: 9000, protocol: TCP, {all} }}, {{ name: udp, port: 9001, protocol: UDP, {all} }}] }}"
    );
    let ports =
        "[{ name: http, port: 80 }, { name: other, port: 81 }, { name: udp, port: 53, protocol: UDP }]";
    let service = |namespace: &str, name: &str| {
        object("v1", "Service", namespace, name, &format!("{{ clusterIP: 10.96.0.9, ports: {ports} }}"))
    };
    let parameters = |namespace: &str| {
        object("fairway.dev/v1alpha1", "GatewayParameters", namespace, "run", "{ replicas: 3 }")
    };
    // What the subjects let in.
    let guest = "{ parentRefs: [{ name: it, namespace: edge }, { kind: ListenerSet, name: it, namespace: edge }], \
                 rules: [{ backendRefs: [{ name: web, port: 80 }] }] }";
    let more = "{ parentRef: { name: it, namespace: edge }, listeners: [{ name: more, port: 8081, protocol: HTTP }] }";
    let reaching = "{ parentRefs: [{ name: public, namespace: edge }], rules: [{ backendRefs: [{ name: granted, namespace: far, port: 80 }] }] }";
    let users = ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Gateway", "ListenerSet"];
    let grants: String = users
        .iter()
        .map(|kind| {
            let spec = format!("{{ from: [{{ group: gateway.networking.k8s.io, kind: {kind}, namespace: edge }}], to: [{{ group: '', kind: Service }}] }}");
            object("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "shop", &kind.to_lowercase(), &spec)
        })
        .collect();
    let certificates = |kind: &str| {
        let spec = format!(
            "{{ from: [{{ group: gateway.networking.k8s.io, kind: {kind}, namespace: edge }}], to: [{{ group: '', kind: Secret }}] }}"
        );
        let name = format!("{}-certificates", kind.to_lowercase());
        object("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "shop", &name, &spec)
    };
    [
        namespace("edge"),
        namespace("shop"),
        namespace("far"),
        object("", "Gateway", "edge", "public", &public),
        object("", "Gateway", "edge", "usual", &public),
        service("edge", "web"),
        service("edge", "other"),
        service("shop", "web"),
        service("shop", "other"),
        service("far", "granted"),
        parameters("edge"),
        parameters("shop"),
        object("", "HTTPRoute", "shop", "guest", guest),
        object("", "ListenerSet", "shop", "more", more),
        object("", "HTTPRoute", "edge", "reaching", reaching),
        object("", "HTTPRoute", "edge", "user", "{ parentRefs: [{ name: public }], rules: [{ backendRefs: [{ name: web, port: 80 }, { name: other, port: 80 }] }] }"),
        grants,
        secret("edge"),
        secret("shop"),
        certificates("Gateway"),
        certificates("ListenerSet"),
        clients::config_map("edge", "ca", "ca.crt", &clients::authority()),
        clients::config_map("shop", "ca", "ca.crt", &clients::authority()),
        object(
            "gateway.networking.k8s.io/v1beta1",
            "ReferenceGrant",
            "shop",
            "maps",
            "{ from: [{ group: gateway.networking.k8s.io, kind: Gateway, namespace: edge }], to: [{ group: '', kind: ConfigMap }] }",
        ),
    ]
    .concat()
}

/// The GatewayClass, which is a subject itself and is there for the others.
const CLASS: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: fairway }\n\
    spec: { controllerName: fairway.dev/controller, parametersRef: { group: fairway.dev, kind: GatewayParameters, name: run, namespace: shop } }\n";

/// Objects that have every field that is handled, each somewhere.
fn subjects() -> Vec<String> {
    let parent = |section: &str, port: u16| {
        format!(
            "parentRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, namespace: edge, name: public, sectionName: {section}, port: {port} }}], useDefaultGateways: All"
        )
    };
    let reference = |port: u16| format!("group: '', kind: Service, name: web, namespace: shop, port: {port}");
    let headers = "{ set: [{ name: x-a, value: b }], add: [{ name: x-c, value: d }], remove: [x-e] }";
    let mirror = |share: &str| {
        format!(
            "{{ type: RequestMirror, requestMirror: {{ backendRef: {{ {} }}, {share} }} }}",
            reference(80)
        )
    };
    let common = format!(
        "{{ type: RequestHeaderModifier, requestHeaderModifier: {headers} }}, {{ type: ResponseHeaderModifier, responseHeaderModifier: {headers} }}, {}, {}",
        mirror("fraction: { numerator: 1, denominator: 10 }"),
        mirror("percent: 20"),
    );
    let cors = "{ type: CORS, cors: { allowOrigins: ['https://a.example.com'], allowCredentials: true, allowMethods: [GET], \
                allowHeaders: [x-a], exposeHeaders: [x-b], maxAge: 10 } }";
    let auth = |protocol: &str| {
        let service = reference(80);
        format!("{{ type: ExternalAuth, externalAuth: {{ backendRef: {{ {service} }}, {protocol} }} }}")
    };
    let (by_http, by_grpc) = (
        "protocol: HTTP, http: { path: /x, allowedHeaders: [x-a], allowedResponseHeaders: [x-b] }",
        "protocol: GRPC, grpc: { allowedHeaders: [x-a] }",
    );
    let rewrite = |path: &str| {
        format!("{{ type: URLRewrite, urlRewrite: {{ hostname: in.example.com, path: {path} }} }}")
    };
    let redirect = |path: &str| {
        format!(
            "{{ type: RequestRedirect, requestRedirect: {{ scheme: https, hostname: to.example.com, port: 8443, statusCode: 301, path: {path} }} }}"
        )
    };
    let (full, prefix) = (
        "{ type: ReplaceFullPath, replaceFullPath: /x }",
        "{ type: ReplacePrefixMatch, replacePrefixMatch: /x }",
    );
    let path = "matches: [{ path: { type: PathPrefix, value: /a } }]";
    let sent =
        |filters: &str| format!("backendRefs: [{{ {}, weight: 2, filters: [{filters}] }}]", reference(80));
    let http = [
        format!(
            "{{ name: first, matches: [{{ path: {{ type: PathPrefix, value: /a }}, method: GET, headers: [{{ type: Exact, name: x-a, value: b }}], \
             queryParams: [{{ type: Exact, name: c, value: d }}] }}], filters: [{common}, {cors}, {}], {}, \
             timeouts: {{ request: 10s, backendRequest: 2s }}, retry: {{ attempts: 2, backoff: 100ms, codes: [503] }} }}",
            rewrite(prefix),
            sent(&format!("{common}, {cors}, {}", rewrite(prefix))),
        ),
        format!("{{ {path}, filters: [{}], {} }}", rewrite(full), sent(&rewrite(full))),
        format!("{{ {path}, filters: [{}], {} }}", auth(by_http), sent(&auth(by_http))),
        format!("{{ {path}, filters: [{}], {} }}", auth(by_grpc), sent(&auth(by_grpc))),
        format!("{{ {path}, filters: [{}] }}", redirect(full)),
        format!("{{ {path}, filters: [{}] }}", redirect(prefix)),
        format!("{{ {path}, {} }}", sent(&redirect(full))),
        format!("{{ {path}, {} }}", sent(&redirect(prefix))),
    ];
    let route = |kind: &str, section: &str, port: u16, more: &str, rules: &str| {
        object("", kind, "edge", "it", &format!("{{ {}, {more} rules: [{rules}] }}", parent(section, port)))
    };
    let hostnames = "hostnames: [a.example.com],";
    let forward = |port: u16| {
        format!(
            "{{ name: first, backendRefs: [{{ {}, weight: 2 }}, {{ name: other, port: {port} }}] }}",
            reference(port)
        )
    };
    let grpc = format!(
        "{{ name: first, matches: [{{ method: {{ type: Exact, service: a.B, method: C }}, headers: [{{ type: Exact, name: x-a, value: b }}] }}], filters: [{common}], {} }}",
        sent(&common)
    );
    let certificate = "{ group: '', kind: Secret, name: cert, namespace: shop }";
    let authorities = "[{ group: '', kind: ConfigMap, name: ca, namespace: shop }]";
    let https = |port: u16| {
        format!(
            "{{ name: https-{port}, port: {port}, protocol: HTTPS, hostname: www.example.com, tls: {{ mode: Terminate, certificateRefs: [{certificate}] }}, \
             allowedRoutes: {{ kinds: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute }}], namespaces: {SELECTOR} }} }}"
        )
    };
    let ended = format!(
        "{{ name: ended, port: 445, protocol: TLS, tls: {{ mode: Terminate, certificateRefs: [{certificate}] }} }}"
    );
    let filtered = format!(
        "{{ name: filtered, port: 8090, protocol: HTTP, filters: {{ requests: [{}, {}] }} }}",
        auth(by_http),
        auth(by_grpc)
    );
    let gateway = format!(
        "{{ gatewayClassName: fairway, defaultScope: All, allowedListeners: {{ namespaces: {SELECTOR} }}, \
         addresses: [{{ type: IPAddress, value: 192.0.2.7 }}, {{ routability: Cluster }}], \
         infrastructure: {{ labels: {{ a: b }}, annotations: {{ c: d }}, parametersRef: {{ group: fairway.dev, kind: GatewayParameters, name: run }} }}, \
         tls: {{ backend: {{ clientCertificateRef: {certificate} }}, frontend: {{ default: {{ validation: {{ mode: AllowValidOnly, caCertificateRefs: {authorities} }} }}, \
         perPort: [{{ port: 444, tls: {{ validation: {{ mode: AllowInsecureFallback, caCertificateRefs: {authorities} }} }} }}] }} }}, \
         listeners: [{}, {}, {ended}, {filtered}] }}",
        https(443),
        https(444),
    );
    let set = format!(
        "{{ parentRef: {{ group: gateway.networking.k8s.io, kind: Gateway, namespace: edge, name: public }}, listeners: [{}, {ended}, {filtered}] }}",
        https(8443)
    );
    let policy = "{ targetRefs: [{ group: '', kind: Service, name: web, sectionName: http }], validation: { hostname: web.example.com, \
                  caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }], \
                  subjectAltNames: [{ type: Hostname, hostname: a.example.com }, { type: URI, uri: 'spiffe://a.example.com/x' }] } }";
    let known = "{ targetRefs: [{ group: '', kind: Service, name: other }], validation: { hostname: web.example.com, wellKnownCACertificates: System } }";
    let granted = "{ from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge }], to: [{ group: '', kind: Service, name: granted }] }";
    vec![
        CLASS.to_owned(),
        route("HTTPRoute", "http", 80, hostnames, &http.join(", ")),
        route("GRPCRoute", "http", 80, hostnames, &grpc),
        route("TLSRoute", "tls", 443, hostnames, &forward(80)),
        route("TCPRoute", "tcp", 9000, "", &forward(80)),
        route("UDPRoute", "udp", 9001, "", &forward(53)),
        object("", "Gateway", "edge", "it", &gateway),
        object("", "ListenerSet", "edge", "it", &set),
        object("", "BackendTLSPolicy", "edge", "it", policy),
        object("", "BackendTLSPolicy", "edge", "it", known),
        object("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "far", "it", granted),
        "\n---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XMesh\nmetadata: { name: fairway }\nspec: { controllerName: fairway.dev/controller }\n".to_owned(),
    ]
}

#[test]
fn every_field_that_is_handled_has_an_influence() {
    let rows = rows();
    let handled: BTreeSet<&str> =
        rows.iter().filter(|(_, class)| **class == Class::Handled).map(|(row, _)| &**row).collect();
    let scene = scene();
    let plain = edits(&scene).expect("the scene is in order");
    let with_class = edits(&(scene + CLASS)).unwrap();
    let (mut there, mut felt) = (BTreeSet::new(), BTreeSet::new());
    for text in subjects() {
        let subject: Value = serde_saphyr::from_str(text.trim_start_matches("\n---\n")).unwrap();
        let kind = subject["kind"].as_str().unwrap();
        let scene = if kind == "GatewayClass" { &plain } else { &with_class };
        let before = said(scene, edits(&subject.to_string()).unwrap_or_else(|| panic!("{text}")));
        let mut found = Vec::new();
        leaves(
            &subject["spec"],
            &format!("{kind} spec"),
            &mut vec![Step::Name("spec".to_owned())],
            &handled,
            &mut found,
        );
        for (row, way) in found {
            there.insert(row.clone());
            let is_felt = |mutant: &Value| {
                edits(&mutant.to_string()).is_some_and(|mutant| said(scene, mutant) != before)
            };
            if !felt.contains(&row) && mutants(&subject, &way).iter().any(is_felt) {
                felt.insert(row);
            }
        }
    }
    let missing: Vec<_> = handled.iter().filter(|it| !there.contains(**it)).collect();
    assert!(missing.is_empty(), "in no subject: {missing:#?}");
    let is_felt = |it: &&&str| felt.contains(**it) || SAYS_WHICH_PART.iter().any(|end| it.ends_with(end));
    let without: Vec<_> = handled.iter().filter(|it| !is_felt(it)).collect();
    assert!(without.is_empty(), "handled, it is said, and it makes no difference: {without:#?}");
}
