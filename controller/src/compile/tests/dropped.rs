//! A rule that cannot be carried out keeps what it matches and answers it, whatever the reason: its requests must not fall to
//! a rule that is wider, and perhaps less guarded.

use super::{GATEWAY, SHOP, World};
use crate::source::{FileChange, Scan};
use fairway_config::model::{Attachment, Filter, Match, PathMatch, Resource, ResourceKind, Rule};

/// What a rule or a backendRef can have that cannot be carried out: a part of it beside its matches and backends.
struct Row {
    what: &'static str,
    part: &'static str,
    schema: Schema,
}

/// What the schema of the CRD says of a row. What it refuses nobody can write in a cluster; it is here so that a row that the schema
/// begins to refuse, or to take, is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schema {
    Takes,
    Refuses,
}
use Schema::{Refuses, Takes};

/// Of a rule of an HTTPRoute or a GRPCRoute.
const OF_BOTH: &[Row] = &[
    Row { what: "no part", part: "filters: [{ type: RequestHeaderModifier }]", schema: Refuses },
    Row {
        what: "host",
        part: "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: x }] } }]",
        schema: Takes,
    },
    Row {
        what: "hop-by-hop",
        part: "filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { remove: [Keep-Alive] } }]",
        schema: Takes,
    },
    Row {
        what: "header name",
        part: "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: ['a b'] } }]",
        schema: Takes,
    },
    Row {
        what: "header value",
        part: "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: \"a\\r\\nb\" }] } }]",
        schema: Refuses,
    },
    Row {
        what: "mirror share",
        part: "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: web, port: 80 }, percent: 101 } }]",
        schema: Refuses,
    },
];

/// Of a rule of an HTTPRoute.
const OF_HTTP: &[Row] = &[
    Row {
        what: "external auth with the body",
        part: "filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: web, port: 80 }, forwardBody: { maxSize: 10 } } }]",
        schema: Takes,
    },
    Row {
        what: "external auth at no path",
        part: "filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, http: { path: '/a/../b' }, backendRef: { name: web, port: 80 } } }]",
        schema: Takes,
    },
    Row {
        what: "external auth by a header of the connection",
        part: "filters: [{ type: ExternalAuth, externalAuth: { protocol: GRPC, grpc: { allowedHeaders: [Upgrade] }, backendRef: { name: web, port: 80 } } }]",
        schema: Takes,
    },
    Row {
        what: "external auth that sets the host",
        part: "filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, http: { allowedResponseHeaders: [Host] }, backendRef: { name: web, port: 80 } } }]",
        schema: Takes,
    },
    Row {
        what: "redirect and rewrite",
        part: "filters: [{ type: RequestRedirect, requestRedirect: {} }, { type: URLRewrite, urlRewrite: { hostname: a.ex } }]",
        schema: Refuses,
    },
    Row {
        what: "two policies",
        part: "filters: [{ type: CORS, cors: { allowOrigins: ['*'] } }, { type: CORS, cors: { allowOrigins: ['*'] } }]",
        schema: Refuses,
    },
    Row {
        what: "redirect with backends",
        part: "filters: [{ type: RequestRedirect, requestRedirect: {} }]",
        schema: Refuses,
    },
    Row {
        what: "redirect path",
        part: "filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: '/t?foo=bar' } } }]",
        schema: Takes,
    },
    Row {
        what: "rewrite path",
        part: "filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: '/../x' } } }]",
        schema: Takes,
    },
    Row {
        what: "rewrite host",
        part: "filters: [{ type: URLRewrite, urlRewrite: { hostname: 'a b' } }]",
        schema: Refuses,
    },
    Row {
        what: "origin",
        part: "filters: [{ type: CORS, cors: { allowOrigins: ['nowhere'] } }]",
        schema: Refuses,
    },
    Row {
        what: "cors header",
        part: "filters: [{ type: CORS, cors: { allowOrigins: ['*'], allowHeaders: ['a b'] } }]",
        schema: Refuses,
    },
    Row { what: "timeouts", part: "timeouts: { request: 1s, backendRequest: 2s }", schema: Refuses },
    Row { what: "duration", part: "timeouts: { request: '10' }", schema: Refuses },
    Row { what: "retry", part: "retry: { attempts: -1 }", schema: Refuses },
    Row { what: "retry code", part: "retry: { codes: [200] }", schema: Refuses },
    Row { what: "backoff", part: "retry: { backoff: soon }", schema: Refuses },
];

/// What a backendRef can have that cannot be carried out.
const OF_BACKEND: &[Row] = &[
    Row { what: "weight", part: "weight: -1", schema: Refuses },
    Row {
        what: "host",
        part: "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: x }] } }]",
        schema: Takes,
    },
    Row {
        what: "te",
        part: "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [te] } }]",
        schema: Takes,
    },
    Row { what: "no part", part: "filters: [{ type: ResponseHeaderModifier }]", schema: Refuses },
];

const AT_GATEWAY: &str = "{ name: public, namespace: edge }";
const AT_SERVICE: &str = "{ group: '', kind: Service, name: web }";

/// With a route of these rules; none if its source refuses it already, as an API server does.
fn taken(kind: &str, parent: &str, rules: &str) -> Option<World> {
    let route = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{ name: r, namespace: shop }}\nspec:\n  parentRefs: [{parent}]\n  rules:\n{rules}"
    );
    let mut scan = Scan::default();
    let edits = scan.apply([("test.yaml".into(), FileChange::Text(route))]);
    if !scan.problems().is_empty() {
        return None;
    }
    let mut world = World::captured(&format!("{GATEWAY}---\n{SHOP}"));
    world.apply(edits);
    Some(world)
}

fn world(kind: &str, parent: &str, rules: &str) -> World {
    taken(kind, parent, rules).expect(rules)
}

#[track_caller]
fn answers(rule: &Rule, what: &str) {
    assert!(rule.backends.is_empty(), "{what}: {rule:?}");
    assert!(matches!(rule.filters.last(), Some(Filter::Unresolved(_))), "{what}: {rule:?}");
}

/// Compiles a rule that cannot be carried out beside one that can, and alone; at a Gateway and for a Service. What the schema said
/// of it, if that is not what is expected.
fn check(kind: &str, row: &Row, rule: &str, path: &PathMatch) -> Vec<String> {
    let (what, mut unexpected) = (row.what, Vec::new());
    for parent in [AT_GATEWAY, AT_SERVICE] {
        let about = format!("{kind} {parent} {what}");
        let good = "    - backendRefs: [{ name: web, port: 80 }]\n";
        let part = taken(kind, parent, &format!("    - {{ {rule} }}\n{good}"));
        if part.is_some() != (row.schema == Takes) {
            unexpected.push(format!("{about}: it is not so that the schema {:?} it", row.schema));
        }
        let Some(part) = part else { continue };
        let route = part.route(&format!("{kind}/shop/r")).expect(&about);
        assert_eq!(route.rules.len(), 2, "{about}");
        answers(&route.rules[0], &about);
        assert_eq!(&route.rules[0].matches[0].path, path, "{about}");
        assert!(!route.rules[1].backends.is_empty(), "{about}");
        let conditions = part.conditions(&format!("{kind} shop/r")).join(" ");
        assert!(
            conditions.contains("Accepted=True") && conditions.contains("PartiallyInvalid=True"),
            "{about}: {conditions}"
        );
        let message = part.message(&format!("{kind} shop/r"), "PartiallyInvalid");
        assert!(
            message.starts_with("Dropped Rule: spec.rules[0]") && message.contains("500"),
            "{about}: {message}"
        );

        let whole = world(kind, parent, &format!("    - {{ {rule} }}\n"));
        let route = whole.route(&format!("{kind}/shop/r")).expect(&about);
        answers(&route.rules[0], &about);
        assert!(matches!(route.attachments[..], [Attachment::Listener { .. } | Attachment::Service { .. }]));
        let conditions = whole.conditions(&format!("{kind} shop/r")).join(" ");
        assert!(conditions.contains("Accepted=False/"), "{about}: {conditions}");
        assert!(
            whole.problems().iter().any(|it| it.contains("spec.rules[0]")),
            "{about}: {:?}",
            whole.problems()
        );
    }
    unexpected
}

#[test]
fn an_http_rule_that_cannot_be_carried_out_keeps_its_matches_and_answers() {
    let admin = PathMatch::Prefix("/admin".into());
    let matches = "matches: [{ path: { value: /admin } }]";
    let mut unexpected = Vec::new();
    for row in OF_BOTH.iter().chain(OF_HTTP) {
        let rule = format!("{matches}, {}, backendRefs: [{{ name: web, port: 80 }}]", row.part);
        unexpected.extend(check("HTTPRoute", row, &rule, &admin));
    }
    for row in OF_BACKEND {
        let part = row.part;
        let rule =
            format!("{matches}, backendRefs: [{{ name: web, port: 80, {part} }}, {{ name: web, port: 80 }}]");
        unexpected.extend(check("HTTPRoute", row, &rule, &admin));
    }
    let row = Row {
        what: "no prefix",
        part: "filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /x } } }]",
        schema: Refuses,
    };
    let rule = format!(
        "matches: [{{ path: {{ type: Exact, value: /admin }} }}], backendRefs: [{{ name: web, port: 80 }}], {}",
        row.part
    );
    unexpected.extend(check("HTTPRoute", &row, &rule, &PathMatch::Exact("/admin".into())));
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn a_grpc_rule_that_cannot_be_carried_out_keeps_its_matches_and_answers() {
    let matches = "matches: [{ method: { service: a.Admin } }]";
    let expected = world("GRPCRoute", AT_GATEWAY, &format!("    - {{ {matches} }}\n"));
    let expected = expected.route("GRPCRoute/shop/r").unwrap().rules[0].matches[0].path.clone();
    let mut unexpected = Vec::new();
    for row in OF_BOTH {
        let rule = format!("{matches}, {}, backendRefs: [{{ name: web, port: 80 }}]", row.part);
        unexpected.extend(check("GRPCRoute", row, &rule, &expected));
    }
    for row in OF_BACKEND {
        let rule = format!("{matches}, backendRefs: [{{ name: web, port: 80, {} }}]", row.part);
        unexpected.extend(check("GRPCRoute", row, &rule, &expected));
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn a_match_that_cannot_be_carried_out_covers_all_that_it_could_have_meant() {
    let regex = |text: &str| format!("path: {{ type: RegularExpression, value: '{text}' }}");
    let one = |written: &str| -> Match {
        let rule =
            format!("    - {{ matches: [{{ {written} }}], backendRefs: [{{ name: web, port: 80 }}] }}\n");
        let world = world("HTTPRoute", AT_GATEWAY, &rule);
        let rule = world.route("HTTPRoute/shop/r").unwrap().rules[0].clone();
        answers(&rule, written);
        rule.matches[0].clone()
    };
    for (expression, covered, not) in [
        ("/admin/(?!public).*", "/admin/x", "/other"),
        ("/admin/[", "/admin/", "/adminx"),
        ("(?<!x)/admin", "/anything", ""),
        ("/a|/b(", "/b", ""),
        // As requests are compared.
        ("/caf%c3%a9/(?!public).*", "/caf%C3%A9/x", "/other"),
        ("/%61dmin/(?!public).*", "/admin/x", "/other"),
        ("/a%c[3]/(?!public).*", "/a%C3/x", "/other"),
    ] {
        let PathMatch::Regex(pattern) = one(&regex(expression)).path else { panic!("{expression}") };
        assert!(pattern.is_match(covered), "{expression}");
        assert!(not.is_empty() || !pattern.is_match(not), "{expression}");
    }
    // A header or a parameter that cannot be compared does not narrow; what can be compared does.
    for bad in [
        "headers: [{ name: a, type: RegularExpression, value: '[' }, { name: b, value: '1' }]",
        "headers: [{ name: b, value: '1' }], queryParams: [{ name: a, type: RegularExpression, value: '(' }]",
    ] {
        let it = one(&format!("path: {{ value: /admin }}, method: GET, {bad}"));
        assert_eq!(it.path, PathMatch::Prefix("/admin".into()));
        assert_eq!((it.headers.len(), it.headers[0].name.as_str(), it.query.len()), (1, "b", 0), "{bad}");
        assert!(it.method.is_some());
    }
}

#[test]
fn what_a_rule_does_to_responses_it_does_to_its_own_answer() {
    let world = world(
        "HTTPRoute",
        AT_GATEWAY,
        "    - { filters: [{ type: CORS, cors: { allowOrigins: ['https://a.ex'] } }, { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: x }] } }] }\n",
    );
    let rule = &world.route("HTTPRoute/shop/r").unwrap().rules[0];
    assert!(matches!(rule.filters[..], [Filter::Cors(_), Filter::Unresolved(_)]), "{rule:?}");
}

#[test]
fn a_route_that_is_not_accepted_takes_no_hostname_from_the_other_kind() {
    let bad = "    - { matches: [{ path: { value: /admin } }], filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: x }] } }], backendRefs: [{ name: web, port: 80 }] }\n";
    let route = |kind: &str, name: &str, year: u32, parent: &str, rules: &str| {
        format!(
            "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
             metadata: {{ name: {name}, namespace: shop, creationTimestamp: '{year}-01-01T00:00:00Z' }}\n\
             spec:\n  hostnames: [a.ex]\n  parentRefs: [{parent}]\n  rules:\n{rules}"
        )
    };
    let good = "    - backendRefs: [{ name: web, port: 80 }]\n";
    let bad_grpc = "    - { filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [te] } }], backendRefs: [{ name: web, port: 80 }] }\n";
    for parent in [AT_GATEWAY, AT_SERVICE] {
        for (older, newer) in [(("HTTPRoute", bad), "GRPCRoute"), (("GRPCRoute", bad_grpc), "HTTPRoute")] {
            let yaml =
                route(older.0, "old", 2025, parent, older.1) + &route(newer, "new", 2026, parent, good);
            let mut world = World::captured(&format!("{GATEWAY}---\n{SHOP}{yaml}"));
            let conditions = world.conditions(&format!("{newer} shop/new")).join(" ");
            assert!(conditions.contains("Accepted=True"), "{parent} {newer}: {conditions}");
            assert!(world.route(&format!("{newer}/shop/new")).is_some(), "{parent} {newer}");
            // Once it is in order, there is a conflict.
            world.add(&route(older.0, "old", 2025, parent, good));
            let both = world.conditions(&format!("{newer} shop/new"))
                == world.conditions(&format!("{} shop/old", older.0));
            assert!(!both, "{parent} {newer}: one of them loses");
        }
    }
}

#[test]
fn a_route_that_was_never_understood_keeps_what_it_may_match_and_answers_and_says_why() {
    for (kind, good) in
        [("HTTPRoute", "path: { value: /login }"), ("GRPCRoute", "method: { service: a.Login }")]
    {
        for parent in ["{ name: public, namespace: edge }", "{ group: '', kind: Service, name: web }"] {
            let route = format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: r, namespace: shop }}\nspec:\n\
                 \x20 parentRefs: [{parent}]\n  hostnames: [a.example]\n\
                 \x20 rules: [{{ matches: [{{ {good}, newer: 1 }}], backendRefs: [{{ name: web, port: 80 }}] }}]\n"
            );
            let mut world = World::captured(&format!("{GATEWAY}---\n{SHOP}"));
            let mut scan = Scan::default();
            world.apply(scan.apply([("a.yaml".into(), FileChange::Text(route))]));
            assert_eq!(scan.problems().len(), 1);
            let resource =
                world.route(&format!("{kind}/shop/r")).unwrap_or_else(|| panic!("{kind} {parent}"));
            assert_eq!(resource.rules.len(), 1);
            answers(&resource.rules[0], kind);
            let whole = Match::on_path(PathMatch::Prefix("".into()));
            assert_ne!(resource.rules[0].matches, [whole], "{kind} {parent}");
            let object = format!("{kind} shop/r");
            let conditions = world.conditions(&object);
            assert!(
                conditions.iter().any(|it| it.contains("Accepted=False/UnsupportedValue")),
                "{conditions:?}"
            );
            let message = world.message(&object, "Accepted");
            assert!(
                message.contains("spec.rules[0].matches[0].newer") && message.contains("500"),
                "{message}"
            );
            assert!(!world.problems().iter().any(|it| it.contains(&object)), "who reads it reports it");
        }
    }
    for kind in ["TCPRoute", "TLSRoute"] {
        let hostnames = if kind == "TLSRoute" { "hostnames: [a.example], " } else { "" };
        let route = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: r, namespace: shop }}\n\
             spec: {{ parentRefs: [{{ group: '', kind: Service, name: web }}], {hostnames}newer: 1, rules: [{{ backendRefs: [{{ name: web, port: 80 }}] }}] }}\n"
        );
        let mut world = World::captured(&format!("{GATEWAY}---\n{SHOP}"));
        let mut scan = Scan::default();
        world.apply(scan.apply([("a.yaml".into(), FileChange::Text(route))]));
        let key = format!("{kind}/shop/r");
        let Some(Resource::L4Route(it)) = world.resource(ResourceKind::L4Route, &key) else {
            panic!("{key}")
        };
        assert!(it.backends.is_empty(), "its connections are closed");
        let message = world.message(&format!("{kind} shop/r"), "Accepted");
        assert!(message.contains("spec.newer"), "{message}");
    }
}
