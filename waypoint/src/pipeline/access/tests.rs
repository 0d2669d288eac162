//! Requests that policies judge, through a proxy in memory.

mod bytes;
mod stages;

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy};
use crate::wire::Version;
use fairway_config::Delta;
use fairway_config::model::{
    AppProtocol, AuthorizationKey, Backend, BackendSecurity, Endpoint, EndpointState, Endpoints, Filter,
    HeaderMatch, Listener, PathMatch, Resource, ResourceKey, ResourceKind, Route, Rule, ValueMatch,
};
use fairway_identity::SpiffeId;
use fairway_policy::{Action, Authorization, Cidr, Condition, HostnamePattern, Mode, Rule as PolicyRule};
use http::{HeaderName, Method};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

/// What a proxy serves: its listener `listener` has one route. Endpoints of `asked` and `other` answer with their name.
#[derive(Default)]
struct Scene {
    at_listener: Vec<&'static str>,
    at_rule: Vec<&'static str>,
    at_other: Vec<&'static str>,
    filters: Vec<Filter>,
    policies: Vec<Authorization>,
    backend: Option<&'static str>,
    path: Option<&'static str>,
}

struct Running {
    proxy: MemoryProxy,
    /// The backends that were reached.
    reached: Rc<RefCell<Vec<String>>>,
}

impl Scene {
    fn start(self) -> Running {
        let keys = |names: &[&str]| names.iter().map(|it| AuthorizationKey::from(*it)).collect::<Vec<_>>();
        let listener = Listener { authorizations: keys(&self.at_listener), ..listener("listener", None) };
        let rule = Rule {
            filters: self.filters,
            authorizations: keys(&self.at_rule),
            ..rule(vec![prefix(self.path.unwrap_or("/"))], self.backend.unwrap_or("asked"))
        };
        let route = Route { attachments: vec![attachment("listener", &[])], rules: vec![rule], ..route("r") };
        let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
        for (key, host, port, names) in [("asked", 1, 80, vec![]), ("other", 2, 9090, self.at_other)] {
            resources.extend(backend(key, host, port, keys(&names)));
        }
        resources.extend(self.policies.into_iter().map(|it| Resource::Authorization(Arc::new(it))));
        let reached: Rc<RefCell<Vec<String>>> = Rc::default();
        let seen = reached.clone();
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            let name = if address.ip().to_string() == "10.0.0.1" { "asked" } else { "other" };
            spawn_local(endpoint(stream, name.to_owned(), seen.clone()));
            Ok(())
        });
        Running { proxy: proxy.unwrap(), reached }
    }
}

impl Running {
    /// The status of the response to a request, and all of it.
    async fn ask_as(&self, client: MemoryClient, head: &str) -> (u16, String) {
        let mut stream = self.proxy.connect(client);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
        (status, text.to_ascii_lowercase())
    }

    async fn ask(&self, line: &str, headers: &str) -> (u16, String) {
        let host = if headers.contains("host:") { "" } else { "host: a.ex\r\n" };
        let head = format!("{line} HTTP/1.1\r\n{host}connection: close\r\n{headers}\r\n");
        self.ask_as(MemoryClient::default(), &head).await
    }
}

fn backend(key: &str, host: u8, port: u16, authorizations: Vec<AuthorizationKey>) -> [Resource; 2] {
    let backend = Backend {
        key: key.into(),
        service: key.into(),
        port,
        protocol: AppProtocol::Http1,
        security: BackendSecurity::Plain,
        via: None,
        authorizations,
        limits: vec![],
        authentications: vec![],
    };
    let endpoint = Endpoint {
        address: ([10, 0, 0, host], 80).into(),
        state: EndpointState::Ready,
        identity: None,
        node: None,
        hints: None,
    };
    let endpoints = Endpoints::of_anybody(key.into(), vec![endpoint]);
    [Resource::Backend(Arc::new(backend)), Resource::Endpoints(Arc::new(endpoints))]
}

/// Reads the head of a response, and its body by its length.
async fn read_response(stream: &mut DuplexStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.unwrap();
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    head
}

async fn endpoint(mut stream: DuplexStream, name: String, reached: Rc<RefCell<Vec<String>>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            reached.borrow_mut().push(name.clone());
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nx-role: admin\r\ncontent-length: 3\r\n\r\nok\n").await;
            head.clear();
        }
    }
}

fn policy(name: &str, action: Action, conditions: Vec<Condition>) -> Authorization {
    Authorization::new(format!("shop/{name}@gateway"), action, vec![PolicyRule::when(conditions)])
}

fn no_admin() -> Authorization {
    let path = Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
    policy("no-admin", Action::Deny, vec![path])
}

fn everybody() -> Authorization {
    policy("everybody", Action::Allow, vec![])
}

async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn a_deny_by_path_is_not_passed_by_another_spelling() {
    local(async {
        let policies = vec![no_admin()];
        let scene =
            Scene { at_listener: vec!["shop/no-admin@gateway"], policies, ..Scene::default() }.start();
        for (target, headers, status) in [
            ("/", "", 200),
            ("/admin", "", 403),
            ("/admin/", "", 403),
            ("/admin?x=1", "", 403),
            ("/administrator", "", 200),
            ("//admin", "", 403),
            ("/admin;x", "", 403),
            ("/admin;x/users", "", 403),
            ("/;x/admin", "", 403),
            ("/%61dmin", "", 403),
            ("/%2Fadmin", "", 403),
            ("/%2fadmin", "", 403),
            ("/admin%3bx", "", 403),
            ("/;%2Fx/admin", "", 403),
            ("/admin;%2F", "", 403),
            ("/admin;%5C/x", "", 403),
            ("/%252Fadmin", "", 403),
            ("/%2561dmin", "", 403),
            ("/admin%252Fx", "", 403),
            ("/ADMIN", "", 200),
            ("/x/../admin", "", 400),
            ("/x/%2e%2e/admin", "", 400),
            ("/x\\admin", "", 400),
            ("http://a.ex/admin", "", 403),
            ("http://a.ex//admin", "host: b.ex\r\n", 403),
            ("/admin", "host: a.ex.\r\n", 403),
            ("/", "host: a.ex\r\nhost: a.ex\r\n", 400),
        ] {
            let (got, text) = scene.ask(&format!("GET {target}"), headers).await;
            assert_eq!(got, status, "{target} {headers}: {text}");
            assert!(!text.contains("no-admin"), "the client is not told which policy it met: {text}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_allow_lets_in_what_it_names_and_nothing_that_only_looks_like_it() {
    local(async {
        let conditions = vec![
            Condition::HostIs(vec!["a.ex".parse::<HostnamePattern>().unwrap()]),
            Condition::PathIs(vec![PathMatch::Prefix("/public".into()).into()]),
            Condition::MethodIs(vec![Method::GET]),
        ];
        let policies = vec![policy("public", Action::Allow, conditions)];
        let scene = Scene { at_rule: vec!["shop/public@gateway"], policies, ..Scene::default() }.start();
        for (line, headers, status) in [
            ("GET /public", "", 200),
            ("GET /public", "host: A.EX.:80\r\n", 200),
            ("GET /public/x", "", 200),
            ("GET http://a.ex/public", "host: b.ex\r\n", 200),
            ("GET http://b.ex/public", "host: a.ex\r\n", 403),
            ("GET /public", "host: b.ex\r\n", 403),
            ("get /public", "", 403),
            ("POST /public", "content-length: 0\r\n", 403),
            ("GET /public%2Fadmin", "", 403),
            ("GET /public;/admin", "", 403),
            ("GET //public", "", 403),
            ("GET /other", "", 403),
        ] {
            let (got, text) = scene.ask(line, headers).await;
            assert_eq!(got, status, "{line} {headers}: {text}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_level_has_to_let_a_request_pass() {
    local(async {
        let nobody = || Authorization::new("shop/nobody@gateway", Action::Allow, vec![]);
        for (at_listener, at_rule, at_other, status) in [
            (vec![], vec![], vec![], 200),
            (vec!["shop/everybody@gateway"], vec!["shop/everybody@gateway"], vec![], 200),
            // The owner of the route does not open what the owner of the Gateway closes, nor the other way round.
            (vec!["shop/nobody@gateway"], vec!["shop/everybody@gateway"], vec![], 403),
            (vec!["shop/everybody@gateway"], vec!["shop/nobody@gateway"], vec![], 403),
            (vec![], vec![], vec!["shop/nobody@gateway"], 403),
            (vec!["shop/everybody@gateway"], vec![], vec!["shop/everybody@gateway"], 200),
            // At one level one is enough.
            (vec!["shop/nobody@gateway", "shop/everybody@gateway"], vec![], vec![], 200),
            // One that is not known could be a Deny.
            (vec!["shop/gone@gateway"], vec![], vec![], 403),
            (vec![], vec!["shop/gone@gateway"], vec![], 403),
            (vec![], vec![], vec!["shop/gone@gateway"], 403),
        ] {
            let case = format!("{at_listener:?} {at_rule:?} {at_other:?}");
            let policies = vec![nobody(), everybody()];
            let scene = Scene {
                at_listener,
                at_rule,
                at_other,
                policies,
                backend: Some("other"),
                ..Scene::default()
            };
            let scene = scene.start();
            let (got, text) = scene.ask("GET /", "").await;
            assert_eq!(got, status, "{case}: {text}");
            assert_eq!(scene.reached.borrow().len(), usize::from(status == 200), "{case}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn grpc_and_upgrades_are_judged_as_what_they_ask_for() {
    local(async {
        let policies = vec![no_admin()];
        let scene = Scene { at_rule: vec!["shop/no-admin@gateway"], policies, ..Scene::default() }.start();
        let (status, text) =
            scene.ask("POST /admin", "content-type: application/grpc\r\ncontent-length: 0\r\n").await;
        assert_eq!(status, 200);
        assert!(text.contains("grpc-status: 7\r\n"), "PERMISSION_DENIED: {text}");
        let websocket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let head = format!("GET /admin HTTP/1.1\r\nhost: a.ex\r\n{websocket}\r\n");
        let mut stream = scene.proxy.connect(MemoryClient::default());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 403");
        assert!(scene.reached.borrow().is_empty());
        assert_eq!(scene.ask("CONNECT a.ex:80", "").await.0, 405);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_judged_by_identity_and_address() {
    local(async {
        let web: SpiffeId = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
        let cidr = Condition::ClientIn(["192.0.2.0/24".parse::<Cidr>().unwrap()].into_iter().collect());
        let policies = vec![
            policy("web", Action::Allow, vec![Condition::PeerIs(vec![web.clone()])]),
            policy("near", Action::Allow, vec![cidr]),
        ];
        let scene = Scene {
            at_listener: vec!["shop/near@gateway"],
            at_rule: vec!["shop/web@gateway"],
            policies,
            ..Scene::default()
        };
        let scene = scene.start();
        let head = "GET / HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\nx-forwarded-for: 192.0.2.1\r\n\r\n";
        for (address, identity, status) in [
            ("192.0.2.7", Some(&web), 200),
            ("::ffff:192.0.2.7", Some(&web), 200),
            ("198.51.100.7", Some(&web), 403),
            ("192.0.2.7", None, 403),
        ] {
            let client = MemoryClient {
                proxied: None,
                address: address.parse().unwrap(),
                identity: identity.cloned(),
                version: Some(Version::Http1),
            };
            assert_eq!(scene.ask_as(client, head).await.0, status, "{address} {identity:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_request_of_an_open_connection_is_judged_by_the_policies_of_its_time() {
    local(async {
        let mut scene = Scene { at_rule: vec!["shop/no-admin@gateway"], ..Scene::default() };
        scene.policies = vec![no_admin()];
        let mut scene = scene.start();
        let mut stream = scene.proxy.connect(MemoryClient::default());
        for (policies, path, expected) in [
            (vec![], "/admin", "403"),
            (vec![], "/", "200"),
            (vec![policy("no-admin", Action::Allow, vec![])], "/admin", "200"),
            (vec![policy("no-admin", Action::Deny, vec![])], "/", "403"),
        ] {
            let upserts = policies.into_iter().map(|it| Resource::Authorization(Arc::new(it))).collect();
            let delta = Delta { upserts, ..Delta::default() };
            scene.proxy.apply(delta).unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: a.ex\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let text = read_response(&mut stream).await;
            assert_eq!(text.split(' ').nth(1), Some(expected), "{path}: {text}");
        }
        assert_eq!(scene.reached.borrow().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_older_http_is_judged_alike() {
    local(async {
        let host = Condition::HostIs(vec!["a.ex".parse::<HostnamePattern>().unwrap()]);
        let policies = vec![no_admin(), policy("host", Action::Allow, vec![host])];
        let at_listener = vec!["shop/no-admin@gateway", "shop/host@gateway"];
        let scene = Scene { at_listener, policies, ..Scene::default() }.start();
        for (head, status) in [
            ("GET / HTTP/1.0\r\nhost: a.ex\r\n\r\n", 200),
            ("GET /admin HTTP/1.0\r\nhost: a.ex\r\n\r\n", 403),
            ("GET http://a.ex//admin HTTP/1.0\r\n\r\n", 403),
            // Without a host nothing allows it.
            ("GET / HTTP/1.0\r\n\r\n", 403),
        ] {
            let (got, text) = scene.ask_as(MemoryClient::default(), head).await;
            assert_eq!(got, status, "{head}: {text}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_header_is_denied_in_every_form_and_allowed_in_one() {
    local(async {
        let role = |action, name| {
            let value = ValueMatch::Exact("admin".into());
            let header = HeaderMatch { name: HeaderName::from_static("x-role"), value };
            policy(name, action, vec![Condition::HeaderIs(header)])
        };
        for (action, twice, mixed, joined, absent) in
            [(Action::Allow, 200, 403, 403, 403), (Action::Deny, 403, 403, 403, 200)]
        {
            let policies = vec![role(action, "role")];
            let scene = Scene { at_rule: vec!["shop/role@gateway"], policies, ..Scene::default() }.start();
            for (headers, status) in [
                ("x-role: admin\r\nX-Role: admin\r\n", twice),
                ("x-role: admin\r\nx-role: user\r\n", mixed),
                ("x-role: admin, user\r\n", joined),
                ("x_role: admin\r\n", joined),
                ("x-role: user\r\nx_role: admin\r\n", joined),
                ("", absent),
            ] {
                let (got, text) = scene.ask("GET /", headers).await;
                assert_eq!(got, status, "{action:?} {headers}: {text}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_only_observed_lets_pass() {
    local(async {
        let observed = Authorization { mode: Mode::Observe, ..no_admin() };
        let scene =
            Scene { at_rule: vec!["shop/no-admin@gateway"], policies: vec![observed], ..Scene::default() };
        let scene = scene.start();
        assert_eq!(scene.ask("GET /admin", "").await.0, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_judged_at_the_port_that_a_request_is_routed_to() {
    local(async {
        for (port, status) in [(9090, 403), (80, 200)] {
            let policies = vec![policy("port", Action::Deny, vec![Condition::PortIs(vec![port])])];
            let at_other = vec!["shop/port@gateway"];
            let scene = Scene { at_other, policies, backend: Some("other"), ..Scene::default() }.start();
            assert_eq!(scene.ask("GET /", "").await.0, status, "{port}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_may_ask_for_nothing_is_not_told_which_paths_there_are() {
    local(async {
        let nobody = Authorization::new("shop/nobody@gateway", Action::Allow, vec![]);
        for (at_listener, status) in [(vec![], 404), (vec!["shop/nobody@gateway"], 403)] {
            let scene = Scene { at_listener, policies: vec![nobody.clone()], ..Scene::default() };
            let scene = Scene { path: Some("/there"), ..scene }.start();
            assert_eq!(scene.ask("GET /elsewhere", "").await.0, status);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_of_which_only_the_endpoints_are_known_gets_nothing() {
    local(async {
        let mut scene = Scene { backend: Some("other"), ..Scene::default() }.start();
        assert_eq!(scene.ask("GET /", "").await.0, 200);
        let backend = ResourceKey::new(ResourceKind::Backend, "other");
        scene.proxy.apply(Delta { removals: vec![backend], ..Delta::default() }).unwrap();
        assert_ne!(scene.ask("GET /", "").await.0, 200);
        assert_eq!(scene.reached.borrow().len(), 1);
    })
    .await;
}
