//! Where a proxy accepts connections, and what it does with their first bytes.

use super::capability::{Capability, of_filter, that_guards};
use super::reference::{of_authentication, of_authorization, of_limits, of_target};
use super::{
    AddressSource, AuthenticationKey, AuthorizationKey, Capabilities, CertificateKey, ClientTreatment,
    ClientValidation, Filter, HostnamePattern, ListenerKey, ObjectName, RateLimitKey, References, Requires,
    ResourceKey, ResourceKind, ServiceKey, TlsAlgorithms,
};
use std::net::IpAddr;
use std::sync::Arc;

/// A listener of a Gateway, or the one HBONE listener of a waypoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// `<gateway namespace>/<gateway name>/<listener name>`, and for a ListenerSet's `…/<its namespace>/<its name>/<listener name>`
    pub key: ListenerKey,
    /// The Gateway it belongs to.
    pub gateway: ObjectName,
    /// The listener's name in the Gateway.
    pub section: Arc<str>,
    /// Addresses to bind; none means every address of the proxy's network namespace.
    pub addresses: Vec<IpAddr>,
    /// The port to bind.
    pub port: u16,
    /// The hosts this listener takes; none means all.
    pub hostname: Option<HostnamePattern>,
    /// What the listener speaks.
    pub protocol: ListenerProtocol,
    /// Shown to backends that are spoken to in TLS and ask for a certificate (GEP-3155, `spec.tls.backend`).
    pub backend_certificate: Option<CertificateKey>,
    /// Those that judge its requests and connections, whatever route they take. One that is not in the same snapshot denies.
    pub authorizations: Vec<AuthorizationKey>,
    /// How it learns where its clients are.
    pub address_source: AddressSource,
    /// What sees its requests before their route is matched, in the order written (GEP-5224).
    pub filters: Vec<Filter>,
    /// Why it serves nobody; none when it serves. It keeps its port and its hostname, so that no wider listener of the port takes
    /// what is for it. No route is bound to it, so a proxy that does not know this field has nothing to serve there either.
    pub closed: Option<Arc<str>>,
    /// Those that count its requests, whatever route they take. One that is not in the same snapshot closes.
    pub limits: Vec<RateLimitKey>,
    /// How it treats its clients; none where nothing is said of that.
    pub treatment: Option<Arc<ClientTreatment>>,
    /// How whoever asks here has to say who it is, whatever route it takes. One that is not in the same snapshot closes.
    pub authentications: Vec<AuthenticationKey>,
}

/// What is spoken on a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerProtocol {
    /// Plain HTTP/1.1 and HTTP/2 with prior knowledge.
    Http,
    /// HTTP over TLS; the hostname is the SNI.
    Https(TlsTermination),
    /// TLS that is ended here; what is inside goes on as bytes, by the SNI (a TLSRoute).
    TlsTerminate(TlsTermination),
    /// TLS that is not ended here: goes on as it is, by the SNI (a TLSRoute).
    TlsPassthrough,
    /// Bytes; a TCPRoute says where they go.
    Tcp,
    /// Datagrams; a UDPRoute says where they go.
    Udp,
    /// Tunnels from ztunnels, other waypoints and gateways; the Service is the CONNECT authority.
    Hbone,
    /// A Service's own address, in plain bytes: how a machine without capture (standalone) reaches Service-bound routes.
    Service {
        /// The Service whose address it stands for.
        service: ServiceKey,
        /// The port of that Service.
        port: u16,
    },
}

/// How a listener ends TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsTermination {
    /// Certificates to choose from by SNI, in the order the user gave; never empty.
    pub certificates: Vec<CertificateKey>,
    /// How clients' certificates are judged; none means that none is asked for.
    pub clients: Option<ClientValidation>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
    /// The algorithms that are spoken.
    pub algorithms: TlsAlgorithms,
}

/// The versions of TLS that can be asked for as the lowest one; older ones are never spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

// === impl ListenerProtocol ===

impl ListenerProtocol {
    /// How TLS ends here, if it does.
    pub fn termination(&self) -> Option<&TlsTermination> {
        match self {
            Self::Https(tls) | Self::TlsTerminate(tls) => Some(tls),
            _ => None,
        }
    }
}

// === impl TlsTermination ===

impl TlsTermination {
    fn requires(&self) -> impl Iterator<Item = Capability> {
        let version = (self.min_version != TlsVersion::default()).then_some(Capability::TlsMinVersion);
        let algorithms = (!self.algorithms.is_empty()).then_some(Capability::TlsAlgorithms);
        version.into_iter().chain(algorithms)
    }
}

// === impl Listener ===

impl Listener {
    /// The same listener, closed. It needs no certificate, judges nobody, asks nobody where
    /// clients are, treats none in a way of its own and has no filters. None where no listener is wider: for tunnels and for
    /// the addresses of Services.
    pub fn close(&self, why: impl Into<Arc<str>>) -> Option<Self> {
        let protocol = match &self.protocol {
            ListenerProtocol::Http => ListenerProtocol::Http,
            ListenerProtocol::Https(_)
            | ListenerProtocol::TlsTerminate(_)
            | ListenerProtocol::TlsPassthrough => ListenerProtocol::TlsPassthrough,
            ListenerProtocol::Tcp => ListenerProtocol::Tcp,
            ListenerProtocol::Udp => ListenerProtocol::Udp,
            ListenerProtocol::Hbone | ListenerProtocol::Service { .. } => return None,
        };
        Some(Self {
            protocol,
            backend_certificate: None,
            authorizations: Vec::new(),
            limits: Vec::new(),
            authentications: Vec::new(),
            address_source: AddressSource::Connection,
            filters: Vec::new(),
            treatment: None,
            closed: Some(why.into()),
            ..self.clone()
        })
    }

    /// Only which connections and requests are for it, and whether it is closed. None where no listener is wider: see [`Self::close`].
    pub fn place(&self) -> Option<Self> {
        let place = self.close("")?;
        Some(Self { closed: self.closed.clone(), ..place })
    }

    /// Whether anything authenticates, judges or counts what comes by it.
    pub fn is_guarded(&self) -> bool {
        !self.authentications.is_empty() || !self.authorizations.is_empty() || !self.limits.is_empty()
    }
}

impl Requires for Listener {
    fn requires(&self) -> Capabilities {
        let mut required = that_guards(&self.authentications, &self.authorizations, &self.limits);
        required.extend(self.address_source.requires());
        required.extend(self.protocol.termination().into_iter().flat_map(TlsTermination::requires));
        required.extend(self.treatment.iter().flat_map(|it| it.requires()));
        required.extend(self.filters.first().map(|_| Capability::ListenerFilters));
        required.extend(self.filters.iter().map(of_filter));
        required
    }

    /// Without the capability the listener would be served unguarded, take a load balancer for its client, or speak an old TLS, so it
    /// is closed, and not its filters one by one: some of them may be what the others believe. Its routes are not bound to it there: [`Resource::detached`](super::Resource::detached).
    fn closed_for(&self, known: Capabilities) -> Option<Self> {
        let missing = self.requires().without(known);
        self.close(format!("this version of the proxy does not know {missing}"))
    }
}

impl References for Listener {
    fn references(&self) -> Vec<ResourceKey> {
        let served = self.protocol.termination().map(|tls| &*tls.certificates).unwrap_or_default();
        let named = served.iter().chain(&self.backend_certificate);
        let certificates = named.map(|it| ResourceKey::new(ResourceKind::Certificate, it.as_arc()));
        let asked = self.filters.iter().filter_map(Filter::target).filter_map(of_target);
        certificates
            .chain(self.authorizations.iter().map(of_authorization))
            .chain(self.limits.iter().map(of_limits))
            .chain(self.authentications.iter().map(of_authentication))
            .chain(asked)
            .collect()
    }
}
