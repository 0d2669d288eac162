//! Authorities, certificates, and backends that speak TLS.

use super::backend::{Body, Server};
use fairway_config::model::{
    Backend, BackendSecurity, BackendTls, BackendTrust, Certificate, Resource, SubjectName, TrustBundle,
};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A CA of its own, made for one test.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Leaf {
    pub pem: String,
    pub key_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

/// What a leaf is to say.
#[derive(Default)]
pub struct Wanted<'a> {
    pub dns: &'a [&'a str],
    pub uris: &'a [&'a str],
    pub expired: bool,
    /// Good for servers alone; otherwise for clients too.
    pub of_server: bool,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, der, issuer: Issuer::new(params, key) }
    }

    pub fn bundle(&self) -> TrustBundle {
        TrustBundle::from_pem(&self.pem).unwrap()
    }

    pub fn sign(&self, wanted: &Wanted<'_>) -> Leaf {
        let mut params = CertificateParams::new(vec![]).unwrap();
        let dns = wanted.dns.iter().map(|it| SanType::DnsName((*it).try_into().unwrap()));
        let uris = wanted.uris.iter().map(|it| SanType::URI((*it).try_into().unwrap()));
        params.subject_alt_names = dns.chain(uris).collect();
        params.extended_key_usages = match wanted.of_server {
            true => vec![ExtendedKeyUsagePurpose::ServerAuth],
            false => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        if wanted.expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    pub fn for_host(&self, name: &str) -> Leaf {
        self.sign(&Wanted { dns: &[name], ..Wanted::default() })
    }
}

impl Leaf {
    /// As a Secret holds it.
    pub fn certificate(&self, key: &str) -> Resource {
        Resource::Certificate(Arc::new(Certificate::from_pem(key.into(), &self.pem, &self.key_pem).unwrap()))
    }

    /// As rustls takes it.
    pub fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), PrivatePkcs8KeyDer::from(self.key.clone()).into())
    }

    /// A server that shows it, and asks clients for a certificate of this authority if there is one.
    pub fn server(&self, clients: Option<&Authority>, alpn: &[&str]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let (chain, key) = self.parts();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        config
    }
}

/// What a TLS server saw of its clients, one line for each connection: SNI, protocol, and how many certificates.
pub type Seen = Arc<Mutex<Vec<String>>>;

/// A TLS server that hands each session to `handler`.
pub async fn tls_server<H, F>(config: ServerConfig, handler: H) -> (Server, Seen)
where
    H: Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let seen = Seen::default();
    let (noted, acceptor) = (seen.clone(), TlsAcceptor::from(Arc::new(config)));
    let server = Server::raw(move |stream, _| {
        let (acceptor, noted, handler) = (acceptor.clone(), noted.clone(), handler.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let session = stream.get_ref().1;
            let line = format!(
                "{} {} {}",
                session.server_name().unwrap_or("-"),
                String::from_utf8_lossy(session.alpn_protocol().unwrap_or(b"-")),
                session.peer_certificates().map_or(0, <[_]>::len),
            );
            noted.lock().unwrap().push(line);
            handler(stream).await;
        }
    })
    .await;
    (server, seen)
}

/// HTTP over TLS, in the version that ALPN agreed on.
pub async fn https_server<H, F>(config: ServerConfig, handler: H) -> (Server, Seen)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    tls_server(config, move |stream| {
        let handler = handler.clone();
        async move {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| {
                let response = handler(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            let io = TokioIo::new(stream);
            if is_http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            }
        }
    })
    .await
}

/// A policy: this host, these names, this authority.
pub fn policy(hostname: &str, names: Vec<SubjectName>, authority: &Authority) -> BackendSecurity {
    BackendSecurity::Tls(BackendTls {
        hostname: hostname.into(),
        names,
        trust: BackendTrust::Bundle(authority.bundle()),
    })
}

/// The resources of a backend with another security.
pub fn secured(mut resources: Vec<Resource>, key: &str, security: &BackendSecurity) -> Vec<Resource> {
    for resource in &mut resources {
        if let Resource::Backend(backend) = resource
            && backend.key.as_str() == key
        {
            *backend = Arc::new(Backend { security: security.clone(), ..(**backend).clone() });
        }
    }
    resources
}
