//! Listeners on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::{address_source, client_treatment, filter, trust, value};
use crate::model::{
    CipherSuite, KeyExchangeGroup, Listener, ListenerProtocol, TlsAlgorithms, TlsTermination, TlsVersion,
};
use crate::proto::{self, listener::Protocol};
use std::sync::Arc;

pub(super) fn encode(listener: &Listener) -> proto::Listener {
    let protocol = match &listener.protocol {
        ListenerProtocol::Http => Protocol::Http(proto::PlainHttp {}),
        ListenerProtocol::Https(tls) => Protocol::Https(encode_termination(tls)),
        ListenerProtocol::TlsTerminate(tls) => Protocol::TlsTerminate(encode_termination(tls)),
        ListenerProtocol::TlsPassthrough => Protocol::TlsPassthrough(proto::TlsPassthrough {}),
        ListenerProtocol::Tcp => Protocol::Tcp(proto::PlainTcp {}),
        ListenerProtocol::Udp => Protocol::Udp(proto::PlainUdp {}),
        ListenerProtocol::Hbone => Protocol::Hbone(proto::Hbone {}),
        ListenerProtocol::Service { service, port } => {
            Protocol::Service(proto::ServiceAddress { service: service.to_string(), port: (*port).into() })
        }
    };
    let mut message = proto::Listener {
        key: listener.key.to_string(),
        gateway: Some(value::encode_object(&listener.gateway)),
        section: listener.section.to_string(),
        addresses: listener.addresses.iter().map(value::encode_ip).collect(),
        port: listener.port.into(),
        hostname: listener.hostname.as_ref().map(ToString::to_string),
        protocol: Some(protocol),
        backend_certificate: listener.backend_certificate.as_ref().map(ToString::to_string),
        authorizations: listener.authorizations.iter().map(ToString::to_string).collect(),
        closed: listener.closed.as_ref().map(ToString::to_string),
        address_source: address_source::encode(&listener.address_source),
        filters: listener.filters.iter().map(filter::encode).collect(),
        limits: listener.limits.iter().map(ToString::to_string).collect(),
        authentications: listener.authentications.iter().map(ToString::to_string).collect(),
        ..proto::Listener::default()
    };
    if let Some(treatment) = &listener.treatment {
        client_treatment::encode(treatment, &mut message);
    }
    message
}

fn encode_termination(tls: &TlsTermination) -> proto::TlsTermination {
    proto::TlsTermination {
        certificates: tls.certificates.iter().map(ToString::to_string).collect(),
        clients: tls.clients.as_ref().map(trust::encode_clients),
        min_version: match tls.min_version {
            TlsVersion::V1_2 => proto::TlsVersion::Unspecified,
            TlsVersion::V1_3 => proto::TlsVersion::TlsVersion13,
        }
        .into(),
        cipher_suites: tls.algorithms.cipher_suites.iter().map(|it| it.number().into()).collect(),
        groups: tls.algorithms.groups.iter().map(|it| it.number().into()).collect(),
    }
}

fn termination(message: proto::TlsTermination) -> Result<TlsTermination, Invalid> {
    if message.certificates.is_empty() {
        return Err(Invalid::new("certificates", "there has to be one"));
    }
    // With one that is not known the listener is closed: `knows_algorithms`.
    let algorithms = TlsAlgorithms {
        cipher_suites: message.cipher_suites.iter().filter_map(|it| cipher_suite(*it)).collect(),
        groups: message.groups.iter().filter_map(|it| group(*it)).collect(),
    };
    Ok(TlsTermination {
        certificates: each(message.certificates, "certificates", value::key)?,
        clients: optional(message.clients, "clients", trust::decode_clients)?,
        min_version: match proto::TlsVersion::try_from(message.min_version) {
            Ok(proto::TlsVersion::Unspecified) => TlsVersion::V1_2,
            Ok(proto::TlsVersion::TlsVersion13) => TlsVersion::V1_3,
            Err(_) => return Err(Invalid::unknown_value("min_version", message.min_version)),
        },
        algorithms,
    })
}

fn cipher_suite(number: u32) -> Option<CipherSuite> {
    CipherSuite::of_number(u16::try_from(number).ok()?)
}

fn group(number: u32) -> Option<KeyExchangeGroup> {
    KeyExchangeGroup::of_number(u16::try_from(number).ok()?)
}

/// Whether this program knows all algorithms of TLS that a listener shall speak.
fn knows_algorithms(message: &proto::Listener) -> bool {
    match &message.protocol {
        Some(Protocol::Https(tls) | Protocol::TlsTerminate(tls)) => {
            tls.cipher_suites.iter().all(|it| cipher_suite(*it).is_some())
                && tls.groups.iter().all(|it| group(*it).is_some())
        }
        _ => true,
    }
}

pub(super) fn decode(message: proto::Listener) -> Result<Listener, Invalid> {
    let treatment = client_treatment::decode(&message);
    let knows_algorithms = knows_algorithms(&message);
    let source = address_source::decode(message.address_source).map_err(|it| it.within("address_source"))?;
    let listener = Listener {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        gateway: required(message.gateway, "gateway", value::object)?,
        section: value::name(message.section).map_err(|it| it.within("section"))?,
        addresses: each(message.addresses, "addresses", value::ip)?,
        port: value::port(message.port).map_err(|it| it.within("port"))?,
        hostname: optional(message.hostname, "hostname", value::hostname)?,
        protocol: required(message.protocol, "protocol", protocol)?,
        backend_certificate: optional(message.backend_certificate, "backend_certificate", value::key)?,
        authorizations: each(message.authorizations, "authorizations", value::key)?,
        limits: each(message.limits, "limits", value::key)?,
        authentications: each(message.authentications, "authentications", value::key)?,
        closed: message.closed.map(Into::into),
        address_source: source.clone().unwrap_or_default(),
        filters: each(message.filters, "filters", filter::decode)?,
        treatment: treatment.clone().filter(|it| !it.is_empty()).map(Arc::new),
    };
    // Nobody can say where its clients are, or how they are to be treated, so nobody is served.
    let (field, why) = match (source, treatment) {
        (Some(_), Some(_)) if knows_algorithms => return Ok(listener),
        (Some(_), Some(_)) => ("tls", "speaks TLS"),
        (None, _) => ("address_source", "learns where clients are"),
        (_, None) => ("client_treatment", "treats clients"),
    };
    listener
        .close(format!("it {why} in a way that this version of the proxy does not know"))
        .ok_or_else(|| Invalid::new(field, "not one that this program knows"))
}

fn protocol(message: Protocol) -> Result<ListenerProtocol, Invalid> {
    Ok(match message {
        Protocol::Http(proto::PlainHttp {}) => ListenerProtocol::Http,
        Protocol::Https(tls) => ListenerProtocol::Https(termination(tls).map_err(|it| it.within("https"))?),
        Protocol::TlsTerminate(tls) => {
            ListenerProtocol::TlsTerminate(termination(tls).map_err(|it| it.within("tls_terminate"))?)
        }
        Protocol::TlsPassthrough(proto::TlsPassthrough {}) => ListenerProtocol::TlsPassthrough,
        Protocol::Tcp(proto::PlainTcp {}) => ListenerProtocol::Tcp,
        Protocol::Udp(proto::PlainUdp {}) => ListenerProtocol::Udp,
        Protocol::Hbone(proto::Hbone {}) => ListenerProtocol::Hbone,
        Protocol::Service(address) => ListenerProtocol::Service {
            service: value::key(address.service).map_err(|it| it.within("service.service"))?,
            port: value::port(address.port).map_err(|it| it.within("service.port"))?,
        },
    })
}
