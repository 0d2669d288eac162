//! What the edits of the properties are made of.

use crate::compile::tests::unreadable::seen;
use crate::resources::{ClusterTrustBundle, Edit, Object};
use crate::source::objects;
use std::sync::LazyLock;

/// Objects in variants: an edit puts one of them in or takes one out.
pub(super) static POOL: LazyLock<Vec<Object>> = LazyLock::new(|| {
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
    for (name, addresses, ranges) in [
        ("n1", "10.0.0.9", "10.0.0.0/30"),
        ("n1", "10.0.0.8", "10.0.0.0/28, 'fd00::/64'"),
        ("n2", "10.0.0.9", "10.0.0.0/30"),
        ("n2", "10.0.0.3", ""),
    ] {
        add(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{ name: {name} }}\nspec: {{ podCIDRs: [{ranges}] }}\n\
             status: {{ addresses: [{{ type: InternalIP, address: {addresses} }}] }}"
        ));
    }
    for (namespace, name) in [("a", "s"), ("a", "t"), ("b", "s")] {
        for (labels, spec) in [
            ("", "clusterIP: 10.1.0.1, selector: { app: x }, ports: [{ port: 80, targetPort: web }]"),
            (
                "fairway.dev/waypoint: required",
                "clusterIP: 10.1.0.1, selector: { app: x }, ports: [{ name: p, port: 80 }, { name: second, port: 81, appProtocol: grpc }]",
            ),
            ("", "clusterIP: None, ports: [{ port: 80 }], trafficDistribution: PreferSameNode"),
            (
                "",
                "clusterIP: 127.0.0.5, ports: [{ port: 81, appProtocol: tcp }], internalTrafficPolicy: Local, sessionAffinity: ClientIP",
            ),
            (
                "",
                "clusterIP: 10.1.0.1, ports: [{ name: p, port: 80, appProtocol: HTTPS }, { name: u, port: 80, protocol: UDP }]",
            ),
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
            (
                "app: x, app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: waypoint",
                "serviceAccountName: waypoint-fairway-waypoint, enableServiceLinks: false, containers: []",
            ),
            (
                "app: x, app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: g",
                "serviceAccountName: g-fairway, enableServiceLinks: false, containers: []",
            ),
            ("gateway.networking.k8s.io/gateway-name: g", "hostNetwork: true, containers: []"),
        ] {
            add(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ {labels} }} }}\nspec: {{ {spec} }}\n\
                 status: {{ podIP: {address}, hostIP: 10.0.0.9, conditions: [{{ type: Ready, status: 'True' }}] }}"
            ));
        }
    }
    for (service, body) in [
        (
            "s",
            "ports: [{ name: '', port: 1 }], endpoints: [{ addresses: [10.0.0.1], nodeName: n1, zone: z }, { addresses: [10.0.0.9], hints: { forZones: [{ name: z }] } }]",
        ),
        (
            "s",
            "ports: [{ name: p, port: 2 }, { name: u, port: 3, protocol: UDP }], endpoints: [{ addresses: [10.0.0.2] }]",
        ),
        (
            "t",
            "ports: [{ name: p, port: 2 }], endpoints: [{ addresses: [10.0.0.3], conditions: { ready: false } }]",
        ),
        (
            "s",
            "ports: [{ name: p, port: 8080 }], endpoints: [{ addresses: [10.0.0.1] }, { addresses: [10.1.0.1] }, { addresses: [127.0.0.1] }, { addresses: [192.0.2.7] }]",
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
            "[{ name: l, port: 80, protocol: HTTP, hostname: g.x.com, filters: { requests: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: s, namespace: b, port: 80 } } }] } }, \
             { name: m, port: 80, protocol: HTTP, filters: { requests: [{ type: ExternalAuth, externalAuth: { protocol: GRPC, backendRef: { name: t, port: 81 } } }] } }], allowedListeners: { namespaces: { from: All } }",
        ),
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
        (
            "a",
            "g",
            "fairway",
            "[{ name: l, port: 443, protocol: TLS, hostname: '*.x.com', tls: { mode: Passthrough } }, { name: m, port: 81, protocol: TCP, allowedRoutes: { namespaces: { from: All } } }, { name: u, port: 81, protocol: UDP }], allowedListeners: { namespaces: { from: All } }",
        ),
        (
            "a",
            "g",
            "fairway",
            "[{ name: l, port: 80, protocol: HTTP, hostname: g.x.com }, { name: m, port: 443, protocol: HTTPS, hostname: m.x.com, tls: { certificateRefs: [{ name: c, namespace: b }] } }], \
             allowedListeners: { namespaces: { from: Selector, selector: { matchLabels: { team: x } } } }, addresses: [{ value: 192.0.2.1 }, { value: 192.0.2.2 }], \
             tls: { backend: { clientCertificateRef: { name: c, namespace: b } }, frontend: { default: { validation: { caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca, namespace: b }, { group: certificates.k8s.io, kind: ClusterTrustBundle, name: ca }] } } } }",
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
        "[{ kind: ListenerSet, name: ls, namespace: a }, { name: g, namespace: a, port: 81 }]",
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
        ("ListenerSet", "kind: Secret"),
        ("Gateway", "kind: ConfigMap"),
        ("Gateway", "kind: Service, name: s"),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{ name: g, namespace: b }}\n\
             spec: {{ from: [{{ group: gateway.networking.k8s.io, kind: {from}, namespace: a }}], to: [{{ group: '', {to} }}] }}"
        ));
    }
    add(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: { name: h, namespace: b }\n\
         spec: { from: [{ group: '', kind: Service, namespace: a }], to: [{ group: '', kind: Pod }] }",
    );
    for (namespace, listeners) in [
        ("a", "[{ name: e, port: 85, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]"),
        ("a", "[{ name: e, port: 81, protocol: TCP }, { name: f, port: 80, protocol: HTTP }]"),
        ("b", "[{ name: e, port: 85, protocol: HTTP }]"),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: ls, namespace: {namespace} }}\n\
             spec: {{ parentRef: {{ name: g, namespace: a }}, listeners: {listeners} }}"
        ));
    }
    for (namespace, name, day, parent, listeners) in [
        ("a", "s", 1, "g", "[{ name: l, port: 80, protocol: HTTP, hostname: s.x.com }]"),
        (
            "a",
            "s",
            2,
            "waypoint",
            "[{ name: l, port: 80, protocol: HTTP }, { name: m, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: c, namespace: b }] } }]",
        ),
        (
            "b",
            "t",
            1,
            "g",
            "[{ name: l, port: 80, protocol: TCP }, { name: m, port: 443, protocol: HTTPS, hostname: '*.com', tls: { certificateRefs: [{ name: c }] } }]",
        ),
        ("b", "t", 1, "g", "[{ name: l, port: 80, protocol: HTTP, hostname: s.x.com }]"),
        (
            "b",
            "t",
            2,
            "g",
            "[{ name: l, port: 80, protocol: HTTP, hostname: s.x.com, filters: { requests: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: s, port: 80 } } }] } }]",
        ),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: '2026-01-0{day}T00:00:00Z' }}\n\
             spec: {{ parentRef: {{ name: {parent}, namespace: a }}, listeners: {listeners} }}"
        ));
    }
    for (name, ingress) in
        [("g-fairway", "[{ ip: 192.0.2.1 }]"), ("g-fairway", "[]"), ("g-fairway-2", "[{ hostname: x.com }]")]
    {
        add(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: a }}\nspec: {{ type: LoadBalancer, clusterIP: 10.1.0.8, ports: [{{ port: 80 }}] }}\n\
             status: {{ loadBalancer: {{ ingress: {ingress} }} }}"
        ));
    }
    for (kind, namespace, name) in [
        ("TCPRoute", "a", "r"),
        ("TCPRoute", "b", "r"),
        ("UDPRoute", "a", "r"),
        ("UDPRoute", "a", "q"),
        ("TLSRoute", "a", "r"),
        ("TLSRoute", "a", "q"),
    ] {
        for (index, parents) in [parents[0], parents[2], parents[5]].iter().enumerate() {
            let hostnames = if kind == "TLSRoute" { "hostnames: [a.x.com]," } else { "" };
            let backend = ["s, port: 80", "s, namespace: b, port: 80, weight: 2", "t, port: 81"][index];
            add(&format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: '2026-01-0{}T00:00:00Z' }}\n\
                 spec: {{ parentRefs: {parents}, {hostnames} rules: [{{ backendRefs: [{{ name: {backend} }}] }}] }}",
                3 - index
            ));
        }
    }
    for (name, targets, authority) in [
        (
            "p",
            "{ group: '', kind: Service, name: s }",
            "caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }]",
        ),
        ("p", "{ group: '', kind: Service, name: s, sectionName: p }", "wellKnownCACertificates: System"),
        (
            "q",
            "{ group: '', kind: Service, name: s, sectionName: p }, { group: '', kind: Service, name: t }",
            "wellKnownCACertificates: System",
        ),
        (
            "q",
            "{ group: '', kind: Service, name: s }",
            "caCertificateRefs: [{ group: '', kind: Secret, name: ca }]",
        ),
        (
            "p",
            "{ group: '', kind: Service, name: t }",
            "caCertificateRefs: [{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: ca }]",
        ),
    ] {
        add(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: {name}, namespace: a }}\n\
             spec: {{ targetRefs: [{targets}], validation: {{ hostname: x.com, {authority} }} }}"
        ));
    }
    const GATEWAY_API: &str = "group: gateway.networking.k8s.io";
    for (namespace, name, targets, says) in [
        (
            "a",
            "p",
            "{ group: '', kind: Service, name: s }",
            "action: Deny, rules: [{ to: [{ methods: [GET] }] }]",
        ),
        (
            "a",
            "p",
            "{ group: '', kind: Service, name: s }, { group: '', kind: Service, name: t }",
            "action: Allow, mode: Observe, rules: [{ from: [{ serviceAccounts: [{ namespace: b, name: one }] }] }]",
        ),
        (
            "a",
            "p",
            "{ GATEWAY, kind: Gateway, name: g }, { GATEWAY, kind: HTTPRoute, name: r }",
            "action: Allow",
        ),
        (
            "a",
            "q",
            "{ GATEWAY, kind: Gateway, name: g, sectionName: m }, { GATEWAY, kind: GRPCRoute, name: r, sectionName: x }",
            "action: Deny, rules: [{}]",
        ),
        (
            "a",
            "q",
            "{ group: '', kind: Pod, selector: { matchLabels: { app: x } } }, { GATEWAY, kind: ListenerSet, name: ls }",
            "action: Allow, rules: [{ from: [{ namespaces: [a] }], to: [{ ports: [80] }] }]",
        ),
        (
            "b",
            "p",
            "{ GATEWAY, kind: Gateway, name: w }, { group: '', kind: Service, name: s }",
            "action: Audit",
        ),
        (
            "b",
            "p",
            "{ GATEWAY, kind: TCPRoute, name: r }, { group: '', kind: Pod, selector: {} }",
            "action: Deny",
        ),
    ] {
        let targets = targets.replace("GATEWAY", GATEWAY_API);
        add(&format!(
            "apiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec: {{ targetRefs: [{targets}], {says} }}"
        ));
    }
    for (namespace, name, targets, says) in [
        ("a", "c", "{ GATEWAY, kind: Gateway, name: g }", "source: ForwardedFor, trustedCIDRs: [10.0.0.0/8]"),
        (
            "a",
            "c",
            "{ GATEWAY, kind: Gateway, name: g }",
            "source: ProxyProtocol, trustedCIDRs: [10.0.0.0/8]",
        ),
        ("a", "c", "{ GATEWAY, kind: Gateway, name: g, sectionName: l }", "source: Connection"),
        (
            "a",
            "d",
            "{ GATEWAY, kind: Gateway, name: g, sectionName: m }, { GATEWAY, kind: ListenerSet, name: ls }",
            "source: ProxyProtocol, trustedCIDRs: [10.0.0.0/8, 192.0.2.1]",
        ),
        (
            "b",
            "c",
            "{ GATEWAY, kind: ListenerSet, name: ls }, { GATEWAY, kind: Gateway, name: w }",
            "source: Header, trustedCIDRs: [0.0.0.0/0], header: x-client",
        ),
        ("b", "c", "{ GATEWAY, kind: ListenerSet, name: ls, sectionName: l }", "source: Geneve"),
        // With other fields beside it.
        (
            "a",
            "e",
            "{ GATEWAY, kind: Gateway, name: g }",
            "source: Connection }, limits: { headers: 9 }, tls: { curves: [x25519] }, timeouts: { idle: 1m",
        ),
        (
            "b",
            "f",
            "{ GATEWAY, kind: ListenerSet, name: ls }",
            "source: Connection }, requestID: Keep, underscores: Drop, limits: { headers: 0",
        ),
    ] {
        let targets = targets.replace("GATEWAY", GATEWAY_API);
        add(&format!(
            "apiVersion: fairway.dev/v1alpha1\nkind: ClientPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec: {{ targetRefs: [{targets}], clientAddress: {{ {says} }} }}"
        ));
    }
    for (namespace, name, targets, says) in [
        (
            "a",
            "p",
            "{ GATEWAY, kind: Gateway, name: g }, { GATEWAY, kind: Gateway, name: g, sectionName: m }",
            "local: [{ requests: 1, per: Second, key: [{ type: ClientAddress }] }]",
        ),
        (
            "a",
            "p",
            "{ GATEWAY, kind: HTTPRoute, name: r }, { GATEWAY, kind: Gateway, name: w }",
            "mode: Observe, local: [{ name: x, requests: 1, per: Minute, matches: [{ methods: [GET] }] }]",
        ),
        (
            "b",
            "p",
            "{ group: '', kind: Service, name: s }, { GATEWAY, kind: GRPCRoute, name: r, sectionName: x }",
            "local: [{ requests: 1, per: Hour, key: [{ type: Identity }] }]",
        ),
        (
            "b",
            "p",
            "{ group: '', kind: Service, name: s, sectionName: x }, { GATEWAY, kind: ListenerSet, name: ls }",
            "local: [{ requests: 0, per: Hour }]",
        ),
        (
            "b",
            "p",
            "{ GATEWAY, kind: ListenerSet, name: ls }, { GATEWAY, kind: ListenerSet, name: ls, sectionName: l }",
            "local: [{ requests: 1, per: Second }]",
        ),
        ("b", "q", "{ group: '', kind: Service, name: s }, { GATEWAY, kind: TCPRoute, name: r }", "local: 7"),
    ] {
        let targets = targets.replace("GATEWAY", GATEWAY_API);
        add(&format!(
            "apiVersion: fairway.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec: {{ targetRefs: [{targets}], {says} }}"
        ));
    }
    for (namespace, name, targets, says) in [
        (
            "a",
            "p",
            "{ GATEWAY, kind: Gateway, name: g }, { GATEWAY, kind: Gateway, name: g, sectionName: m }",
            "apiKey: { credentialRefs: [{ name: keys }] }",
        ),
        (
            "a",
            "p",
            "{ GATEWAY, kind: HTTPRoute, name: r }, { GATEWAY, kind: Gateway, name: w }",
            "mode: Observe, optional: true, apiKey: { credentialRefs: [{ name: keys, namespace: b }] }",
        ),
        (
            "b",
            "p",
            "{ group: '', kind: Service, name: s }, { GATEWAY, kind: GRPCRoute, name: r, sectionName: x }",
            "apiKey: { credentialRefs: [{ name: keys }], forwardClientIDHeader: x-api-key }",
        ),
        (
            "b",
            "p",
            "{ group: '', kind: Service, name: s }, { GATEWAY, kind: ListenerSet, name: ls }",
            "apiKey: { credentialRefs: [{ name: keys, namespace: a }], forwardClientIDHeader: x-client }",
        ),
        (
            "b",
            "q",
            "{ GATEWAY, kind: TCPRoute, name: r }, { group: '', kind: Service, name: s }",
            "apiKey: 7",
        ),
    ] {
        let targets = targets.replace("GATEWAY", GATEWAY_API);
        add(&format!(
            "apiVersion: fairway.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec: {{ targetRefs: [{targets}], {says} }}"
        ));
    }
    for (namespace, keys) in [("a", "ada: one"), ("a", "ada: one, bob: one"), ("b", "ada: two, bob: one")] {
        add(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: keys, namespace: {namespace} }}\ntype: fairway.dev/credentials\n\
             stringData: {{ {keys} }}"
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
    for data in [serde_json::json!({ "ca.crt": certified.cert.pem() }), serde_json::json!({ "ca.crt": "x" })]
    {
        for namespace in ["a", "b"] {
            add(&format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: ca, namespace: {namespace} }}\ndata: {data}"
            ));
        }
    }
    for text in [certified.cert.pem(), "x".to_owned()] {
        let text = serde_json::Value::String(text);
        add(&format!(
            "apiVersion: certificates.k8s.io/v1\nkind: ClusterTrustBundle\nmetadata: {{ name: ca }}\nspec: {{ trustBundle: {text} }}"
        ));
    }
    pool.extend(stand_ins());
    pool.push(ClusterTrustBundle::of_kind());
    pool
});

/// What stands in for objects of a newer version of the API, of which no version was ever read.
fn stand_ins() -> Vec<Object> {
    let api = "apiVersion: gateway.networking.k8s.io/v1\nkind:";
    let policy = |name: &str, target: &str| {
        format!(
            "apiVersion: fairway.dev/v1alpha1\nkind: ClientPolicy\nmetadata: {{ name: {name}, namespace: a }}\n\
             spec: {{ targetRefs: [{{ group: gateway.networking.k8s.io, {target} }}], newer: 1 }}"
        )
    };
    let manifests = [
        format!(
            "{api} Gateway\nmetadata: {{ name: g, namespace: a }}\nspec: {{ gatewayClassName: fairway, newer: 1 }}"
        ),
        format!(
            "{api} GatewayClass\nmetadata: {{ name: fairway }}\nspec: {{ controllerName: fairway.dev/controller, newer: 1 }}"
        ),
        format!(
            "{api} ListenerSet\nmetadata: {{ name: ls, namespace: a }}\nspec: {{ parentRef: {{ name: g }}, newer: 1, listeners: [] }}"
        ),
        policy("c", "kind: Gateway, name: g"),
        policy("e", "kind: ListenerSet, name: ls, sectionName: e"),
    ];
    let edits = manifests.iter().flat_map(|it| seen(it));
    edits.filter_map(|it| if let Edit::Upsert(object) = it { Some(object) } else { None }).collect()
}
