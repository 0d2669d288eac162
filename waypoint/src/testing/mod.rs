//! A proxy in memory: one worker on the current thread, clients and endpoints that are streams and not sockets.
//!
//! It serves requests with the code that serves them on sockets, from the first byte of a connection's first request on.
//! Without sockets nothing depends on the kernel: under paused time a test waits for nothing, and what a request costs can be
//! counted exactly.

mod admission;
mod resources;

pub use admission::Admission;
pub use resources::{backend, cors, endpoint, listener, redirect, route, rule, set, to};

use crate::connection::ConnectionState;
use crate::pipeline::{Client, Origin};
use crate::ports::PortId;
use crate::serve::{detect_http, serve_http};
use crate::settings::ProxySettings;
use crate::table::Tables;
use crate::telemetry::{Metrics, Telemetry};
use crate::transport::Transport;
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Registry;
use crate::upstream::connect::Connector;
use crate::upstream::dialled::Dialled;
use crate::view::View;
use crate::wire::{ReadAhead, Version};
use crate::worker::{NotServed, Serving, Shared, Worker};
use arc_swap::ArcSwap;
use fairway_config::model::{ObjectName, Resource, Scheme, SpiffeId};
use fairway_config::{Delta, Rejected, Snapshot};
use fairway_runtime::drain;
use fairway_runtime::workers::WorkerId;
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval};

/// Bytes that a stream in memory holds for its reader.
const BUFFER: usize = 64 * 1024;

/// A proxy in memory. Use it in a `LocalSet`, on a runtime of one thread.
pub struct MemoryProxy {
    worker: Rc<Worker>,
    metrics: Metrics,
    view: View,
    serving: Arc<ArcSwap<Serving>>,
    snapshot: Snapshot,
    registry: Registry,
    _drain: drain::Trigger,
}

/// Who a client in memory is.
#[derive(Clone, Debug)]
pub struct MemoryClient {
    /// The far end of its connection.
    pub address: IpAddr,
    /// Where a header of the PROXY protocol said that it is.
    pub proxied: Option<IpAddr>,
    /// The identity that it has proved.
    pub identity: Option<SpiffeId>,
    /// The version of HTTP that it speaks from its first byte; if none, its first bytes tell.
    pub version: Option<Version>,
}

impl Default for MemoryClient {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::new(192, 0, 2, 1).into(),
            proxied: None,
            identity: None,
            version: Some(Version::Http1),
        }
    }
}

// === impl MemoryProxy ===

impl MemoryProxy {
    /// Serves a configuration. Whenever an endpoint is connected to, `serve` gets its address and the endpoint's side of the
    /// stream; where it returns an error the endpoint cannot be reached.
    pub fn start(
        resources: Vec<Resource>,
        serve: impl Fn(SocketAddr, DuplexStream) -> io::Result<()> + 'static,
    ) -> Result<Self, Vec<Rejected>> {
        Self::start_with(resources, |_| {}, serve)
    }

    /// Like [`Self::start`], with settings that `change` has changed.
    pub fn start_with(
        resources: Vec<Resource>,
        change: impl FnOnce(&mut ProxySettings),
        serve: impl Fn(SocketAddr, DuplexStream) -> io::Result<()> + 'static,
    ) -> Result<Self, Vec<Rejected>> {
        let mut settings = ProxySettings::new(ObjectName::new("shop", "gateway"));
        change(&mut settings);
        let settings = Arc::new(settings);
        let metrics = Metrics::new(&settings);
        let serving = Arc::new(ArcSwap::from_pointee(Serving {
            tables: Tables::counted_by(metrics.telemetry.clone()),
            ..Serving::default()
        }));
        let epoch = Instant::now();
        let view = View::new(serving.clone(), settings.clone(), epoch);
        let dialled = Dialled::default();
        let shared =
            Shared { settings: settings.clone(), serving: serving.clone(), identity: None, epoch, dialled };
        let connector = Connector::new(None, settings.timeouts, None).dialling(move |address| {
            let (near, far) = duplex(BUFFER);
            serve(address, far)?;
            Ok(Transport::Other(Box::new(near)))
        });
        let (trigger, watch) = drain::channel();
        // They were made above, so nobody has taken it.
        let telemetry = Telemetry::for_worker(&metrics, WorkerId(0), &settings).ok_or_else(Vec::new)?;
        let worker = Worker::with_connector(shared, telemetry, watch, connector);
        let (snapshot, registry) = (Snapshot::default(), Registry::default());
        let mut proxy = Self { worker, metrics, view, serving, snapshot, registry, _drain: trigger };
        proxy.apply(Delta { upserts: resources, ..Delta::default() })?;
        Ok(proxy)
    }

    /// Its worker, for tests of what a worker does.
    #[cfg(test)]
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Changes the configuration, as a commit does. Its sockets are numbered and not bound.
    pub fn apply(&mut self, delta: Delta) -> Result<(), Vec<Rejected>> {
        let (snapshot, changes) = self.snapshot.apply(delta);
        let tables = self.serving.load().tables.next(&snapshot, &changes, &mut self.registry)?;
        let serving = Serving::unbound(tables, &snapshot).map_err(|error| match error {
            NotServed::Rejected(rejected) => rejected,
            NotServed::Tls(_) => Vec::new(),
        })?;
        self.serving.store(Arc::new(serving));
        self.snapshot = snapshot;
        Ok(())
    }

    /// What a scrape would show.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// What its admin port would show.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Sends the head of a request to `a.ex`, the last one of its HTTP/1.1 connection. `line` has the method and the target.
    pub async fn send(&self, line: &str, headers: &[(&str, &str)]) -> io::Result<DuplexStream> {
        let mut stream = self.connect(MemoryClient::default());
        let mut head = format!("{line} HTTP/1.1\r\nhost: a.ex\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).await?;
        Ok(stream)
    }

    /// Like [`Self::send`]; everything that the proxy sends until it closes the connection, in lower case.
    pub async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> io::Result<String> {
        let mut text = Vec::new();
        // A reset is an end as well: what has come is shown.
        let _ = self.send(line, headers).await?.read_to_end(&mut text).await;
        Ok(String::from_utf8_lossy(&text).to_ascii_lowercase())
    }

    /// Ends what waits too long, a tick a second, as a worker does. Without it nothing in memory is ended.
    pub async fn sweep(&self) -> Infallible {
        let mut ticks = interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            self.worker.tick();
        }
    }

    /// Connects a client to the first socket of the configuration; its side of the stream.
    pub fn connect(&self, client: MemoryClient) -> DuplexStream {
        let (near, far) = duplex(BUFFER);
        let MemoryClient { address, proxied, identity, version } = client;
        let (address, proxy) = match proxied {
            Some(client) => (client.to_canonical(), Some(Box::new(address))),
            None => (address, None),
        };
        let worker = self.worker.clone();
        let client = move |connection, version| {
            Rc::new(Client {
                worker,
                connection,
                origin: Origin::Gateway { port: PortId(0), sni: None },
                scheme: Scheme::Http,
                version,
                caller: Caller { address: Some(address), ..Caller::default() },
                proxy,
                identity,
                forwarded_for: HeaderValue::try_from(address.to_string()).ok(),
                is_http10: Cell::new(false),
                switch: RefCell::new(None),
            })
        };
        let connection = self.worker.connections.open(ConnectionState::Http1);
        let serving = self.worker.serving();
        connection.treat_as(serving.ports.listeners(PortId(0)).and_then(|it| it.treatment()));
        drop(serving);
        let mut io = Transport::Other(Box::new(near));
        match version {
            Some(version) => spawn_local(serve_http(client(connection, version), io, ReadAhead::default())),
            None => spawn_local(async move {
                if let Some((version, ahead)) = detect_http(&connection, &mut io).await {
                    serve_http(client(connection, version), io, ahead).await;
                }
            }),
        };
        far
    }
}

impl fmt::Debug for MemoryProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryProxy").field("worker", &self.worker).finish()
    }
}
