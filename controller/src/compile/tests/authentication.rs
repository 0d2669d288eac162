//! AuthenticationPolicies: what proxies get of them, and what they are told.

use super::access::{AT_GATEWAY, CLASSES, ROUTE};
use super::{GATEWAY, SHOP, World};
use fairway_config::model::{
    ApiKeys, AuthenticationKey, CredentialMethods, CredentialPlace, Demands, Resource, ResourceKind, Satisfy,
};
use sha2::{Digest, Sha256};

const KEYS: &str = "apiKey: { credentialRefs: [{ name: keys }] }";
const AT_LISTENER: &str =
    "{ group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: http }";
const AT_SERVICE: &str = "{ group: '', kind: Service, name: web }";

fn policy(namespace: &str, name: &str, targets: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: fairway.dev/v1alpha1\nkind: AuthenticationPolicy\nmetadata: {{ name: {name}, namespace: {namespace}, generation: 2 }}\n\
         spec: {{ targetRefs: [{targets}], {spec} }}\n"
    )
}

fn at_route(name: &str, section: &str) -> String {
    format!("{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name}{section} }}")
}

fn secret(namespace: &str, name: &str, keys: &str) -> String {
    format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: {name}, namespace: {namespace} }}\ntype: fairway.dev/credentials\n\
         stringData: {{ {keys} }}\n"
    )
}

/// The shop's Service has a cluster IP. Both namespaces have keys.
fn world(more: &str) -> World {
    let shop = SHOP.replace("spec:\n  selector", "spec:\n  clusterIP: 10.96.0.1\n  selector");
    let keys = ["edge", "shop"].map(|it| secret(it, "keys", "ada: one, bob: two")).join("");
    World::cluster(&format!("{GATEWAY}{CLASSES}---\n{shop}{ROUTE}{keys}{more}"))
}

fn texts(keys: &[AuthenticationKey]) -> Vec<&str> {
    keys.iter().map(AuthenticationKey::as_str).collect()
}

impl World {
    fn asked_at_listener(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Listener, key) {
            Some(Resource::Listener(it)) => texts(&it.authentications),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn asked_at_rules(&self, route: &str) -> Vec<Vec<&str>> {
        self.route(route).unwrap().rules.iter().map(|it| texts(&it.authentications)).collect()
    }

    fn asked_at_backend(&self, key: &str) -> Vec<&str> {
        match self.resource(ResourceKind::Backend, key) {
            Some(Resource::Backend(it)) => texts(&it.authentications),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn demands(&self, key: &str) -> &Demands {
        match self.resource(ResourceKind::Authentication, key) {
            Some(Resource::Authentication(it)) => &it.demands,
            other => panic!("{key}: {other:?}"),
        }
    }

    fn methods(&self, key: &str) -> &CredentialMethods {
        match self.demands(key) {
            Demands::Credentials(methods) => methods,
            Demands::Closed => panic!("{key} is closed"),
        }
    }

    fn api_keys(&self, key: &str) -> &ApiKeys {
        self.methods(key).api_keys.as_ref().unwrap()
    }

    fn pod_of_shop_is_open(&self) -> bool {
        match self.resource(ResourceKind::Workload, "shop/web-1") {
            Some(Resource::Workload(it)) => it.authorizations.is_empty(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn proxies_get_digests_of_keys_and_never_a_key() {
    let spec = "optional: true, apiKey: { credentialRefs: [{ name: keys }, { name: more }], forward: true, \
        forwardClientIDHeader: X-Client, extractFrom: [{ type: Query, name: key }, { type: Cookie, name: k }, \
        { type: Header, name: Authorization, prefix: 'Bearer ' }] }";
    let digest: [u8; 32] = Sha256::digest("three").into();
    let digits: String = digest.iter().map(|it| format!("{it:02x}")).collect();
    let mut world = world(&policy("edge", "p", AT_GATEWAY, spec));
    assert_eq!(*world.demands("edge/p"), Demands::Closed, "a Secret is missing");
    world.add(&secret("edge", "more", &format!("cy: 'sha256:{digits}'")));
    assert!(world.methods("edge/p").optional);
    let keys = world.api_keys("edge/p");
    let mut clients: Vec<_> = keys.keys.iter().map(|it| (&*it.client, it.digest)).collect();
    clients.sort_unstable();
    let sha = |key: &str| <[u8; 32]>::from(Sha256::digest(key));
    assert_eq!(clients, [("ada", sha("one")), ("bob", sha("two")), ("cy", digest)]);
    let header = CredentialPlace::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
    // Headers first, the query last.
    let places = [header, CredentialPlace::Cookie("k".into()), CredentialPlace::Query("key".into())];
    assert_eq!(keys.places, places);
    assert!(keys.forward);
    assert_eq!(keys.client_header.as_ref().unwrap(), "x-client");
    let sent = world.resource(ResourceKind::Authentication, "edge/p").unwrap();
    let bytes = fairway_config::wire::encode(sent).bytes;
    assert!(!bytes.windows(3).any(|it| it == b"one" || it == b"two"), "{sent:?}");
}

#[test]
fn a_policy_of_a_gateway_is_for_its_listeners_or_the_one_that_it_names() {
    let mut world = world(&policy("edge", "all", AT_GATEWAY, KEYS));
    world.add(&policy("edge", "one", AT_LISTENER, KEYS));
    assert_eq!(world.asked_at_listener("edge/public/http"), ["edge/all", "edge/one"]);
    let usual =
        CredentialPlace::Header { name: http::HeaderName::from_static("x-api-key"), prefix: "".into() };
    assert_eq!(world.api_keys("edge/all").places, [usual]);
    assert!(!world.api_keys("edge/all").forward);
    let ancestor = "ancestor Gateway edge/public";
    world.expect("AuthenticationPolicy edge/all", &format!("{ancestor}: Accepted=True/Accepted"));
    world
        .expect("AuthenticationPolicy edge/all", &format!("{ancestor}: fairway.dev/Enforced=True/ByProxies"));
    world.remove(&policy("edge", "all", AT_GATEWAY, KEYS));
    assert_eq!(world.asked_at_listener("edge/public/http"), ["edge/one"]);
}

#[test]
fn a_route_adds_to_what_its_gateway_asks_for_and_takes_nothing_away() {
    let optional = format!("optional: true, {KEYS}");
    let mut world = world(&policy("edge", "p", AT_GATEWAY, KEYS));
    world.add(&policy("shop", "q", &at_route("r", ""), &optional));
    assert_eq!(world.asked_at_listener("edge/public/http"), ["edge/p"]);
    assert!(world.asked_at_rules("HTTPRoute/shop/r").iter().all(|it| *it == ["shop/q"]));
    // One of another namespace is about nothing here.
    world.add(&policy("shop", "stranger", AT_GATEWAY, KEYS));
    assert_eq!(world.asked_at_listener("edge/public/http"), ["edge/p"]);
}

#[test]
fn a_policy_of_a_part_that_is_not_there_is_for_everything() {
    let gone = AT_LISTENER.replace("http", "gone");
    let mut world = world(&policy("edge", "p", &gone, KEYS));
    assert_eq!(world.asked_at_listener("edge/public/http"), ["edge/p"]);
    let ancestor = "ancestor Gateway edge/public section gone: Accepted=False/TargetNotFound";
    world.expect("AuthenticationPolicy edge/p", ancestor);
    world.add(&policy("shop", "p", &at_route("r", ", sectionName: gone"), KEYS));
    assert!(world.asked_at_rules("HTTPRoute/shop/r").iter().all(|it| *it == ["shop/p"]));
}

#[test]
fn a_service_is_reached_through_its_waypoint_only() {
    let mut world = world("");
    assert!(world.pod_of_shop_is_open());
    world.add(&policy("shop", "p", AT_SERVICE, KEYS));
    assert_eq!(world.asked_at_backend("shop/web:80"), ["shop/p"]);
    assert!(!world.pod_of_shop_is_open(), "nobody but the waypoint reaches the pod");
    world.add(&policy("shop", "p", AT_SERVICE, &format!("mode: Observe, {KEYS}")));
    assert!(world.pod_of_shop_is_open());
}

#[test]
fn what_cannot_be_carried_out_whole_closes_and_says_why() {
    let mut world = world("");
    let keys = |more: &str| format!("apiKey: {{ credentialRefs: [{{ name: keys }}{more}");
    world.add(&secret("shop", "same", "cy: one"));
    world.add(&secret("shop", "line", "cy: \"three\\n\""));
    world.add(&secret("edge", "theirs", "cy: three"));
    world.add("\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: opaque, namespace: shop }\nstringData: { cy: three }\n");
    for (spec, why) in [
        (keys(", { name: same }] }"), "has the same value as that of client `ada`"),
        (keys(", { name: line }] }"), "ends with a line break"),
        (keys(", { name: gone }] }"), "there is no Secret shop/gone of type fairway.dev/credentials"),
        (keys(", { name: opaque }] }"), "there is no Secret shop/opaque of type fairway.dev/credentials"),
        (keys(", { name: theirs, namespace: edge }] }"), "does not grant its use"),
        (keys("], forwardClientIDHeader: X_Api_Key }"), "is one in which clients send their credentials"),
        (keys("], forwardClientIDHeader: host }"), "belongs to the connection"),
        (keys("], extractFrom: [{ type: Cookie, name: 'a;b' }] }"), "is not the name of a cookie"),
        (keys("], extractFrom: [] }"), "the list is empty"),
        (keys("] }, oidc: {}"), "unknown field"),
        ("mode: Enforce".to_owned(), "it asks for nothing"),
        ("apiKey: 7".to_owned(), "cannot be understood"),
    ] {
        world.add(&policy("shop", "p", &at_route("r", ""), &spec));
        assert_eq!(*world.demands("shop/p"), Demands::Closed, "{spec}");
        let rules = world.asked_at_rules("HTTPRoute/shop/r");
        assert!(rules.iter().all(|it| *it == ["shop/p"]), "{spec}: {rules:?}");
        let reason = if why.contains("grant") { "RefNotPermitted" } else { "Invalid" };
        let told = format!("ancestor HTTPRoute shop/r: Accepted=False/{reason}");
        world.expect("AuthenticationPolicy shop/p", &told);
        let message = world.message("AuthenticationPolicy shop/p", "Accepted");
        assert!(message.contains(why), "{spec}: {message}");
    }
    world.add(&policy("shop", "p", &at_route("r", ""), KEYS));
    assert_eq!(world.api_keys("shop/p").keys.len(), 2);
}

#[test]
fn a_secret_that_goes_closes_and_a_grant_opens() {
    let theirs = "apiKey: { credentialRefs: [{ name: keys, namespace: edge }] }";
    let mut world = world(&policy("shop", "p", &at_route("r", ""), theirs));
    assert_eq!(*world.demands("shop/p"), Demands::Closed);
    let grant = "\n---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: { name: g, namespace: edge }\n\
        spec: { from: [{ group: fairway.dev, kind: AuthenticationPolicy, namespace: shop }], to: [{ group: '', kind: Secret }] }\n";
    world.add(grant);
    assert_eq!(world.api_keys("shop/p").keys.len(), 2);
    world.remove(&secret("edge", "keys", ""));
    assert_eq!(*world.demands("shop/p"), Demands::Closed);
    world.add(&secret("edge", "keys", "ada: new"));
    assert_eq!(world.api_keys("shop/p").keys.len(), 1);
    world.remove(grant);
    assert_eq!(*world.demands("shop/p"), Demands::Closed);
}

#[test]
fn bytes_are_closed_and_said_to_be() {
    let tcp = GATEWAY.replace("listeners:", "listeners:\n    - { name: bytes, port: 5432, protocol: TCP }");
    assert_ne!(tcp, GATEWAY);
    let mut world = World::cluster(&format!(
        "{tcp}{CLASSES}---\n{SHOP}{ROUTE}{}{}",
        secret("edge", "keys", "ada: one"),
        policy("edge", "p", AT_GATEWAY, KEYS)
    ));
    assert_eq!(world.asked_at_listener("edge/public/bytes"), ["edge/p"]);
    let message = world.message("AuthenticationPolicy edge/p", "Accepted");
    assert!(message.contains("these listeners are closed: bytes"), "{message}");
    world.add(&policy("edge", "p", AT_LISTENER, KEYS));
    assert!(world.asked_at_listener("edge/public/bytes").is_empty());
}

#[test]
fn an_object_has_room_for_so_many_policies_and_the_first_beyond_closes_it() {
    let mut world = world("");
    for number in 0..17 {
        world.add(&policy("shop", &format!("p{number:02}"), &at_route("r", ""), KEYS));
    }
    let rules = world.asked_at_rules("HTTPRoute/shop/r");
    assert!(rules.iter().all(|it| it.len() == 17 && it.contains(&"shop/p16@closed")), "{rules:?}");
    assert_eq!(*world.demands("shop/p16@closed"), Demands::Closed);
    let message = world.message("AuthenticationPolicy shop/p16", "Accepted");
    assert!(message.contains("HTTPRoute shop/r has more than 16 policies"), "{message}");
    world.remove(&policy("shop", "p00", &at_route("r", ""), KEYS));
    let rules = world.asked_at_rules("HTTPRoute/shop/r");
    assert!(rules.iter().all(|it| it.len() == 16 && !it.iter().any(|it| it.contains('@'))), "{rules:?}");
}

/// A set with one secret of 32 bytes.
const KEY_SET: &str = r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;

fn tokens(more: &str) -> String {
    format!(
        "jwt: {{ providers: [{{ name: a, issuer: 'https://a.ex', jwks: {{ inline: '{KEY_SET}' }}{more} }}] }}"
    )
}

#[test]
fn proxies_get_what_a_policy_says_of_tokens() {
    let more = ", audiences: [shop], forward: true, claimToHeaders: [{ claim: sub, header: X-User }]";
    let both = format!("satisfy: Any, {KEYS}, {}", tokens(more));
    let mut world = world(&policy("edge", "p", AT_GATEWAY, &both));
    let methods = world.methods("edge/p");
    assert_eq!(methods.satisfy, Satisfy::Any);
    assert!(methods.api_keys.is_some());
    let [provider] = &methods.jwt[..] else { panic!("{methods:?}") };
    assert_eq!((&*provider.name, &*provider.issuer, &*provider.key_set), ("a", "https://a.ex", KEY_SET));
    assert_eq!(provider.audiences, ["shop".into()]);
    assert!(provider.forward);
    let bearer = CredentialPlace::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
    assert_eq!(provider.places, [bearer]);
    assert_eq!((&*provider.claims[0].claim, provider.claims[0].header.as_str()), ("sub", "x-user"));
    // Without it both are asked for.
    world.add(&policy("edge", "p", AT_GATEWAY, &format!("{KEYS}, {}", tokens(""))));
    assert_eq!(world.methods("edge/p").satisfy, Satisfy::All);
}

#[test]
fn what_is_wrong_with_tokens_and_exemptions_closes_and_says_why() {
    let mut world = world("");
    let secret = KEY_SET.replace("AAAAAAAAAAA", "");
    for (spec, why) in [
        (tokens("").replace(KEY_SET, "{}"), "it is no JSON Web Key Set"),
        (tokens("").replace(KEY_SET, &secret), "it has no key that tokens can be verified with"),
        (tokens(", audiences: []"), "it has no audience"),
        (tokens(", claimToHeaders: [{ claim: a, header: Authorization }]"), "in which clients send"),
        (
            tokens(", claimToHeaders: [{ claim: a, header: x }, { claim: b, header: X }]"),
            "two claims have header",
        ),
        (tokens(" }, { name: b, issuer: 'https://a.ex', jwks: { inline: 'x' }"), "that of two providers"),
        (tokens(", jwksUri: 'https://a.ex'"), "unknown field"),
        ("jwt: { providers: [] }".to_owned(), "the list is empty"),
        (format!("{KEYS}, exempt: []"), "the list is empty"),
        (format!("{KEYS}, exempt: [{{ paths: [] }}]"), "an exemption names a path"),
        (
            format!("{KEYS}, exempt: [{{ paths: [{{ value: /a }}], methods: [] }}]"),
            "leave it out for every method",
        ),
        (format!("{KEYS}, exempt: [{{ paths: [{{ value: a }}] }}]"), "path"),
        (format!("{KEYS}, exempt: [{{ methods: [GET] }}]"), "paths"),
        (format!("{KEYS}, satisfy: Some"), "Some"),
    ] {
        world.add(&policy("shop", "p", &at_route("r", ""), &spec));
        assert_eq!(*world.demands("shop/p"), Demands::Closed, "{spec}");
        let message = world.message("AuthenticationPolicy shop/p", "Accepted");
        assert!(message.contains(why), "{spec}: {message}");
        world.expect("AuthenticationPolicy shop/p", "ancestor HTTPRoute shop/r: Accepted=False/Invalid");
    }
    let exempt = "exempt: [{ paths: [{ value: /a }, { type: Exact, value: /b }], methods: [GET] }]";
    world.add(&policy("shop", "p", &at_route("r", ""), &format!("{KEYS}, {exempt}")));
    let [conditions] = &world.methods("shop/p").exempt[..] else { panic!("one exemption") };
    assert_eq!(conditions.len(), 2, "{conditions:?}");
}
