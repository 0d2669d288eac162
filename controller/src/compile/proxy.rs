//! The pods that run a Gateway's proxy, and who they are.

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::output::ProxyClass;
use super::reader::Reader;
use super::settings::Settings;
use fairway_config::model::{ObjectName, SpiffeId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The pods that run a Gateway's proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ProxyPods {
    /// The identities they have.
    pub identities: Vec<SpiffeId>,
    /// All of them that have an address.
    pub pods: Vec<ProxyPod>,
}

/// A pod that runs a Gateway's proxy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProxyPod {
    pub address: IpAddr,
    pub ready: bool,
    pub identity: SpiffeId,
    pub node: Arc<str>,
}

/// Finds the pods labelled as the proxy of a Gateway.
pub(super) fn pods(reader: &mut Reader<'_>, gateway: &ObjectName) -> Evaluation {
    let settings = reader.settings();
    let (mut found, mut identities) = (ProxyPods::default(), BTreeSet::new());
    for it in reader.members(IndexKey::ProxyPods(gateway.clone())).iter() {
        let Some(pod) = reader.pod(&it.object_name()).filter(|it| !it.ended) else { continue };
        let Some(identity) = settings.identity(&pod.meta.namespace, &pod.service_account) else { continue };
        identities.insert(identity.clone());
        found.pods.extend(pod.addresses.first().map(|address| ProxyPod {
            address: *address,
            ready: pod.is_ready(),
            identity,
            node: pod.node.clone(),
        }));
    }
    found.identities = identities.into_iter().collect();
    match found == ProxyPods::default() {
        true => Evaluation::default(),
        false => Evaluation { value: Value::ProxyPods(Arc::new(found)), ..Evaluation::default() },
    }
}

/// The service account that is made for a Gateway's proxy.
pub(super) fn service_account(gateway: &ObjectName, class: ProxyClass, settings: &Settings) -> Arc<str> {
    let class = match class {
        ProxyClass::Gateway => &settings.gateway_class,
        ProxyClass::Waypoint => &settings.waypoint_class,
    };
    crate::name::of_proxy(&gateway.name, class).into()
}

/// The identities under which a Gateway's proxy acts: those of its pods, or before there are any the one they will have.
pub(super) fn identities(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    class: ProxyClass,
    settings: &Settings,
) -> Vec<SpiffeId> {
    let pods = reader.proxy_pods(gateway);
    match pods.identities.is_empty() {
        false => pods.identities.clone(),
        true => settings
            .identity(&gateway.namespace, &service_account(gateway, class, settings))
            .into_iter()
            .collect(),
    }
}
