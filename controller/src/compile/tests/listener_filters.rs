//! Filters of listeners (GEP-5224): what proxies get of them, and what a listener is told whose filters cannot be carried out.

use super::gateways::{gateway, grant, secret};
use super::{SHOP, World};
use crate::source::{FileChange, Scan};
use fairway_config::model::{
    AuthProtocol, BackendTarget, Filter, Listener, ListenerProtocol, Resource, ResourceKind,
};
use http::HeaderName;

const GATEWAY: &str = "Gateway edge/public";

/// Authorization services of two namespaces.
const SERVICES: &str = "
---
apiVersion: v1
kind: Service
metadata: { name: auth, namespace: edge }
spec:
  clusterIP: 10.96.0.7
  ports:
    - { name: http, port: 80 }
    - { name: tls, port: 443, appProtocol: https }
    - { name: redis, port: 6379, appProtocol: redis }
---
apiVersion: v1
kind: Service
metadata: { name: auth, namespace: far }
spec: { clusterIP: 10.96.0.8, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: alias, namespace: edge }
spec: { type: ExternalName, externalName: auth.example.com, ports: [{ port: 80 }] }
---
";

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec:
  parentRefs: [{ name: public, namespace: edge }]
  hostnames: [admin.example.com]
  rules: [{ backendRefs: [{ name: web, port: 80 }] }]
";

fn auth(backend: &str) -> String {
    format!("{{ type: ExternalAuth, externalAuth: {{ protocol: HTTP, backendRef: {{ {backend} }} }} }}")
}

fn with(auth: &str) -> String {
    format!("{{ type: ExternalAuth, externalAuth: {{ backendRef: {{ name: auth, port: 80 }}, {auth} }} }}")
}

fn admin(protocol: &str, filters: &[String]) -> String {
    let routes = "allowedRoutes: { namespaces: { from: All } }";
    format!(
        "    - {{ name: admin, hostname: admin.example.com, {protocol}, {routes}, filters: {{ requests: [{}] }} }}\n",
        filters.join(", ")
    )
}

const HTTP: &str = "port: 80, protocol: HTTP";
const HTTPS: &str = "port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert }] }";

/// Beside the listener with filters there is a wider one.
fn world(protocol: &str, filters: &[String]) -> World {
    let wide =
        "    - { name: all, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }\n";
    World::plain(&(gateway(&(admin(protocol, filters) + wide)) + &secret("edge") + SERVICES + SHOP + ROUTE))
}

fn listener<'a>(world: &'a World, key: &str) -> &'a Listener {
    match world.resource(ResourceKind::Listener, key) {
        Some(Resource::Listener(it)) => it,
        _ => panic!("no listener {key} in {:?}", world.keys(ResourceKind::Listener)),
    }
}

#[test]
fn filters_are_carried_out_in_the_order_written() {
    let by_grpc = with("protocol: GRPC, grpc: { allowedHeaders: [X-Tenant] }");
    let by_http = with("protocol: HTTP, http: { path: /check, allowedResponseHeaders: [X-User] }");
    for protocol in [HTTP, HTTPS] {
        let filters = [by_grpc.clone(), by_http.clone(), by_grpc.clone()];
        let world = world(protocol, &filters);
        for condition in
            ["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Programmed=True/Programmed"]
        {
            world.expect(GATEWAY, &format!("listener admin: {condition}"));
        }
        let it = listener(&world, "edge/public/admin");
        assert_eq!(it.closed, None);
        let target = BackendTarget::Backend("edge/auth:80".into());
        let asked: Vec<_> = it
            .filters
            .iter()
            .map(|it| match it {
                Filter::ExternalAuth(it) if it.target == target => {
                    matches!(it.protocol, AuthProtocol::Grpc { .. })
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(asked, [true, false, true], "{protocol}");
        let Filter::ExternalAuth(second) = &it.filters[1] else { unreachable!("seen above") };
        let expected = AuthProtocol::Http {
            path_prefix: Some("/check".into()),
            request_headers: vec![],
            response_headers: vec![HeaderName::from_static("x-user")],
        };
        assert_eq!(second.protocol, expected);
        assert!(listener(&world, "edge/public/all").filters.is_empty(), "of its listener alone");
    }
}

/// The filters of a listener, and what its `Accepted`, its `ResolvedRefs` and the message of one of them say.
type Case = (&'static str, String, &'static str, &'static str, &'static str);

fn cases() -> Vec<Case> {
    let extension =
        "{ type: ExtensionRef, extensionRef: { group: example.com, kind: Tenant, name: it } }".to_owned();
    let (fine, resolved) = ("True/Accepted", "True/ResolvedRefs");
    let (invalid, lost) = ("False/InvalidListenerFilter", "False/InvalidListenerFilterRef");
    vec![
        ("no such Service", auth("name: nobody, port: 80"), fine, lost, "edge/nobody does not exist"),
        ("no such port", auth("name: auth, port: 81"), fine, lost, "no TCP port 81"),
        ("an alias", auth("name: alias, port: 80"), fine, lost, "ExternalName"),
        ("no Service", auth("group: example.com, kind: Auth, name: it"), fine, lost, "example.com/Auth"),
        ("no HTTP", auth("name: auth, port: 6379"), fine, lost, "filters of listeners cannot use"),
        ("TLS without a policy", auth("name: auth, port: 443"), fine, lost, "`https`"),
        (
            "no grant",
            auth("name: auth, namespace: far, port: 80"),
            fine,
            "False/RefNotPermitted",
            "ReferenceGrant",
        ),
        ("no such filter", extension, "False/UnsupportedValue", lost, "example.com/Tenant it"),
        (
            "a body",
            with("protocol: HTTP, forwardBody: { maxSize: 1 }"),
            "False/UnsupportedValue",
            resolved,
            "bodies",
        ),
        (
            "a path",
            with("protocol: HTTP, http: { path: '/a/../b' }"),
            invalid,
            resolved,
            "externalAuth.http.path",
        ),
        ("no name", with("protocol: GRPC, grpc: { allowedHeaders: ['a b'] }"), invalid, resolved, "`a b`"),
        (
            "a connection",
            with("protocol: GRPC, grpc: { allowedHeaders: [Upgrade] }"),
            invalid,
            resolved,
            "upgrade",
        ),
        (
            "the Host",
            with("protocol: HTTP, http: { allowedResponseHeaders: [Host] }"),
            invalid,
            resolved,
            "Host",
        ),
    ]
}

#[test]
fn what_cannot_be_carried_out_closes_the_listener_and_says_why() {
    let fine = with("protocol: HTTP");
    for (what, filter, accepted, resolved, says) in cases() {
        for protocol in [HTTP, HTTPS] {
            let world = world(protocol, &[fine.clone(), filter.clone()]);
            world.expect(GATEWAY, &format!("listener admin: Accepted={accepted}"));
            world.expect(GATEWAY, &format!("listener admin: ResolvedRefs={resolved}"));
            world.expect(GATEWAY, "listener admin: Programmed=False/Invalid");
            let said = world.message_of(GATEWAY, "listener admin", "Programmed");
            assert!(said.contains("filters.requests[1]") && said.contains(says), "{what}: {said}");
            assert!(world.problems().iter().any(|it| it.contains(says)), "{what}: {:?}", world.problems());
            // The one beside it is served, and what is for this one does not go there.
            world.expect(GATEWAY, "listener all: Programmed=True/Programmed");
            if protocol == HTTP || accepted.starts_with("True") {
                let it = listener(&world, "edge/public/admin");
                assert_eq!(it.closed.as_deref(), Some(&*said), "{what}");
                assert!(it.filters.is_empty() && it.authorizations.is_empty(), "{what}");
                let closed_as =
                    if protocol == HTTP { ListenerProtocol::Http } else { ListenerProtocol::TlsPassthrough };
                assert_eq!(it.protocol, closed_as, "{what}");
            }
            let route = world.route("HTTPRoute/shop/r").map(|it| it.attachments.len());
            assert_eq!(route, Some(1), "{what}: it is bound to the wider listener alone");
        }
    }
}

#[test]
fn a_listener_is_served_again_once_what_its_filters_ask_is_there() {
    let far = auth("name: auth, namespace: far, port: 80");
    let mut world = world(HTTP, &[far]);
    assert!(listener(&world, "edge/public/admin").closed.is_some());
    let leave = grant("far", "Gateway", "edge", "auth").replace("kind: Secret", "kind: Service");
    world.add(&leave);
    world.expect(GATEWAY, "listener admin: Programmed=True/Programmed");
    let it = listener(&world, "edge/public/admin");
    assert!(it.closed.is_none() && it.filters.len() == 1);
    // A grant for routes is none for Gateways.
    world.remove(&leave);
    world.add(&leave.replace("kind: Gateway", "kind: HTTPRoute"));
    world.expect(GATEWAY, "listener admin: ResolvedRefs=False/RefNotPermitted");
    assert!(listener(&world, "edge/public/admin").closed.is_some());
}

/// A listener is closed although nothing else has its port: a client is told so, and a load balancer sees a port that is there.
#[test]
fn a_listener_alone_on_its_port_is_closed_and_not_gone_when_its_service_is() {
    let world = World::plain(&(gateway(&admin(HTTP, &[auth("name: nobody, port: 80")])) + SERVICES));
    assert!(listener(&world, "edge/public/admin").closed.is_some());
    let proxy = world.compiler.proxies().next().unwrap();
    assert_eq!(proxy.ports.len(), 1, "{:?}", proxy.ports);
}

#[test]
fn a_port_that_speaks_tls_is_asked_where_a_policy_says_how() {
    let policy = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: p, namespace: edge, generation: 3 }
spec:
  targetRefs: [{ group: '', kind: Service, name: auth, sectionName: tls }]
  validation: { hostname: auth.example.com, wellKnownCACertificates: System }
";
    let mut world = world(HTTP, &[auth("name: auth, port: 443")]);
    assert!(listener(&world, "edge/public/admin").closed.is_some());
    world.add(policy);
    assert!(listener(&world, "edge/public/admin").closed.is_none());
    // The policy holds at the Gateway, as if a route led there.
    let ancestors = world.conditions("BackendTLSPolicy edge/p");
    assert!(ancestors.iter().any(|it| it.starts_with("ancestor Gateway edge/public")), "{ancestors:?}");
    world.add(&policy.replace("sectionName: tls", "sectionName: http"));
    assert!(listener(&world, "edge/public/admin").closed.is_some(), "it is about another port");
}

fn set(namespace: &str, listeners: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{ name: s, namespace: {namespace} }}\n\
         spec:\n  parentRef: {{ name: public, namespace: edge }}\n  listeners:\n{listeners}"
    )
}

#[test]
fn filters_of_a_listener_set_act_on_its_own_listeners_and_refer_from_its_own_namespace() {
    let all = "    - { name: all, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }\n";
    let allowing = gateway(all)
        .replace("  listeners:\n", "  allowedListeners: { namespaces: { from: All } }\n  listeners:\n");
    let object = "ListenerSet far/s";
    // `auth` is that of the ListenerSet's namespace. What the Gateway's namespace has is not its to ask.
    for (backend, leave, closed) in [
        ("name: auth, port: 80", "", false),
        ("name: auth, namespace: edge, port: 80", "", true),
        ("name: auth, namespace: edge, port: 80", "Gateway", true),
        ("name: auth, namespace: edge, port: 80", "ListenerSet", false),
    ] {
        let leave = match leave {
            "" => String::new(),
            kind => grant("edge", kind, "far", "auth").replace("kind: Secret", "kind: Service"),
        };
        let alone = World::plain(&(allowing.clone() + SERVICES + SHOP + ROUTE));
        let added = set("far", &admin(HTTP, &[auth(backend)]));
        let world = World::plain(&(allowing.clone() + SERVICES + SHOP + ROUTE + &added + &leave));
        let it = listener(&world, "edge/public/far/s/admin");
        assert_eq!((it.closed.is_some(), it.filters.len()), (closed, usize::from(!closed)), "{backend}");
        let truth =
            if closed { "ResolvedRefs=False/RefNotPermitted" } else { "ResolvedRefs=True/ResolvedRefs" };
        world.expect(object, &format!("listener admin: {truth}"));
        assert_eq!(listener(&world, "edge/public/all"), listener(&alone, "edge/public/all"), "{backend}");
    }
}

#[test]
fn a_service_behind_its_waypoint_believes_the_gateway_whose_listener_asks_it() {
    let required = SERVICES.replacen(
        "name: auth, namespace: edge }",
        "name: auth, namespace: edge, labels: { fairway.dev/waypoint: required } }",
        1,
    );
    let namespace = "\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: edge, labels: { fairway.dev/mesh: enabled } }\n";
    let routers = |filters: &[String]| {
        let world = World::captured(&(gateway(&admin(HTTP, filters)) + &required + namespace));
        match world.resource(ResourceKind::Service, "edge/auth") {
            Some(Resource::Service(it)) => it.routers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            _ => panic!("no Service"),
        }
    };
    assert_eq!(routers(&[]), Vec::<String>::new());
    assert_eq!(routers(&[with("protocol: HTTP")]), ["spiffe://cluster.local/ns/edge/sa/public-fairway"]);
}

#[test]
fn of_several_filters_that_cannot_be_carried_out_the_first_is_told() {
    let body = with("protocol: HTTP, forwardBody: { maxSize: 1 }");
    let name = with("protocol: GRPC, grpc: { allowedHeaders: ['a b'] }");
    for filters in [[body.clone(), name.clone()], [name, body]] {
        let world = world(HTTP, &filters);
        let said = world.message_of(GATEWAY, "listener admin", "Accepted");
        assert!(said.contains("filters.requests[0]") && !said.contains("filters.requests[1]"), "{said}");
    }
}

#[test]
fn a_listener_of_bytes_has_no_filters() {
    // The schema refuses it; an older one may have let it in.
    let admin = admin("port: 90, protocol: TLS, tls: { mode: Passthrough }", &[with("protocol: HTTP")]);
    let yaml = gateway(&admin) + SERVICES + SHOP + ROUTE;
    let changes = Scan::default().apply([("a.yaml".into(), FileChange::Text(yaml.clone()))]);
    let mut world = World::plain("");
    world.apply(changes);
    let admin = world
        .compiler
        .resources()
        .find(|(key, _)| key.kind == ResourceKind::Listener && key.name.contains("admin"));
    assert!(
        admin.is_none_or(|(_, it)| matches!(it, Resource::Listener(it) if it.closed.is_some())),
        "{admin:?}"
    );
}
