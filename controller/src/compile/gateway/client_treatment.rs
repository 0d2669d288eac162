//! How listeners treat their clients beside their address and TLS: what is asked for, and where that can have an effect.

use super::protocol::Protocol;
use crate::resources::client_policy::{ClientField, Reading};
use fairway_config::model::{CertificateHeader, ClientLimit, ClientTimeout, ClientTreatment, Underscores};

/// What a policy asks for. What cannot be understood is as without a policy where that is safe.
pub(super) fn asked(policy: &Reading) -> ClientTreatment {
    ClientTreatment {
        timeouts: policy.timeouts.clone().ok().flatten().unwrap_or_default(),
        limits: policy.limits.clone().ok().flatten().unwrap_or_default(),
        certificate_header: policy.client_certificate_header.clone().ok().flatten().unwrap_or_default(),
        request_ids: policy.request_id.clone().ok().flatten().unwrap_or_default(),
        // The strictest that it may have asked for.
        underscores: policy.underscores.clone().unwrap_or(Some(Underscores::Refuse)).unwrap_or_default(),
        keepalive: policy.keepalive.clone().ok().flatten().unwrap_or_default(),
    }
}

/// Puts one field of it into that of a listener.
pub(super) fn put(field: ClientField, asked: &ClientTreatment, listener: &mut ClientTreatment) {
    match field {
        ClientField::Timeouts => listener.timeouts = asked.timeouts,
        ClientField::Limits => listener.limits = asked.limits,
        ClientField::CertificateHeader => listener.certificate_header = asked.certificate_header,
        ClientField::RequestId => listener.request_ids = asked.request_ids,
        ClientField::Underscores => listener.underscores = asked.underscores,
        ClientField::Keepalive => listener.keepalive = asked.keepalive,
        ClientField::ClientAddress | ClientField::Tls => {}
    }
}

/// Whether a field can have an effect on a listener of this protocol, which validates the certificates of its clients or does not.
pub(super) fn applies(
    field: ClientField,
    asked: &ClientTreatment,
    protocol: Option<Protocol>,
    validates: bool,
) -> bool {
    let Some(protocol) = protocol else { return false };
    let carries_requests = matches!(protocol, Protocol::Http | Protocol::Https);
    match field {
        ClientField::Timeouts => {
            let of_tls = |it| it == ClientTimeout::Handshake;
            let begins_with_tls = !matches!(protocol, Protocol::Http | Protocol::Tcp | Protocol::Udp);
            let mut set =
                ClientTimeout::ALL.into_iter().filter(|it| asked.timeouts.get(*it).is_some()).peekable();
            // One without anything in it takes a listener out of another policy.
            set.peek().is_none() && protocol != Protocol::Udp
                || set.any(|it| if of_tls(it) { begins_with_tls } else { carries_requests })
        }
        ClientField::Limits => {
            let has_connections = protocol != Protocol::Udp;
            let mut set =
                ClientLimit::ALL.into_iter().filter(|it| asked.limits.get(*it).is_some()).peekable();
            set.peek().is_none() && has_connections
                || set.any(|it| match it {
                    ClientLimit::Connections => has_connections,
                    _ => carries_requests,
                })
        }
        ClientField::CertificateHeader => match asked.certificate_header {
            CertificateHeader::Drop => carries_requests,
            CertificateHeader::Set => carries_requests && validates,
        },
        ClientField::RequestId | ClientField::Underscores => carries_requests,
        ClientField::Keepalive => protocol != Protocol::Udp,
        ClientField::ClientAddress | ClientField::Tls => true,
    }
}

/// Where a field has an effect, for a policy that has none.
pub(in crate::compile) fn place_of(field: ClientField) -> &'static str {
    match field {
        ClientField::ClientAddress => "no listener learns where its clients are by it",
        ClientField::Tls => "TLS ends at none of the listeners",
        ClientField::CertificateHeader => {
            "none of the listeners carries requests, or none validates the certificates of its clients and refuses those without a valid one"
        }
        ClientField::RequestId | ClientField::Underscores => "none of the listeners carries requests",
        ClientField::Keepalive => "UDP has no connections",
        ClientField::Limits => {
            "none of the listeners has what it limits: connections are not of UDP, and the rest is of requests"
        }
        ClientField::Timeouts => {
            "none of the listeners waits for what it is about: handshake is for TLS, the rest for requests"
        }
    }
}
