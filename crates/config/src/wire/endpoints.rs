//! Endpoints of backends on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::value;
use crate::model::{
    Endpoint, EndpointState, Endpoints, Guard, Hints, InternalTrafficPolicy, SessionAffinity,
};
use crate::proto;
use std::sync::Arc;

pub(super) fn encode(endpoints: &Endpoints) -> proto::Endpoints {
    proto::Endpoints {
        backend: endpoints.backend.to_string(),
        endpoints: endpoints.endpoints.iter().map(encode_endpoint).collect(),
        node_only: endpoints.internal_traffic_policy == InternalTrafficPolicy::Local,
        sticky: endpoints.session_affinity == SessionAffinity::ClientIp,
        guards: endpoints.guards.iter().map(encode_guard).collect(),
        proxies: endpoints.proxies.iter().map(value::encode_socket_address).collect(),
    }
}

pub(super) fn decode(message: proto::Endpoints) -> Result<Endpoints, Invalid> {
    Ok(Endpoints {
        backend: value::key(message.backend).map_err(|it| it.within("backend"))?,
        internal_traffic_policy: if message.node_only {
            InternalTrafficPolicy::Local
        } else {
            InternalTrafficPolicy::Cluster
        },
        session_affinity: if message.sticky { SessionAffinity::ClientIp } else { SessionAffinity::None },
        endpoints: each(message.endpoints, "endpoints", decode_endpoint)?,
        guards: each(message.guards, "guards", decode_guard)?,
        proxies: each(message.proxies, "proxies", value::socket_address)?,
    })
}

fn encode_guard(guard: &Guard) -> proto::Guard {
    proto::Guard {
        service: guard.service.to_string(),
        endpoints: guard.endpoints.iter().map(value::encode_socket_address).collect(),
    }
}

fn decode_guard(message: proto::Guard) -> Result<Guard, Invalid> {
    Ok(Guard {
        service: value::key(message.service).map_err(|it| it.within("service"))?,
        endpoints: each(message.endpoints, "endpoints", value::socket_address)?,
    })
}

fn encode_endpoint(endpoint: &Endpoint) -> proto::Endpoint {
    let state = match endpoint.state {
        EndpointState::Ready => proto::EndpointState::Ready,
        EndpointState::Draining => proto::EndpointState::Draining,
        EndpointState::Unready => proto::EndpointState::Unready,
    };
    proto::Endpoint {
        address: Some(value::encode_socket_address(&endpoint.address)),
        state: state.into(),
        identity: endpoint.identity.as_ref().map(ToString::to_string),
        node: endpoint.node.as_ref().map(ToString::to_string),
        hints: endpoint.hints.as_deref().map(encode_hints),
    }
}

fn encode_hints(hints: &Hints) -> proto::Hints {
    let texts = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect();
    proto::Hints { nodes: texts(&hints.nodes), zones: texts(&hints.zones) }
}

fn decode_endpoint(message: proto::Endpoint) -> Result<Endpoint, Invalid> {
    Ok(Endpoint {
        address: required(message.address, "address", value::socket_address)?,
        state: match proto::EndpointState::try_from(message.state) {
            Ok(proto::EndpointState::Ready) => EndpointState::Ready,
            Ok(proto::EndpointState::Draining) => EndpointState::Draining,
            Ok(proto::EndpointState::Unready) => EndpointState::Unready,
            Ok(proto::EndpointState::Unspecified) | Err(_) => {
                return Err(Invalid::unknown_value("state", message.state));
            }
        },
        identity: optional(message.identity, "identity", value::identity)?,
        node: optional(message.node, "node", value::text)?,
        hints: optional(message.hints, "hints", decode_hints)?,
    })
}

fn decode_hints(message: proto::Hints) -> Result<Arc<Hints>, Invalid> {
    let (nodes, zones) = (message.nodes, message.zones);
    let nodes = each(nodes, "nodes", value::text)?;
    Ok(Arc::new(Hints { nodes, zones: each(zones, "zones", value::text)? }))
}
