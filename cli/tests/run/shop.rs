//! A shop: a Gateway, a Service whose endpoint is an echo server of this process, and clients.

use crate::program::{Program, free_port};
use fairway_echo::EchoServer;
use fairway_echo::client::{Client, CollectedResponse};
use http::StatusCode;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// The Service's address; its port is another for each shop.
const CLUSTER_IP: &str = "127.96.0.77";

/// A directory of YAML and what it is about.
pub struct Shop {
    /// The directory that the program watches.
    pub directory: PathBuf,
    /// Where the Gateway listens.
    pub gateway: SocketAddr,
    /// Where the Service is reached.
    pub service: SocketAddr,
    folder: TempDir,
}

impl Shop {
    /// Writes the Gateway, the Service and its endpoint, but no route; starts the server behind it.
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("objects");
        std::fs::create_dir(&directory).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        tokio::spawn(EchoServer::new("books-1").serve_http(listener, std::future::pending()));
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await));
        let service = SocketAddr::new(CLUSTER_IP.parse().unwrap(), free_port().await);
        let shop = Self { directory, gateway, service, folder };
        shop.write("shop.yaml", &shop.objects(endpoint.port()));
        shop
    }

    fn objects(&self, endpoint: u16) -> String {
        let (gateway, service) = (self.gateway.port(), self.service.port());
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  gatewayClassName: fairway
  listeners:
    - {{ name: http, port: {gateway}, protocol: HTTP }}
---
apiVersion: v1
kind: Service
metadata: {{ name: books, namespace: shop }}
spec:
  clusterIP: {CLUSTER_IP}
  ports:
    - {{ name: http, port: {service} }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: books-1, namespace: shop, labels: {{ kubernetes.io/service-name: books }} }}
addressType: IPv4
ports:
  - {{ name: http, port: {endpoint}, protocol: TCP }}
endpoints:
  - {{ addresses: [127.0.0.1], conditions: {{ ready: true }} }}
"
        )
    }

    /// An HTTPRoute of the Gateway's that marks its answers.
    pub fn route(&self, name: &str, mark: &str) -> String {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: shop }}
spec:
  parentRefs:
    - {{ name: edge }}
  hostnames: [{name}.example]
  rules:
    - filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {{ set: [{{ name: x-mark, value: {mark} }}] }}
      backendRefs:
        - {{ name: books, port: {} }}
",
            self.service.port()
        )
    }

    /// Writes a file as an editor does: whole, under another name first.
    pub fn write(&self, file: &str, text: &str) {
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.directory.join(file)).unwrap();
    }

    /// Writes a file where it is, so that whoever looks meanwhile sees a part of it.
    pub fn write_in_place(&self, file: &str, text: &str) {
        std::fs::write(self.directory.join(file), text).unwrap();
    }

    /// Gives a file another name.
    pub fn rename(&self, file: &str, to: &str) {
        std::fs::rename(self.directory.join(file), self.directory.join(to)).unwrap();
    }

    /// Removes a file from the watched directory.
    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.directory.join(file)).unwrap();
    }

    /// `fairway run` on it.
    pub async fn run(&self, flags: &[&str]) -> Program {
        Program::start(&self.directory, self.folder.path(), flags).await
    }

    /// Asks the Gateway for a host, on a connection of its own.
    pub async fn ask(&self, host: &str) -> anyhow::Result<CollectedResponse> {
        ask(self.gateway, host).await
    }

    /// Waits until the Gateway answers for a host under this mark.
    pub async fn eventually_marked(&self, program: &Program, host: &str, mark: &str) {
        let what = format!("{host} to be answered as {mark}");
        program.eventually(&what, async |_| self.mark(host).await.as_deref() == Some(mark)).await;
    }

    /// Waits until the Gateway answers for a host with this status.
    pub async fn eventually_status(&self, program: &Program, host: &str, status: StatusCode) {
        let what = format!("{host} to be answered with {status}");
        program.eventually(&what, async |_| self.ask(host).await.is_ok_and(|it| it.status == status)).await;
    }

    /// The mark of a host's answer, if it is one of the server's.
    pub async fn mark(&self, host: &str) -> Option<String> {
        let answer = self.ask(host).await.ok().filter(|it| it.pod() == Some("books-1"))?;
        Some(answer.headers.get("x-mark")?.to_str().ok()?.to_owned())
    }
}

/// One request on a connection of its own.
pub async fn ask(address: SocketAddr, host: &str) -> anyhow::Result<CollectedResponse> {
    let stream = TcpStream::connect(address).await?;
    Ok(Client::http1(stream).await?.get(host, "/").await?)
}
