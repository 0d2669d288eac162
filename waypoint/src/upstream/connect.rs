//! How an endpoint is reached: in the clear, or, if it has an identity, through HBONE and never otherwise; and within that
//! in TLS if its backend asks for it.

use super::endpoint::EndpointRecord;
use super::tls::{Protocol, TlsClient};
use crate::settings::Timeouts;
use crate::transport::Transport;
use fairway_hbone::{Carrier, Connect, ConnectRequest, OpenError, Routing, Target, TcpConnector};
use fairway_identity::{IdentityHandle, TlsIdentity};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The endpoint, or a waypoint's.
    pub endpoint: &'a Arc<EndpointRecord>,
    /// If the endpoint is of a waypoint that stands before a Service: the Service's address.
    pub through: Option<SocketAddr>,
    /// The backend's TLS, if it has any.
    pub tls: Option<&'a Arc<TlsClient>>,
}

/// An open byte stream to an endpoint.
#[derive(Debug)]
pub struct Link {
    /// The stream.
    pub io: Transport,
    /// The connection that carries it, if that is a tunnel's.
    pub carrier: Option<Carrier>,
}

/// Makes connections.
pub struct Connector {
    dial: Dial,
    mesh: Option<Mesh>,
    timeouts: Timeouts,
    /// The proxy's node: a waypoint takes it for that of whoever it speaks for.
    node: Option<Arc<str>>,
}

/// How an endpoint outside the mesh is connected to.
enum Dial {
    Tcp,
    /// With streams in memory.
    #[cfg(any(test, feature = "testing"))]
    Memory(Box<dyn Fn(SocketAddr) -> io::Result<Transport>>),
}

/// The proxy's place in the mesh.
struct Mesh {
    identity: IdentityHandle,
    tunnels: fairway_hbone::Pool<TcpConnector>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint does not take it.
    #[error("cannot connect: {0}")]
    Refused(#[from] io::Error),
    /// Not in time.
    #[error("no connection in time")]
    Timeout,
    /// The endpoint takes mTLS only, and this proxy has no certificate (yet).
    #[error("the endpoint is in the mesh and this proxy has no identity yet")]
    NoIdentity,
    /// No tunnel.
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    /// No TLS session: the endpoint's certificate is not what its backend's policy asks for, or it does not want ours.
    #[error("no TLS session: {0}")]
    Tls(io::Error),
    /// The connection broke before the first request.
    #[error("cannot begin to speak HTTP: {0}")]
    Handshake(hyper::Error),
}

// === impl Route ===

impl<'a> Route<'a> {
    /// A waypoint before a Service sees what it forwards: it is the one that speaks the backend's TLS, and the way to it
    /// is a tunnel.
    pub fn new(
        endpoint: &'a Arc<EndpointRecord>,
        through: Option<SocketAddr>,
        tls: Option<&'a Arc<TlsClient>>,
    ) -> Self {
        Self { endpoint, through, tls: tls.filter(|_| through.is_none()) }
    }
}

// === impl Connector ===

impl Connector {
    /// Without an identity, endpoints that have one are not reached at all.
    pub fn new(identity: Option<IdentityHandle>, timeouts: Timeouts, node: Option<Arc<str>>) -> Self {
        let mesh = identity.map(|identity| Mesh {
            identity,
            tunnels: fairway_hbone::Pool::new(
                TcpConnector,
                fairway_hbone::client::Settings { connect_timeout: timeouts.connect, ..Default::default() },
            ),
        });
        Self { dial: Dial::Tcp, mesh, timeouts, node }
    }

    /// Connects to endpoints outside the mesh by calling `dial` instead of TCP.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn dialling(mut self, dial: impl Fn(SocketAddr) -> io::Result<Transport> + 'static) -> Self {
        self.dial = Dial::Memory(Box::new(dial));
        self
    }

    /// Opens a byte stream to where a request goes.
    pub async fn connect(&self, route: &Route<'_>, protocol: Protocol) -> Result<Link, ConnectError> {
        let link = self.reach(route).await?;
        let Some(tls) = route.tls else { return Ok(link) };
        let Link { io, carrier } = link;
        match timeout(self.timeouts.connect, tls.handshake(io, protocol)).await {
            Ok(secured) => Ok(Link { io: secured?, carrier }),
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    async fn reach(&self, route: &Route<'_>) -> Result<Link, ConnectError> {
        let (endpoint, through) = (route.endpoint, route.through);
        match (endpoint.identity(), through) {
            (None, None) => Ok(Link { io: self.dial(endpoint.address()).await?, carrier: None }),
            // A waypoint without an identity would be no waypoint.
            (None, Some(_)) => Err(ConnectError::NoIdentity),
            (Some(identity), through) => {
                let mesh = self.mesh.as_ref().ok_or(ConnectError::NoIdentity)?;
                let own = self.own_identity(mesh).await?;
                let target = Target {
                    address: SocketAddr::new(endpoint.address().ip(), fairway_hbone::PORT),
                    identity: identity.clone(),
                };
                let mut request = ConnectRequest::to(through.unwrap_or(endpoint.address()));
                if through.is_some() {
                    request.routing = Routing::Done;
                    request.node = self.node.clone();
                }
                // Boxed: its state is large, and gone once the tunnel is open.
                let tunnel = Box::pin(mesh.tunnels.open(&own, &target, &request)).await?;
                let carrier = tunnel.carrier();
                Ok(Link { io: Transport::Other(Box::new(tunnel)), carrier })
            }
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<Transport, ConnectError> {
        match &self.dial {
            Dial::Tcp => match timeout(self.timeouts.connect, TcpConnector.connect(address)).await {
                Ok(connected) => Ok(Transport::Tcp(connected?)),
                Err(_) => Err(ConnectError::Timeout),
            },
            #[cfg(any(test, feature = "testing"))]
            Dial::Memory(dial) => Ok(dial(address)?),
        }
    }

    async fn own_identity(&self, mesh: &Mesh) -> Result<Arc<TlsIdentity>, ConnectError> {
        if let Some(identity) = mesh.identity.current() {
            return Ok(identity);
        }
        timeout(self.timeouts.identity, mesh.identity.ready()).await.map_err(|_| ConnectError::NoIdentity)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("mesh", &self.mesh.is_some()).finish_non_exhaustive()
    }
}
