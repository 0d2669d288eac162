//! What the two tenants may write, and what the cluster has of its own.

use super::BY_LEAVE;
use crate::compile::tests::unreadable::seen;
use crate::resources::{Edit, Object};
use crate::source::objects;
use fairway_config::model::ResourceKind;
use std::sync::LazyLock;

/// The cluster's own: classes, the API server's Service, and a pod on the network of each node.
pub(super) const CLUSTER: &str = "
apiVersion: certificates.k8s.io/v1
kind: ClusterTrustBundle
metadata: { name: all }
spec: { trustBundle: '-----BEGIN CERTIFICATE-----' }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: fairway-waypoint }
spec: { controllerName: fairway.dev/controller }
---
apiVersion: v1
kind: Service
metadata: { name: kubernetes, namespace: default }
spec: { clusterIP: 10.1.9.1, ports: [{ name: https, port: 443 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: kubernetes, namespace: default, labels: { kubernetes.io/service-name: kubernetes } }
addressType: IPv4
ports: [{ name: https, port: 6443 }]
endpoints: [{ addresses: [192.0.2.1] }]
---
apiVersion: v1
kind: Node
metadata: { name: n1 }
spec: { podCIDRs: [10.2.0.0/16, 'fd00:2::/32'] }
status: { addresses: [{ type: InternalIP, address: 192.0.2.9 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: proxy-n1, namespace: kube-system }
spec: { hostNetwork: true, nodeName: n1, containers: [] }
status: { podIP: 192.0.2.9, hostIP: 192.0.2.9, podIPs: [{ ip: 192.0.2.9 }, { ip: '2001:db8::9' }], hostIPs: [{ ip: 192.0.2.9 }, { ip: '2001:db8::9' }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shared, namespace: edge }
spec:
  gatewayClassName: fairway
  listeners:
    - { name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }
    - { name: tls, port: 443, protocol: TLS, tls: { mode: Passthrough }, allowedRoutes: { namespaces: { from: All } } }
";

/// What a tenant may write of the kinds that both write; `OTHER` is the other's namespace. Addresses of pods and Services are
/// given by the cluster, each once; what a slice says is the tenant's to choose.
fn own(ns: &str, other: &str, net: u8) -> Vec<String> {
    let mut all = Vec::new();
    for labels in ["", "fairway.dev/mesh: enabled", "fairway.dev/mesh: enabled, fairway.dev/mtls: strict"] {
        all.push(format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {ns}, labels: {{ {labels} }} }}"
        ));
    }
    for (name, host) in [("s", 1), ("t", 2)] {
        for (labels, spec) in [
            ("", format!("clusterIP: 10.1.{net}.{host}, selector: {{ app: x }}")),
            (
                "fairway.dev/waypoint: required",
                format!("clusterIP: 10.1.{net}.{host}, selector: {{ app: x }}"),
            ),
            ("fairway.dev/waypoint: required", format!("clusterIP: 10.1.{net}.{host}")),
            ("", "clusterIP: None".to_owned()),
            (
                "fairway.dev/waypoint: required",
                format!(
                    "clusterIP: 10.1.{net}.{host}, clusterIPs: [10.1.{net}.{host}, 'fd00:1:{net}::{host}'], \
                     ipFamilies: [IPv4, IPv6], ipFamilyPolicy: PreferDualStack, selector: {{ app: x }}"
                ),
            ),
        ] {
            all.push(format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {ns}, labels: {{ {labels} }} }}\n\
                 spec: {{ {spec}, ports: [{{ name: p, port: 80, targetPort: 8080 }}] }}"
            ));
        }
    }
    for (name, host) in [("p", 1), ("q", 2)] {
        for (labels, account) in [
            ("app: x", "one"),
            ("app: x, fairway.dev/mtls: permissive", "one"),
            (
                "app: z, app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: g",
                "g-fairway, enableServiceLinks: false",
            ),
            (
                "app: z, app.kubernetes.io/part-of: fairway, gateway.networking.k8s.io/gateway-name: waypoint",
                "waypoint-fairway-waypoint, enableServiceLinks: false",
            ),
            ("app: x, gateway.networking.k8s.io/gateway-name: w", "mallory"),
        ] {
            all.push(format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {ns}, labels: {{ {labels} }} }}\n\
                 spec: {{ serviceAccountName: {account}, nodeName: n1, containers: [] }}\n\
                 status: {{ podIP: 10.2.{net}.{host}, podIPs: [{{ ip: 10.2.{net}.{host} }}, {{ ip: 'fd00:2:{net}::{host}' }}], hostIP: 192.0.2.9, conditions: [{{ type: Ready, status: 'True' }}] }}"
            ));
        }
    }
    let asks = |service: &str, namespace: &str| {
        format!(
            "{{ type: ExternalAuth, externalAuth: {{ protocol: GRPC, grpc: {{}}, backendRef: {{ name: {service}, namespace: {namespace}, port: 80 }} }} }}"
        )
    };
    for (name, class, listeners) in [
        ("g", "fairway", format!("[{{ name: l, port: 80, protocol: HTTP, filters: {{ requests: [{}] }} }}, {{ name: m, port: 80, protocol: HTTP, hostname: x.com }}]", asks("t", ns))),
        ("g", "fairway", format!("[{{ name: l, port: 80, protocol: HTTP, filters: {{ requests: [{}, {}] }} }}]", asks("s", other), asks("s", ns))),
        (
            "g",
            "fairway",
            "[{ name: l, port: 80, protocol: HTTP }], \
             infrastructure: { parametersRef: { group: fairway.dev, kind: GatewayParameters, name: gp } }"
                .to_owned(),
        ),
        ("g", "fairway", "[{ name: l, port: 80, protocol: HTTP }]".to_owned()),
        (
            "g",
            "fairway",
            "[{ name: l, port: 80, protocol: HTTP, hostname: x.com }, { name: m, port: 81, protocol: TCP }]"
                .to_owned(),
        ),
        (
            "g",
            "fairway",
            "[{ name: l, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: c }] } }, { name: u, port: 53, protocol: UDP }], \
             tls: { frontend: { default: { validation: { caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca }] } } } }"
                .to_owned(),
        ),
        ("w", "fairway-waypoint", "[{ name: m, port: 15008, protocol: HBONE }]".to_owned()),
    ] {
        all.push(format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: {ns} }}\n\
             spec: {{ gatewayClassName: {class}, listeners: {listeners} }}"
        ));
    }
    for (index, parents) in [
        "[{ name: g }]".to_owned(),
        "[{ group: '', kind: Service, name: s }]".to_owned(),
        "[{ group: '', kind: Service, name: t, port: 80 }, { kind: ListenerSet, name: ls }]".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        for (kind, name) in [("HTTPRoute", "r"), ("GRPCRoute", "r"), ("HTTPRoute", "older")] {
            all.push(route(kind, ns, name, index, &parents, "{ name: s, port: 80 }, { name: t, port: 80 }"));
        }
    }
    // What the owner of a Gateway for all gives each of them: a hostname.
    let at_shared = "[{ name: shared, namespace: edge }]";
    for kind in ["HTTPRoute", "GRPCRoute", "TLSRoute"] {
        all.push(
            route(kind, ns, "shared", usize::from(net), at_shared, "{ name: s, port: 80 }")
                .replace("rules:", &format!("hostnames: [{}.{ns}.example], rules:", kind.to_lowercase())),
        );
    }
    all.push(route("TCPRoute", ns, "tcp", 1, "[{ name: g, sectionName: m }]", "{ name: s, port: 80 }"));
    let at_udp = "[{ name: g, sectionName: u }]";
    all.push(route("UDPRoute", ns, "u", 1, at_udp, "{ name: d, port: 53 }"));
    all.push(format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: d, namespace: {ns} }}\n\
         spec: {{ clusterIP: 10.1.{net}.3, ports: [{{ name: p, port: 53, targetPort: 8080, protocol: UDP }}] }}"
    ));
    let auth = "{ type: ExternalAuth, externalAuth: { protocol: HTTP, http: {}, backendRef: { name: t, port: 80 } } }";
    let mirror = "{ type: RequestMirror, requestMirror: { backendRef: { name: t, port: 80 } } }";
    all.push(
        route("HTTPRoute", ns, "guarded", 1, "[{ name: g }]", "{ name: s, port: 80 }")
            .replace("rules: [{", &format!("rules: [{{ filters: [{auth}, {mirror}],")),
    );
    let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap().cert.pem();
    all.push(format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: ca, namespace: {ns} }}\ndata: {{ ca.crt: {} }}",
        serde_json::Value::String(authority)
    ));
    all.push(format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: q, namespace: {ns} }}\n\
         spec: {{ targetRefs: [{{ group: '', kind: Service, name: t }}], \
         validation: {{ hostname: x.com, caCertificateRefs: [{{ group: '', kind: ConfigMap, name: ca }}] }} }}"
    ));
    all.push(format!(
        "apiVersion: fairway.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: gp, namespace: {ns} }}\nspec: {{}}"
    ));
    all.push(format!(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\nmetadata: {{ name: x, namespace: {ns} }}\n\
         spec: {{ targetRefs: [{{ group: '', kind: Service, name: s }}] }}"
    ));
    all.push(format!(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XTelemetryPolicy\nmetadata: {{ name: x, namespace: {ns} }}\n\
         spec: {{ targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: g }}] }}"
    ));
    // What every namespace may trust.
    all.push(format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: q, namespace: {ns} }}\n\
         spec: {{ targetRefs: [{{ group: '', kind: Service, name: t }}], \
         validation: {{ hostname: x.com, caCertificateRefs: [{{ group: certificates.k8s.io, kind: ClusterTrustBundle, name: all }}] }} }}"
    ));
    for certificates in
        ["{ name: c }".to_owned(), format!("{{ name: c }}, {{ name: c, namespace: {other} }}")]
    {
        all.push(format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: ls, namespace: {ns} }}\n\
             spec: {{ parentRef: {{ name: g }}, listeners: [{{ name: e, port: 8443, protocol: HTTPS, tls: {{ certificateRefs: [{certificates}] }} }}] }}"
        ));
    }
    all.push(format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: ls, namespace: {ns} }}\n\
         spec: {{ parentRef: {{ name: g }}, listeners: [{{ name: e, port: 85, protocol: HTTP }}] }}"
    ));
    all.push(format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: ls, namespace: {ns} }}\n\
         spec: {{ parentRef: {{ name: g }}, listeners: [{{ name: e, port: 80, hostname: x.com, protocol: HTTP, filters: {{ requests: [{}, {}] }} }}] }}",
        asks("t", ns),
        asks("t", other)
    ));
    all.push(format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: p, namespace: {ns} }}\n\
         spec: {{ targetRefs: [{{ group: '', kind: Service, name: s }}], validation: {{ hostname: x.com, wellKnownCACertificates: System }} }}"
    ));
    let gateway = "group: gateway.networking.k8s.io, kind";
    for (name, targets) in [
        (
            "p",
            format!("{{ {gateway}: Gateway, name: g }}, {{ {gateway}: Gateway, name: g, sectionName: m }}"),
        ),
        ("p", format!("{{ {gateway}: Gateway, name: w }}, {{ {gateway}: HTTPRoute, name: r }}")),
        ("p", "{ group: '', kind: Service, name: s }, { group: '', kind: Pod, selector: {} }".to_owned()),
        ("q", "{ group: '', kind: Service, name: t }, { group: '', kind: Service, name: s }".to_owned()),
        (
            "q",
            format!(
                "{{ {gateway}: ListenerSet, name: ls }}, {{ group: '', kind: Pod, selector: {{ matchLabels: {{ app: x }} }} }}"
            ),
        ),
    ] {
        // Who is denied by name is the other's to choose, and so is who speaks for them: `c` stands for anybody.
        let strangers = "{ serviceAccounts: [{ name: one }, { namespace: c, name: one }] }";
        for rules in [
            format!("action: Allow, rules: [{{ from: [{strangers}, {{ namespaces: [{other}] }}] }}]"),
            format!("action: Deny, rules: [{{ from: [{strangers}], to: [{{ paths: [{{ value: /x }}] }}] }}]"),
            "action: Deny, mode: Observe, rules: [{}]".to_owned(),
            "action: Audit".to_owned(),
        ] {
            all.push(format!(
                "apiVersion: fairway.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: {ns} }}\n\
                 spec: {{ targetRefs: [{targets}], {rules} }}"
            ));
        }
    }
    for (name, targets) in [
        ("c", format!("{{ {gateway}: Gateway, name: g }}")),
        (
            "c",
            format!("{{ {gateway}: Gateway, name: g, sectionName: l }}, {{ {gateway}: Gateway, name: w }}"),
        ),
        ("d", format!("{{ {gateway}: ListenerSet, name: ls }}, {{ {gateway}: Gateway, name: shared }}")),
        (
            "d",
            format!(
                "{{ {gateway}: ListenerSet, name: ls, sectionName: e }}, {{ {gateway}: Gateway, name: g }}"
            ),
        ),
    ] {
        for says in [
            "source: Geneve",
            "source: ProxyProtocol, trustedCIDRs: [10.0.0.0/8]",
            "source: ForwardedFor, trustedCIDRs: [0.0.0.0/0]",
            "source: Connection",
            // With other fields beside it.
            "source: Connection }, limits: { connections: 1 }, timeouts: { idle: 1h }, keepalive: { idle: 1h",
            "source: Connection }, underscores: Refuse, limits: { headers: 0",
        ] {
            all.push(format!(
                "apiVersion: fairway.dev/v1alpha1\nkind: ClientPolicy\nmetadata: {{ name: {name}, namespace: {ns} }}\n\
                 spec: {{ targetRefs: [{targets}], clientAddress: {{ {says} }} }}"
            ));
        }
    }
    for targets in [
        format!("{{ {gateway}: Gateway, name: g }}, {{ {gateway}: Gateway, name: g, sectionName: m }}"),
        format!("{{ {gateway}: Gateway, name: w }}, {{ {gateway}: HTTPRoute, name: r }}"),
        format!("{{ {gateway}: ListenerSet, name: ls }}, {{ group: '', kind: Service, name: s }}"),
        format!(
            "{{ {gateway}: ListenerSet, name: ls, sectionName: e }}, {{ {gateway}: Gateway, name: shared }}"
        ),
    ] {
        for limits in [
            "local: [{ requests: 1, per: Second, key: [{ type: Identity }] }]",
            "mode: Observe, local: [{ requests: 1, per: Second, key: [{ type: ClientAddress }] }]",
            "local: [{ requests: 0, per: Second }]",
            "local: 7",
        ] {
            all.push(format!(
                "apiVersion: fairway.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{ name: p, namespace: {ns} }}\n\
                 spec: {{ targetRefs: [{targets}], {limits} }}"
            ));
        }
    }
    for targets in [
        format!("{{ {gateway}: Gateway, name: g }}, {{ {gateway}: HTTPRoute, name: r }}"),
        format!("{{ {gateway}: ListenerSet, name: ls }}, {{ group: '', kind: Service, name: s }}"),
        format!("{{ {gateway}: Gateway, name: w }}, {{ {gateway}: Gateway, name: shared, sectionName: m }}"),
    ] {
        for asks in [
            "apiKey: { credentialRefs: [{ name: keys }], forwardClientIDHeader: x-client }".to_owned(),
            format!("apiKey: {{ credentialRefs: [{{ name: keys, namespace: {other} }}] }}"),
            "mode: Observe, optional: true, apiKey: { credentialRefs: [{ name: gone }] }".to_owned(),
            "apiKey: 7".to_owned(),
        ] {
            all.push(format!(
                "apiVersion: fairway.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{ name: p, namespace: {ns} }}\n\
                 spec: {{ targetRefs: [{targets}], {asks} }}"
            ));
        }
    }
    for keys in ["ada: one", "bob: one, ada: two", "ada: ''"] {
        all.push(format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: keys, namespace: {ns} }}\ntype: fairway.dev/credentials\n\
             stringData: {{ {keys} }}"
        ));
    }
    let certified = rcgen::generate_simple_self_signed(["x.com".to_owned()]).unwrap();
    let text = |text: String| serde_json::Value::String(text).to_string();
    all.push(format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: c, namespace: {ns} }}\ntype: kubernetes.io/tls\nstringData: {{ tls.crt: {}, tls.key: {} }}",
        text(certified.cert.pem()),
        text(certified.signing_key.serialize_pem())
    ));
    // Leave given to the other does not give the other's to oneself.
    all.push(grant(ns, other, "gateway.networking.k8s.io, kind: HTTPRoute", "group: '', kind: Service"));
    all
}

/// What a tenant may write and this version cannot read: it has a field of a newer one.
fn unread(ns: &str, other: &str) -> Vec<Object> {
    let http = "gateway.networking.k8s.io/v1\nkind";
    let manifests = [
        format!(
            "{http}: HTTPRoute\nmetadata: {{ name: unread, namespace: {ns} }}\n\
             spec: {{ newer: 1, parentRefs: [{{ name: g }}, {{ name: g, namespace: {other} }}, {{ name: shared, namespace: edge }}], \
             hostnames: [unread.{ns}.example], rules: [{{ matches: [{{ path: {{ value: /x }} }}], backendRefs: [{{ name: s, namespace: {other}, port: 80 }}] }}] }}"
        ),
        format!(
            "{http}: GRPCRoute\nmetadata: {{ name: unread, namespace: {ns} }}\n\
             spec: {{ newer: 1, parentRefs: [{{ group: '', kind: Service, name: s, namespace: {other} }}, {{ group: '', kind: Service, name: s }}] }}"
        ),
        format!(
            "{http}: ListenerSet\nmetadata: {{ name: unread, namespace: {ns} }}\n\
             spec: {{ parentRef: {{ name: g, namespace: {other} }}, listeners: [{{ name: e, port: 80, protocol: HTTP, newer: 1 }}] }}"
        ),
        format!(
            "{http}: Gateway\nmetadata: {{ name: unread, namespace: {ns} }}\n\
             spec: {{ newer: 1, gatewayClassName: fairway, listeners: [{{ name: l, port: 80, protocol: HTTP }}] }}"
        ),
        format!(
            "{http}: BackendTLSPolicy\nmetadata: {{ name: unread, namespace: {ns} }}\n\
             spec: {{ newer: 1, targetRefs: [{{ group: '', kind: Service, name: s }}, {{ group: '', kind: Service, name: t }}], \
             validation: {{ hostname: x.com, wellKnownCACertificates: System }} }}"
        ),
        format!(
            "{http}: ReferenceGrant\nmetadata: {{ name: unread, namespace: {ns} }}\n\
             spec: {{ newer: 1, from: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {other} }}], to: [{{ group: '', kind: Service }}] }}"
        ),
    ];
    let read = manifests.iter().flat_map(|it| seen(&format!("apiVersion: {it}")));
    let object = |it| match it {
        Edit::Upsert(object) => Some(object),
        Edit::Remove(_) => None,
    };
    read.filter_map(object).collect()
}

fn slice(ns: &str, service: &str, addresses: &str) -> String {
    slice_of("IPv4", ns, service, addresses)
}

/// One of IPv6 is another slice of the Service.
fn slice_of(family: &str, ns: &str, service: &str, addresses: &str) -> String {
    let number = if family == "IPv4" { 1 } else { 6 };
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: {service}-{number}, namespace: {ns}, labels: {{ kubernetes.io/service-name: {service} }} }}\n\
         addressType: {family}\nports: [{{ name: p, port: 8080 }}]\nendpoints: [{addresses}]"
    )
}

fn route(kind: &str, ns: &str, name: &str, day: usize, parents: &str, backends: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {ns}, creationTimestamp: '2026-01-0{}T00:00:00Z' }}\n\
         spec: {{ parentRefs: {parents}, rules: [{{ backendRefs: [{backends}] }}] }}",
        day + 1
    )
}

fn grant(ns: &str, to: &str, from: &str, what: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{ name: g, namespace: {ns} }}\n\
         spec: {{ from: [{{ group: {from}, namespace: {to} }}], to: [{{ {what} }}] }}"
    )
}

/// Tenant `b`, who minds its own business.
pub(super) static B: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let mut all = own("b", "c", 2);
    for addresses in ["{ addresses: [10.2.2.1] }", "{ addresses: [10.2.2.2] }, { addresses: [203.0.113.7] }"]
    {
        all.extend(["s", "t"].map(|service| slice("b", service, addresses)));
    }
    let six = "{ addresses: ['fd00:2:2::1'] }, { addresses: ['2001:db8:7::1'] }";
    all.extend(["s", "t"].map(|service| slice_of("IPv6", "b", service, six)));
    all.push(slice("b", "d", "{ addresses: [10.2.2.1] }").replace("port: 8080", "port: 8080, protocol: UDP"));
    all.iter().flat_map(|it| objects(it)).chain(unread("b", "c")).collect()
});

/// Tenant `a`, who names what is `b`'s wherever a name can stand.
pub(super) static A: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let mut all = own("a", "b", 1);
    for addresses in [
        "{ addresses: [10.2.2.1] }, { addresses: [10.2.2.2] }",
        "{ addresses: [10.2.1.1] }, { addresses: [10.1.2.1] }",
        "{ addresses: ['192.0.2.9'] }, { addresses: [192.0.2.1] }, { addresses: [127.0.0.1] }",
    ] {
        all.extend(["s", "t"].map(|service| slice("a", service, addresses)));
    }
    for addresses in [
        "{ addresses: ['fd00:2:2::1'] }, { addresses: ['fd00:2:2::2'] }",
        "{ addresses: ['fd00:2:1::1'] }, { addresses: ['fd00:1:2::1'] }",
        "{ addresses: ['2001:db8::9'] }, { addresses: ['::1'] }, { addresses: ['::ffff:10.2.2.1'] }",
    ] {
        all.extend(["s", "t"].map(|service| slice_of("IPv6", "a", service, addresses)));
    }
    all.push(slice("a", "d", "{ addresses: [10.2.2.1] }").replace("port: 8080", "port: 8080, protocol: UDP"));
    all.push(route(
        "UDPRoute",
        "a",
        "r",
        0,
        "[{ name: g, namespace: b }, { name: g }]",
        "{ name: d, namespace: b, port: 53 }",
    ));
    for filter in [
        "{ type: ExternalAuth, externalAuth: { protocol: HTTP, http: {}, backendRef: { name: t, namespace: b, port: 80 } } }",
        "{ type: RequestMirror, requestMirror: { backendRef: { name: t, namespace: b, port: 80 } } }",
    ] {
        all.push(
            route("HTTPRoute", "a", "guarded", 0, "[{ name: g }]", "{ name: s, port: 80 }")
                .replace("rules: [{", &format!("rules: [{{ filters: [{filter}],")),
        );
    }
    all.push(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: a }\n\
         spec: { gatewayClassName: fairway, listeners: [{ name: l, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: c }] } }], \
         tls: { frontend: { default: { validation: { caCertificateRefs: [{ group: '', kind: ConfigMap, name: ca, namespace: b }] } } } } }"
            .to_owned(),
    );
    for (index, parents) in [
        "[{ name: g, namespace: b }]",
        "[{ name: w, namespace: b }]",
        "[{ kind: ListenerSet, name: ls, namespace: b }]",
        "[{ group: '', kind: Service, name: s, namespace: b }, { group: '', kind: Service, name: t, namespace: b }]",
        "[{ name: g }]",
    ]
    .into_iter()
    .enumerate()
    {
        for kind in ["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"] {
            let backends = "{ name: s, namespace: b, port: 80 }, { name: s, port: 80 }";
            all.push(match kind {
                "TLSRoute" => route(kind, "a", "r", index, parents, backends)
                    .replace("rules:", "hostnames: [x.com], rules:"),
                _ => route(kind, "a", "r", index, parents, backends),
            });
        }
    }
    all.push(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: { name: ls, namespace: a, creationTimestamp: '2020-01-01T00:00:00Z' }\n\
         spec: { parentRef: { name: g, namespace: b }, listeners: [{ name: e, port: 85, protocol: HTTP }, { name: l, port: 80, protocol: TCP }] }"
            .to_owned(),
    );
    all.push(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: a }\n\
         spec: { gatewayClassName: fairway, listeners: [{ name: l, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: c, namespace: b }] } }], \
         tls: { backend: { clientCertificateRef: { name: c, namespace: b } } } }"
            .to_owned(),
    );
    all.iter().flat_map(|it| objects(it)).chain(unread("a", "b")).collect()
});

/// What `b` may allow `a`, each with the kinds of resources of `b` that change by what `a` then does. (Who is granted a Service passes
/// it, and who is granted a pod goes there; neither changes what is made for `b`.)
pub(super) static LEAVE: LazyLock<Vec<(Object, &'static [ResourceKind])>> = LazyLock::new(|| {
    const NOTHING: &[ResourceKind] = &[];
    const CERTIFICATES: &[ResourceKind] = &[ResourceKind::Certificate];
    let gateway_api = "gateway.networking.k8s.io, kind";
    let to_services =
        |kind: &str| grant("b", "a", &format!("{gateway_api}: {kind}"), "group: '', kind: Service");
    let to = |kind: &str, what: &str| {
        grant("b", "a", &format!("{gateway_api}: {kind}"), &format!("group: '', kind: {what}"))
    };
    let all = vec![
        (to_services("HTTPRoute"), NOTHING),
        (to_services("GRPCRoute"), NOTHING),
        (to_services("TCPRoute"), NOTHING),
        (to_services("TLSRoute"), NOTHING),
        (to_services("UDPRoute"), NOTHING),
        (to("Gateway", "Secret"), CERTIFICATES),
        (to("ListenerSet", "Secret"), CERTIFICATES),
        (to("Gateway", "ConfigMap"), NOTHING),
        (grant("b", "a", "'', kind: Service", "group: '', kind: Pod"), NOTHING),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: b }\n\
         spec: { gatewayClassName: fairway, allowedListeners: { namespaces: { from: All } }, \
         listeners: [{ name: l, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }] }"
                .to_owned(),
            BY_LEAVE,
        ),
    ];
    all.into_iter().flat_map(|(it, kinds)| objects(&it).into_iter().map(move |it| (it, kinds))).collect()
});

/// All of it. Of grants, which have one name, the last counts.
pub(super) static ALL_LEAVE: LazyLock<Vec<Object>> =
    LazyLock::new(|| LEAVE.iter().map(|(it, _)| it.clone()).collect());
