//! Opening a connection to an endpoint. An endpoint with an identity is reached only through HBONE, every other one over plain TCP.
//! Inside of that comes TLS, if the backend has a BackendTLSPolicy.

use super::tls::{Protocol, TlsClient};
use crate::reason::Reason;
use crate::settings::Timeouts;
use crate::transport::{Transport, keep_alive};
use fairway_balance::EndpointRecord;
use fairway_hbone::{Carrier, Connect, ConnectRequest, OpenError, Routing, Target, TcpConnector};
use fairway_identity::{IdentityHandle, TlsIdentity};
use http::uri::Scheme;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// The endpoint of a request, and how to reach it.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The endpoint; or an endpoint of the waypoint that the Service requires.
    pub endpoint: &'a Arc<EndpointRecord>,
    /// If `endpoint` is a waypoint: the address of the Service, which becomes the authority of the tunnel.
    pub through: Option<SocketAddr>,
    /// The TLS client for the backend. `None` for plain backends.
    pub tls: Option<&'a Arc<TlsClient>>,
}

impl Route<'_> {
    /// The scheme of requests on it: what the backend's own TLS makes of it. A tunnel is none of the application's.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

/// An open byte stream to an endpoint.
#[derive(Debug)]
pub struct Link {
    /// The bytes that the protocol is spoken on: TCP, a tunnel, or TLS over one of them.
    pub io: Transport,
    /// The HBONE connection that carries the stream, if it is a tunnel.
    pub carrier: Option<Carrier>,
}

/// Opens connections for one worker.
pub struct Connector {
    dial: Dial,
    mesh: Option<Mesh>,
    timeouts: Timeouts,
    /// The node of the proxy. A waypoint takes it as the node of the client.
    node: Option<Arc<str>>,
}

/// How an endpoint outside the mesh is connected to.
enum Dial {
    Tcp,
    /// With streams in memory.
    #[cfg(any(test, feature = "testing"))]
    Memory(Box<dyn Fn(SocketAddr) -> io::Result<Transport>>),
}

/// The proxy's identity, and its tunnels.
struct Mesh {
    identity: IdentityHandle,
    tunnels: fairway_hbone::Pool<TcpConnector>,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint refuses the connection, or is unreachable.
    #[error("cannot connect: {0}")]
    Refused(#[from] io::Error),
    /// The connect timeout has passed.
    #[error("the connection was not established in time")]
    Timeout,
    /// The endpoint accepts only mTLS, and this proxy has no certificate.
    #[error("the endpoint is in the mesh, and no certificate was issued for this proxy yet")]
    NoIdentity,
    /// The HBONE tunnel could not be opened.
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    /// The TLS handshake has failed: the endpoint's certificate does not satisfy the BackendTLSPolicy, or the endpoint rejects the
    /// client certificate.
    #[error("the TLS handshake with the endpoint has failed: {0}")]
    Tls(io::Error),
    /// The connection has ended before the first request.
    #[error("the HTTP handshake with the endpoint has failed: {0}")]
    Handshake(hyper::Error),
}

// === impl ConnectError ===

impl ConnectError {
    /// Whether the time for a connection has passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout | Self::Tunnel(OpenError::ConnectTimeout { .. }))
    }
}

// === impl Route ===

impl<'a> Route<'a> {
    /// `tls` is ignored if the route leads through a waypoint: the waypoint opens the TLS connection to the backend itself, and is
    /// reached through a tunnel.
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
    /// Without `identity`, endpoints in the mesh cannot be reached.
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

    /// Opens a byte stream to the endpoint of `route`.
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
            // A waypoint without an identity cannot be authenticated.
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
                // Boxed: opening a tunnel needs far more memory than using it.
                let tunnel = Box::pin(mesh.tunnels.open(&own, &target, &request)).await?;
                let carrier = tunnel.carrier();
                Ok(Link { io: Transport::Other(Box::new(tunnel)), carrier })
            }
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<Transport, ConnectError> {
        match &self.dial {
            Dial::Tcp => match timeout(self.timeouts.connect, TcpConnector.connect(address)).await {
                Ok(connected) => {
                    let stream = connected?;
                    keep_alive(&stream);
                    Ok(Transport::Tcp(stream))
                }
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

impl From<&ConnectError> for Reason {
    /// Only what is [`Reason::Unreachable`] tells of the endpoint's health: a policy that does not fit is its backend's
    /// matter, and others may share the endpoint.
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::NoIdentity => Self::NoIdentity,
            ConnectError::Tls(_) => Self::Tls,
            _ => Self::Unreachable,
        }
    }
}
