//! TLS at a Gateway: certificates by SNI, ALPN, and hosts that belong to another listener's certificate.

use crate::support;
use fairway_config::model::{
    AppProtocol, Attachment, Certificate, Listener, ListenerProtocol, Resource, TlsTermination, TlsVersion,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use support::backend::{Server, echo};
use support::wire::status;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Gateway {
    proxy: Proxy,
    roots: RootCertStore,
    _server: Server,
}

fn https(section: &str, hostname: Option<&str>) -> (Listener, Certificate, CertificateDer<'static>) {
    let key = format!("shop/{section}");
    let names = vec![hostname.unwrap_or("any.example").to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pem = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem(key.as_str().into(), &made.cert.pem(), &pem).unwrap();
    let termination = TlsTermination {
        certificates: vec![key.as_str().into()],
        clients: None,
        min_version: Default::default(),
        algorithms: Default::default(),
    };
    let listener = Listener {
        key: format!("shop/gateway/{section}").into(),
        section: section.into(),
        hostname: hostname.map(|it| it.parse().unwrap()),
        ..listener(ListenerProtocol::Https(termination))
    };
    (listener, certificate, made.cert.der().clone())
}

/// `a.example.com` and `*.example.com`, each with its listener, certificate and route.
async fn gateway() -> Gateway {
    let server = Server::http(1, echo).await;
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    let mut roots = RootCertStore::empty();
    for (section, hostname) in [("a", "a.example.com"), ("wild", "*.example.com")] {
        let (listener, certificate, root) = https(section, Some(hostname));
        roots.add(root).unwrap();
        let mut route = route(section, vec![rule("/", "shop/web:80")]);
        route.attachments = vec![Attachment::Listener { listener: listener.key.clone(), hostnames: vec![] }];
        resources.extend([
            Resource::Listener(Arc::new(listener)),
            Resource::Certificate(Arc::new(certificate)),
            Resource::Route(Arc::new(route)),
        ]);
    }
    Gateway { proxy: Proxy::start(resources), roots, _server: server }
}

impl Gateway {
    async fn connect(&self, sni: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.proxy.address(), &self.roots, sni, alpn).await
    }
}

async fn connect(
    address: SocketAddr,
    roots: &RootCertStore,
    sni: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_sni_finds_listener_and_certificate_and_the_host_has_to_fit() {
    let gateway = gateway().await;
    for (sni, host, expected) in [
        ("a.example.com", "a.example.com", 200),
        ("b.example.com", "b.example.com", 200),
        // The same listener's certificate covers both.
        ("b.example.com", "c.example.com", 200),
        ("a.example.com", "b.example.com", 421),
        ("b.example.com", "a.example.com:443", 421),
        ("a.example.com", "example.org", 404),
    ] {
        // The wildcard's certificate is checked by the client's own rules.
        let mut stream = gateway.connect(sni, &["http/1.1"]).await.unwrap();
        let answer = ask(&mut stream, host).await;
        assert_eq!(status(&answer), expected, "{sni} {host}: {answer}");
        assert!(expected != 200 || answer.contains("x-forwarded-proto: https"), "{answer}");
    }
}

#[tokio::test]
async fn a_listener_speaks_no_older_tls_than_it_is_told_and_its_neighbours_speak_theirs() {
    let server = Server::http(1, echo).await;
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    let mut roots = RootCertStore::empty();
    for (section, hostname, min_version) in
        [("new", "new.example", TlsVersion::V1_3), ("old", "old.example", TlsVersion::V1_2)]
    {
        let (mut listener, certificate, root) = https(section, Some(hostname));
        if let ListenerProtocol::Https(termination) = &mut listener.protocol {
            termination.min_version = min_version;
        }
        roots.add(root).unwrap();
        resources
            .extend([Resource::Listener(Arc::new(listener)), Resource::Certificate(Arc::new(certificate))]);
    }
    let proxy = Proxy::start(resources);
    for (name, version, expected) in [
        ("new.example", &rustls::version::TLS13, true),
        ("new.example", &rustls::version::TLS12, false),
        ("old.example", &rustls::version::TLS13, true),
        ("old.example", &rustls::version::TLS12, true),
    ] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
        assert_eq!(connected.is_ok(), expected, "{name:?} {version:?}");
    }
}

#[tokio::test]
async fn a_listener_speaks_the_algorithms_that_it_is_told_and_its_neighbours_speak_theirs() {
    use fairway_config::model::{CipherSuite, KeyExchangeGroup, TlsAlgorithms};
    let server = Server::http(1, echo).await;
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    let mut roots = RootCertStore::empty();
    let suites = vec![
        CipherSuite::Aes256GcmSha384,
        CipherSuite::EcdheEcdsaAes256GcmSha384,
        CipherSuite::EcdheRsaAes256GcmSha384,
    ];
    let strict = TlsAlgorithms { cipher_suites: suites, groups: vec![KeyExchangeGroup::Secp384r1] };
    let new = TlsAlgorithms { cipher_suites: vec![], groups: vec![KeyExchangeGroup::X25519MlKem768] };
    for (section, algorithms) in [("strict", strict), ("new", new), ("any", TlsAlgorithms::default())] {
        let (mut listener, certificate, root) = https(section, Some(&format!("{section}.example")));
        if let ListenerProtocol::Https(termination) = &mut listener.protocol {
            termination.algorithms = algorithms;
        }
        roots.add(root).unwrap();
        resources
            .extend([Resource::Listener(Arc::new(listener)), Resource::Certificate(Arc::new(certificate))]);
    }
    let proxy = Proxy::start(resources);
    let (v1_2, v1_3) = (&rustls::version::TLS12, &rustls::version::TLS13);
    use rustls::crypto::aws_lc_rs::{cipher_suite as suite, kx_group as group};
    let (aes128, aes256) = (suite::TLS13_AES_128_GCM_SHA256, suite::TLS13_AES_256_GCM_SHA384);
    let (of_1_2, old) =
        (suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    for (name, version, suite, group, expected) in [
        ("strict.example", v1_3, aes256, group::SECP384R1, true),
        ("strict.example", v1_3, aes128, group::SECP384R1, false),
        ("strict.example", v1_3, aes256, group::X25519, false),
        ("strict.example", v1_2, of_1_2, group::SECP384R1, true),
        ("strict.example", v1_2, old, group::SECP384R1, false),
        ("new.example", v1_3, aes128, group::X25519MLKEM768, true),
        ("new.example", v1_3, aes128, group::X25519, false),
        ("new.example", v1_2, of_1_2, group::X25519, false),
        ("any.example", v1_3, aes128, group::X25519, true),
        ("any.example", v1_2, old, group::SECP256R1, true),
    ] {
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: vec![suite],
            kx_groups: vec![group],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
        assert_eq!(connected.is_ok(), expected, "{name:?} {version:?} {suite:?} {:?}", group.name());
    }
}

#[tokio::test]
async fn a_name_that_no_listener_has_gets_no_handshake() {
    let gateway = gateway().await;
    let error = gateway.connect("example.org", &[]).await.unwrap_err();
    assert!(
        !error.to_string().contains("UnknownIssuer") && !error.to_string().contains("NotValidForName"),
        "{error}"
    );
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn() {
    let gateway = gateway().await;
    let stream = gateway.connect("a.example.com", &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let stream = gateway.connect("a.example.com", &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_new_certificate_serves_the_next_connection() {
    let mut gateway = gateway().await;
    let (listener, certificate, root) = https("a", Some("a.example.com"));
    drop(listener);
    gateway.proxy.apply(vec![Resource::Certificate(Arc::new(certificate))]).unwrap();
    assert!(gateway.connect("a.example.com", &[]).await.is_err(), "the old root does not know it");
    gateway.roots.add(root).unwrap();
    assert!(gateway.connect("a.example.com", &[]).await.is_ok());
}

#[tokio::test]
async fn a_rotated_certificate_drops_no_connection() {
    let mut gateway = gateway().await;
    let mut open = Vec::new();
    for round in 0..5 {
        open.push(gateway.connect("a.example.com", &["http/1.1"]).await.unwrap());
        for stream in &mut open {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a.example.com\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            // The echo ends with the head it saw, and that with an empty line.
            while !answer.ends_with(b"\n\n") {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "round {round}");
            }
            assert_eq!(status(&String::from_utf8_lossy(&answer)), 200);
        }
        let (_, certificate, root) = https("a", Some("a.example.com"));
        gateway.proxy.apply(vec![Resource::Certificate(Arc::new(certificate))]).unwrap();
        gateway.roots = RootCertStore::empty();
        gateway.roots.add(root).unwrap();
    }
}

#[tokio::test]
async fn a_listener_without_its_certificate_is_refused() {
    let mut gateway = gateway().await;
    let (mut listener, _, _) = https("lost", Some("lost.example.org"));
    listener.port = 1;
    let refused = gateway.proxy.apply(vec![Resource::Listener(Arc::new(listener))]).unwrap_err();
    assert!(refused.iter().any(|it| &*it.key.name == "shop/gateway/lost"), "{refused:?}");
    let mut stream = gateway.connect("a.example.com", &["http/1.1"]).await.unwrap();
    assert_eq!(status(&ask(&mut stream, "a.example.com").await), 200);
}
