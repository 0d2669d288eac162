//! Where a proxy accepts connections, and what it does with their first bytes.

use super::capability::that_guards;
use super::reference::{of_authorization, of_limits};
use super::{
    AuthorizationKey, Capabilities, CertificateKey, ClientValidation, HostnamePattern, ListenerKey,
    ObjectName, RateLimitKey, References, Requires, ResourceKey, ResourceKind, ServiceKey,
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
    /// Those that count its requests, whatever route they take. One that is not in the same snapshot closes.
    pub limits: Vec<RateLimitKey>,
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
}

// === impl Listener ===

impl Listener {
    /// Whether anything judges or counts what comes by it.
    pub fn is_guarded(&self) -> bool {
        !self.authorizations.is_empty() || !self.limits.is_empty()
    }
}

impl Requires for Listener {
    fn requires(&self) -> Capabilities {
        that_guards(&self.authorizations, &self.limits)
    }

    // Without the capability the listener would be served unguarded, so it is not served: `closed_for` is none.
}

impl References for Listener {
    fn references(&self) -> Vec<ResourceKey> {
        let served: &[CertificateKey] = match &self.protocol {
            ListenerProtocol::Https(tls) | ListenerProtocol::TlsTerminate(tls) => &tls.certificates,
            _ => &[],
        };
        let named = served.iter().chain(&self.backend_certificate);
        let certificates = named.map(|it| ResourceKey::new(ResourceKind::Certificate, it.as_arc()));
        certificates
            .chain(self.authorizations.iter().map(of_authorization))
            .chain(self.limits.iter().map(of_limits))
            .collect()
    }
}
