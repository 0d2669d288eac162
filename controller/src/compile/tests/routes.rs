//! Routes on Gateways: attachment, references, rules.

use super::{GATEWAY, SHOP, World};
use fairway_config::model::{
    Attachment, AuthProtocol, BackendTarget, ExternalAuth, Filter, OriginPattern, PathMatch, ResourceKind,
    Unresolved, ValueMatch,
};
use http::HeaderName;
use std::time::Duration;

/// An HTTPRoute of namespace shop with this spec.
fn route(spec: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r, namespace: shop, generation: 3 }}\nspec:\n{spec}"
    )
}

/// One attached to the Gateway, with these rules.
fn attached(rules: &str) -> String {
    route(&format!("  parentRefs: [{{ name: public, namespace: edge }}]\n  rules:\n{rules}"))
}

fn world(route: &str) -> World {
    World::plain(&format!("{GATEWAY}---\n{SHOP}{route}"))
}

const TO_WEB: &str = "    - backendRefs: [{ name: web, port: 80 }]\n";

#[test]
fn a_route_in_order_is_attached() {
    let world = world(&attached(TO_WEB));
    assert_eq!(
        world.conditions("HTTPRoute shop/r"),
        [
            "parent Gateway edge/public: Accepted=True/Accepted",
            "parent Gateway edge/public: ResolvedRefs=True/ResolvedRefs"
        ]
    );
    let route = world.route("HTTPRoute/shop/r").unwrap();
    assert_eq!(
        route.attachments,
        [Attachment::Listener { listener: "edge/public/http".into(), hostnames: vec![] }]
    );
    assert_eq!(route.rules[0].backends[0].target, BackendTarget::Backend("shop/web:80".into()));
    assert_eq!(world.status("HTTPRoute shop/r").conditions()[0].1.observed_generation, 3);
    let crate::status::ObjectStatus::Gateway(gateway) = world.status("Gateway edge/public") else { panic!() };
    assert_eq!(gateway.listeners.as_ref().unwrap()[0].attached_routes, 1);
}

#[test]
fn a_parent_says_why_it_does_not_take_a_route() {
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: public, namespace: edge }\nspec:\n\
        \x20 gatewayClassName: fairway\n  listeners:\n\
        \x20   - { name: same, port: 80, protocol: HTTP }\n\
        \x20   - { name: grpc, port: 81, protocol: HTTP, allowedRoutes: { kinds: [{ kind: GRPCRoute }], namespaces: { from: All } } }\n\
        \x20   - { name: host, port: 82, protocol: HTTP, hostname: '*.example.com', allowedRoutes: { namespaces: { from: All } } }\n\
        \x20   - { name: labels, port: 83, protocol: HTTP, allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { fairway.dev/mesh: enabled } } } } }\n\
        \x20   - { name: expr, port: 84, protocol: HTTP, allowedRoutes: { namespaces: { from: Selector, selector: { matchExpressions: [{ key: tier, operator: Exists }] } } } }\n\
        \x20   - { name: byname, port: 85, protocol: HTTP, allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { kubernetes.io/metadata.name: shop } } } } }\n---\n";
    for (parent, hostnames, expected) in [
        ("sectionName: same", "[]", "False/NotAllowedByListeners"),
        ("sectionName: grpc", "[]", "False/NotAllowedByListeners"),
        ("sectionName: nope", "[]", "False/NoMatchingParent"),
        ("port: 99", "[]", "False/NoMatchingParent"),
        ("sectionName: host, port: 80", "[]", "False/NoMatchingParent"),
        ("sectionName: host", "[a.example.org]", "False/NoMatchingListenerHostname"),
        ("sectionName: host", "[example.com]", "False/NoMatchingListenerHostname"),
        ("sectionName: host", "[a.example.com]", "True/Accepted"),
        ("sectionName: host", "['*.com', a.example.org]", "True/Accepted"),
        ("sectionName: host", "[]", "True/Accepted"),
        ("sectionName: labels", "[]", "True/Accepted"),
        ("port: 83", "[]", "True/Accepted"),
        ("sectionName: expr", "[]", "False/NotAllowedByListeners"),
        ("sectionName: byname", "[]", "True/Accepted"),
    ] {
        let spec = format!(
            "  parentRefs: [{{ name: public, namespace: edge, {parent} }}]\n  hostnames: {hostnames}\n  rules:\n{TO_WEB}"
        );
        let world = World::plain(&format!("{gateway}{SHOP}{}", route(&spec)));
        let conditions = world.conditions("HTTPRoute shop/r");
        assert!(
            conditions[0].ends_with(&format!("Accepted={expected}")),
            "{parent} {hostnames}: {conditions:?}"
        );
        assert_eq!(world.route("HTTPRoute/shop/r").is_some(), expected.starts_with("True"), "{parent}");
        assert_eq!(
            world.problems().is_empty(),
            expected.starts_with("True"),
            "{parent} {:?}",
            world.problems()
        );
    }
}

#[test]
fn the_hosts_of_a_route_are_those_it_shares_with_the_listener() {
    let gateway = GATEWAY.replace("port: 80", "port: 80, hostname: '*.example.com'");
    let spec = format!(
        "  parentRefs: [{{ name: public, namespace: edge }}]\n  hostnames: [a.example.com, '*.com', b.example.org]\n  rules:\n{TO_WEB}"
    );
    let world = World::plain(&format!("{gateway}---\n{SHOP}{}", route(&spec)));
    let Attachment::Listener { hostnames, .. } = &world.route("HTTPRoute/shop/r").unwrap().attachments[0]
    else {
        panic!()
    };
    let pairs: Vec<_> =
        hostnames.iter().map(|it| (it.effective.to_string(), it.original.to_string())).collect();
    let expected = [("a.example.com", "a.example.com"), ("*.example.com", "*.com")];
    assert_eq!(pairs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_reference_that_leads_nowhere_takes_its_share_with_it() {
    let alias = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: alias, namespace: shop }\n\
                 spec: { type: ExternalName, externalName: a.example.com, ports: [{ port: 80 }] }\n\
                 ---\napiVersion: v1\nkind: Service\nmetadata: { name: odd, namespace: shop }\n\
                 spec: { clusterIP: 10.1.1.1, ports: [{ name: db, port: 80, appProtocol: mysql }, { name: tls, port: 81, appProtocol: https }, { name: u, port: 82, protocol: UDP }] }\n";
    for (reference, reason, why) in [
        ("name: gone, port: 80", "BackendNotFound", Unresolved::NotFound),
        ("name: web, port: 99", "BackendNotFound", Unresolved::NotFound),
        ("name: odd, port: 82", "BackendNotFound", Unresolved::NotFound),
        ("name: web, kind: Deployment", "InvalidKind", Unresolved::InvalidKind),
        ("name: web, group: example.com, kind: Service, port: 80", "InvalidKind", Unresolved::InvalidKind),
        ("name: alias, port: 80", "InvalidKind", Unresolved::InvalidKind),
        ("name: web, namespace: other, port: 80", "RefNotPermitted", Unresolved::NotPermitted),
        ("name: odd, port: 80", "UnsupportedProtocol", Unresolved::UnsupportedProtocol),
        ("name: odd, port: 81", "UnsupportedProtocol", Unresolved::UnsupportedProtocol),
    ] {
        let rules = format!("    - backendRefs: [{{ name: web, port: 80 }}, {{ {reference}, weight: 3 }}]\n");
        let world = world(&(attached(&rules) + alias));
        world.expect("HTTPRoute shop/r", &format!("parent Gateway edge/public: ResolvedRefs=False/{reason}"));
        world.expect("HTTPRoute shop/r", "parent Gateway edge/public: Accepted=True/Accepted");
        let backend = &world.route("HTTPRoute/shop/r").unwrap().rules[0].backends[1];
        assert_eq!((backend.weight, &backend.target), (3, &BackendTarget::Unresolved(why)), "{reference}");
        let message = world.message("HTTPRoute shop/r", "ResolvedRefs");
        assert!(message.starts_with("spec.rules[0].backendRefs[1]"), "{message}");
    }
}

#[test]
fn a_grant_opens_another_namespace_s_service() {
    let other = "\n---\napiVersion: v1\nkind: Service\nmetadata: { name: db, namespace: other }\nspec: { clusterIP: 10.1.1.2, ports: [{ port: 80 }] }\n";
    let grant = "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: { name: g, namespace: other }\n\
                 spec:\n  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop }]\n  to: [{ group: \"\", kind: Service, name: db }]\n";
    let mut world =
        world(&(attached("    - backendRefs: [{ name: db, namespace: other, port: 80 }]\n") + other));
    world.expect("HTTPRoute shop/r", "parent Gateway edge/public: ResolvedRefs=False/RefNotPermitted");
    assert!(
        world.problems()[0].contains("create a ReferenceGrant in namespace other"),
        "{:?}",
        world.problems()
    );
    world.add(grant);
    world.expect("HTTPRoute shop/r", "parent Gateway edge/public: ResolvedRefs=True/ResolvedRefs");
    assert!(world.problems().is_empty());
    world.remove(grant);
    world.expect("HTTPRoute shop/r", "parent Gateway edge/public: ResolvedRefs=False/RefNotPermitted");
}

#[test]
fn a_rule_that_cannot_hold_is_dropped_and_the_others_hold() {
    let bad = "    - { name: bad, matches: [{ path: { type: RegularExpression, value: 'a(' } }], backendRefs: [{ name: web, port: 80 }] }\n";
    let part = world(&attached(&format!("{bad}{TO_WEB}")));
    part.expect("HTTPRoute shop/r", "parent Gateway edge/public: Accepted=True/Accepted");
    part.expect("HTTPRoute shop/r", "parent Gateway edge/public: PartiallyInvalid=True/UnsupportedValue");
    assert!(part.message("HTTPRoute shop/r", "PartiallyInvalid").starts_with("Dropped Rule"));
    assert_eq!(part.route("HTTPRoute/shop/r").unwrap().rules.len(), 2, "it answers in its place");

    let whole = world(&attached(bad));
    whole.expect("HTTPRoute shop/r", "parent Gateway edge/public: Accepted=False/UnsupportedValue");
    assert!(whole.route("HTTPRoute/shop/r").is_some(), "what it matches is answered");
    let crate::status::ObjectStatus::Gateway(gateway) = whole.status("Gateway edge/public") else { panic!() };
    assert_eq!(gateway.listeners.as_ref().unwrap()[0].attached_routes, 0, "only accepted routes count");
}

#[test]
fn an_unknown_filter_answers_for_its_rule() {
    let world = world(&attached(
        "    - filters: [{ type: ExtensionRef, extensionRef: { group: example.com, kind: Auth, name: a } }]\n      backendRefs: [{ name: web, port: 80 }]\n",
    ));
    world.expect("HTTPRoute shop/r", "parent Gateway edge/public: ResolvedRefs=False/InvalidKind");
    assert!(matches!(world.route("HTTPRoute/shop/r").unwrap().rules[0].filters[0], Filter::Unresolved(_)));
}

#[test]
fn an_authorization_service_is_asked_as_the_route_says() {
    let filter = |auth: &str| {
        attached(&format!(
            "    - filters: [{{ type: ExternalAuth, externalAuth: {auth} }}]\n      backendRefs: [{{ name: web, port: 80 }}]\n"
        ))
    };
    let service = "backendRef: { name: web, port: 80 }";
    for (auth, expected) in [
        (
            format!("{{ protocol: HTTP, {service} }}"),
            AuthProtocol::Http { path_prefix: None, request_headers: vec![], response_headers: vec![] },
        ),
        (
            format!(
                "{{ protocol: HTTP, {service}, http: {{ path: /check, allowedHeaders: [Cookie], allowedResponseHeaders: [X-User] }} }}"
            ),
            AuthProtocol::Http {
                path_prefix: Some("/check".into()),
                request_headers: vec![HeaderName::from_static("cookie")],
                response_headers: vec![HeaderName::from_static("x-user")],
            },
        ),
        (
            format!(
                "{{ protocol: GRPC, {service}, grpc: {{ allowedHeaders: [X-Tenant] }}, forwardBody: {{ maxSize: 0 }} }}"
            ),
            AuthProtocol::Grpc { request_headers: vec![HeaderName::from_static("x-tenant")] },
        ),
    ] {
        let world = world(&filter(&auth));
        let rule = &world.route("HTTPRoute/shop/r").unwrap().rules[0];
        let [Filter::ExternalAuth(it)] = &rule.filters[..] else { panic!("{:?}", rule.filters) };
        assert_eq!((&it.protocol, &it.target), (&expected, &rule.backends[0].target), "{auth}");
    }
    // A service that is not there is asked in vain: the filter stays, and refuses every request.
    let world = world(&filter("{ protocol: HTTP, backendRef: { name: nobody, port: 80 } }"));
    world.expect("HTTPRoute shop/r", "parent Gateway edge/public: ResolvedRefs=False/BackendNotFound");
    let rule = &world.route("HTTPRoute/shop/r").unwrap().rules[0];
    assert!(matches!(
        &rule.filters[..],
        [Filter::ExternalAuth(ExternalAuth { target: BackendTarget::Unresolved(_), .. })]
    ));
}

#[test]
fn matches_mean_what_the_api_says() {
    let world = world(&attached(
        "    - matches:\n\
         \x20       - path: { type: PathPrefix, value: /a/ }\n\
         \x20         headers: [{ name: X-One, value: '1' }, { name: x-one, value: '2' }, { name: x-two, type: RegularExpression, value: 'b+' }]\n\
         \x20         queryParams: [{ name: q, value: '1' }]\n\
         \x20         method: POST\n\
         \x20       - path: { type: Exact, value: /b/ }\n\
         \x20       - headers: [{ name: a, value: b }]\n\
         \x20     backendRefs: [{ name: web, port: 80 }]\n",
    ));
    let matches = &world.route("HTTPRoute/shop/r").unwrap().rules[0].matches;
    assert_eq!(matches[0].path, PathMatch::Prefix("/a".into()));
    let headers: Vec<_> = matches[0].headers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(headers, ["x-one", "x-two"], "of equal names the first counts");
    assert_eq!(matches[0].headers[0].value, ValueMatch::Exact("1".into()));
    assert_eq!(matches[0].method.as_ref().unwrap(), "POST");
    assert_eq!(matches[1].path, PathMatch::Exact("/b/".into()));
    assert_eq!(matches[2].path, PathMatch::Prefix("".into()));
}

#[test]
fn filters_mean_what_the_api_says() {
    let world = world(&attached(
        "    - filters:\n\
         \x20       - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: b }], add: [{ name: c, value: d }], remove: [e] } }\n\
         \x20       - { type: RequestMirror, requestMirror: { backendRef: { name: web, port: 80 }, percent: 25 } }\n\
         \x20       - { type: RequestMirror, requestMirror: { backendRef: { name: gone, port: 80 }, fraction: { numerator: 1, denominator: 3 } } }\n\
         \x20       - { type: CORS, cors: { allowOrigins: ['https://a.example.com:443', 'https://*.example.org'], allowMethods: ['*'], allowHeaders: [x-a] } }\n\
         \x20     backendRefs:\n\
         \x20       - name: web\n\
         \x20         port: 80\n\
         \x20         filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { remove: [server] } }]\n\
         \x20   - matches: [{ path: { type: PathPrefix, value: /old } }]\n\
         \x20     filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, port: 8443, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]\n",
    ));
    world.expect("HTTPRoute shop/r", "parent Gateway edge/public: ResolvedRefs=False/BackendNotFound");
    let rules = &world.route("HTTPRoute/shop/r").unwrap().rules;
    let Filter::Mirror(first) = &rules[0].filters[1] else { panic!() };
    assert_eq!((first.fraction.numerator(), first.fraction.denominator()), (25, 100));
    let Filter::Mirror(second) = &rules[0].filters[2] else { panic!() };
    assert_eq!(second.target, BackendTarget::Unresolved(Unresolved::NotFound));
    let Filter::Cors(cors) = &rules[0].filters[3] else { panic!() };
    assert_eq!(cors.allow_origins[0], OriginPattern::Exact("https://a.example.com".into()));
    let OriginPattern::Pattern(pattern) = &cors.allow_origins[1] else { panic!() };
    assert!(pattern.is_match("https://a.b.example.org") && !pattern.is_match("https://example.org"));
    assert!(!pattern.is_match("https://evil.com/.example.org") && !pattern.is_match("https://aXexampleXorg"));
    assert_eq!((&cors.allow_methods, cors.max_age), (&None, Duration::from_secs(5)));
    assert!(
        matches!(&rules[0].backends[0].filters[..], [Filter::ResponseHeaders(it)] if it.remove.len() == 1)
    );
    let Filter::Redirect(redirect) = &rules[1].filters[0] else { panic!() };
    assert_eq!((redirect.status.as_u16(), redirect.port), (302, Some(8443)));
}

#[test]
fn timeouts_and_retries_mean_what_the_api_says() {
    for (rule, request, backend, retry) in [
        ("timeouts: { request: 10s, backendRequest: 2s }", Some(10_000), Some(2_000), None),
        ("timeouts: { request: 0s, backendRequest: 2s }", None, Some(2_000), None),
        ("timeouts: { request: 1m30s }, retry: {}", Some(90_000), None, Some((1, vec![], None))),
        // Not the same as no `retry`.
        ("retry: { attempts: 0, codes: [503] }", None, None, Some((0, vec![503], None))),
        ("retry: { attempts: 0 }", None, None, Some((0, vec![], None))),
        ("retry: { codes: [503] }", None, None, Some((1, vec![503], None))),
        (
            "retry: { attempts: 3, codes: [502, 503], backoff: 10ms }",
            None,
            None,
            Some((3, vec![502, 503], Some(10))),
        ),
    ] {
        let world =
            world(&attached(&format!("    - {{ {rule}, backendRefs: [{{ name: web, port: 80 }}] }}\n")));
        let rule = &world.route("HTTPRoute/shop/r").unwrap().rules[0];
        let millis = |it: Option<Duration>| it.map(|it| it.as_millis());
        assert_eq!(millis(rule.timeouts.request), request, "{rule:?}");
        assert_eq!(millis(rule.timeouts.backend_request), backend, "{rule:?}");
        let found = rule.retry.as_ref().map(|it| {
            assert!(it.connection_errors);
            (it.attempts, it.codes.iter().map(|it| it.as_u16()).collect::<Vec<_>>(), millis(it.backoff))
        });
        assert_eq!(found, retry);
    }
}

#[test]
fn more_retries_than_are_made_are_said_to_be_more() {
    for (asked, made) in [("10", 10), ("11", 10), ("2147483647", 10), ("4294967296", 10)] {
        let rule =
            format!("    - {{ retry: {{ attempts: {asked} }}, backendRefs: [{{ name: web, port: 80 }}] }}\n");
        let world = world(&attached(&rule));
        let retry = world.route("HTTPRoute/shop/r").unwrap().rules[0].retry.clone().unwrap();
        assert_eq!(retry.attempts, made, "{asked}");
        let conditions = world.conditions("HTTPRoute shop/r").join(" ");
        assert_eq!(conditions.contains("fairway.dev/IgnoredFields=True"), asked != "10", "{conditions}");
    }
}

#[test]
fn a_route_without_rules_or_backends_answers_500_and_is_accepted() {
    for rules in ["", "  rules: [{}]\n", "  rules: [{ backendRefs: [] }]\n"] {
        let world = world(&route(&format!("  parentRefs: [{{ name: public, namespace: edge }}]\n{rules}")));
        world.expect("HTTPRoute shop/r", "parent Gateway edge/public: Accepted=True/Accepted");
        let rules = &world.route("HTTPRoute/shop/r").unwrap().rules;
        assert_eq!((rules.len(), rules[0].backends.len(), rules[0].matches.len()), (1, 0, 1));
    }
}

const GRPC: &str = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: { name: g, namespace: shop }\nspec:\n\
    \x20 parentRefs: [{ name: public, namespace: edge }]\n  hostnames: ['*.example.com']\n\
    \x20 rules: [{ matches: [{ method: { service: a.B, method: C } }], backendRefs: [{ name: web, port: 80 }] }]\n";

#[test]
fn a_grpc_route_matches_methods() {
    let world = world(GRPC);
    let route = world.route("GRPCRoute/shop/g").unwrap();
    let PathMatch::Grpc(method) = &route.rules[0].matches[0].path else { panic!() };
    assert_eq!(method.service, Some(ValueMatch::Exact("a.B".into())));
    assert_eq!(method.method, Some(ValueMatch::Exact("C".into())));
}

#[test]
fn of_two_kinds_of_routes_for_one_host_the_older_holds() {
    let http = |created: &str, host: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{ name: h, namespace: shop, creationTimestamp: '{created}' }}\nspec:\n  hostnames: [{host}]\n\
             \x20 parentRefs: [{{ name: public, namespace: edge }}]\n  rules:\n{TO_WEB}"
        )
    };
    let grpc = GRPC.replace("name: g,", "name: g, creationTimestamp: '2026-01-02T00:00:00Z',");
    for (created, host, http_holds, grpc_holds) in [
        ("2026-01-01T00:00:00Z", "a.example.com", true, false),
        ("2026-01-03T00:00:00Z", "a.example.com", false, true),
        ("2026-01-02T00:00:00Z", "a.example.com", false, true),
        ("2026-01-01T00:00:00Z", "a.example.org", true, true),
    ] {
        let world = world(&(http(created, host) + &grpc));
        assert_eq!(world.route("HTTPRoute/shop/h").is_some(), http_holds, "{created} {host}");
        assert_eq!(world.route("GRPCRoute/shop/g").is_some(), grpc_holds, "{created} {host}");
        if !grpc_holds {
            world.expect("GRPCRoute shop/g", "parent Gateway edge/public: Accepted=False/Conflicted");
            assert!(
                world.message("GRPCRoute shop/g", "Accepted").contains("HTTPRoute shop/h"),
                "the winner is named"
            );
        }
    }
}

#[test]
fn a_parent_that_does_not_exist_or_is_not_ours_gets_no_status_but_a_word() {
    let world =
        world(&route("  parentRefs: [{ name: nope }, { group: example.com, kind: Thing, name: x }]\n"));
    assert!(!world.compiler.statuses().any(|(it, _)| it.to_string() == "HTTPRoute shop/r"));
    let problems = world.problems();
    assert!(problems.iter().any(|it| it.contains("Gateway shop/nope does not exist")), "{problems:?}");
    assert!(problems.iter().any(|it| it.contains("example.com/Thing")), "{problems:?}");
    assert!(world.keys(ResourceKind::Route).is_empty());
}
