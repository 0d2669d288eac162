//! Requests whose clients are asked who they are, through a proxy in memory.

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy, cors};
use fairway_config::Delta;
use fairway_config::model::{
    ApiKeys, AppProtocol, Authentication, AuthenticationKey, Authorization, AuthorizationKey, Backend,
    ClientKey, CredentialMethods, CredentialPlace, Demands, Filter, Limit, LimitKeyPart, Limits, Listener,
    Mirror, OriginPattern, PathMatch, RateLimit, Resource, ResourceKey, ResourceKind, Route, Rule,
};
use fairway_policy::{Action, Condition, Mode};
use fairway_runtime::admin::Content;
use http::HeaderName;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

/// What a proxy serves: its listener has one route, to backend `asked`.
#[derive(Default)]
struct Scene {
    at_listener: Vec<&'static str>,
    at_rule: Vec<&'static str>,
    at_backend: Vec<&'static str>,
    listener_filters: Vec<Filter>,
    filters: Vec<Filter>,
    judges: Vec<&'static str>,
    limits: Vec<&'static str>,
    more: Vec<Resource>,
}

struct Running {
    proxy: MemoryProxy,
    /// The heads that endpoints got, and what came behind them, in lower case.
    heard: Rc<RefCell<Vec<String>>>,
}

impl Scene {
    fn start(self, policies: impl IntoIterator<Item = Authentication>) -> Running {
        let keys = |names: &[&str]| names.iter().map(|it| AuthenticationKey::from(*it)).collect::<Vec<_>>();
        let listener = Listener {
            authentications: keys(&self.at_listener),
            filters: self.listener_filters,
            ..listener("listener", None)
        };
        let rule = Rule {
            filters: self.filters,
            authentications: keys(&self.at_rule),
            authorizations: self.judges.iter().map(|it| AuthorizationKey::from(*it)).collect(),
            limits: self.limits.iter().map(|it| (*it).into()).collect(),
            ..rule(vec![prefix("/")], "asked")
        };
        let route = Route { attachments: vec![attachment("listener", &[])], rules: vec![rule], ..route("r") };
        let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
        for (key, host, names) in [("asked", 1, self.at_backend), ("other", 2, vec!["shop/keys"])] {
            for it in crate::testing::backend(key, AppProtocol::Http1, &[([10, 0, 0, host], 80).into()]) {
                resources.push(match it {
                    Resource::Backend(it) => {
                        let authentications = keys(&names);
                        Resource::Backend(Arc::new(Backend { authentications, ..Arc::unwrap_or_clone(it) }))
                    }
                    other => other,
                });
            }
        }
        resources.extend(policies.into_iter().map(|it| Resource::Authentication(Arc::new(it))));
        resources.extend(self.more);
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let seen = heard.clone();
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            spawn_local(endpoint(stream, address.ip().to_string(), seen.clone()));
            Ok(())
        });
        Running { proxy: proxy.unwrap(), heard }
    }
}

async fn endpoint(mut stream: DuplexStream, name: String, heard: Rc<RefCell<Vec<String>>>) {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        text.push(byte[0]);
        let is_chunked = String::from_utf8_lossy(&text).to_ascii_lowercase().contains("transfer-encoding");
        let is_whole = match is_chunked {
            true => text.windows(3).any(|it| it == b"\n0\r") && text.ends_with(b"\r\n\r\n"),
            false => text.ends_with(b"\r\n\r\n"),
        };
        if is_whole {
            let said = String::from_utf8_lossy(&text).to_ascii_lowercase();
            heard.borrow_mut().push(format!("{name} {said}"));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await;
            text.clear();
        }
    }
}

impl Running {
    async fn ask_with(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = self.proxy.connect(MemoryClient::default());
        let head = format!("{line} HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\n{headers}\r\n{body}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
        (status, text)
    }

    async fn ask(&self, line: &str, headers: &str) -> (u16, String) {
        self.ask_with(line, headers, "").await
    }

    async fn status(&self, headers: &str) -> u16 {
        self.ask("GET /", headers).await.0
    }

    fn last(&self) -> String {
        self.heard.borrow().last().cloned().unwrap_or_default()
    }

    fn put(&mut self, policy: Authentication) {
        let upserts = vec![Resource::Authentication(Arc::new(policy))];
        self.proxy.apply(Delta { upserts, ..Delta::default() }).unwrap();
    }

    fn shows(&self, line: &str) -> bool {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.proxy.metrics()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text.lines().any(|it| it.ends_with(line))
    }
}

fn place(name: &'static str) -> CredentialPlace {
    CredentialPlace::Header { name: HeaderName::from_static(name), prefix: "".into() }
}

fn keys(name: &str, change: impl FnOnce(&mut CredentialMethods, &mut ApiKeys)) -> Authentication {
    let key =
        |client: &str, key: &str| ClientKey { client: client.into(), digest: Sha256::digest(key).into() };
    let mut api_keys = ApiKeys {
        keys: vec![key("ada", "one"), key("bob", "two")],
        places: vec![place("x-key")],
        forward: false,
        client_header: Some(HeaderName::from_static("x-client")),
    };
    let mut methods = CredentialMethods::default();
    change(&mut methods, &mut api_keys);
    methods.api_keys = Some(api_keys);
    Authentication { name: name.into(), mode: Mode::Enforce, demands: Demands::Credentials(methods) }
}

fn usual(name: &str) -> Authentication {
    keys(name, |_, _| ())
}

async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn who_has_no_valid_key_gets_401_and_no_word_of_the_policy() {
    local(async {
        for place in 0..3 {
            let at = |number| if number == place { vec!["shop/keys"] } else { vec![] };
            let scene = Scene { at_listener: at(0), at_rule: at(1), at_backend: at(2), ..Scene::default() };
            let running = scene.start([usual("shop/keys")]);
            for headers in ["", "x-key: none\r\n", "x-key: one\r\nx-key: one\r\n", "x_key: one\r\n"] {
                let (status, text) = running.ask("GET /", headers).await;
                assert_eq!(status, 401, "{place} {headers}: {text}");
                assert!(text.contains("\r\nwww-authenticate: apikey\r\n"), "{text}");
                assert!(text.ends_with("the request needs valid credentials.\n"), "{text}");
                assert!(!text.contains("shop"), "{text}");
            }
            let (_, text) = running.ask("POST /a.B/C", "content-type: application/grpc\r\n").await;
            assert!(text.contains("\r\ngrpc-status: 16\r\n"), "{text}");
            assert!(running.heard.borrow().is_empty(), "no backend hears of it");
            assert_eq!(running.status("x-key: two\r\n").await, 200);
            let counted =
                "policy_decisions_total{policy=\"shop/keys\",rule=\"apiKey\",decision=\"denied\"} 5";
            assert!(running.shows(counted));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_backend_is_told_who_the_client_is_and_never_gets_the_key() {
    local(async {
        let scene = Scene { at_rule: vec!["shop/keys"], ..Scene::default() };
        let mut running = scene.start([usual("shop/keys")]);
        assert_eq!(
            running.status("x-key: one\r\nx-client: eve\r\nx_client: eve\r\nx-other: 1\r\n").await,
            200
        );
        let heard = running.last();
        assert!(heard.contains("\r\nx-client: ada\r\n") && heard.contains("\r\nx-other: 1\r\n"), "{heard}");
        assert!(!heard.contains("eve") && !heard.contains("one"), "{heard}");
        // Also in trailers, and also where nobody has to have a key.
        running.put(keys("shop/keys", |it, _| it.optional = true));
        let body = "1\r\na\r\n0\r\nx-client: eve\r\nx_client: eve\r\nx-sum: 1\r\n\r\n";
        let chunked =
            "transfer-encoding: chunked\r\ntrailer: x-sum, x-client\r\nx-client: eve\r\nX_Client: eve\r\n";
        assert_eq!(running.ask_with("POST /", chunked, body).await.0, 200);
        let heard = running.last();
        assert!(heard.contains("x-sum: 1") && !heard.contains("eve"), "{heard}");
        assert_eq!(running.status("x-key: none\r\n").await, 401, "what is not valid never passes");
        running.put(keys("shop/keys", |_, keys| {
            keys.forward = true;
            keys.client_header = None;
        }));
        assert_eq!(running.status("x-key: two\r\n").await, 200);
        assert!(running.last().contains("\r\nx-key: two\r\n") && !running.last().contains("x-client"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_level_asks_and_none_takes_away_what_another_asks_for() {
    local(async {
        let scene =
            || Scene { at_listener: vec!["edge/keys"], at_rule: vec!["shop/keys"], ..Scene::default() };
        let of_route = keys("shop/keys", |_, it| it.places = vec![place("x-other")]);
        let running = scene().start([usual("edge/keys"), of_route]);
        for (headers, status) in [
            ("x-key: one\r\n", 401),
            ("x-other: one\r\n", 401),
            ("x-key: one\r\nx-other: none\r\n", 401),
            ("x-key: one\r\nx-other: two\r\n", 200),
        ] {
            assert_eq!(running.status(headers).await, status, "{headers}");
        }
        // One that is optional makes no other optional.
        let running = scene().start([usual("edge/keys"), keys("shop/keys", |it, _| it.optional = true)]);
        assert_eq!(running.status("").await, 401);
        // Both look at one place, which is emptied behind both.
        assert_eq!(running.status("x-key: one\r\n").await, 200);
        assert!(!running.last().contains("x-key"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_or_cannot_be_carried_out_closes() {
    local(async {
        for place in 0..3 {
            let at = |number| if number == place { vec!["shop/keys"] } else { vec![] };
            let scene =
                || Scene { at_listener: at(0), at_rule: at(1), at_backend: at(2), ..Scene::default() };
            let closed = Authentication::closed("shop/keys".into(), Mode::Enforce);
            for mut running in [scene().start([]), scene().start([closed])] {
                let (status, text) = running.ask("GET /", "x-key: one\r\n").await;
                assert_eq!(status, 500, "{place}: {text}");
                assert!(!text.contains("shop"), "{text}");
                let call = "x-key: one\r\ncontent-type: application/grpc\r\n";
                let (_, text) = running.ask("POST /a.B/C", call).await;
                assert!(text.contains("\r\ngrpc-status: 14\r\n"), "{text}");
                assert!(running.heard.borrow().is_empty());
                running.put(usual("shop/keys"));
                assert_eq!(running.status("x-key: one\r\n").await, 200);
                let removals = vec![ResourceKey::new(ResourceKind::Authentication, "shop/keys")];
                running.proxy.apply(Delta { removals, ..Delta::default() }).unwrap();
                assert_eq!(running.status("x-key: one\r\n").await, 500);
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_only_observes_counts_changes_nothing_and_lets_pass() {
    local(async {
        let scene = Scene { at_rule: vec!["shop/keys"], ..Scene::default() };
        let mut running = scene.start([Authentication { mode: Mode::Observe, ..usual("shop/keys") }]);
        assert_eq!(running.status("x-client: eve\r\n").await, 200);
        assert!(running.last().contains("\r\nx-client: eve\r\n"));
        assert_eq!(running.status("x-key: one\r\n").await, 200);
        assert!(running.last().contains("\r\nx-key: one\r\n") && !running.last().contains("ada"));
        let line = "policy_decisions_total{policy=\"shop/keys\",rule=\"apiKey\",decision=\"would_deny\"} 1";
        assert!(running.shows(line));
        running.put(Authentication::closed("shop/keys".into(), Mode::Observe));
        assert_eq!(running.status("").await, 200, "an observed policy closes nothing");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn preflights_are_answered_before_and_limits_by_address_count_before_and_policies_judge_behind() {
    local(async {
        let once = Limit {
            name: None,
            requests: NonZeroU32::new(3).unwrap(),
            per: Duration::from_secs(3600),
            burst: NonZeroU32::new(3).unwrap(),
            key: vec![LimitKeyPart::ClientAddress],
            matches: None,
        };
        let limit =
            RateLimit { name: "shop/few".into(), mode: Mode::Enforce, limits: Limits::Each(vec![once]) };
        // The policy believes the header that says who the client is: nobody but the proxy sets it.
        let is_ada = Condition::HeaderIs(fairway_policy::matching::HeaderMatch {
            name: HeaderName::from_static("x-client"),
            value: fairway_policy::matching::ValueMatch::Exact("ada".into()),
        });
        let rules = vec![fairway_policy::Rule::when(vec![is_ada])];
        let ada = Authorization::new("shop/ada", Action::Allow, rules);
        let scene = Scene {
            at_rule: vec!["shop/keys"],
            filters: vec![Filter::Cors(cors(OriginPattern::Any))],
            judges: vec!["shop/ada"],
            limits: vec!["shop/few"],
            more: vec![Resource::RateLimit(Arc::new(limit)), Resource::Authorization(Arc::new(ada))],
            ..Scene::default()
        };
        let running = scene.start([usual("shop/keys")]);
        let preflight = "origin: https://b.ex\r\naccess-control-request-method: GET\r\n";
        assert_eq!(running.ask("OPTIONS /", preflight).await.0, 204);
        let (status, text) = running.ask("GET /", "origin: https://b.ex\r\nx-client: ada\r\n").await;
        assert_eq!(status, 401, "{text}");
        assert!(text.contains("access-control-allow-origin"), "a browser can read the answer: {text}");
        assert_eq!(running.status("x-key: two\r\n").await, 403, "not ada");
        assert_eq!(running.status("x-key: one\r\n").await, 200);
        assert_eq!(running.status("").await, 429, "trying is limited");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_listener_asks_before_its_filters_and_the_rule_looks_at_what_came_to_them() {
    local(async {
        // The filter adds its mark to `x-order`.
        let scene = || Scene {
            at_listener: vec!["edge/keys"],
            at_rule: vec!["shop/keys"],
            listener_filters: vec![Filter::Unresolved("test/mark/z".into())],
            ..Scene::default()
        };
        let order = HeaderName::from_static("x-order");
        let told_by = keys("edge/keys", |_, it| it.client_header = Some(order));
        let running = scene().start([told_by, keys("shop/keys", |_, it| it.client_header = None)]);
        assert_eq!(running.status("").await, 401);
        assert_eq!(running.status("x-key: none\r\n").await, 401);
        assert_eq!(running.status("x-key: one\r\nx-order: eve\r\n").await, 200, "both have seen the key");
        let heard = running.last();
        assert!(!heard.contains("x-key") && heard.contains("\r\nx-order: adaz\r\n"), "{heard}");
        // What a filter puts in the place of a key is not the client's.
        let there = |name| keys(name, |_, it| it.places = vec![place("x-order")]);
        let running = scene().start([there("edge/keys"), there("shop/keys")]);
        assert_eq!(running.status("").await, 401);
        assert_eq!(running.status("x-order: one\r\n").await, 200);
        assert!(running.last().contains("\r\nx-order: z\r\n"), "{}", running.last());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_path_that_no_route_takes_is_told_to_nobody_who_has_not_said_who_he_is() {
    local(async {
        let mut running =
            Scene { at_listener: vec!["shop/keys"], ..Scene::default() }.start([usual("shop/keys")]);
        let nowhere = Route { rules: vec![], attachments: vec![attachment("listener", &[])], ..route("r") };
        let upserts = vec![Resource::Route(Arc::new(nowhere))];
        running.proxy.apply(Delta { upserts, ..Delta::default() }).unwrap();
        assert_eq!(running.status("").await, 401);
        assert_eq!(running.status("x-key: one\r\n").await, 404);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_does_not_reach_a_service_that_asks_who_clients_are() {
    local(async {
        let mirror = Mirror {
            target: fairway_config::model::BackendTarget::Backend("other".into()),
            fraction: fairway_config::model::Fraction::ALL,
        };
        let running =
            Scene { filters: vec![Filter::Mirror(mirror)], ..Scene::default() }.start([usual("shop/keys")]);
        assert_eq!(running.status("x-key: one\r\n").await, 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(running.heard.borrow().iter().all(|it| it.starts_with("10.0.0.1 ")));
        assert_eq!(running.heard.borrow().len(), 1);
    })
    .await;
}

#[test]
fn bytes_have_no_credentials() {
    use crate::pipeline::access::{PolicySet, RequestSource};
    use crate::pipeline::guards::Guards;
    use crate::table::Tables;
    use crate::upstream::cluster::Registry as Clusters;
    let closed = |mode| Authentication::closed("shop/keys".into(), mode);
    let optional = keys("shop/keys", |it, _| it.optional = true);
    let observed = Authentication { mode: Mode::Observe, ..usual("shop/keys") };
    for (policy, passes) in [
        (usual("shop/keys"), false),
        (optional, false),
        (closed(Mode::Enforce), false),
        (observed, true),
        (closed(Mode::Observe), true),
    ] {
        let upserts = vec![Resource::Authentication(Arc::new(policy.clone()))];
        let (snapshot, changes) =
            fairway_config::Snapshot::default().apply(Delta { upserts, ..Delta::default() });
        let tables = Tables::default().next(&snapshot, &changes, &mut Clusters::default()).unwrap();
        let source = RequestSource { peer: None, address: None, port: 443, asked: None };
        let at = |name: &str| Listener { authentications: vec![name.into()], ..listener("l", None) };
        let (known, unknown) = (at("shop/keys"), at("shop/gone"));
        for level in 0..3 {
            let set = |named| {
                let guards = |of| if of == level { Guards::Listener(named) } else { Guards::None };
                PolicySet { listener: guards(0), rule: guards(1), service: guards(2) }
            };
            assert_eq!(set(&known).lets_bytes_pass(&tables, source), passes, "{level} {policy:?}");
            assert!(!set(&unknown).lets_bytes_pass(&tables, source), "{level}: what is not known closes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_exempt_needs_no_key_in_no_other_spelling() {
    local(async {
        let exempt = keys("shop/keys", |it, _| {
            let path = Condition::PathIs(vec![PathMatch::Prefix("/open".into()).into()]);
            let get = Condition::MethodIs(vec![http::Method::GET]);
            let unknown = Condition::NotUnderstood("of the future".into());
            it.exempt = vec![vec![path, get], vec![unknown]];
        });
        let running = Scene { at_rule: vec!["shop/keys"], ..Scene::default() }.start([exempt]);
        for (line, status) in [
            ("GET /open", 200),
            ("GET /open/x?y", 200),
            ("GET /%6Fpen", 200),
            ("POST /open", 401),
            ("GET /opens", 401),
            ("GET /Open", 401),
            ("GET //open", 401),
            ("GET /open;x", 401),
            ("GET /x/%2Fopen", 401),
            ("GET /closed;/open", 401),
            ("GET /", 401),
        ] {
            assert_eq!(running.ask(line, "").await.0, status, "{line}");
        }
        assert_eq!(running.ask("GET /open", "x-client: eve\r\n").await.0, 200);
        assert!(!running.last().contains("x-client"), "also there nobody says who the client is");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_or_a_key_or_both() {
    use aws_lc_rs::hmac;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use fairway_config::model::{ClaimHeader, JwtProvider, Satisfy};
    use std::time::{SystemTime, UNIX_EPOCH};
    let secret = [7; 32];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = |issuer: &str| {
        let claims = format!(r#"{{"iss":"{issuer}","sub":"cy","exp":{}}}"#, now + 60);
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
    };
    let both = |satisfy| {
        keys("shop/keys", |it, _| {
            it.satisfy = satisfy;
            it.jwt = vec![JwtProvider {
                name: "a".into(),
                issuer: "https://a.ex".into(),
                audiences: vec![],
                key_set: format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, URL_SAFE_NO_PAD.encode(secret))
                    .into(),
                places: vec![CredentialPlace::Header {
                    name: http::header::AUTHORIZATION,
                    prefix: "Bearer ".into(),
                }],
                forward: false,
                claims: vec![ClaimHeader { claim: "sub".into(), header: HeaderName::from_static("x-user") }],
            }];
        })
    };
    let (good, bad) = (token("https://a.ex"), token("https://b.ex"));
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let key = "x-key: one\r\n".to_owned();
    local(async {
        for (headers, all, any) in [
            (String::new(), 401, 401),
            (bearer(&good), 401, 200),
            (key.clone(), 401, 200),
            (bearer(&good) + &key, 200, 200),
            (bearer(&bad) + &key, 401, 200),
            (bearer(&good) + "x-key: none\r\n", 401, 200),
            (bearer(&bad), 401, 401),
        ] {
            for (satisfy, status) in [(Satisfy::All, all), (Satisfy::Any, any)] {
                let scene = Scene { at_rule: vec!["shop/keys"], ..Scene::default() };
                let running = scene.start([both(satisfy)]);
                let (got, text) = running.ask("GET /", &format!("{headers}x-user: eve\r\n")).await;
                assert_eq!(got, status, "{satisfy:?} {headers}: {text}");
                let heard = running.last();
                assert!(
                    !heard.contains("eve") && !heard.contains("bearer") && !heard.contains("x-key"),
                    "{heard}"
                );
                if got == 200 && headers.contains(&good) {
                    assert!(heard.contains("\r\nx-user: cy\r\n"), "{heard}");
                    // Once more: it is remembered.
                    assert_eq!(running.status(&headers).await, 200);
                    assert!(running.last().contains("\r\nx-user: cy\r\n"));
                }
                if headers == bearer(&bad) {
                    assert!(
                        text.contains("\r\nwww-authenticate: bearer error=\"invalid_token\"\r\n"),
                        "{text}"
                    );
                }
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_what_clients_are_asked_for_and_goes_on_as_if_they_had_it() {
    local(async {
        let explained = |running: &Running, path: &str| {
            let said = running.proxy.view().explain(&format!("url=http://a.ex{path}"));
            let Content::Text(said) = said else { panic!("{path}") };
            said
        };
        for (at, shown) in [(0, "\nwho      "), (1, "\nwho      "), (2, "\n         asks ")] {
            for policy in [usual("shop/keys"), Authentication { mode: Mode::Observe, ..usual("shop/keys") }] {
                let named = |number| if number == at { vec!["shop/keys"] } else { vec![] };
                let observed = policy.mode == Mode::Observe;
                let scene = Scene {
                    at_listener: named(0),
                    at_rule: named(1),
                    at_backend: named(2),
                    ..Scene::default()
                };
                let said = explained(&scene.start([policy]), "/");
                assert!(said.contains(&format!("{shown}shop/keys: ")), "{at}: {said}");
                assert_eq!(said.contains("; only observed"), observed, "{at}: {said}");
                assert!(said.contains("outcome  it goes to asked"), "{at}: {said}");
            }
        }
        let scene = Scene { at_rule: vec!["shop/gone"], ..Scene::default() };
        let said = explained(&scene.start([]), "/");
        assert!(said.contains("(unresolved_authentication)"), "{said}");
        assert!(said.contains("who      shop/gone: not known here"), "{said}");
    })
    .await;
}
