//! The proxies that are compared, each set up for the same job: one route, one backend, one thread.

use crate::{envoy, load};
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The proxy that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Contender {
    /// Fairway as `fairway run` runs it: a Gateway, an HTTPRoute, a Service, an EndpointSlice.
    Fairway,
    /// A bare hyper proxy.
    Bare,
    /// Envoy, which is brought if the machine has none.
    Envoy,
    /// nginx, if it is installed.
    Nginx,
    /// HAProxy, if it is installed.
    Haproxy,
}

/// A program and its arguments.
pub struct Launch {
    /// The program that is started.
    pub program: String,
    /// The arguments it is started with.
    pub arguments: Vec<String>,
}

/// A certificate that signed itself, for whoever takes TLS.
pub struct Certificate {
    /// In DER; the clients trust nothing else.
    pub der: CertificateDer<'static>,
    chain: String,
    key: String,
}

impl Certificate {
    /// One for this host.
    pub fn new(host: &str) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([host.to_owned()])?;
        Ok(Self {
            der: made.cert.der().clone(),
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        })
    }
}

impl Contender {
    /// The name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fairway => "fairway",
            Self::Bare => "bare hyper",
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whether it can be measured here.
    pub fn available(self, envoy: Option<&Path>) -> bool {
        let installed = |name: &str| {
            ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
                .iter()
                .any(|folder| Path::new(folder).join(name).exists())
        };
        match self {
            Self::Fairway | Self::Bare => true,
            Self::Envoy => envoy.is_some(),
            Self::Nginx => installed("nginx"),
            Self::Haproxy => installed("haproxy"),
        }
    }

    /// Writes its configuration into `folder` and says how to start it.
    pub fn prepare(
        self,
        folder: &Path,
        fairway: &Path,
        envoy: Option<&Path>,
        listen: SocketAddr,
        backend: SocketAddr,
        certificate: &Certificate,
    ) -> anyhow::Result<Launch> {
        let write = |name: &str, text: String| -> anyhow::Result<String> {
            let path = folder.join(name);
            std::fs::write(&path, text)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let launch = |program: PathBuf, arguments| Launch {
            program: program.to_string_lossy().into_owned(),
            arguments,
        };
        Ok(match self {
            Self::Fairway => {
                let objects = folder.join("fairway");
                std::fs::create_dir_all(&objects)?;
                std::fs::write(objects.join("shop.yaml"), fairway_objects(listen, backend, certificate))?;
                launch(
                    fairway.to_owned(),
                    text(&[
                        "run",
                        &objects.to_string_lossy(),
                        "--threads",
                        "1",
                        "--admin-address",
                        "127.0.0.1:0",
                        // Several take part, and these ports can be had once.
                        "--metrics-address",
                        "off",
                        "--readiness-address",
                        "off",
                    ]),
                )
            }
            Self::Bare => launch(
                std::env::current_exe()?,
                text(&["bare", "--listen", &listen.to_string(), "--backend", &backend.to_string()]),
            ),
            Self::Envoy => {
                let config = write("envoy.yaml", envoy::config(listen, backend))?;
                launch(
                    envoy.context("no envoy")?.to_owned(),
                    text(&["-c", &config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]),
                )
            }
            Self::Nginx => {
                let config = write("nginx.conf", nginx_config(folder, listen, backend))?;
                launch("nginx".into(), text(&["-c", &config]))
            }
            Self::Haproxy => {
                let config = write("haproxy.cfg", haproxy_config(listen, backend))?;
                launch("haproxy".into(), text(&["-f", &config]))
            }
        })
    }
}

fn fairway_objects(listen: SocketAddr, backend: SocketAddr, certificate: &Certificate) -> String {
    format!(
        r#"apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: bench, namespace: shop}}
spec:
  gatewayClassName: fairway
  addresses: [{{type: IPAddress, value: "{address}"}}]
  listeners:
    - {{name: http, port: {port}, protocol: HTTP}}
    - {{name: https, port: {tls_port}, protocol: HTTPS, tls: {{certificateRefs: [{{name: bench}}]}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench, namespace: shop}}
type: kubernetes.io/tls
data: {{tls.crt: {chain}, tls.key: {key}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: books, namespace: shop}}
spec:
  parentRefs: [{{name: bench}}]
  hostnames: [books.example]
  rules:
    - matches: [{{path: {{type: PathPrefix, value: /shelf}}}}]
      backendRefs: [{{name: books, port: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: books, namespace: shop}}
spec:
  clusterIP: None
  ports: [{{name: http, port: 80, targetPort: {backend_port}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: books-1, namespace: shop, labels: {{kubernetes.io/service-name: books}}}}
addressType: IPv4
ports: [{{name: http, port: {backend_port}}}]
endpoints: [{{addresses: ["{backend_address}"], conditions: {{ready: true}}}}]
"#,
        address = listen.ip(),
        port = listen.port(),
        tls_port = load::tls_address(listen).port(),
        chain = BASE64.encode(&certificate.chain),
        key = BASE64.encode(&certificate.key),
        backend_port = backend.port(),
        backend_address = backend.ip(),
    )
}

fn nginx_config(folder: &Path, listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         upstream books {{ server {backend}; keepalive 256; keepalive_requests 100000000; }}\n\
         server {{ listen {listen}; server_name books.example;\n\
         location /shelf {{ proxy_pass http://books; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }} }}\n",
        folder = folder.display(),
    )
}

fn haproxy_config(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n  \
         http-reuse always\nfrontend in\n  bind {listen}\n  use_backend books if {{ hdr(host) books.example }} {{ path_beg /shelf }}\n\
         backend books\n  server one {backend}\n"
    )
}
