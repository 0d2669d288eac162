//! What a listener speaks, and what follows from that.

use crate::resources::RouteKind;
use fairway_gateway_api::gateways::{GatewayListeners, GatewayListenersTlsMode as Mode};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Protocol {
    Http,
    Https,
    /// TLS that the proxy ends with a certificate of the listener.
    TlsTerminate,
    /// TLS, not ended here.
    TlsPassthrough,
    Tcp,
    Udp,
    /// HBONE: tunnels, on waypoints.
    Hbone,
}

// === impl Protocol ===

impl Protocol {
    /// What a listener speaks; none when it is nothing that we know.
    pub(super) fn read(written: &GatewayListeners) -> Option<Self> {
        let mode = written.tls.as_ref().and_then(|it| it.mode.as_ref());
        Some(match (written.protocol.as_str(), mode) {
            ("HTTP", _) => Self::Http,
            ("HTTPS", _) => Self::Https,
            ("TLS", Some(Mode::Passthrough)) => Self::TlsPassthrough,
            ("TLS", Some(Mode::Terminate) | None) => Self::TlsTerminate,
            ("TCP", _) => Self::Tcp,
            ("UDP", _) => Self::Udp,
            ("HBONE", _) => Self::Hbone,
            _ => return None,
        })
    }

    /// The kinds of routes that can be attached.
    pub(super) fn kinds(self) -> &'static [RouteKind] {
        match self {
            Self::Http | Self::Https => &[RouteKind::Http, RouteKind::Grpc],
            Self::TlsTerminate | Self::TlsPassthrough => &[RouteKind::Tls],
            Self::Tcp => &[RouteKind::Tcp],
            Self::Udp => &[RouteKind::Udp],
            Self::Hbone => &[],
        }
    }

    /// Whether listeners of both can be told apart by hostname on one port.
    pub(super) fn shares_port_with(self, other: Self) -> bool {
        let is_tls = |it| matches!(it, Self::Https | Self::TlsTerminate | Self::TlsPassthrough);
        (self == Self::Http && other == Self::Http) || (is_tls(self) && is_tls(other))
    }

    /// Whether it ends TLS, and so needs a certificate.
    pub(super) fn ends_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }
}
