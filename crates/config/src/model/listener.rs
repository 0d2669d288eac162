//! Where a proxy accepts connections, and what it does with their first bytes.

use super::capability::{Capability, that_judges};
use super::reference::of_authorization;
use super::{
    AddressSource, AuthorizationKey, Capabilities, CertificateKey, ClientValidation, HostnamePattern,
    ListenerKey, ObjectName, References, Requires, ResourceKey, ResourceKind, ServiceKey,
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
}

/// A version of TLS.
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
    /// With what every proxy knows.
    fn of_first_edition(&self) -> Self {
        Self { min_version: TlsVersion::default(), ..self.clone() }
    }

    fn requires(&self) -> Option<Capability> {
        (self.min_version != TlsVersion::default()).then_some(Capability::TlsMinVersion)
    }
}

// === impl Listener ===

impl Requires for Listener {
    fn requires(&self) -> Capabilities {
        let mut required = that_judges(&self.authorizations);
        required.extend(self.address_source.requires());
        required.extend(self.protocol.termination().and_then(TlsTermination::requires));
        required
    }

    /// Without the capability the listener would be served unguarded, take a load balancer for its client, or speak an old TLS. It stays,
    /// so that its requests do not fall to a wider listener, without what is not known. What closes it is that its routes are
    /// closed there: [`Resource::closed_at`](super::Resource::closed_at). Listeners to which no routes are bound are not served.
    fn closed_for(&self, _known: Capabilities) -> Option<Self> {
        let protocol = match &self.protocol {
            ListenerProtocol::Https(tls) => ListenerProtocol::Https(tls.of_first_edition()),
            ListenerProtocol::TlsTerminate(tls) => ListenerProtocol::TlsTerminate(tls.of_first_edition()),
            ListenerProtocol::Http
            | ListenerProtocol::TlsPassthrough
            | ListenerProtocol::Tcp
            | ListenerProtocol::Udp => self.protocol.clone(),
            ListenerProtocol::Hbone | ListenerProtocol::Service { .. } => return None,
        };
        let (authorizations, address_source) = (Vec::new(), AddressSource::Connection);
        Some(Self { protocol, authorizations, address_source, ..self.clone() })
    }
}

impl References for Listener {
    fn references(&self) -> Vec<ResourceKey> {
        let served = self.protocol.termination().map(|tls| &*tls.certificates).unwrap_or_default();
        let named = served.iter().chain(&self.backend_certificate);
        let certificates = named.map(|it| ResourceKey::new(ResourceKind::Certificate, it.as_arc()));
        certificates.chain(self.authorizations.iter().map(of_authorization)).collect()
    }
}
