use super::*;
use crate::testing::TestAuthority;
use crate::{SharedClock, Svid, SystemClock, TrustBundle};
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::{ClientConfig, NamedGroup, ProtocolVersion, ServerConfig};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

type Accepted = Result<(server::TlsStream<DuplexStream>, SpiffeId), HandshakeError>;
type Connected = Result<(client::TlsStream<DuplexStream>, SpiffeId), HandshakeError>;

async fn shake(server: &TlsIdentity, client: &TlsIdentity) -> (Accepted, Connected) {
    let (near, far) = duplex(64 * 1024);
    let expected = [server.id().clone()];
    tokio::join!(accept(server, far), connect(client, near, &expected))
}

fn mesh() -> (TestAuthority, Arc<TlsIdentity>, Arc<TlsIdentity>) {
    let mesh = TestAuthority::new("cluster.local");
    let (server, client) = (mesh.identity("shop", "reviews"), mesh.identity("shop", "web"));
    (mesh, server, client)
}

fn tls(svid: &Svid, bundle: &TrustBundle) -> TlsIdentity {
    let clock: SharedClock = Arc::new(SystemClock);
    TlsIdentity::new(svid, bundle, &clock).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

#[tokio::test]
async fn two_members_of_a_mesh_prove_who_they_are_and_talk() {
    let (_mesh, server, client) = mesh();
    let (accepted, connected) = shake(&server, &client).await;
    let ((mut far, client_id), (mut near, server_id)) = (accepted.unwrap(), connected.unwrap());
    assert_eq!((&client_id, &server_id), (client.id(), server.id()));

    near.write_all(b"hello").await.unwrap();
    near.flush().await.unwrap();
    let mut heard = [0; 5];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");

    let (_, tls) = far.get_ref();
    assert_eq!(tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(tls.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(tls.server_name(), None, "no SNI is sent");
    assert_eq!(tls.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(near.get_ref().1.tls13_tickets_received(), 0, "nothing to resume");
}

#[tokio::test]
async fn a_peer_without_the_hybrid_gets_a_curve() {
    let (_mesh, server, client) = mesh();
    for (group, name) in [
        (rustls::crypto::aws_lc_rs::kx_group::X25519, NamedGroup::X25519),
        (rustls::crypto::aws_lc_rs::kx_group::SECP256R1, NamedGroup::secp256r1),
    ] {
        let mut provider = (**client.client_config().crypto_provider()).clone();
        provider.kx_groups = vec![group];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_cert_resolver(client.client_config().client_auth_cert_resolver.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        let (far, _) = shake_with(&server, config).await;
        assert_eq!(far.unwrap().0.get_ref().1.negotiated_key_exchange_group().unwrap().name(), name);
    }
}

/// What is wrong with a certificate, and a part of what the other side says of it.
fn bad_certificates(mesh: &TestAuthority) -> Vec<(&'static str, TlsIdentity, &'static str)> {
    let own = mesh.id("shop", "web");
    let of_own = |adjust: &dyn Fn(&mut CertificateParams)| tls(&mesh.svid(&own, adjust), &mesh.bundle());

    // A foreign mesh whose roots are trusted here by mistake.
    let elsewhere: SpiffeId = "spiffe://elsewhere.example/ns/shop/sa/web".parse().unwrap();
    let elsewhere_bundle =
        TrustBundle { trust_domain: "elsewhere.example".parse().unwrap(), ..mesh.bundle() };
    let impostor = TestAuthority::new("cluster.local");
    let impostor_bundle =
        TrustBundle { roots: [mesh.bundle().roots, impostor.bundle().roots].concat(), ..mesh.bundle() };
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));

    vec![
        (
            "another trust domain",
            tls(&mesh.svid(&elsewhere, |_| ()), &elsewhere_bundle),
            "is of trust domain elsewhere.example",
        ),
        ("another root", tls(&impostor.svid(&own, |_| ()), &impostor_bundle), "BadSignature"),
        ("no SAN", of_own(&|it| it.subject_alt_names.clear()), "has no URI name"),
        (
            "only a DNS name",
            of_own(&|it| {
                it.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from("web.shop").unwrap())]
            }),
            "has no URI name",
        ),
        (
            "two URIs",
            of_own(&|it| it.subject_alt_names.push(uri("spiffe://cluster.local/ns/shop/sa/admin"))),
            "2 URI names",
        ),
        (
            "the same URI twice",
            of_own(&|it| it.subject_alt_names.push(uri("spiffe://cluster.local/ns/shop/sa/web"))),
            "2 URI names",
        ),
        (
            "not SPIFFE",
            of_own(&|it| it.subject_alt_names = vec![uri("https://cluster.local/ns/shop/sa/web")]),
            "not a SPIFFE id",
        ),
        (
            "not a workload",
            of_own(&|it| it.subject_alt_names = vec![uri("spiffe://cluster.local/node/7")]),
            "does not have the form",
        ),
        (
            "a NUL in the name",
            of_own(&|it| it.subject_alt_names = vec![uri("spiffe://cluster.local/ns/shop/sa/web\0.evil")]),
            "not a SPIFFE id",
        ),
        (
            "a NUL in the domain",
            of_own(&|it| it.subject_alt_names = vec![uri("spiffe://cluster.local\0.evil/ns/shop/sa/web")]),
            "not a SPIFFE id",
        ),
        (
            "capital letters",
            of_own(&|it| it.subject_alt_names = vec![uri("spiffe://CLUSTER.local/ns/shop/sa/web")]),
            "URI name",
        ),
        (
            "expired",
            of_own(&|it| (it.not_before, it.not_after) = ((now - 2 * hour).into(), (now - hour).into())),
            "expired",
        ),
        ("not yet valid", of_own(&|it| it.not_before = (now + hour / 2).into()), "not valid yet"),
        (
            "for e-mail only",
            of_own(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]),
            "extended key usage",
        ),
        (
            "may sign others",
            of_own(&|it| it.key_usages.push(KeyUsagePurpose::KeyCertSign)),
            "may sign certificates",
        ),
        ("a CA", of_own(&|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "CaUsedAsEndEntity"),
    ]
}

#[tokio::test]
async fn a_server_refuses_what_is_not_a_member_and_the_client_learns_it() {
    let (mesh, server, _) = mesh();
    for (what, client, why) in bad_certificates(&mesh) {
        // A client that accepts any server, so that it is the server that refuses.
        let mut config = ClientConfig::clone(client.client_config());
        config.dangerous().set_certificate_verifier(Arc::new(AnyServer));
        let (accepted, connected) = shake_with(&server, config).await;
        let error = accepted.err().unwrap_or_else(|| panic!("{what} was accepted")).to_string();
        assert!(error.contains(why), "{what}: {error}");
        // In TLS 1.3 the client is done before the server has looked at its certificate.
        if let Ok(mut stream) = connected {
            assert!(stream.read_u8().await.is_err(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_client_refuses_what_is_not_a_member() {
    let (mesh, _, client) = mesh();
    for (what, server, why) in bad_certificates(&mesh) {
        let (_, connected) = shake(&server, &client).await;
        let error = connected.err().unwrap_or_else(|| panic!("{what} was accepted")).to_string();
        assert!(error.contains(why), "{what}: {error}");
    }
}

#[tokio::test]
async fn each_side_needs_the_right_to_its_role() {
    let (mesh, server, client) = mesh();
    let only = |usage: ExtendedKeyUsagePurpose| {
        let svid = mesh.svid(&mesh.id("shop", "half"), |it| it.extended_key_usages = vec![usage]);
        tls(&svid, &mesh.bundle())
    };
    assert!(shake(&server, &only(ExtendedKeyUsagePurpose::ServerAuth)).await.0.is_err());
    assert!(shake(&only(ExtendedKeyUsagePurpose::ClientAuth), &client).await.1.is_err());
    assert!(shake(&server, &only(ExtendedKeyUsagePurpose::ClientAuth)).await.0.is_ok());
}

#[tokio::test]
async fn a_dns_name_beside_the_identity_does_no_harm() {
    let (mesh, server, _) = mesh();
    let svid = mesh.svid(&mesh.id("shop", "web"), |it| {
        it.subject_alt_names.push(SanType::DnsName(Ia5String::try_from("web.shop").unwrap()));
    });
    let (accepted, _) = shake(&server, &tls(&svid, &mesh.bundle())).await;
    assert_eq!(accepted.unwrap().1, mesh.id("shop", "web"));
}

#[tokio::test]
async fn a_member_that_was_not_called_is_not_talked_to() {
    let (mesh, server, client) = mesh();
    for expected in [
        vec![],
        vec![mesh.id("shop", "ratings")],
        vec![mesh.id("shop", "ratings"), mesh.id("other", "reviews")],
    ] {
        let (near, far) = duplex(64 * 1024);
        let (_, connected) = tokio::join!(accept(&server, far), connect(&client, near, &expected));
        let error = connected.unwrap_err();
        assert!(
            matches!(&error, HandshakeError::UnexpectedPeer { found, .. } if found == server.id()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_not_the_meshs_tls_is_refused() {
    let (_mesh, server, client) = mesh();
    let certificate = client.client_config().client_auth_cert_resolver.clone();
    let builder = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
    };
    let with_alpn = |mut config: ClientConfig, alpn: &[&[u8]]| {
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        config
    };
    let tls13: &[&'static rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let tls12: &[&'static rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let good = || builder(tls13).with_client_cert_resolver(certificate.clone());
    for (what, config, why) in [
        (
            "TLS 1.2",
            with_alpn(builder(tls12).with_client_cert_resolver(certificate.clone()), &[b"h2"]),
            "incompatible",
        ),
        ("no certificate", with_alpn(builder(tls13).with_no_client_auth(), &[b"h2"]), "sent no certificates"),
        ("another protocol", with_alpn(good(), &[b"http/1.1"]), "known protocol"),
        ("no protocol", good(), "did not agree on the protocol h2"),
    ] {
        let error = shake_with(&server, config).await.0.unwrap_err().to_string();
        assert!(error.contains(why), "{what}: {error}");
    }
    // The control: the same client with nothing wrong.
    assert!(shake_with(&server, with_alpn(good(), &[b"h2"])).await.0.is_ok());

    let (mut near, far) = duplex(64 * 1024);
    near.write_all(b"GET / HTTP/1.1\r\nhost: reviews\r\n\r\n").await.unwrap();
    assert!(matches!(accept(&server, far).await, Err(HandshakeError::Tls(_))), "plaintext");
}

#[tokio::test]
async fn a_server_that_speaks_no_h2_is_refused() {
    let (mesh, server, client) = mesh();
    for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = ServerConfig::clone(server.server_config());
        config.alpn_protocols = alpn;
        let (near, far) = duplex(64 * 1024);
        let expected = [mesh.id("shop", "reviews")];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (_, connected) = tokio::join!(acceptor.accept(far), connect(&client, near, &expected));
        assert!(connected.is_err());
    }
}

async fn shake_with(
    server: &TlsIdentity,
    config: ClientConfig,
) -> (Accepted, io::Result<client::TlsStream<DuplexStream>>) {
    let (near, far) = duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("reviews.shop").unwrap();
    tokio::join!(accept(server, far), connector.connect(name, near))
}

/// A careless client, for looking at the server alone.
#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_root_that_does_not_parse_is_an_error_not_left_out() {
    let (mesh, ..) = mesh();
    let mut bundle = mesh.bundle();
    bundle.roots.push(b"nonsense".to_vec().into());
    let clock: SharedClock = Arc::new(SystemClock);
    assert!(TlsIdentity::new(&mesh.svid(&mesh.id("shop", "web"), |_| ()), &bundle, &clock).is_err());
    bundle.roots.clear();
    assert!(TlsIdentity::new(&mesh.svid(&mesh.id("shop", "web"), |_| ()), &bundle, &clock).is_err());
}
