//! Clients' certificates: who gets in, listener by listener, and that a session resumed is no way around.

use crate::support;
use fairway_config::model::{
    AppProtocol, Attachment, CertificateHeader, ClientTreatment, ClientValidation, L4Kind, Listener,
    ListenerProtocol, Resource, TlsTermination, WithoutCertificate,
};
use rustls::{ClientConfig, HandshakeKind};
use std::net::SocketAddr;
use std::sync::Arc;
use support::backend::{Server, echo};
use support::pki::{Authority, Wanted};
use support::tls::{client, connect};
use support::wire::LONG;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// `open.example.com` asks for nothing, `strict.example.com` takes only valid certificates, `lenient.example.com` asks and
/// serves everybody, `other.example.com` takes only certificates of another authority, `bytes.example.com` is no HTTP.
struct Gateway {
    proxy: Proxy,
    servers: Authority,
    clients: Authority,
    others: Authority,
    _server: Server,
}

const STRICT: &str = "strict.example.com";

async fn gateway() -> Gateway {
    let (servers, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let server = Server::http(1, echo).await;
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.push(servers.for_host("*.example.com").certificate("shop/wild"));
    let judged =
        |authority: &Authority, without| Some(ClientValidation { trust: authority.bundle(), without });
    for (name, validation) in [
        ("open", None),
        ("strict", judged(&clients, WithoutCertificate::Refused)),
        ("lenient", judged(&clients, WithoutCertificate::Served)),
        ("other", judged(&others, WithoutCertificate::Refused)),
        ("bytes", judged(&clients, WithoutCertificate::Refused)),
    ] {
        let termination = TlsTermination {
            certificates: vec!["shop/wild".into()],
            clients: validation,
            min_version: Default::default(),
            algorithms: Default::default(),
        };
        let protocol = match name {
            "bytes" => ListenerProtocol::TlsTerminate(termination),
            _ => ListenerProtocol::Https(termination),
        };
        let key = format!("shop/gateway/{name}");
        let hostname = format!("{name}.example.com");
        resources.push(Resource::Listener(Arc::new(named(&key, Some(&hostname), protocol))));
        if name == "bytes" {
            resources.push(l4_route(L4Kind::Tls, &key, &[], &[(1, "shop/web:80")]));
        } else {
            let mut route = route(name, vec![rule("/", "shop/web:80")]);
            let listener = key.as_str().into();
            route.attachments = vec![Attachment::Listener { listener, hostnames: vec![] }];
            resources.push(Resource::Route(Arc::new(route)));
        }
    }
    Gateway { proxy: Proxy::start(resources), servers, clients, others, _server: server }
}

/// Whether a request gets an answer, and how the handshake went. With TLS 1.3 the client's is over before the server has
/// judged its certificate.
async fn is_served(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Option<HandshakeKind> {
    let served = async {
        let mut stream = connect(address, config, name).await.ok()?;
        let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then(|| stream.get_ref().1.handshake_kind())?
    };
    timeout(LONG, served).await.expect("an end in time")
}

#[tokio::test]
async fn a_listener_judges_its_clients_as_it_says() {
    let gateway = gateway().await;
    let signed = |wanted| Some(gateway.clients.sign(&wanted));
    let shown = [
        ("valid", Some(gateway.clients.for_host("client"))),
        ("none", None),
        ("of another authority", Some(gateway.others.for_host("client"))),
        ("expired", signed(Wanted { dns: &["client"], expired: true, ..Wanted::default() })),
        ("a server's", signed(Wanted { dns: &["client"], of_server: true, ..Wanted::default() })),
    ];
    for (name, served) in [
        ("open.example.com", [true, true, true, true, true]),
        (STRICT, [true, false, false, false, false]),
        ("lenient.example.com", [true, true, true, true, true]),
        ("other.example.com", [false, false, true, false, false]),
        ("bytes.example.com", [true, false, false, false, false]),
    ] {
        for ((what, leaf), served) in shown.iter().zip(served) {
            let config = Arc::new(client(&gateway.servers, leaf.as_ref()));
            let found = is_served(gateway.proxy.address(), &config, name).await.is_some();
            assert_eq!(found, served, "{name}, certificate: {what}");
        }
    }
}

/// Endpoints are told of a certificate only where it was validated, and never by the client.
#[tokio::test]
async fn endpoints_are_told_of_certificates_that_were_validated() {
    let mut gateway = gateway().await;
    let leaf = gateway.clients.sign(&Wanted {
        dns: &["client"],
        uris: &["spiffe://cluster.local/ns/a/sa/b"],
        ..Wanted::default()
    });
    let config = Arc::new(client(&gateway.servers, Some(&leaf)));
    let told = async |gateway: &Gateway, name: &str| {
        let mut stream = connect(gateway.proxy.address(), &config, name).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {name}\r\nx-forwarded-client-cert: Hash=0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        answer.lines().find_map(|it| it.strip_prefix("x-forwarded-client-cert: ").map(str::to_owned))
    };
    assert_eq!(told(&gateway, STRICT).await, None, "nobody asked for it");
    let judged = |without| Some(ClientValidation { trust: gateway.clients.bundle(), without });
    let setting: Vec<Resource> = [
        ("open", None),
        ("strict", judged(WithoutCertificate::Refused)),
        ("lenient", judged(WithoutCertificate::Served)),
    ]
    .map(|(name, clients)| {
        let protocol = ListenerProtocol::Https(TlsTermination {
            certificates: vec!["shop/wild".into()],
            clients,
            min_version: Default::default(),
            algorithms: Default::default(),
        });
        let hostname = format!("{name}.example.com");
        let treatment =
            ClientTreatment { certificate_header: CertificateHeader::Set, ..ClientTreatment::default() };
        let plain = named(&format!("shop/gateway/{name}"), Some(&hostname), protocol);
        Resource::Listener(Arc::new(Listener { treatment: Some(Arc::new(treatment)), ..plain }))
    })
    .to_vec();
    gateway.proxy.apply(setting).unwrap();
    let value = told(&gateway, STRICT).await.unwrap();
    assert!(value.starts_with("Hash=") && !value.starts_with("Hash=0;"), "{value}");
    assert!(value.contains(";URI=spiffe://cluster.local/ns/a/sa/b;DNS=client"), "{value}");
    for name in ["open.example.com", "lenient.example.com"] {
        assert_eq!(told(&gateway, name).await, None, "{name}");
    }
}

#[tokio::test]
async fn a_session_is_resumed_where_nobody_is_judged_and_never_where_somebody_is() {
    let gateway = gateway().await;
    let leaf = gateway.clients.for_host("client");
    let config = Arc::new(client(&gateway.servers, Some(&leaf)));
    let address = gateway.proxy.address();
    for (name, again) in [("open.example.com", HandshakeKind::Resumed), (STRICT, HandshakeKind::Full)] {
        let first = is_served(address, &config, name).await;
        assert!(
            matches!(first, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)),
            "{first:?}"
        );
        assert_eq!(is_served(address, &config, name).await, Some(again), "{name}");
    }
}

#[tokio::test]
async fn a_ticket_from_before_a_listener_judged_its_clients_is_worth_nothing_after() {
    let mut gateway = gateway().await;
    let config = Arc::new(client(&gateway.servers, None));
    let name = "open.example.com";
    assert!(is_served(gateway.proxy.address(), &config, name).await.is_some());
    assert_eq!(is_served(gateway.proxy.address(), &config, name).await, Some(HandshakeKind::Resumed));
    let validation =
        ClientValidation { trust: gateway.clients.bundle(), without: WithoutCertificate::Refused };
    let termination = TlsTermination {
        certificates: vec!["shop/wild".into()],
        clients: Some(validation),
        min_version: Default::default(),
        algorithms: Default::default(),
    };
    let listener = named("shop/gateway/open", Some(name), ListenerProtocol::Https(termination));
    gateway.proxy.apply(vec![Resource::Listener(Arc::new(listener))]).unwrap();
    assert_eq!(is_served(gateway.proxy.address(), &config, name).await, None);
}
