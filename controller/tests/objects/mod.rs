//! Objects that are as large as an API server takes them, in every dimension that the API leaves; and the same at half the size.

use fairway_controller::compile::{Capture, CompileSettings, Compiler, Mode};
use fairway_controller::resources::Edit;
use fairway_controller::source::{FileChange, Scan};
use serde_json::{Value, json};

/// What etcd takes in one request (1.5 MiB), less what the server adds.
const LARGEST: usize = 1_400_000;
const GROUP: &str = "gateway.networking.k8s.io/v1";
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io/v1alpha1";

fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": "evil" }, "spec": spec })
}

/// Bytes of a manifest.
pub fn bytes(it: &Value) -> usize {
    serde_json::to_string(it).unwrap().len()
}

/// How large an object is made: whole, or a part of it.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// As large as it can be.
    Whole,
    /// With half of the entries of its longest list.
    #[allow(dead_code)] // one of the two tests that share this file needs no halves
    Half,
}

impl Size {
    /// So much of a number.
    fn scale(self, number: usize) -> usize {
        match self {
            Self::Whole => number,
            Self::Half => number / 2,
        }
    }
}

/// As many of `one` as the API takes, and as fit.
fn fill(size: Size, most: usize, one: impl Fn(usize) -> Value) -> Vec<Value> {
    let mut left = size.scale(LARGEST);
    let mut all = Vec::new();
    for it in (0..size.scale(most)).map(one) {
        let Some(rest) = left.checked_sub(bytes(&it) + 1) else { break };
        left = rest;
        all.push(it);
    }
    all
}

fn matches(size: Size, one: impl Fn(usize) -> Value) -> Vec<Value> {
    fill(size, 128, one)
        .chunks(64)
        .map(|it| json!({ "matches": it, "backendRefs": [{ "name": "s", "port": 1 }] }))
        .collect()
}

fn http_route(rules: Vec<Value>) -> Value {
    let parents: Vec<Value> = (0..16)
        .map(|it| json!({ "name": "g", "sectionName": format!("l{it}") }))
        .chain([json!({ "group": "", "kind": "Service", "name": "s" })])
        .collect();
    let hosts: Vec<String> = (0..16).map(|it| format!("h{it}.ex")).collect();
    object(GROUP, "HTTPRoute", "r", json!({ "parentRefs": parents, "hostnames": hosts, "rules": rules }))
}

fn l4_route(kind: &str, size: Size) -> Value {
    let parents: Vec<Value> =
        (0..size.scale(32)).map(|it| json!({ "name": "g", "sectionName": format!("l{it}") })).collect();
    let backends: Vec<Value> =
        (0..16).map(|it| json!({ "name": format!("s{it}"), "namespace": "other", "port": 1 })).collect();
    let mut spec = json!({ "parentRefs": parents, "rules": [{ "backendRefs": backends }] });
    if kind == "TLSRoute" {
        let hosts: Vec<String> = (0..16).map(|it| format!("{}h{it}.ex", "a.".repeat(100))).collect();
        spec["hostnames"] = hosts.into();
    }
    object(GROUP, kind, "l4", spec)
}

/// The most comparisons of one match. The API leaves a header 4,096 characters and a parameter 1,024.
fn compared(value: impl Fn(usize) -> String, how: &str) -> Value {
    let list = |name: &str, most: usize| -> Vec<Value> {
        (0..16)
            .map(|it| json!({ "type": how, "name": format!("{name}{it}"), "value": value(most) }))
            .collect()
    };
    json!({ "headers": list("h", 4096), "queryParams": list("q", 1024) })
}

/// An AccessPolicy of everything that it can name, with these rules.
fn cluster_object(version: &str, kind: &str, labels: Value, spec: Value) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "big", "labels": labels }, "spec": spec })
}

/// An object of a kind that is not carried out. Its spec is not kept, and names as many targets as the API takes.
fn unhandled(kind: &str, labels: Value) -> Value {
    let targets: Vec<Value> = (0..16)
        .map(
            |it| json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": format!("g{it}") }),
        )
        .collect();
    let mut it = object(EXPERIMENTAL, kind, "big", json!({ "targetRefs": targets }));
    it["metadata"]["labels"] = labels;
    it
}

/// As many limits as one has, for as many targets, with as many matches as fit.
fn rate_limit_policy(size: Size) -> Value {
    let matches: Vec<Value> = (0..16)
        .map(|it| json!({ "paths": (0..64).map(|n| json!({ "value": format!("/{it}/{n}/{}", "a".repeat(40)) })).collect::<Vec<_>>() }))
        .collect();
    let limit = |it: usize| json!({ "name": format!("l{it}"), "requests": 1, "per": "Second", "key": [{ "type": "ClientAddress" }], "matches": matches });
    let target = |it: usize| json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "sectionName": format!("l{it}") });
    let targets: Vec<Value> = (0..16).map(target).collect();
    object(
        "fairway.dev/v1alpha1",
        "RateLimitPolicy",
        "p",
        json!({ "targetRefs": targets, "local": fill(size, 16, limit) }),
    )
}

/// As many issuers as one has, each with as many keys as fit, and as many exemptions, for as many targets.
fn authentication_policy(size: Size) -> Value {
    let key = |it: usize| {
        format!(
            r#"{{"kty":"oct","kid":"{it}","k":"{}"}}"#,
            "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
        )
    };
    let keys: Vec<String> = (0..600).map(key).collect();
    let inline = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let names = |what: &str| (0..16).map(|it| format!("{what}{it}")).collect::<Vec<_>>();
    let claims: Vec<Value> =
        (0..16).map(|it| json!({ "claim": format!("c{it}"), "header": format!("x-c{it}") })).collect();
    let provider = |it: usize| {
        json!({
            "name": format!("p{it}"), "issuer": format!("https://{it}.example"), "audiences": names("a"),
            "jwks": { "inline": inline }, "claimToHeaders": claims,
        })
    };
    let paths: Vec<Value> =
        (0..16).map(|it| json!({ "value": format!("/{it}/{}", "a".repeat(900)) })).collect();
    let target = |it: usize| json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "sectionName": format!("l{it}") });
    let spec = json!({
        "targetRefs": (0..16).map(target).collect::<Vec<_>>(),
        "exempt": fill(size, 16, |_| json!({ "paths": paths })),
        "jwt": { "providers": fill(size, 8, provider) },
    });
    object("fairway.dev/v1alpha1", "AuthenticationPolicy", "p", spec)
}

fn access_policy(name: &str, rules: Vec<Value>) -> Value {
    let target = |group: &str, kind: &str, name: &str| json!({ "group": group, "kind": kind, "name": name });
    let gateway_api = "gateway.networking.k8s.io";
    let mut targets = vec![
        target(gateway_api, "Gateway", "g"),
        target(gateway_api, "HTTPRoute", "r"),
        target("", "Service", "s"),
        json!({ "group": "", "kind": "Pod", "selector": {} }),
    ];
    targets.extend((0..12).map(
        |it| json!({ "group": gateway_api, "kind": "Gateway", "name": "g", "sectionName": format!("l{it}") }),
    ));
    let spec = json!({ "targetRefs": targets, "action": "Deny", "rules": rules });
    object("fairway.dev/v1alpha1", "AccessPolicy", name, spec)
}

/// So many values in rules that are as full as they may be; as long as they may be, or as short.
fn compared_by_policy(values: usize, length: usize) -> Vec<Value> {
    let path = |it: usize| json!({ "value": format!("/{it}{}", "a".repeat(length)) });
    let operation = |from: usize| json!({ "paths": (from..from + 63).map(path).collect::<Vec<_>>() });
    let operations: Vec<Value> = (0..values / 64).map(|it| operation(it * 63)).collect();
    operations.chunks(64).map(|it| json!({ "to": it })).collect()
}

/// A ListenerSet with so many listeners, and so many ClientPolicies with so many ranges: each for one of its listeners, or for all.
#[allow(dead_code)] // one of the two tests that share this file has one object of each kind
pub fn client_policies(policies: usize, listeners: usize, ranges: usize) -> Vec<Value> {
    let listener = |it: usize| json!({ "name": format!("x{it}"), "port": 8000, "protocol": "HTTP", "hostname": format!("h{it}.ex") });
    let each: Vec<Value> = (0..listeners).map(listener).collect();
    let set = json!({ "parentRef": { "name": "g" }, "listeners": each });
    let policy = |index: usize| {
        let ranges: Vec<String> =
            (0..ranges).map(|it| format!("10.{}.{}.{it}", index / 250, index % 250)).collect();
        let mut target =
            json!({ "group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": "set" });
        if index % 2 == 1 {
            target["sectionName"] = format!("x{}", index % listeners).into();
        }
        let address = json!({ "source": "ForwardedFor", "trustedCIDRs": ranges });
        let spec = json!({ "targetRefs": [target], "clientAddress": address });
        object("fairway.dev/v1alpha1", "ClientPolicy", &format!("p{index}"), spec)
    };
    std::iter::once(object(GROUP, "ListenerSet", "set", set)).chain((0..policies).map(policy)).collect()
}

/// Large in every dimension that the API leaves.
pub fn largest(size: Size) -> Vec<(&'static str, Vec<Value>)> {
    let long = "a".repeat(4096);
    let listeners = |most: usize| -> Vec<Value> {
        let one = |it: usize| {
            json!({ "name": format!("l{it}"), "port": 80, "protocol": "HTTP", "hostname": format!("{}.ex", "a.".repeat(100) + &it.to_string()),
                    "allowedRoutes": { "namespaces": { "from": "Selector", "selector": { "matchExpressions":
                        (0..100).map(|it| json!({ "key": format!("k{it}"), "operator": "In", "values": (0..20).map(|it| it.to_string()).collect::<Vec<_>>() })).collect::<Vec<_>>() } } } })
        };
        fill(size, most, one)
    };
    let pem =
        |one: &str| -> String { format!("-----BEGIN CERTIFICATE-----\n{one}\n-----END CERTIFICATE-----\n") };
    let many = pem("MIIB").repeat(size.scale(LARGEST) / 60);
    let one = pem(&"A".repeat(size.scale(LARGEST) - 100));
    let slice = |ports: usize, endpoints: usize| {
        let port = |it| json!({ "name": format!("p{it}"), "port": 1000 + it });
        let endpoint = |it: usize| {
            json!({ "addresses": [format!("10.1.{}.{}", it / 250, it % 250 + 1)], "nodeName": format!("node-{it}"), "zone": "a",
                    "hints": { "forZones": [{ "name": "a" }] } })
        };
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": { "name": "s-1", "namespace": "evil", "labels": { "kubernetes.io/service-name": "s" } },
                "ports": (0..ports).map(port).collect::<Vec<_>>(), "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>() })
    };
    let expressions = |expression: &'static str| {
        http_route(matches(size, |it| {
            let mut one = compared(|_| format!("{expression}{it}"), "RegularExpression");
            one["path"] = json!({ "type": "RegularExpression", "value": format!("/{expression}{it}") });
            one
        }))
    };
    let labels = |most: usize| -> Value {
        (0..most)
            .map(|it| (format!("k{it}"), Value::from(it.to_string())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let policy = object(
        GROUP,
        "BackendTLSPolicy",
        "p",
        json!({ "targetRefs": (0..16).map(|it| json!({ "group": "", "kind": "Service", "name": "s", "sectionName": format!("p{it}") })).collect::<Vec<_>>(),
                "validation": { "hostname": "s.ex", "caCertificateRefs": (0..8).map(|_| json!({ "group": "", "kind": "ConfigMap", "name": "c" })).collect::<Vec<_>>() } }),
    );
    let config_map = |text: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "evil" }, "data": { "ca.crt": text } });
    let modifier = |it: usize| {
        let list: Vec<Value> =
            (0..16).map(|n| json!({ "name": format!("x-{it}-{n}"), "value": long })).collect();
        json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": list } })
    };
    vec![
        ("long texts", vec![http_route(matches(size, |_| compared(|most| "a".repeat(most), "Exact")))]),
        ("short texts", vec![http_route(matches(size, |_| compared(|_| "a".to_owned(), "Exact")))]),
        (
            "long expressions",
            vec![http_route(matches(size, |_| {
                compared(|most| r"\pL".repeat(most / 3), "RegularExpression")
            }))],
        ),
        (
            "long classes",
            vec![http_route(matches(size, |_| {
                compared(|most| format!("[{}]", r"\pL".repeat(most / 3 - 1)), "RegularExpression")
            }))],
        ),
        (
            "literal expressions",
            vec![http_route(matches(size, |_| compared(|most| "a".repeat(most), "RegularExpression")))],
        ),
        ("counted classes", vec![expressions(r"[\pL\pN]{5}x")]),
        ("large counted classes", vec![expressions(r"\w{900}")]),
        (
            "filters",
            vec![http_route(fill(
                size,
                16,
                |it| json!({ "filters": [modifier(it)], "backendRefs": [{ "name": "s", "port": 1 }] }),
            ))],
        ),
        (
            "origins",
            vec![http_route(fill(size, 16, |it| {
                let origins: Vec<String> =
                    (0..64).map(|n| format!("https://*.{}r{it}-{n}.ex", "a.".repeat(100))).collect();
                json!({ "filters": [{ "type": "CORS", "cors": { "allowOrigins": origins } }], "backendRefs": [{ "name": "s", "port": 1 }] })
            }))],
        ),
        (
            "backends",
            vec![http_route(fill(
                size,
                16,
                |_| json!({ "backendRefs": (0..16).map(|it| json!({ "name": format!("s{it}"), "namespace": "other", "port": 1 })).collect::<Vec<_>>() }),
            ))],
        ),
        (
            "grpc",
            vec![object(
                GROUP,
                "GRPCRoute",
                "g",
                json!({ "parentRefs": [{ "name": "g" }], "rules": matches(size, |it| {
            json!({ "method": { "type": "RegularExpression", "service": format!(r"[\pL\pN]{{5}}{it}"), "method": format!(r"\w{{5}}{it}") } })
        }) }),
            )],
        ),
        (
            "gateway",
            vec![object(
                GROUP,
                "Gateway",
                "big",
                json!({ "gatewayClassName": "fairway", "listeners": listeners(64) }),
            )],
        ),
        (
            "gateway with certificates",
            vec![object(
                GROUP,
                "Gateway",
                "certified",
                json!({ "gatewayClassName": "fairway", "listeners": fill(size, 64, |it| {
                    let refs: Vec<Value> = (0..64).map(|n| json!({ "name": format!("tls-{it}-{n}") })).collect();
                    json!({ "name": format!("l{it}"), "port": 443, "protocol": "HTTPS", "hostname": format!("*.h{it}.ex"), "tls": { "certificateRefs": refs } })
                }) }),
            )],
        ),
        (
            "gateway with one certificate often",
            vec![object(
                GROUP,
                "Gateway",
                "certified",
                json!({ "gatewayClassName": "fairway", "listeners": fill(size, 64, |it| {
                    let refs: Vec<Value> = (0..64).map(|_| json!({ "name": "tls" })).collect();
                    json!({ "name": format!("l{it}"), "port": 443, "protocol": "HTTPS", "hostname": format!("*.h{it}.ex"), "tls": { "certificateRefs": refs } })
                }) }),
            )],
        ),
        ("tls route", vec![l4_route("TLSRoute", size)]),
        ("tcp route", vec![l4_route("TCPRoute", size)]),
        ("udp route", vec![l4_route("UDPRoute", size)]),
        (
            "service",
            vec![object(
                "v1",
                "Service",
                "ports",
                json!({ "clusterIP": "10.96.0.8", "ports": fill(size, 60_000, |it| json!({ "name": format!("p{it}"), "port": 1 + it })) }),
            )],
        ),
        (
            "pod",
            vec![
                json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "big", "namespace": "evil", "labels": { "app": "a" } },
                "spec": { "serviceAccountName": "a", "nodeName": "n", "containers": fill(size, 100_000, |it| {
                    let probe = json!({ "httpGet": { "path": format!("/{it}"), "port": "p" } });
                    json!({ "name": format!("c{it}"), "image": "i", "ports": [{ "name": "p", "containerPort": 1 + it % 65_000 }], "readinessProbe": probe })
                }) },
                "status": { "podIP": "10.9.0.1", "conditions": [{ "type": "Ready", "status": "True" }] } }),
            ],
        ),
        (
            "listener set",
            vec![object(
                GROUP,
                "ListenerSet",
                "set",
                json!({ "parentRef": { "name": "g" }, "listeners": listeners(64) }),
            )],
        ),
        ("slice", vec![slice(100, size.scale(1000))]),
        ("bundle of many", vec![config_map(&many), policy.clone()]),
        ("bundle of one", vec![config_map(&one), policy]),
        (
            "secret",
            vec![
                json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "name": "tls", "namespace": "evil" },
                                "stringData": { "tls.crt": many, "tls.key": one } }),
            ],
        ),
        (
            "grant",
            vec![object(
                GROUP,
                "ReferenceGrant",
                "rg",
                json!({
            "from": (0..16).map(|it| json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": format!("n{it}") })).collect::<Vec<_>>(),
            "to": (0..16).map(|it| json!({ "group": "", "kind": "Service", "name": format!("s{it}") })).collect::<Vec<_>>() }),
            )],
        ),
        ("access policy", vec![access_policy("p", compared_by_policy(size.scale(1024), 1000))]),
        (
            "access policy of too many values",
            vec![access_policy("p", compared_by_policy(size.scale(64 * 64 * 16), 0))],
        ),
        (
            "access policy of ranges",
            vec![access_policy(
                "p",
                fill(size, 64, |rule| {
                    let range = |it: usize| format!("10.{rule}.{}.{}/32", it / 250, it % 250);
                    json!({ "from": [{ "cidrs": (0..10_000).map(range).collect::<Vec<_>>() }] })
                }),
            )],
        ),
        (
            "access policies of one object",
            (0..size.scale(40))
                .map(|it| access_policy(&format!("p{it}"), compared_by_policy(1024, 0)))
                .collect(),
        ),
        ("rate limit policy", vec![rate_limit_policy(size)]),
        ("authentication policy", vec![authentication_policy(size)]),
        (
            "client policy",
            vec![object(
                "fairway.dev/v1alpha1",
                "ClientPolicy",
                "p",
                json!({ "targetRefs": (0..16).map(|it| json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "sectionName": format!("l{it}") })).collect::<Vec<_>>(),
                        "clientAddress": { "source": "ForwardedFor",
                                           "trustedCIDRs": (0..size.scale(60_000)).map(|it| format!("10.{}.{}.{}", it / 62_500, it / 250 % 250, it % 250)).collect::<Vec<_>>() } }),
            )],
        ),
        (
            "trust bundle",
            vec![cluster_object(
                "certificates.k8s.io/v1",
                "ClusterTrustBundle",
                json!({}),
                json!({ "trustBundle": many }),
            )],
        ),
        (
            "node",
            vec![
                json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "big" }, "spec": { "podCIDRs": ["10.200.0.0/24", "fd00:200::/64"] },
                        "status": { "addresses": fill(size, 60_000, |it| json!({ "type": "ExternalIP", "address": format!("fd00:201::{it:x}") })) } }),
            ],
        ),
        (
            "class",
            vec![cluster_object(
                GROUP,
                "GatewayClass",
                labels(size.scale(50_000)),
                json!({ "controllerName": "fairway.dev/controller" }),
            )],
        ),
        (
            "mesh",
            vec![cluster_object(
                EXPERIMENTAL,
                "XMesh",
                labels(size.scale(50_000)),
                json!({ "controllerName": "fairway.dev/controller" }),
            )],
        ),
        ("backend traffic policy", vec![unhandled("XBackendTrafficPolicy", labels(size.scale(50_000)))]),
        ("telemetry policy", vec![unhandled("XTelemetryPolicy", labels(size.scale(50_000)))]),
        ("external backend", vec![unhandled("XBackend", labels(size.scale(50_000)))]),
        (
            "parameters",
            vec![
                json!({ "apiVersion": "fairway.dev/v1alpha1", "kind": "GatewayParameters", "metadata": { "name": "p", "namespace": "evil" },
                                    "spec": { "service": { "annotations": labels(size.scale(50_000)) } } }),
            ],
        ),
        (
            "labels",
            vec![
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "evil", "labels": labels(size.scale(50_000)) } }),
            ],
        ),
    ]
}

/// The objects as edits, or what the schema says against them: what it refuses is not compiled, and measures nothing.
pub fn read(objects: &[Value]) -> Result<Vec<Edit>, Vec<String>> {
    let text: Vec<String> = objects.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
    let mut scan = Scan::default();
    let edits = scan.apply([("a.yaml".into(), FileChange::Text(text.join("\n---\n")))]);
    let refused: Vec<String> =
        scan.problems().iter().map(|it| it.to_string().chars().take(300).collect()).collect();
    if refused.is_empty() { Ok(edits) } else { Err(refused) }
}

/// A compiler that has what the objects refer to.
pub fn world() -> Compiler {
    let settings = CompileSettings {
        capture: Capture::On,
        mode: Mode::Kubernetes,
        ..CompileSettings::standalone("cluster.local".parse().unwrap())
    };
    let mut listeners: Vec<Value> =
        (0..16).map(|it| json!({ "name": format!("l{it}"), "port": 80 + it, "protocol": "HTTP" })).collect();
    let secured = json!({ "name": "secured", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": [{ "name": "tls" }] } });
    listeners.push(secured);
    let parameters = json!({ "group": "fairway.dev", "kind": "GatewayParameters", "name": "p" });
    let ports: Vec<Value> = (0..100)
        .map(|it| json!({ "name": format!("p{it}"), "port": 1 + it, "targetPort": 1000 + it }))
        .collect();
    let mut compiler = Compiler::new(settings);
    let setting = read(&[
        json!({ "apiVersion": GROUP, "kind": "GatewayClass", "metadata": { "name": "fairway" }, "spec": { "controllerName": "fairway.dev/controller" } }),
        object(
            GROUP,
            "Gateway",
            "g",
            json!({ "gatewayClassName": "fairway", "listeners": listeners, "infrastructure": { "parametersRef": parameters }, "allowedListeners": { "namespaces": { "from": "Same" } } }),
        ),
        object("v1", "Service", "s", json!({ "clusterIP": "10.96.0.9", "ports": ports })),
    ]);
    compiler.apply(setting.unwrap());
    compiler
}

/// What takes objects away again.
pub fn removals(edits: Vec<Edit>) -> Vec<Edit> {
    let removal = |it| match it {
        Edit::Upsert(it) => Some(Edit::Remove(it.reference())),
        Edit::Remove(_) => None,
    };
    edits.into_iter().filter_map(removal).collect()
}
