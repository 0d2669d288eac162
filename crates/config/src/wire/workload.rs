//! Pods on the wire.

use super::filter::{decode_header, decode_header_value, encode_header, encode_header_value};
use super::invalid::{Invalid, each, optional, required};
use super::value;
use crate::model::{CaptureExemption, HttpProbe, Mesh, MutualTls, Probe, ProbeAction, Workload};
use crate::proto;

pub(super) fn encode(workload: &Workload) -> proto::Workload {
    let mesh = match workload.mesh {
        Mesh::Outside => proto::Mesh::Outside,
        Mesh::Captured(MutualTls::Permissive) => proto::Mesh::Permissive,
        Mesh::Captured(MutualTls::Strict) => proto::Mesh::Strict,
    };
    let aside = match workload.aside {
        None => proto::CaptureExemption::Unspecified,
        Some(CaptureExemption::HostNetwork) => proto::CaptureExemption::HostNetwork,
        Some(CaptureExemption::OptedOut) => proto::CaptureExemption::OptedOut,
        Some(CaptureExemption::Proxy) => proto::CaptureExemption::Proxy,
    };
    proto::Workload {
        key: workload.key.to_string(),
        uid: workload.uid.to_string(),
        node_uid: workload.node_uid.as_deref().unwrap_or_default().to_owned(),
        addresses: workload.addresses.iter().map(value::encode_ip).collect(),
        identity: workload.identity.to_string(),
        node: workload.node.to_string(),
        mesh: mesh.into(),
        aside: aside.into(),
        probes: workload.probes.iter().map(encode_probe).collect(),
        authorizations: workload.authorizations.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn decode(message: proto::Workload) -> Result<Workload, Invalid> {
    Ok(Workload {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        uid: message.uid.into(),
        node_uid: Some(message.node_uid).filter(|it| !it.is_empty()).map(Into::into),
        addresses: each(message.addresses, "addresses", value::ip)?,
        identity: value::identity(message.identity).map_err(|it| it.within("identity"))?,
        node: message.node.into(),
        mesh: match proto::Mesh::try_from(message.mesh) {
            Ok(proto::Mesh::Outside) => Mesh::Outside,
            Ok(proto::Mesh::Permissive) => Mesh::Captured(MutualTls::Permissive),
            Ok(proto::Mesh::Strict) => Mesh::Captured(MutualTls::Strict),
            Ok(proto::Mesh::Unspecified) | Err(_) => {
                return Err(Invalid::unknown_value("mesh", message.mesh));
            }
        },
        aside: match proto::CaptureExemption::try_from(message.aside) {
            Ok(proto::CaptureExemption::Unspecified) => None,
            Ok(proto::CaptureExemption::HostNetwork) => Some(CaptureExemption::HostNetwork),
            Ok(proto::CaptureExemption::OptedOut) => Some(CaptureExemption::OptedOut),
            Ok(proto::CaptureExemption::Proxy) => Some(CaptureExemption::Proxy),
            Err(_) => return Err(Invalid::unknown_value("aside", message.aside)),
        },
        probes: each(message.probes, "probes", decode_probe)?,
        authorizations: each(message.authorizations, "authorizations", value::key)?,
    })
}

fn encode_probe(probe: &Probe) -> proto::Probe {
    use proto::probe::Action;
    let action = match &probe.action {
        ProbeAction::Connect => Action::Connect(proto::ConnectProbe {}),
        ProbeAction::Http(http) => Action::Http(proto::HttpProbe {
            target: http.target.to_string(),
            host: http.host.as_ref().map(encode_header_value),
            headers: http.headers.iter().map(encode_header).collect(),
            tls: http.tls,
        }),
        ProbeAction::Grpc { service } => Action::Grpc(proto::GrpcProbe { service: service.to_string() }),
    };
    proto::Probe { port: probe.port.into(), action: Some(action) }
}

fn decode_probe(message: proto::Probe) -> Result<Probe, Invalid> {
    use proto::probe::Action;
    let port = value::port(message.port).map_err(|it| it.within("port"))?;
    let action = required(message.action, "action", |action| match action {
        Action::Connect(_) => Ok(ProbeAction::Connect),
        Action::Http(it) => decode_http(it).map(ProbeAction::Http).map_err(|it| it.within("http")),
        Action::Grpc(it) => Ok(ProbeAction::Grpc { service: it.service.into() }),
    })?;
    Ok(Probe { port, action })
}

fn decode_http(message: proto::HttpProbe) -> Result<HttpProbe, Invalid> {
    if !HttpProbe::is_target(&message.target) {
        return Err(Invalid::new("target", format!("{:?} is not a request target", message.target)));
    }
    Ok(HttpProbe {
        target: message.target.into(),
        host: optional(message.host, "host", decode_header_value)?,
        headers: each(message.headers, "headers", decode_header)?,
        tls: message.tls,
    })
}
