//! Who is at the other end of a connection, and what they connected to.

use crate::address::FarEnd;
use crate::connection::Connection;
use crate::ports::PortId;
use crate::settings::Limits;
use crate::telemetry::Exchange;
use crate::upstream::caller::Caller;
use crate::upstream::{Lease, Taken};
use crate::wire::Version;
use crate::worker::Worker;
use fairway_balance::InFlight;
use fairway_config::model::{Audience, BackendKey, CertificateKey, Listener, Scheme, ServiceKey, SpiffeId};
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A client's connection, as its requests see it.
pub struct Client {
    /// The worker that serves it.
    pub worker: Rc<Worker>,
    /// What timeouts and the drain know of it.
    pub connection: Rc<Connection>,
    /// What it connected to: a Gateway's listener or a Service.
    pub origin: Origin,
    /// `https` if the proxy ended TLS, else `http`.
    pub scheme: Scheme,
    /// The version of HTTP that the client speaks; endpoints may get another.
    pub version: Version,
    /// Where it comes from.
    pub caller: Caller,
    /// The proxy that connects for it, by its header of the PROXY protocol. Else it is itself the far end of its connection.
    pub proxy: Option<Box<IpAddr>>,
    /// Who it proved to be.
    pub identity: Option<SpiffeId>,
    /// Its address as a header.
    pub forwarded_for: Option<HeaderValue>,
    /// Whether its latest request was HTTP/1.0: then only the end of the connection tells where some bodies end.
    pub is_http10: Cell<bool>,
    /// What becomes of the connection after `101 Switching Protocols`.
    pub switch: RefCell<Option<Switch>>,
}

/// What a connection was made to.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A socket of a Gateway: its listeners share it, and each request finds its own.
    Gateway {
        /// The number of the socket, under which its listeners are found.
        port: PortId,
        /// Over TLS: the name the client asked for, if it did.
        sni: Option<Option<Arc<str>>>,
    },
    /// A Service's address: through a tunnel, or standalone.
    Service(ServiceOrigin),
}

// === impl Origin ===

impl Origin {
    /// The port of a Service that was asked; none at a Gateway.
    pub fn asked(&self) -> Option<&BackendKey> {
        match self {
            Self::Service(it) => Some(&it.backend),
            Self::Gateway { .. } => None,
        }
    }
}

/// A Service that was dialled.
#[derive(Clone, Debug)]
pub struct ServiceOrigin {
    /// The Service whose address was dialled; no Host header changes it.
    pub service: ServiceKey,
    /// The port of the Service, not of an endpoint.
    pub port: u16,
    /// The Service's own endpoints, for requests no route is for.
    pub backend: BackendKey,
    /// Whose routes hold; none if a proxy that is believed has applied routes already (GEP-1294).
    pub audience: Option<Audience>,
    /// The listener by which its tunnel came.
    pub listener: Option<Arc<Listener>>,
    /// Whether a proxy speaks for the client and does not say where that is.
    pub hides_client: bool,
}

/// What becomes of a connection after `101 Switching Protocols`: bytes to and from the endpoint.
#[derive(Debug)]
pub struct Switch {
    /// The endpoint's stream, once its connection lets go of it.
    pub taken: oneshot::Receiver<Taken>,
    /// Keeps the endpoint's connection out of the pool until then.
    pub lease: Lease,
    /// Load on the endpoint.
    pub in_flight: InFlight,
    /// The request that began it.
    pub exchange: Exchange,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("caller", &self.caller)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

// === impl Client ===

impl Client {
    /// What it may make the proxy hold, as far as it is known for which listener it is.
    pub fn limits(&self) -> Limits {
        let limits = self.worker.settings.limits;
        match self.connection.treatment() {
            None => limits,
            Some(it) => limits.of_clients(&it.limits),
        }
    }

    /// The far end of its connection, if that is known.
    pub(super) fn far(&self) -> Option<FarEnd> {
        Some(FarEnd::of(self.caller.address?, self.proxy.as_deref()))
    }
}

// === impl ServiceOrigin ===

impl ServiceOrigin {
    /// What is shown to backends that ask for a certificate.
    pub fn shown(&self) -> Option<&CertificateKey> {
        self.listener.as_ref()?.backend_certificate.as_ref()
    }
}
