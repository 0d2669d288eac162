//! Pods on the wire.

use super::invalid::{Invalid, each};
use super::value;
use crate::model::{Aside, Mesh, MutualTls, Workload};
use crate::proto;

pub(super) fn encode(workload: &Workload) -> proto::Workload {
    let mesh = match workload.mesh {
        Mesh::Outside => proto::Mesh::Outside,
        Mesh::Captured(MutualTls::Permissive) => proto::Mesh::Permissive,
        Mesh::Captured(MutualTls::Strict) => proto::Mesh::Strict,
    };
    let aside = match workload.aside {
        None => proto::Aside::Unspecified,
        Some(Aside::HostNetwork) => proto::Aside::HostNetwork,
        Some(Aside::OptedOut) => proto::Aside::OptedOut,
        Some(Aside::Proxy) => proto::Aside::Proxy,
    };
    proto::Workload {
        key: workload.key.to_string(),
        uid: workload.uid.to_string(),
        addresses: workload.addresses.iter().map(value::encode_ip).collect(),
        identity: workload.identity.to_string(),
        node: workload.node.to_string(),
        mesh: mesh.into(),
        aside: aside.into(),
        probes: workload.probes.iter().map(|it| u32::from(*it)).collect(),
        authorizations: workload.authorizations.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn decode(message: proto::Workload) -> Result<Workload, Invalid> {
    Ok(Workload {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        uid: message.uid.into(),
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
        aside: match proto::Aside::try_from(message.aside) {
            Ok(proto::Aside::Unspecified) => None,
            Ok(proto::Aside::HostNetwork) => Some(Aside::HostNetwork),
            Ok(proto::Aside::OptedOut) => Some(Aside::OptedOut),
            Ok(proto::Aside::Proxy) => Some(Aside::Proxy),
            Err(_) => return Err(Invalid::unknown_value("aside", message.aside)),
        },
        probes: each(message.probes, "probes", value::port)?,
        authorizations: each(message.authorizations, "authorizations", value::key)?,
    })
}
