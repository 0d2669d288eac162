//! Objects beside routes of HTTP: Gateways with listeners of every protocol, ListenerSets, certificates, policies, routes of
//! connections and datagrams, Services and what is behind them.

use super::{HOSTS, any_of, reference};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::sync::LazyLock;

const GROUP: &str = "gateway.networking.k8s.io/v1";
/// Hostnames as listeners and routes may have them. An internationalised one is written in its ASCII form (RFC 5891).
const NAMES: &[&str] = &[
    "a.ex",
    "*.ex",
    "*.a.ex",
    "xn--bcher-kva.ex",
    "*.xn--bcher-kva.ex",
    "A.EX",
    "a.ex.",
    "*",
    "a",
    "1.2.3.4",
];
const PROTOCOLS: &[&str] = &["HTTP", "HTTPS", "TLS", "TCP", "UDP", "HBONE", "a.ex/P"];
const PORTS: &[i32] = &[1, 80, 443, 8080, 15000, 15008, 15021, 65535];

/// A certificate with its key, and authorities; each in order, and not.
static PEM: LazyLock<[String; 3]> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["a.ex".to_owned()]).unwrap();
    let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap();
    [made.cert.pem(), made.signing_key.serialize_pem(), authority.cert.pem()]
});

fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": "shop" }, "spec": spec })
}

/// What is referred to.
fn held() -> Vec<Value> {
    let [certificate, key, authority] = &*PEM;
    let secret = |name: &str, certificate: &str, key: &str| {
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "name": name, "namespace": "shop" },
                "stringData": { "tls.crt": certificate, "tls.key": key, "ca.crt": certificate } })
    };
    let config_map = |name: &str, text: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "shop" }, "data": { "ca.crt": text } });
    let cut = authority.replace("-----END", "-----");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    vec![
        secret("good", certificate, key),
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "fairway.dev/credentials", "metadata": { "name": "keys", "namespace": "shop" },
                "stringData": { "ada": "one", "bob": "two" } }),
        secret("halved", certificate, "rubbish"),
        secret("rubbish", "rubbish", key),
        secret("chain", &format!("{certificate}{authority}"), key),
        config_map("good", authority),
        config_map("both", &format!("{authority}{certificate}")),
        config_map("rubbish", "rubbish"),
        config_map("cut", &cut),
        config_map("mixed", &format!("{authority}{no_certificate}")),
    ]
}

fn named(kinds: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let names = select(&["good", "halved", "rubbish", "chain", "both", "cut", "mixed", "gone"][..]);
    (any_of(kinds), names).prop_map(|(kind, name)| json!({ "group": "", "kind": kind, "name": name }))
}

fn listener() -> impl Strategy<Value = Value> {
    let certificates = prop::collection::vec(named(&["Secret", "Secret", "Secret", "ConfigMap"]), 0..3);
    let mode = prop::option::of(any_of(&["Terminate", "Passthrough"]));
    let tls = (certificates, mode, any::<bool>()).prop_map(|(refs, mode, options)| {
        let mut tls = json!({ "certificateRefs": refs });
        if let Some(mode) = mode {
            tls["mode"] = mode.into();
        }
        if options {
            tls["options"] = json!({ "a.ex/option": "1" });
        }
        tls
    });
    let kinds = &["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Odd"];
    let allowed = prop::option::weighted(0.3, prop::collection::vec(any_of(kinds), 0..3));
    let hostname = prop::option::of(prop_oneof![4 => any_of(NAMES), 1 => any_of(HOSTS)]);
    (any_of(PROTOCOLS), select(PORTS), hostname, prop::option::of(tls), allowed).prop_map(
        |(protocol, port, hostname, tls, allowed)| {
            let mut listener = json!({ "port": port, "protocol": protocol });
            // What an API server refuses is of no use here.
            if let Some(hostname) = hostname.filter(|_| !["TCP", "UDP"].contains(&protocol)) {
                listener["hostname"] = hostname.into();
            }
            if ["HTTPS", "TLS", "HBONE", "a.ex/P"].contains(&protocol) {
                let mut tls = tls.unwrap_or_else(|| json!({ "certificateRefs": [{ "name": "good" }] }));
                if protocol == "HTTPS" {
                    tls["mode"] = "Terminate".into();
                }
                listener["tls"] = tls;
            }
            if let Some(kinds) = allowed {
                let kinds: Vec<Value> = kinds.into_iter().map(|it| json!({ "kind": it })).collect();
                listener["allowedRoutes"] = json!({ "kinds": kinds });
            }
            listener
        },
    )
}

fn listeners() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(listener(), 1..4).prop_map(|mut all| {
        for (index, it) in all.iter_mut().enumerate() {
            it["name"] = format!("l{index}").into();
        }
        all
    })
}

fn validation() -> impl Strategy<Value = Value> {
    let refs = prop::collection::vec(named(&["ConfigMap", "ConfigMap", "Secret", "Service"]), 1..4);
    let mode = any_of(&["AllowValidOnly", "AllowInsecureFallback"]);
    (refs, mode).prop_map(|(refs, mode)| json!({ "validation": { "caCertificateRefs": refs, "mode": mode } }))
}

fn gateway() -> impl Strategy<Value = Value> {
    let per_port = prop::option::of((select(PORTS), validation()));
    let parts = (listeners(), prop::option::of(validation()), per_port, prop::option::of(named(&["Secret"])));
    parts.prop_map(|(listeners, default, per_port, shown)| {
        let mut spec = json!({ "gatewayClassName": "fairway", "listeners": listeners,
                               "allowedListeners": { "namespaces": { "from": "All" } } });
        if default.is_some() || per_port.is_some() {
            spec["tls"]["frontend"]["default"] = default.unwrap_or_else(|| json!({}));
        }
        if let Some((port, tls)) = per_port {
            spec["tls"]["frontend"]["perPort"] = json!([{ "port": port, "tls": tls }]);
        }
        if let Some(shown) = shown {
            spec["tls"]["backend"]["clientCertificateRef"] = shown;
        }
        object(GROUP, "Gateway", "g", spec)
    })
}

fn listener_set() -> impl Strategy<Value = Value> {
    listeners().prop_map(|it| {
        object(GROUP, "ListenerSet", "ls", json!({ "parentRef": { "name": "g" }, "listeners": it }))
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let trust = prop_oneof![
        any_of(&["System", "System", "a.ex/odd"]).prop_map(|it| json!({ "wellKnownCACertificates": it })),
        prop::collection::vec(named(&["ConfigMap", "ConfigMap", "Secret"]), 1..3)
            .prop_map(|it| json!({ "caCertificateRefs": it })),
    ];
    let name = prop_oneof![
        any_of(NAMES).prop_map(|it| json!({ "type": "Hostname", "hostname": it })),
        any_of(&["spiffe://a.ex/b", "odd", "a:b", "a: b"]).prop_map(|it| json!({ "type": "URI", "uri": it })),
    ];
    let names = prop::option::of(prop::collection::vec(name, 1..3));
    let section = prop::option::of(any_of(&["a", "b", "gone"]));
    (any_of(NAMES), trust, names, section).prop_map(|(hostname, mut validation, names, section)| {
        validation["hostname"] = hostname.into();
        if let Some(names) = names {
            validation["subjectAltNames"] = names.into();
        }
        let mut target = json!({ "group": "", "kind": "Service", "name": "web" });
        if let Some(section) = section {
            target["sectionName"] = section.into();
        }
        object(GROUP, "BackendTLSPolicy", "p", json!({ "targetRefs": [target], "validation": validation }))
    })
}

fn rate_limits() -> impl Strategy<Value = Value> {
    let target = select(vec![
        json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }),
        json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "sectionName": "l0" }),
        json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r" }),
        json!({ "group": "", "kind": "Service", "name": "web" }),
    ]);
    let key = select(vec![
        json!([{ "type": "ClientAddress" }]),
        json!([{ "type": "Identity" }, { "type": "Header", "name": "X-Key" }]),
        json!([{ "type": "Header", "name": "a b" }]),
        json!([]),
    ]);
    let matches = select(vec![
        json!([{ "methods": ["GET", "odd"], "paths": [{ "value": "/a/" }] }]),
        json!([{ "hosts": ["*.ex", "A.EX."] }, { "headers": [{ "name": "A", "value": "é" }] }]),
        json!([{ "paths": [{ "type": "Exact", "value": "/a//b;c/%2f" }] }]),
        json!([{}]),
        json!([]),
    ]);
    let numbers = (
        select(&[0, 1, 1000, 1_000_000, 1_000_001][..]),
        select(&["Second", "Minute", "Hour", "Day", "Week"][..]),
    );
    let parts = (target, numbers, prop::option::of(key), prop::option::of(matches), any::<bool>());
    parts.prop_map(|(target, (requests, per), key, matches, is_observed)| {
        let mut limit = json!({ "requests": requests, "per": per });
        if let Some(key) = key {
            limit["key"] = key;
        }
        if let Some(matches) = matches {
            limit["matches"] = matches;
        }
        let mut spec = json!({ "targetRefs": [target], "local": [limit, { "name": "b", "requests": 1, "per": "Second" }] });
        if is_observed {
            spec["mode"] = "Observe".into();
        }
        object("fairway.dev/v1alpha1", "RateLimitPolicy", "rate", spec)
    })
}

/// How listeners treat clients; several of one target, of which the oldest holds.
fn client_policies() -> impl Strategy<Value = Vec<Value>> {
    let gateway_api = "gateway.networking.k8s.io";
    let target = select(vec![
        json!({ "group": gateway_api, "kind": "Gateway", "name": "g" }),
        json!({ "group": gateway_api, "kind": "Gateway", "name": "g", "sectionName": "l0" }),
        json!({ "group": gateway_api, "kind": "Gateway", "name": "g", "sectionName": "nowhere" }),
        json!({ "group": gateway_api, "kind": "ListenerSet", "name": "ls" }),
        json!({ "group": gateway_api, "kind": "ListenerSet", "name": "ls", "sectionName": "l1" }),
    ]);
    let trusted = select(vec![
        json!(["10.0.0.0/8", "fd00::/8"]),
        json!(["10.0.0.0/8"]),
        json!(["192.0.2.0/24"]),
        json!(["2001:db8::/32"]),
        json!(["0.0.0.0/0", "::/0"]),
        json!(["10.0.0.1/8"]),
        json!(["nowhere"]),
        json!([]),
    ]);
    let header = prop::option::of(any_of(super::HEADERS));
    let source = any_of(&[
        "Connection",
        "ProxyProtocol",
        "ForwardedFor",
        "ForwardedFor",
        "ForwardedFor",
        "Header",
        "Geneve",
    ]);
    let address =
        (source, prop::option::weighted(0.9, trusted), header).prop_map(|(source, trusted, header)| {
            let mut address = json!({ "source": source });
            if let Some(trusted) = trusted {
                address["trustedCIDRs"] = trusted;
            }
            if let Some(header) = header {
                address["header"] = header.into();
            }
            address
        });
    let tls = any_of(&["1.2", "1.3", "1.0"]).prop_map(|it| json!({ "minVersion": it }));
    let policy =
        (target, prop::option::weighted(0.8, address), prop::option::of(tls), prop::bool::weighted(0.1));
    // One by itself that can be understood, or any: one that cannot be closes its target, whatever others ask for.
    let understood = json!({ "source": "ForwardedFor", "trustedCIDRs": ["10.0.0.0/8"] });
    let whole = json!({ "group": gateway_api, "kind": "Gateway", "name": "g" });
    let one = Just(vec![(whole, Some(understood), None, false)]);
    prop_oneof![one, prop::collection::vec(policy, 0..4)].prop_map(|policies| {
        let spec = |(target, address, tls, is_newer): (Value, Option<Value>, Option<Value>, bool)| {
            let mut spec = json!({ "targetRefs": [target] });
            if let Some(address) = address {
                spec["clientAddress"] = address;
            }
            if let Some(tls) = tls {
                spec["tls"] = tls;
            }
            if is_newer && spec["tls"].is_null() {
                spec["newer"] = 1.into();
            }
            spec
        };
        let all = policies.into_iter().map(spec).enumerate();
        all.map(|(at, it)| object("fairway.dev/v1alpha1", "ClientPolicy", &format!("c{at}"), it)).collect()
    })
}

fn authentication() -> impl Strategy<Value = Value> {
    let target = select(vec![
        json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }),
        json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r" }),
        json!({ "group": "", "kind": "Service", "name": "web" }),
    ]);
    let keys = select(vec![
        json!(null),
        json!({ "credentialRefs": [{ "name": "keys" }] }),
        json!({ "credentialRefs": [{ "name": "keys" }, { "name": "keys" }], "forwardClientIDHeader": "X-Client" }),
        json!({ "credentialRefs": [{ "name": "gone" }], "extractFrom": [{ "type": "Cookie", "name": "é" }] }),
        json!({ "credentialRefs": [{ "name": "keys" }], "extractFrom": [{ "type": "Query", "name": "é" }], "forwardClientIDHeader": "host" }),
    ]);
    let secret = r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    let provider = move |issuer: &str, set: &str, header: &str| json!({ "name": issuer, "issuer": issuer, "jwks": { "inline": set }, "claimToHeaders": [{ "claim": "a.b", "header": header }] });
    let jwt = select(vec![
        json!(null),
        json!({ "providers": [provider("a", secret, "X-User"), provider("b", secret, "X-User")] }),
        json!({ "providers": [provider("a", secret, "x"), provider("a", secret, "x")] }),
        json!({ "providers": [provider("a", "{}", "x y")] }),
    ]);
    let exempt = select(vec![
        json!(null),
        json!([{ "paths": [{ "value": "/a//b;c/%2f" }], "methods": ["GET", "odd"] }]),
        json!([{ "paths": [] }]),
    ]);
    (target, keys, jwt, exempt, any::<bool>()).prop_map(|(target, keys, jwt, exempt, is_optional)| {
        let mut spec = json!({ "targetRefs": [target], "optional": is_optional });
        for (name, value) in [("apiKey", keys), ("jwt", jwt), ("exempt", exempt)] {
            if !value.is_null() {
                spec[name] = value;
            }
        }
        object("fairway.dev/v1alpha1", "AuthenticationPolicy", "who", spec)
    })
}

fn l4_route() -> impl Strategy<Value = Value> {
    let parents = select(vec![
        json!([{ "name": "g" }]),
        json!([{ "name": "g", "sectionName": "l0" }]),
        json!([{ "kind": "ListenerSet", "name": "ls" }]),
        json!([{ "group": "", "kind": "Service", "name": "web" }]),
        json!([{ "name": "g" }, { "group": "", "kind": "Service", "name": "web", "port": 80 }]),
    ]);
    let weights = select(&[0, 1, 1_000_000][..]);
    let backends = prop::collection::vec((reference(), weights), 1..4);
    let hostnames = prop::collection::vec(any_of(NAMES), 1..3);
    (any_of(&["TLSRoute", "TCPRoute", "UDPRoute"]), parents, backends, hostnames).prop_map(
        |(kind, parents, backends, hostnames)| {
            let weighted = |(mut to, weight): (Value, i32)| {
                to["weight"] = weight.into();
                to
            };
            let backends: Vec<Value> = backends.into_iter().map(weighted).collect();
            let mut spec = json!({ "parentRefs": parents, "rules": [{ "backendRefs": backends }] });
            if kind == "TLSRoute" {
                spec["hostnames"] = hostnames.into();
            }
            object(GROUP, kind, "l4", spec)
        },
    )
}

fn service() -> impl Strategy<Value = Value> {
    let protocols = any_of(&[
        "",
        "http",
        "https",
        "kubernetes.io/h2c",
        "kubernetes.io/ws",
        "kubernetes.io/wss",
        "tcp",
        "mysql",
    ]);
    let addresses = select(vec![
        json!(["10.96.0.9"]),
        json!(["10.96.0.9", "fd00::9"]),
        json!(["fd00::9"]),
        json!(["None"]),
    ]);
    let affinity = any_of(&["None", "ClientIP"]);
    let internal = any_of(&["Cluster", "Local"]);
    let distribution = prop::option::of(any_of(&["PreferClose", "PreferSameNode", "PreferSameZone", "Odd"]));
    let parts = (protocols, addresses, affinity, internal, distribution, any::<[bool; 2]>());
    parts.prop_map(|(protocol, addresses, affinity, internal, distribution, [udp, required])| {
        let mut first = json!({ "name": "a", "port": 80, "targetPort": "named" });
        if !protocol.is_empty() {
            first["appProtocol"] = protocol.into();
        }
        let mut ports = vec![first, json!({ "name": "b", "port": 81, "targetPort": 8081 })];
        if udp {
            ports.push(json!({ "name": "c", "port": 80, "protocol": "UDP" }));
        }
        let mut spec = json!({ "clusterIP": addresses[0], "clusterIPs": addresses, "ports": ports, "selector": { "app": "web" },
                               "sessionAffinity": affinity, "internalTrafficPolicy": internal });
        if let Some(it) = distribution {
            spec["trafficDistribution"] = it.into();
        }
        let mut service = object("v1", "Service", "web", spec);
        if required {
            service["metadata"]["labels"] = json!({ "fairway.dev/waypoint": "required" });
        }
        service
    })
}

fn slice() -> impl Strategy<Value = Value> {
    let family = select(vec![
        (
            "IPv4",
            vec![
                "10.1.0.1",
                "10.1.0.2",
                "127.0.0.1",
                "203.0.113.1",
                "0.0.0.0",
                "255.255.255.255",
                "169.254.1.1",
            ],
        ),
        ("IPv6", vec!["fd00:1::1", "::1", "fe80::1", "::ffff:10.1.0.1", "2001:db8::1", "ff02::1"]),
    ]);
    let endpoints = family.prop_flat_map(|(family, addresses)| {
        let flags = any::<[Option<bool>; 3]>();
        let endpoint = (select(addresses), flags, prop::option::of(any_of(&["n1", "n2", ""])));
        (Just(family), prop::collection::vec(endpoint, 0..5))
    });
    let port = (
        any_of(&["a", "b", "c", ""]),
        prop::option::of(select(&[1, 8080, 65535][..])),
        any_of(&["TCP", "UDP", "SCTP"]),
    );
    (endpoints, prop::collection::vec(port, 0..4)).prop_map(|((family, endpoints), ports)| {
        let endpoints: Vec<Value> = endpoints
            .into_iter()
            .map(|(address, [ready, serving, terminating], node)| {
                json!({ "addresses": [address], "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
                        "nodeName": node, "zone": node, "hints": { "forZones": [{ "name": "z" }], "forNodes": [{ "name": "n1" }] } })
            })
            .collect();
        let ports: Vec<Value> = ports
            .into_iter()
            .map(|(name, port, protocol)| json!({ "name": name, "port": port, "protocol": protocol }))
            .collect();
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                "metadata": { "name": "web-1", "namespace": "shop", "labels": { "kubernetes.io/service-name": "web" } },
                "endpoints": endpoints, "ports": ports })
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let probe = prop::option::of(select(vec![
        json!({ "httpGet": { "path": "/healthz", "port": 8080 } }),
        json!({ "httpGet": { "path": "/h", "port": "named", "scheme": "HTTPS", "host": "a.ex",
                             "httpHeaders": [{ "name": "x", "value": "1" }] } }),
        json!({ "tcpSocket": { "port": 8080 } }),
        json!({ "grpc": { "port": 8080, "service": "a" } }),
        json!({ "httpGet": { "port": "gone" } }),
    ]));
    let labels = select(vec![
        json!({ "app": "web" }),
        json!({ "app": "web", "fairway.dev/mtls": "strict" }),
        json!({ "app": "web", "fairway.dev/mtls": "odd" }),
    ]);
    (probe, labels, any_of(&["web", "a.b", ""])).prop_map(|(probe, labels, account)| {
        let mut container = json!({ "name": "c", "image": "i", "ports": [{ "name": "named", "containerPort": 8080 }] });
        if let Some(probe) = probe {
            container["livenessProbe"] = probe;
        }
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web-1", "namespace": "shop", "uid": "u", "labels": labels },
                "spec": { "serviceAccountName": account, "nodeName": "n1", "containers": [container] },
                "status": { "podIP": "10.1.0.1", "podIPs": [{ "ip": "10.1.0.1" }, { "ip": "fd00:1::1" }], "hostIP": "192.0.2.1" } })
    })
}

/// Who may do what, with values that are in order and others that are not; several of one object compare more than it has room for.
fn access_policies() -> impl Strategy<Value = Vec<Value>> {
    let target = select(vec![
        json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }),
        json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "sectionName": "nowhere" }),
        json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r" }),
        json!({ "group": "", "kind": "Service", "name": "web" }),
        json!({ "group": "", "kind": "Pod", "selector": {} }),
    ]);
    let to = select(vec![
        json!({ "paths": [{ "value": "/a" }, { "value": "/a//b" }] }),
        json!({ "paths": vec![json!({ "value": "/many" }); 64] }),
        json!({ "hosts": ["a.ex", "*", "a b"] }),
        json!({ "methods": ["GET", "A B", ""] }),
        json!({ "headers": [{ "name": "x-a", "value": "1" }, { "name": "Host", "value": "a" }] }),
        json!({ "grpc": [{ "service": "a.B", "method": "C/D" }] }),
        json!({ "ports": [0, 80] }),
    ]);
    let from = select(vec![
        json!({ "cidrs": ["10.0.0.0/8", "10.0.0.1/8", "nowhere"] }),
        json!({ "namespaces": ["shop", "A B"] }),
        json!({ "serviceAccounts": [{ "name": "web" }, { "name": "A/B" }] }),
        json!({ "spiffeIDs": ["spiffe://cluster.local/ns/shop/sa/web", "nonsense"] }),
    ]);
    let list = |one: BoxedStrategy<Value>| prop::option::of(prop::collection::vec(one, 0..3));
    let rule = (list(from.boxed()), list(to.boxed()), any::<bool>()).prop_map(|(from, to, is_full)| {
        let mut rule = serde_json::Map::new();
        let full = || vec![json!({ "paths": vec![json!({ "value": "/full" }); 64] }); 15];
        rule.extend(from.map(|it| ("from".to_owned(), it.into())));
        rule.extend(if is_full { Some(full()) } else { to }.map(|it| ("to".to_owned(), it.into())));
        Value::Object(rule)
    });
    let action = select(vec!["Allow", "Deny"]);
    let mode = select(vec!["Enforce", "Observe"]);
    let policy = (target, action, mode, prop::option::of(prop::collection::vec(rule, 0..2)));
    prop::collection::vec(policy, 0..8).prop_map(|policies| {
        let mut all = Vec::new();
        for (at, (target, action, mode, rules)) in policies.into_iter().enumerate() {
            let mut spec = json!({ "targetRefs": [target], "action": action, "mode": mode });
            if let Some(rules) = rules {
                spec["rules"] = rules.into();
            }
            all.push(object("fairway.dev/v1alpha1", "AccessPolicy", &format!("p{at}"), spec));
        }
        all
    })
}

/// A namespace in which each of the kinds may be.
pub(super) fn everything() -> impl Strategy<Value = Vec<Value>> {
    let some = |it: BoxedStrategy<Value>| prop::option::weighted(0.7, it);
    let parts = (
        gateway(),
        some(listener_set().boxed()),
        (some(policy().boxed()), some(rate_limits().boxed()), some(authentication().boxed())),
        prop::collection::vec(l4_route(), 0..2),
        service(),
        some(slice().boxed()),
        some(pod().boxed()),
        some(super::routes().boxed()),
        (any::<bool>(), access_policies(), client_policies()),
    );
    parts.prop_map(|(gateway, set, (policy, limits, authentication), l4, service, slice, pod, route, rest)| {
        let (is_meshed, access, clients) = rest;
        let mesh = if is_meshed { "enabled" } else { "disabled" };
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": { "fairway.dev/mesh": mesh } } });
        let mut all = held();
        all.extend([namespace, gateway, service]);
        all.extend([set, policy, limits, authentication, slice, pod, route].into_iter().flatten());
        all.extend(l4);
        all.extend(access);
        all.extend(clients);
        all
    })
}
