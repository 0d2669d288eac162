//! Who has which address: pods, nodes and Services; and what EndpointSlices say.

use crate::compile::program::Cluster;
use crate::resources::{Object, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::Set;
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

/// The nodes that have an address, as far as pods say where they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct NodesAt(pub IpAddr);

impl Set<Cluster> for NodesAt {
    type Member = Arc<str>;

    fn of_input(_: &ObjectRef, object: &Object) -> Vec<(Self, Arc<str>)> {
        let Object::Pod(it) = object else { return Vec::new() };
        it.node_addresses.iter().map(|address| (Self(*address), it.node.clone())).collect()
    }
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
