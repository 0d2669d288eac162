//! Who has which address: pods, nodes and Services; and what EndpointSlices say.

use crate::compile::program::{Cluster, Reader};
use crate::resources::{Object, ObjectRef};
use fairway_config::model::{Family, ObjectName};
use fairway_incremental::Set;
use fairway_policy::Cidr;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// EndpointSlices of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Slices(pub ObjectName);

impl Set<Cluster> for Slices {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        let Object::EndpointSlice(it) = object else { return Vec::new() };
        let of = |service: &Arc<str>| {
            (Self(ObjectName::new(name.namespace.clone(), service.clone())), name.clone())
        };
        it.service.iter().map(of).collect()
    }
}

/// Who has an address as its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct At(pub IpAddr);

/// Something that has an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::compile) enum Holder {
    /// A pod with a network of its own.
    Pod(ObjectRef),
    /// A pod on its node's network: the address says nothing of it, others share it.
    HostPod(ObjectRef),
    /// A Service, as an address that leads to its endpoints.
    Service,
}

impl Set<Cluster> for At {
    type Member = Holder;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, Holder)> {
        match object {
            Object::Pod(it) if !it.ended => {
                let holder = if it.host_network { Holder::HostPod } else { Holder::Pod };
                it.addresses.iter().map(|it| (Self(*it), holder(name.clone()))).collect()
            }
            Object::Service(it) => it.own_addresses().map(|it| (Self(it), Holder::Service)).collect(),
            _ => Vec::new(),
        }
    }
}

/// The nodes that have an address, as they say themselves and as their pods do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct NodesAt(pub IpAddr);

impl Set<Cluster> for NodesAt {
    type Member = Arc<str>;

    fn of_input(_: &ObjectRef, object: &Object) -> Vec<(Self, Arc<str>)> {
        let (addresses, node) = match object {
            Object::Pod(it) => (&it.node_addresses, &it.node),
            Object::Node(it) => (&it.addresses, &it.meta.name),
            _ => return Vec::new(),
        };
        addresses.iter().map(|address| (Self(*address), node.clone())).collect()
    }
}

/// The nodes that have a range of addresses for their pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct PodRange(pub Cidr);

impl Set<Cluster> for PodRange {
    type Member = Arc<str>;

    fn of_input(_: &ObjectRef, object: &Object) -> Vec<(Self, Arc<str>)> {
        let Object::Node(it) = object else { return Vec::new() };
        it.pod_ranges.iter().map(|range| (Self(*range), it.meta.name.clone())).collect()
    }
}

/// How long the prefixes of these ranges are. In most clusters all have the same length, so that it takes one look to know whether
/// an address is in one of them, however many nodes there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct PodRangeLengths(Family);

impl Set<Cluster> for PodRangeLengths {
    type Member = u8;

    fn of_input(_: &ObjectRef, object: &Object) -> Vec<(Self, u8)> {
        let Object::Node(it) = object else { return Vec::new() };
        let of = |it: &Cidr| (Self(Family::from_address(it.first())), it.prefix_length());
        it.pod_ranges.iter().map(of).collect()
    }
}

/// Whether an address is of a range that a node has for its pods.
pub(in crate::compile) fn is_of_pod_range(reader: &mut Reader<'_>, address: IpAddr) -> bool {
    let lengths = reader.members(&PodRangeLengths(Family::from_address(address)));
    lengths.iter().any(|length| {
        let range = Cidr::around(address, *length);
        range.is_some_and(|it| reader.count(&PodRange(it)) > 0)
    })
}

/// Those of the holders of an address that are pods with a network of their own.
pub(in crate::compile) fn pods(holders: &BTreeSet<Holder>) -> Vec<ObjectRef> {
    let pod = |it: &Holder| match it {
        Holder::Pod(it) => Some(it.clone()),
        Holder::HostPod(_) | Holder::Service => None,
    };
    holders.iter().filter_map(pod).collect()
}

/// Those of the holders of an address that are pods on their node's network.
pub(in crate::compile) fn host_pods(holders: &BTreeSet<Holder>) -> Vec<ObjectRef> {
    let pod = |it: &Holder| match it {
        Holder::HostPod(it) => Some(it.clone()),
        Holder::Pod(_) | Holder::Service => None,
    };
    holders.iter().filter_map(pod).collect()
}
