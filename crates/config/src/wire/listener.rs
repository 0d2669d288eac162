//! Listeners on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::{address_source, filter, trust, value};
use crate::model::{Listener, ListenerProtocol, TlsTermination, TlsVersion};
use crate::proto::{self, listener::Protocol};

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
    proto::Listener {
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
    }
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
    }
}

fn termination(message: proto::TlsTermination) -> Result<TlsTermination, Invalid> {
    if message.certificates.is_empty() {
        return Err(Invalid::new("certificates", "there has to be one"));
    }
    Ok(TlsTermination {
        certificates: each(message.certificates, "certificates", value::key)?,
        clients: optional(message.clients, "clients", trust::decode_clients)?,
        min_version: match proto::TlsVersion::try_from(message.min_version) {
            Ok(proto::TlsVersion::Unspecified) => TlsVersion::V1_2,
            Ok(proto::TlsVersion::TlsVersion13) => TlsVersion::V1_3,
            Err(_) => return Err(Invalid::unknown_value("min_version", message.min_version)),
        },
    })
}

pub(super) fn decode(message: proto::Listener) -> Result<Listener, Invalid> {
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
    };
    // Nobody can say where its clients are, so nobody is served.
    let closed = || {
        listener.close("it learns where clients are in a way that this version of the proxy does not know")
    };
    match source {
        Some(_) => Ok(listener),
        None => {
            closed().ok_or_else(|| Invalid::new("address_source", "not a source that this program knows"))
        }
    }
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
