//! The admin ports as sockets, on threads of their own.
//!
//! Metrics and readiness are open to every pod, and the kubelet restarts a program whose readiness port does not answer. So nobody can keep
//! their connections: each ends after one response and a few seconds, whatever its peer does, and where there are too many, the address that
//! has most loses its oldest. Readiness has a thread of its own, so that whoever asks for metrics all the time delays it by nothing.

use super::connections::Connections;
use super::pages::{PageRequest, PageResponse, Pages, Surface};
use crate::settings::{AdminSettings, PublicAddress};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

/// Connections to a port at once.
const CONNECTIONS: usize = 64;

/// How long a connection may take to send a request's head, and how long it may be idle.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection to a public port may last, with its request and its response: as long as Prometheus waits for one.
const EXCHANGE: Duration = Duration::from_secs(10);

/// The running admin ports. They close when it is dropped.
#[derive(Debug)]
pub struct AdminServer {
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
    readiness: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    running: Option<DropGuard>,
}

/// Why the admin ports cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody else has it.
    #[error("{address} is taken by another process: choose another with {flag} (port 0 takes a free one)")]
    Taken {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The full set is for operators.
    #[error("{0} is not a loopback address: --admin-address shows everything and has no password")]
    NotLoopback(SocketAddr),
    /// The system says no.
    #[error("cannot listen on {address} ({flag}): {why}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        why: io::Error,
    },
    /// The thread could not start.
    #[error("cannot start the admin thread: {0}")]
    Thread(io::Error),
}

struct Port {
    listener: StdTcpListener,
    surface: Surface,
}

impl Pages {
    /// Opens the ports and serves the pages until the server is dropped.
    pub fn serve(self, settings: &AdminSettings) -> Result<AdminServer, AdminError> {
        if !settings.admin_address.ip().is_loopback() {
            return Err(AdminError::NotLoopback(settings.admin_address));
        }
        let (full, admin) = Port::open(settings.admin_address, "--admin-address", Surface::Full)?;
        let metrics = Port::open_public(settings.metrics_address, "--metrics-address", Surface::Metrics)?;
        let readiness =
            Port::open_public(settings.readiness_address, "--readiness-address", Surface::Readiness)?;
        let (metrics_at, readiness_at) = (metrics.as_ref().map(|it| it.1), readiness.as_ref().map(|it| it.1));
        let own = readiness.into_iter().map(|it| it.0).collect::<Vec<_>>();
        let others = std::iter::once(full).chain(metrics.map(|it| it.0)).collect();

        let (pages, stop) = (Arc::new(self), CancellationToken::new());
        let threads =
            [("admin", others), ("readiness", own)].into_iter().filter(|(_, ports)| !ports.is_empty());
        let threads = threads.map(|(name, ports)| spawn(name, pages.clone(), ports, stop.clone()));
        let threads = threads.collect::<io::Result<Vec<_>>>().map_err(AdminError::Thread)?;
        info!("admin at http://{admin}");
        Ok(AdminServer {
            admin,
            metrics: metrics_at,
            readiness: readiness_at,
            threads,
            running: Some(stop.drop_guard()),
        })
    }
}

// === impl AdminServer ===

impl AdminServer {
    /// Where the full set is, with the port that was taken if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.admin
    }

    /// Where metrics are, if they have a port.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where readiness is, if it has a port.
    pub fn readiness_address(&self) -> Option<SocketAddr> {
        self.readiness
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.running.take());
        for thread in self.threads.drain(..) {
            // It only has to notice; connections are not waited for.
            let _ = thread.join();
        }
    }
}

// === impl Port ===

impl Port {
    fn open_public(
        address: PublicAddress,
        flag: &'static str,
        surface: Surface,
    ) -> Result<Option<(Self, SocketAddr)>, AdminError> {
        match address {
            PublicAddress::Off => Ok(None),
            PublicAddress::At(address) => Self::open(address, flag, surface).map(Some),
        }
    }

    fn open(
        address: SocketAddr,
        flag: &'static str,
        surface: Surface,
    ) -> Result<(Self, SocketAddr), AdminError> {
        let listening = || -> io::Result<(Self, SocketAddr)> {
            let listener = listen(address)?;
            let address = listener.local_addr()?;
            Ok((Self { listener, surface }, address))
        };
        listening().map_err(|why| match why.kind() {
            io::ErrorKind::AddrInUse => AdminError::Taken { address, flag },
            _ => AdminError::Listen { address, flag, why },
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<StdTcpListener> {
    let listener = match StdTcpListener::bind(address) {
        // A kernel without IPv6 has no "all addresses" in it; IPv4's is meant too.
        Err(why) if why.raw_os_error() == Some(NO_IPV6) && address.ip().is_unspecified() => {
            StdTcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// `EAFNOSUPPORT`: the kernel has no IPv6.
const NO_IPV6: i32 = 97;

fn spawn(
    name: &str,
    pages: Arc<Pages>,
    ports: Vec<Port>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(run(pages, ports, stop)))
}

async fn run(pages: Arc<Pages>, ports: Vec<Port>, stop: CancellationToken) {
    let serving = ports.into_iter().map(|port| tokio::spawn(accept(pages.clone(), port))).collect::<Vec<_>>();
    stop.cancelled().await;
    // The runtime goes with its tasks; naming them keeps them until here.
    drop(serving);
}

async fn accept(pages: Arc<Pages>, port: Port) {
    let Port { listener, surface } = port;
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("an admin port cannot be served: {error}");
            return;
        }
    };
    let mut connections = Connections::new(CONNECTIONS);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files: it passes or it does not, trying at once helps nobody.
                debug!("an admin port cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let serving = tokio::spawn(serve(pages.clone(), surface, stream));
        connections.add(peer.ip(), serving.abort_handle());
    }
}

async fn serve(pages: Arc<Pages>, surface: Surface, stream: TcpStream) {
    let service =
        service_fn(|request| std::future::ready(Ok::<_, Infallible>(respond(&pages, surface, &request))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(surface == Surface::Full)
        .serve_connection(TokioIo::new(stream), service);
    let ended = match surface {
        Surface::Full => connection.await,
        // Of the whole: a response that nobody reads ends, too.
        Surface::Metrics | Surface::Readiness => match tokio::time::timeout(EXCHANGE, connection).await {
            Ok(ended) => ended,
            Err(_) => return debug!("an admin connection took more than {EXCHANGE:?}"),
        },
    };
    if let Err(error) = ended {
        debug!("an admin connection broke: {error}");
    }
}

fn respond(pages: &Pages, surface: Surface, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let page_request = PageRequest {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query(),
        host: request.headers().get(header::HOST).and_then(|it| it.to_str().ok()),
    };
    let PageResponse { status, content_type, body } = pages.respond(surface, page_request);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::readiness::Readiness;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn settings(admin: &str) -> AdminSettings {
        AdminSettings {
            admin_address: admin.parse().unwrap(),
            metrics_address: "127.0.0.1:0".parse().unwrap(),
            readiness_address: PublicAddress::Off,
        }
    }

    fn pages() -> Pages {
        Pages::new(Readiness::new(), Metrics::new("test", "0"))
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn a_client_that_does_not_ask_is_not_waited_for() {
        for said in ["", "GET /metrics HTTP/1.1\r\n", "GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n"]
        {
            let (port, address) =
                Port::open("127.0.0.1:0".parse().unwrap(), "--admin-address", Surface::Full).unwrap();
            tokio::spawn(accept(Arc::new(pages()), port));
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            // What is under way comes first; then the time passes without being waited for.
            tokio::time::sleep(Duration::from_millis(100)).await;
            tokio::time::pause();
            tokio::time::sleep(HEAD + Duration::from_secs(1)).await;
            tokio::time::resume();
            let mut heard = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut heard)).await;
            assert!(ended.is_ok(), "still open after {said:?}: {}", String::from_utf8_lossy(&heard));
        }
    }

    /// What somebody does with a connection to a public port, and for how long it may last.
    #[tokio::test]
    async fn nobody_keeps_a_connection_to_a_public_port_or_keeps_others_out() {
        let asked = "GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let held = [String::new(), "GET /met".to_owned(), asked.to_owned(), asked.repeat(20_000)];
        for (said, surface) in
            held.iter().flat_map(|said| [Surface::Metrics, Surface::Readiness].map(|surface| (said, surface)))
        {
            let (port, address) =
                Port::open("127.0.0.1:0".parse().unwrap(), "--readiness-address", surface).unwrap();
            tokio::spawn(accept(Arc::new(pages()), port));
            let mut all = Vec::new();
            for _ in 0..2 * CONNECTIONS {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // What is not read is not waited for.
                let _ =
                    tokio::time::timeout(Duration::from_millis(1), stream.write_all(said.as_bytes())).await;
                all.push(stream);
            }
            let path = if surface == Surface::Metrics { "/metrics" } else { "/healthz/live" };
            let answer = tokio::time::timeout(Duration::from_secs(1), get(address, path)).await;
            assert!(answer.is_ok_and(|it| it.starts_with("HTTP/1.1 200 ")), "{surface:?} after {:.40}", said);
            tokio::time::pause();
            tokio::time::sleep(EXCHANGE + Duration::from_secs(1)).await;
            tokio::time::resume();
            for mut stream in all {
                let ended = async { while !matches!(stream.read(&mut [0; 4096]).await, Ok(0) | Err(_)) {} };
                assert!(tokio::time::timeout(Duration::from_secs(2), ended).await.is_ok(), "still open");
            }
        }
    }

    #[tokio::test]
    async fn the_ports_answer_until_the_server_is_dropped() {
        let server = pages().serve(&settings("127.0.0.1:0")).unwrap();
        assert!(get(server.address(), "/healthz/live").await.starts_with("HTTP/1.1 200 "));
        let metrics = server.metrics_address().unwrap();
        assert!(get(metrics, "/metrics").await.contains("# EOF"));
        assert!(get(metrics, "/config").await.starts_with("HTTP/1.1 404 "));
        assert_eq!(server.readiness_address(), None);
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn a_port_that_is_taken_names_the_flag() {
        let taken = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = pages().serve(&settings(&address.to_string())).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--admin-address"), "{error}");
    }

    #[test]
    fn the_full_set_is_not_served_to_the_world() {
        let error = pages().serve(&settings("0.0.0.0:0")).unwrap_err();
        assert!(matches!(error, AdminError::NotLoopback(_)), "{error}");
    }
}
