//! Clients behind load balancers, and those who say that they are, through a proxy in memory.

use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy, backend, endpoint};
use crate::wire::Version;
use fairway_config::Delta;
use fairway_config::model::{
    AddressSource, AppProtocol, Endpoints, Listener, Resource, Route, SessionAffinity,
};
use fairway_policy::{Action, Authorization, CidrSet, Condition, Rule as PolicyRule};
use http::HeaderName;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

/// A load balancer that is trusted, the client behind it, and somebody else.
const BALANCER: &str = "10.0.0.1";
const CLIENT: &str = "203.0.113.7";
const STRANGER: &str = "192.0.2.66";

fn ranges(texts: &[&str]) -> CidrSet {
    texts.iter().map(|it| it.parse().unwrap()).collect()
}

fn trusted() -> CidrSet {
    ranges(&["10.0.0.0/8"])
}

fn header() -> AddressSource {
    AddressSource::Header { name: HeaderName::from_static("cf-connecting-ip"), trusted: trusted() }
}

struct Scene {
    proxy: MemoryProxy,
    /// The endpoints that were reached, each with the head that it got.
    reached: Rc<RefCell<Vec<(SocketAddr, String)>>>,
}

impl Scene {
    /// Listener `listener` for every host, and `other` for `b.ex`, with one route for both. What comes from [`CLIENT`] is allowed,
    /// and nothing else.
    fn start(source: AddressSource, of_other: AddressSource) -> Self {
        Self::with([source, of_other].map(Some), vec!["office".into()], 1)
    }

    /// The same with `other` closed.
    fn beside_closed(source: AddressSource) -> Self {
        Self::with([Some(source), None], vec!["office".into()], 1)
    }

    /// A listener without a source is closed.
    fn with(
        [source, of_other]: [Option<AddressSource>; 2],
        authorizations: Vec<fairway_config::model::AuthorizationKey>,
        endpoints: u8,
    ) -> Self {
        let listeners = [("listener", None, source), ("other", Some("b.ex"), of_other)];
        let listeners = listeners.map(|(key, hostname, source)| {
            let authorizations = authorizations.clone();
            let is_closed = source.is_none();
            let address_source = source.unwrap_or_default();
            let open = Listener { address_source, authorizations, ..listener(key, hostname) };
            Resource::Listener(Arc::new(if is_closed { open.close("x").unwrap() } else { open }))
        });
        let attachments = vec![attachment("listener", &[]), attachment("other", &[])];
        let route = Route { attachments, rules: vec![rule(vec![prefix("/")], "web")], ..route("r") };
        let only = PolicyRule::when(vec![Condition::ClientIn(ranges(&[CLIENT, "2001:db8::7"]))]);
        let policy = Authorization::new("office", Action::Allow, vec![only]);
        let mut resources = listeners.to_vec();
        resources.extend([Resource::Route(Arc::new(route)), Resource::Authorization(Arc::new(policy))]);
        let addresses: Vec<SocketAddr> = (1..=endpoints).map(endpoint).collect();
        resources.extend(backend("web", AppProtocol::Http1, &addresses).into_iter().map(|it| match it {
            Resource::Endpoints(it) => {
                let session_affinity = SessionAffinity::ClientIp;
                Resource::Endpoints(Arc::new(Endpoints { session_affinity, ..Arc::unwrap_or_clone(it) }))
            }
            other => other,
        }));
        let reached: Rc<RefCell<Vec<_>>> = Rc::default();
        let seen = reached.clone();
        let proxy = MemoryProxy::start(resources, move |address, stream| {
            spawn_local(answer(stream, address, seen.clone()));
            Ok(())
        });
        Self { proxy: proxy.unwrap(), reached }
    }

    /// The status, and what the endpoint was told of the client.
    async fn ask(&self, client: MemoryClient, host: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut stream = self.proxy.connect(client);
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
        let told = self.reached.borrow_mut().pop().map(|(_, head)| forwarded_for(&head)).unwrap_or_default();
        (status, told)
    }
}

/// Every line of X-Forwarded-For and its relatives that an endpoint got.
fn forwarded_for(head: &str) -> String {
    let names = ["x-forwarded-for: ", "forwarded: ", "x_forwarded_for: "];
    let lines = head.lines().filter_map(|line| names.iter().find_map(|it| line.strip_prefix(it)));
    lines.collect::<Vec<_>>().join(" | ")
}

async fn answer(
    mut stream: DuplexStream,
    address: SocketAddr,
    reached: Rc<RefCell<Vec<(SocketAddr, String)>>>,
) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let is_whole = !text.contains("transfer-encoding: chunked");
            reached.borrow_mut().push((address, text));
            head.clear();
            if !is_whole {
                // The body and its trailers end in the same way.
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    }
}

fn from(peer: &str, proxied: Option<&str>) -> MemoryClient {
    MemoryClient {
        address: peer.parse().unwrap(),
        proxied: proxied.map(|it| it.parse().unwrap()),
        ..MemoryClient::default()
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async { test().await });
}

/// Who comes from where and says what; the policies let in [`CLIENT`] alone, and the endpoint is told where the client is.
#[test]
fn policies_and_endpoints_go_by_the_address_that_is_found_and_lies_change_nothing() {
    use AddressSource::{Connection, ForwardedFor, ProxyProtocol};
    const XFF: &str = "x-forwarded-for";
    let lie = "198.51.100.1, 203.0.113.7";
    run(|| async {
        for (source, peer, proxied, headers, expected) in [
            // Nobody is believed.
            (Connection, BALANCER, None, &[(XFF, CLIENT)][..], (403, "")),
            (Connection, CLIENT, None, &[(XFF, STRANGER)], (200, CLIENT)),
            // The load balancer is believed, and strangers are not.
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, CLIENT)], (200, CLIENT)),
            (ForwardedFor(trusted()), "::ffff:10.0.0.1", None, &[(XFF, "::ffff:203.0.113.7")], (200, CLIENT)),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, "[2001:db8::7]:80")], (200, "2001:db8::7")),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, lie)], (200, CLIENT)),
            (ForwardedFor(trusted()), STRANGER, None, &[(XFF, CLIENT)], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, "203.0.113.7, 192.0.2.66")], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, CLIENT), (XFF, STRANGER)], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, STRANGER), (XFF, CLIENT)], (200, CLIENT)),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, "203.0.113.7,")], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[(XFF, "203.0.113.7, unknown")], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[("x_forwarded_for", CLIENT)], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[("forwarded", "for=203.0.113.7")], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[("cf-connecting-ip", CLIENT)], (403, "")),
            (ForwardedFor(trusted()), BALANCER, None, &[], (403, "")),
            // A header of its own.
            (header(), BALANCER, None, &[("cf-connecting-ip", CLIENT), (XFF, STRANGER)], (200, CLIENT)),
            (
                header(),
                BALANCER,
                None,
                &[("cf-connecting-ip", CLIENT), ("cf-connecting-ip", STRANGER)],
                (400, ""),
            ),
            (header(), BALANCER, None, &[("cf-connecting-ip", "203.0.113.7, 203.0.113.7")], (400, "")),
            (header(), BALANCER, None, &[("cf_connecting_ip", CLIENT)], (403, "")),
            (header(), BALANCER, None, &[(XFF, CLIENT)], (403, "")),
            (header(), STRANGER, None, &[("cf-connecting-ip", CLIENT)], (403, "")),
            (header(), CLIENT, None, &[("cf-connecting-ip", "garbage")], (200, CLIENT)),
            // The PROXY protocol: what a request says is nothing.
            (ProxyProtocol(trusted()), BALANCER, Some(CLIENT), &[(XFF, STRANGER)], (200, CLIENT)),
            (ProxyProtocol(trusted()), BALANCER, Some("::ffff:203.0.113.7"), &[], (200, CLIENT)),
            (ProxyProtocol(trusted()), BALANCER, Some(STRANGER), &[(XFF, CLIENT)], (403, "")),
            (ProxyProtocol(trusted()), BALANCER, Some(BALANCER), &[(XFF, CLIENT)], (403, "")),
            // A connection that is older than the policy, or from one who is trusted no more.
            (ProxyProtocol(trusted()), BALANCER, None, &[(XFF, CLIENT)], (421, "")),
            (ProxyProtocol(trusted()), CLIENT, None, &[], (421, "")),
            (ProxyProtocol(ranges(&["10.9.0.0/16"])), BALANCER, Some(CLIENT), &[], (421, "")),
            (Connection, BALANCER, Some(CLIENT), &[], (403, "")),
        ] {
            let scene = Scene::start(source.clone(), source.clone());
            let (status, told) = scene.ask(from(peer, proxied), "a.ex", headers).await;
            assert_eq!((status, &*told), expected, "{source:?} {peer} {proxied:?} {headers:?}");
        }
    });
}

/// An application behind the proxy may read the header in any spelling, and among the trailers.
#[test]
fn of_the_header_that_has_the_address_an_endpoint_gets_what_a_trusted_proxy_says_and_nothing_else() {
    const NAME: &str = "cf-connecting-ip";
    run(|| async {
        let all = [(NAME, CLIENT), ("cf_connecting_ip", STRANGER), ("CF-Connecting_IP", STRANGER)];
        for (source, peer, headers, expected) in [
            (header(), BALANCER, &all[..], vec!["cf-connecting-ip: 203.0.113.7"]),
            (header(), BALANCER, &all[1..], vec![]),
            (header(), STRANGER, &all[..], vec![]),
            (header(), CLIENT, &all[..1], vec![]),
            // Of a listener that does not look at it, it is a header like others.
            (AddressSource::Connection, STRANGER, &all[..1], vec!["cf-connecting-ip: 203.0.113.7"]),
        ] {
            let scene = Scene::with([Some(source.clone()), Some(source.clone())], vec![], 1);
            let mut stream = scene.proxy.connect(from(peer, None));
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let trailers: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let request = format!(
                "POST / HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
                 trailer: x-sum, {NAME}, cf_connecting_ip, cf-connecting_ip\r\n{lines}\r\n\
                 3\r\nabc\r\n0\r\nx-sum: 1\r\n{trailers}\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let reached = scene.reached.borrow();
            let [(_, head), (_, body)] = &reached[..] else { panic!("{source:?} {peer}: {reached:?}") };
            let in_head: Vec<&str> =
                head.lines().filter(|it| it.starts_with("cf") && !it.contains(',')).collect();
            assert_eq!(in_head, expected, "{source:?} {peer} {headers:?}");
            assert!(body.contains("x-sum: 1"), "{body}");
            let passes = source == AddressSource::Connection;
            assert_eq!(body.contains("\ncf"), passes, "{source:?} {peer}: {body}");
        }
    });
}

#[test]
fn each_listener_of_a_port_believes_whom_it_is_told_to_believe() {
    run(|| async {
        let scene = Scene::start(AddressSource::ForwardedFor(trusted()), AddressSource::Connection);
        let says = [("x-forwarded-for", CLIENT)];
        assert_eq!(scene.ask(from(BALANCER, None), "a.ex", &says).await, (200, CLIENT.to_owned()));
        assert_eq!(scene.ask(from(BALANCER, None), "b.ex", &says).await.0, 403);
    });
}

/// Whatever the others of the port believe, its requests do not fall to them, and it has no say how connections begin.
#[test]
fn a_listener_that_is_closed_answers_500_beside_others_that_learn_where_clients_are() {
    run(|| async {
        for (source, peer, proxied) in [
            (AddressSource::Connection, CLIENT, None),
            (AddressSource::ForwardedFor(trusted()), CLIENT, None),
            (header(), CLIENT, None),
            (AddressSource::ProxyProtocol(trusted()), BALANCER, Some(CLIENT)),
        ] {
            let scene = Scene::beside_closed(source.clone());
            let open = scene.ask(from(peer, proxied), "a.ex", &[]).await;
            assert_eq!(open, (200, CLIENT.to_owned()), "{source:?}");
            let closed = scene.ask(from(peer, proxied), "b.ex", &[("x-forwarded-for", CLIENT)]).await;
            assert_eq!(closed, (500, String::new()), "{source:?}");
        }
    });
}

#[test]
fn requests_of_one_connection_are_of_different_clients() {
    run(|| async {
        let scene = Scene::start(AddressSource::ForwardedFor(trusted()), AddressSource::Connection);
        let mut stream = scene.proxy.connect(from(BALANCER, None));
        for (client, expected) in [(CLIENT, "200"), (STRANGER, "403"), (CLIENT, "200")] {
            let head = format!("GET / HTTP/1.1\r\nhost: a.ex\r\nx-forwarded-for: {client}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = vec![0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer.ends_with(expected.as_bytes()), "{client}: {}", String::from_utf8_lossy(&answer));
            let (mut rest, mut byte) = (Vec::new(), [0]);
            while !rest.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).await.unwrap();
                rest.push(byte[0]);
            }
            let head = String::from_utf8(rest).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).await.unwrap();
        }
    });
}

#[test]
fn session_affinity_goes_by_the_client_and_not_by_the_load_balancer() {
    run(|| async {
        let scene = Scene::with(
            [AddressSource::ForwardedFor(trusted()), AddressSource::Connection].map(Some),
            vec![],
            8,
        );
        let mut used = std::collections::BTreeSet::new();
        for client in 1..=32 {
            let client = format!("203.0.113.{client}");
            let mut of_client = std::collections::BTreeSet::new();
            for _ in 0..3 {
                let mut stream = scene.proxy.connect(from(BALANCER, None));
                let head = format!(
                    "GET / HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\nx-forwarded-for: {client}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
                of_client.insert(scene.reached.borrow_mut().pop().unwrap().0);
            }
            assert_eq!(of_client.len(), 1, "{client}");
            used.extend(of_client);
        }
        assert!(used.len() > 2, "clients are spread: {used:?}");
    });
}

#[test]
fn a_policy_that_comes_is_kept_by_open_connections() {
    run(|| async {
        let mut scene = Scene::start(AddressSource::Connection, AddressSource::Connection);
        let mut stream = scene.proxy.connect(from(CLIENT, None));
        let request = b"GET / HTTP/1.1\r\nhost: a.ex\r\n\r\n";
        let mut head = [0; 12];
        stream.write_all(request).await.unwrap();
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        let address_source = AddressSource::ProxyProtocol(trusted());
        let upserts = [("listener", None), ("other", Some("b.ex"))].map(|(key, hostname)| {
            let address_source = address_source.clone();
            Resource::Listener(Arc::new(Listener { address_source, ..listener(key, hostname) }))
        });
        scene.proxy.apply(Delta { upserts: upserts.to_vec(), ..Delta::default() }).unwrap();
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert!(text.contains("HTTP/1.1 421"), "it began without the header: {text}");
    });
}

#[test]
fn listeners_of_one_port_that_begin_connections_in_different_ways_are_refused() {
    run(|| async {
        let mut scene = Scene::start(AddressSource::Connection, AddressSource::Connection);
        let proxied = Listener {
            address_source: AddressSource::ProxyProtocol(trusted()),
            ..listener("other", Some("b.ex"))
        };
        let upserts = vec![Resource::Listener(Arc::new(proxied))];
        let refused = scene.proxy.apply(Delta { upserts, ..Delta::default() }).unwrap_err();
        assert!(refused[0].reason.contains("PROXY protocol"), "{refused:?}");
    });
}

#[test]
fn http2_is_no_way_around() {
    let version = Version::Http2;
    run(|| async {
        let scene = Scene::start(AddressSource::ForwardedFor(trusted()), AddressSource::Connection);
        for (peer, says, expected) in
            [(BALANCER, CLIENT, 200), (BALANCER, STRANGER, 403), (STRANGER, CLIENT, 403)]
        {
            let stream = scene.proxy.connect(MemoryClient { version: Some(version), ..from(peer, None) });
            let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
            spawn_local(async move { drop(connection.await) });
            let request =
                http::Request::get("http://a.ex/").header("x-forwarded-for", says).body(()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            assert_eq!(response.await.unwrap().status(), expected, "{peer} {says}");
        }
    });
}
