use crate::diagnostic::Diagnostic;
use crate::source::document;
use crate::source::object::{Manifest, manifests};

/// What is wrong with a manifest: field, message and remedy in one line each.
fn refusals(yaml: &str) -> Vec<String> {
    let documents = document::parse(yaml).unwrap();
    let mut out = Vec::new();
    for (_, manifest) in documents.into_iter().flat_map(manifests) {
        match manifest {
            Manifest::Object(_) => {}
            Manifest::Refused(_, errors, _) | Manifest::Unknown(_, errors) => {
                out.extend(errors.iter().map(Diagnostic::text));
            }
            Manifest::Unread(what, _) => out.push(format!("ignored {what}")),
        }
    }
    out
}

fn route(rule: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r }}\nspec:\n  parentRefs: [{{ name: g }}]\n  rules:\n  - {rule}\n"
    )
}

fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: g }}\nspec: {{ gatewayClassName: fairway, listeners: [{listeners}] }}\n"
    )
}

fn l4_route(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: r }}\nspec: {{ parentRefs: [{{ name: g }}], {spec} }}\n"
    )
}

fn policy(targets: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{ name: p }}\nspec: {{ targetRefs: {targets}, validation: {validation} }}\n"
    )
}

#[test]
fn every_schema_is_read_whole() {
    assert_eq!(super::SCHEMAS.len(), 10);
    fn patterns(schema: &super::Schema) -> bool {
        schema.pattern.is_some() == schema.compiled.is_some()
            && schema.properties.values().all(patterns)
            && schema.items.as_deref().is_none_or(patterns)
    }
    assert!(super::SCHEMAS.values().all(|it| patterns(it)), "every pattern compiles");
}

#[test]
fn what_the_schema_refuses_is_refused_with_path_and_remedy() {
    for (yaml, expected) in [
        (
            route("backendRef: []"),
            "spec.rules[0].backendRef: there is no such field; did you mean `backendRefs`?",
        ),
        (
            route("backendRefs: [{ port: 80 }]"),
            "spec.rules[0].backendRefs[0].name: the field is missing; add `name`",
        ),
        (
            route("backendRefs: [{ name: a, port: 0 }]"),
            "spec.rules[0].backendRefs[0].port: 0 is out of range; use a number from 1 to 65535",
        ),
        (
            route("backendRefs: [{ name: a, port: '80' }]"),
            "spec.rules[0].backendRefs[0].port: the value is a string; an integer is expected; write it without quotes",
        ),
        (
            route("matches: [{ method: FETCH }]"),
            "spec.rules[0].matches[0].method: `FETCH` is not allowed; use one of GET",
        ),
        (
            route("timeouts: { request: 1.5s }"),
            "spec.rules[0].timeouts.request: `1.5s` does not have the required form",
        ),
        (
            route("retry: { codes: [200] }"),
            "spec.rules[0].retry.codes[0]: 200 is out of range; use a number from 400 to 599",
        ),
        (route("retry: { codes: [503, 503] }"), "spec.rules[0].retry.codes[1]: `503` is in this list twice"),
        (gateway(""), "spec.listeners: there are 0 items; use at least 1"),
        (
            gateway("{ name: a, port: 80, protocol: HTTP }, { name: a, port: 81, protocol: HTTP }"),
            "spec.listeners[1]: `a` is in this list twice",
        ),
        (
            gateway("{ name: A, port: 80, protocol: HTTP }"),
            "spec.listeners[0].name: `A` does not have the required form",
        ),
        (
            "kind: Gateway\nmetadata: { name: g }\n".to_owned(),
            "apiVersion: apiVersion is missing, so this is not a Kubernetes object",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nspec: {}\n".to_owned(),
            "metadata.name: the name is missing",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: { name: r }\n".to_owned(),
            "kind: there is no kind HttpRoute in gateway.networking.k8s.io/v1; did you mean apiVersion gateway.networking.k8s.io/v1, kind HTTPRoute?",
        ),
        (
            "apiVersion: v1\nkind: Gateway\nmetadata: { name: r }\n".to_owned(),
            "kind: there is no kind Gateway in v1; did you mean apiVersion gateway.networking.k8s.io/v1, kind Gateway?",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: { name: r }\n"
                .to_owned(),
            "apiVersion: Fairway does not read version `v1alpha2` of HTTPRoute; use gateway.networking.k8s.io/v1",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: s }\nspec: { ports: [{ port: 99999 }] }\n"
                .to_owned(),
            "spec.ports[0].port: 99999 is not a port",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: s }\nspec: { ports: [{ port: http }] }\n"
                .to_owned(),
            "spec.ports[0].port: invalid type",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: A }\n".to_owned(),
            "metadata.namespace: `A` is not a valid name",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: d }\n".to_owned(),
            "ignored apps/v1 Deployment",
        ),
    ] {
        let refusals = refusals(&yaml);
        assert!(refusals.iter().any(|it| it.starts_with(expected)), "{yaml}\n{expected}\n{refusals:#?}");
    }
}

#[test]
fn what_the_rules_refuse_is_refused() {
    let redirect = "{ type: RequestRedirect, requestRedirect: { statusCode: 301 } }";
    let rewrite = "{ type: URLRewrite, urlRewrite: { hostname: a.example.com } }";
    let to_a = "backendRefs: [{ name: a, port: 80 }]";
    for (yaml, field) in [
        (route(&format!("{{ filters: [{redirect}, {rewrite}] }}")), "spec.rules[0].filters"),
        (route(&format!("{{ filters: [{redirect}, {redirect}] }}")), "spec.rules[0].filters[1]"),
        (route(&format!("{{ filters: [{redirect}], {to_a} }}")), "spec.rules[0].backendRefs"),
        (route("{ filters: [{ type: URLRewrite }] }"), "spec.rules[0].filters[0].urlRewrite"),
        (
            route("{ filters: [{ type: URLRewrite, urlRewrite: {}, cors: {} }] }"),
            "spec.rules[0].filters[0].cors",
        ),
        (
            route(
                "{ matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }] }",
            ),
            "spec.rules[0].filters[0].urlRewrite.path",
        ),
        (
            route(
                "{ filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replacePrefixMatch: /b } } }] }",
            ),
            "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath",
        ),
        (
            route(
                "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: a, port: 80 }, percent: 1, fraction: { numerator: 1 } } }] }",
            ),
            "spec.rules[0].filters[0].requestMirror",
        ),
        (
            route(
                "{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: a, port: 80 }, fraction: { numerator: 200 } } }] }",
            ),
            "spec.rules[0].filters[0].requestMirror.fraction",
        ),
        (
            route("{ filters: [{ type: CORS, cors: { allowOrigins: ['*', 'https://a.example.com'] } }] }"),
            "spec.rules[0].filters[0].cors.allowOrigins",
        ),
        (route("{ matches: [{ path: { value: a } }] }"), "spec.rules[0].matches[0].path.value"),
        (route("{ matches: [{ path: { value: /a//b } }] }"), "spec.rules[0].matches[0].path.value"),
        (route("{ matches: [{ path: { value: '/a b' } }] }"), "spec.rules[0].matches[0].path.value"),
        (
            route("{ matches: [{ path: { type: Exact, value: /a/.. } }] }"),
            "spec.rules[0].matches[0].path.value",
        ),
        (route("{ timeouts: { request: 1s, backendRequest: 2s } }"), "spec.rules[0].timeouts.backendRequest"),
        (route("{ backendRefs: [{ name: a }] }"), "spec.rules[0].backendRefs[0].port"),
        (route("{ name: a }\n  - { name: a }"), "spec.rules[1].name"),
        (
            route("{}").replace("[{ name: g }]", "[{ name: g }, { name: g, sectionName: a }]"),
            "spec.parentRefs[1]",
        ),
        (
            route("{}").replace("[{ name: g }]", "[{ name: g, port: 1 }, { name: g, port: 1 }]"),
            "spec.parentRefs[1]",
        ),
        (
            gateway("{ name: a, port: 80, protocol: HTTP, tls: { certificateRefs: [{ name: c }] } }"),
            "spec.listeners[0].tls",
        ),
        (
            gateway("{ name: a, port: 80, protocol: HTTPS, tls: { mode: Passthrough } }"),
            "spec.listeners[0].tls.mode",
        ),
        (gateway("{ name: a, port: 80, protocol: HTTPS, tls: {} }"), "spec.listeners[0].tls.certificateRefs"),
        (
            gateway("{ name: a, port: 80, protocol: HTTP }, { name: b, port: 80, protocol: HTTP }"),
            "spec.listeners[1]",
        ),
        (
            gateway("{ name: a, port: 80, protocol: TCP, hostname: a.example.com }"),
            "spec.listeners[0].hostname",
        ),
        (
            l4_route("TCPRoute", "rules: [{ backendRefs: [{ name: a }] }]"),
            "spec.rules[0].backendRefs[0].port",
        ),
        (l4_route("UDPRoute", "rules: [{ backendRefs: [] }]"), "spec.rules[0].backendRefs"),
        (l4_route("TCPRoute", &format!("rules: [{{ {to_a} }}, {{ {to_a} }}]")), "spec.rules"),
        (l4_route("TLSRoute", &format!("rules: [{{ {to_a} }}]")), "spec.hostnames"),
        (policy("[{ group: '', kind: Service, name: s }]", "{ hostname: a.b }"), "spec.validation"),
        (
            policy(
                "[{ group: '', kind: Service, name: s }]",
                "{ hostname: a.b, wellKnownCACertificates: System, caCertificateRefs: [{ group: '', kind: ConfigMap, name: c }] }",
            ),
            "spec.validation",
        ),
        (
            policy(
                "[{ group: '', kind: Service, name: s }, { group: '', kind: Service, name: s, sectionName: a }]",
                "{ hostname: a.b, wellKnownCACertificates: System }",
            ),
            "spec.targetRefs[1]",
        ),
        (
            policy(
                "[{ group: '', kind: Service, name: s }]",
                "{ hostname: a.b, wellKnownCACertificates: System, subjectAltNames: [{ type: URI, hostname: a.b }] }",
            ),
            "spec.validation.subjectAltNames[0].uri",
        ),
    ] {
        let refusals = refusals(&yaml);
        assert!(
            refusals.iter().any(|it| it.starts_with(&format!("{field}: "))),
            "{yaml}\n{field}\n{refusals:#?}"
        );
    }
}

fn object(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: o }}\nspec: {{ {spec} }}\n"
    )
}

#[test]
fn the_rules_know_every_kind() {
    let set = |listeners: &str| {
        object("ListenerSet", &format!("parentRef: {{ name: g }}, listeners: [{listeners}]"))
    };
    let tls = |hostname: &str, backend: &str| {
        object(
            "TLSRoute",
            &format!(
                "parentRefs: [{{ name: g }}], hostnames: [{hostname}], rules: [{{ backendRefs: [{{ {backend} }}] }}]"
            ),
        )
    };
    let policy = |targets: &str, validation: &str| {
        object(
            "BackendTLSPolicy",
            &format!("targetRefs: [{targets}], validation: {{ hostname: a.example.com, {validation} }}"),
        )
    };
    let (service, system) = ("group: '', kind: Service, name: s", "wellKnownCACertificates: System");
    for (yaml, field) in [
        (
            set("{ name: a, port: 80, protocol: HTTP, tls: { mode: Passthrough } }"),
            Some("spec.listeners[0].tls"),
        ),
        (set("{ name: a, port: 0, protocol: HTTP }"), Some("spec.listeners[0].port")),
        (
            set("{ name: a, port: 80, protocol: TCP }, { name: b, port: 80, protocol: TCP }"),
            Some("spec.listeners[1]"),
        ),
        (
            set("{ name: a, port: 53, protocol: UDP, filters: { requests: [] } }"),
            Some("spec.listeners[0].filters"),
        ),
        (set("{ name: a, port: 53, protocol: TCP }, { name: b, port: 53, protocol: UDP }"), None),
        (tls("a.example.com", "name: s, port: 443"), None),
        (tls("a.example.com", "name: s"), Some("spec.rules[0].backendRefs[0].port")),
        (tls("10.0.0.1", "name: s, port: 443"), Some("spec.hostnames[0]")),
        (
            object("TCPRoute", "rules: [{ backendRefs: [{ name: s }] }]"),
            Some("spec.rules[0].backendRefs[0].port"),
        ),
        (object("UDPRoute", "rules: [{ backendRefs: [{ name: s, port: 53 }] }]"), None),
        (policy(&format!("{{ {service} }}"), system), None),
        (
            policy(&format!("{{ {service} }}, {{ {service}, sectionName: a }}"), system),
            Some("spec.targetRefs[1]"),
        ),
        (policy(&format!("{{ {service}, sectionName: b }}, {{ {service}, sectionName: a }}"), system), None),
        (
            policy(
                &format!("{{ {service} }}"),
                &format!("{system}, caCertificateRefs: [{{ group: '', kind: ConfigMap, name: c }}]"),
            ),
            Some("spec.validation"),
        ),
        (
            policy(
                &format!("{{ {service} }}"),
                &format!("{system}, subjectAltNames: [{{ type: URI, hostname: a.example.com }}]"),
            ),
            Some("spec.validation.subjectAltNames[0].uri"),
        ),
    ] {
        let refusals = refusals(&yaml);
        match field {
            None => assert_eq!(refusals, Vec::<String>::new(), "{yaml}"),
            Some(field) => {
                let there = refusals.iter().any(|it| it.starts_with(&format!("{field}: ")));
                assert!(there, "{yaml}\n{field}\n{refusals:#?}");
            }
        }
    }
}

#[test]
fn what_is_in_order_passes_and_has_its_defaults() {
    let yaml = route("{ matches: [{}], backendRefs: [{ name: a, port: 80 }] }");
    assert_eq!(refusals(&yaml), Vec::<String>::new());
    let crate::resources::Object::HttpRoute(route) = &crate::source::objects(&yaml)[0] else { panic!() };
    let rule = &route.spec.rules.as_ref().unwrap()[0];
    assert_eq!(rule.backend_refs.as_ref().unwrap()[0].weight, Some(1));
    assert_eq!(rule.matches.as_ref().unwrap()[0].path.as_ref().unwrap().value.as_deref(), Some("/"));
    for parents in
        ["[{ name: g, sectionName: a }, { name: g, sectionName: b }]", "[{ name: g }, { name: h }]"]
    {
        assert_eq!(refusals(&yaml.replace("[{ name: g }]", parents)), Vec::<String>::new());
    }
}

#[test]
fn a_list_is_its_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: Namespace, metadata: { name: a } }\n- { apiVersion: v1, kind: Namespace, metadata: { name: b } }\n";
    assert_eq!(crate::source::objects(list).len(), 2);
}
