//! EndpointSlices, cut down to addresses, ports, conditions and hints.

use super::core::{Transport, address, invalid, port};
use super::{InvalidObject, Meta};
use fairway_config::model::Hints;
use k8s_openapi::api::discovery::v1 as full;
use std::net::IpAddr;
use std::sync::Arc;

/// An EndpointSlice of IP addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSlice {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// The Service it belongs to (label `kubernetes.io/service-name`).
    pub service: Option<Arc<str>>,
    /// Addresses and ports; shared, so that equal slices of a relist cost nothing.
    pub addresses: AddressSlice,
}

/// Addresses and the ports they all listen on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AddressSlice {
    /// One for each address, in the order of the manifest.
    pub endpoints: Vec<SliceEndpoint>,
    /// The ports that each of the endpoints has.
    pub ports: Vec<SlicePort>,
}

/// An address behind a Service, with its state. Only the first address of an endpoint is used, as Kubernetes defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its address. (A slice's endpoint has one; the field of the API is a list for history's sake.)
    pub address: IpAddr,
    /// Ready; not said counts as yes.
    pub ready: bool,
    /// Serving; not said is as ready.
    pub serving: bool,
    /// Whether the pod is being deleted; it may still serve what is open.
    pub terminating: bool,
    /// The node that it runs on, for policies that prefer the same node.
    pub node: Option<Arc<str>>,
    /// The zone of that node, for policies that prefer the same zone.
    pub zone: Option<Arc<str>>,
    /// Whether it says that it is a pod. That it is one is not believed of it: whoever writes a slice may say so.
    pub is_pod: bool,
    /// For whose clients it is rather than for others.
    pub hints: Option<Arc<Hints>>,
}

/// A port that each endpoint of the slice has, by the name that the Service gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// The name of the Service's port; empty for a Service with one unnamed port.
    pub name: Arc<str>,
    /// The port number at the endpoints.
    pub port: u16,
    /// Over what it is spoken to.
    pub transport: Transport,
}

/// None where there is nothing in them.
fn hints(full: full::EndpointHints) -> Option<Arc<Hints>> {
    let nodes = full.for_nodes.into_iter().flatten().map(|it| it.name.into());
    let zones = full.for_zones.into_iter().flatten().map(|it| it.name.into());
    let hints = Hints { nodes: nodes.collect(), zones: zones.collect() };
    (hints != Hints::default()).then(|| Arc::new(hints))
}

// === impl EndpointSlice ===

impl EndpointSlice {
    /// Takes what is needed; of an FQDN slice nothing is (deprecated, and nobody defined what it means).
    pub fn new(full: full::EndpointSlice) -> Result<Self, InvalidObject> {
        let meta = Meta::new(full.metadata, true);
        let service = meta.labels.get("kubernetes.io/service-name").cloned();
        if full.address_type == "FQDN" {
            return Ok(Self { meta, service, addresses: AddressSlice::default() });
        }
        let mut endpoints = Vec::with_capacity(full.endpoints.len());
        for (index, it) in full.endpoints.into_iter().enumerate() {
            let Some(first) = it.addresses.first() else {
                return Err(invalid(
                    format!("endpoints[{index}].addresses"),
                    "the list is empty: it takes one IP address",
                ));
            };
            let conditions = it.conditions.unwrap_or_default();
            let ready = conditions.ready.unwrap_or(true);
            endpoints.push(SliceEndpoint {
                address: address(format!("endpoints[{index}].addresses[0]"), first)?,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                node: it.node_name.map(Into::into),
                zone: it.zone.map(Into::into),
                is_pod: it.target_ref.is_some_and(|it| it.kind.as_deref() == Some("Pod")),
                hints: it.hints.and_then(hints),
            });
        }
        let mut ports = Vec::new();
        for (index, it) in full.ports.into_iter().flatten().enumerate() {
            let Some(number) = it.port else { continue };
            ports.push(SlicePort {
                name: it.name.unwrap_or_default().into(),
                port: port(format!("ports[{index}].port"), number)?,
                transport: Transport::parse(it.protocol.as_deref()),
            });
        }
        Ok(Self { meta, service, addresses: AddressSlice { endpoints, ports } })
    }
}
