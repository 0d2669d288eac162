//! The pods that run a Gateway's proxy, and who they are.

use super::class;
use super::evaluation::{Evaluation, Value};
use super::index::{IndexKey, gateway_of};
use super::output::ProxyClass;
use super::reader::Reader;
use super::settings::{Mode, Settings};
use super::workload::{IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{ObjectRef, Pod};
use fairway_config::model::{ObjectName, SpiffeId};
use std::net::IpAddr;
use std::sync::Arc;

/// The pods that run a Gateway's proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ProxyPods {
    /// Those that have an address.
    pub pods: Vec<ProxyPod>,
}

/// A pod that runs a Gateway's proxy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProxyPod {
    pub address: IpAddr,
    pub ready: bool,
    pub node: Arc<str>,
}

/// Finds the pods that run the proxy of a Gateway: those that bear its label and run as the service account that is made
/// for it. A label says nothing by itself: whoever makes a pod writes it.
pub(super) fn pods(reader: &mut Reader<'_>, gateway: &ObjectName, class: ProxyClass) -> Evaluation {
    let (mut made, mut found) = (Evaluation::default(), ProxyPods::default());
    let account = service_account(gateway, class, &reader.settings());
    for it in reader.members(IndexKey::ProxyPods(gateway.clone())).iter() {
        let Some(pod) = reader.pod(&it.object_name()).filter(|it| !it.ended) else { continue };
        if pod.service_account != account {
            continue;
        }
        let ready = pod.is_ready();
        let proxy = |address: &IpAddr| ProxyPod { address: *address, ready, node: pod.node.clone() };
        found.pods.extend(pod.addresses.first().map(proxy));
    }
    if found != ProxyPods::default() {
        made.value = Value::ProxyPods(Arc::new(found));
    }
    made
}

/// The service account that is made for a Gateway's proxy.
pub(super) fn service_account(gateway: &ObjectName, class: ProxyClass, settings: &Settings) -> Arc<str> {
    let class = match class {
        ProxyClass::Gateway => &settings.gateway_class,
        ProxyClass::Waypoint => &settings.waypoint_class,
    };
    crate::name::of_proxy(&gateway.name, class).into()
}

/// The identity of a Gateway's proxy: that of the service account that is made for it, whatever pods say of themselves.
/// None only if the names cannot stand in one.
pub(super) fn identity(gateway: &ObjectName, class: ProxyClass, settings: &Settings) -> Option<SpiffeId> {
    settings.identity(&gateway.namespace, &service_account(gateway, class, settings))
}

/// A pod's word that it runs the proxy of a Gateway of ours.
pub(super) struct Claim {
    pub gateway: ObjectName,
    /// The service account that is made for the proxy.
    account: Arc<str>,
    /// Whether it is so: the pod runs as that account.
    pub holds: bool,
}

/// What a pod's label says of a Gateway of ours. Other controllers use the label too, and whoever makes a pod writes it.
pub(super) fn claim(reader: &mut Reader<'_>, pod: &Pod) -> Option<Claim> {
    let settings = reader.settings();
    let gateway = ObjectName::new(pod.meta.namespace.clone(), gateway_of(&pod.meta)?.clone());
    let class = match reader.gateway(&gateway) {
        Some(it) => class::named(reader, &it.spec.gateway_class_name)?.class,
        // On one machine a waypoint that routes ask for has no Gateway.
        None if settings.mode == Mode::Standalone && is_implied(&gateway) => ProxyClass::Waypoint,
        None => return None,
    };
    let account = service_account(&gateway, class, &settings);
    let holds = pod.service_account == account;
    Some(Claim { gateway, account, holds })
}

fn is_implied(gateway: &ObjectName) -> bool {
    [IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT].contains(&&*gateway.name)
}

// === impl Claim ===

impl Claim {
    /// Says of a pod that it is none of the proxies it says it is.
    pub(super) fn deny(&self, pod: &ObjectRef, account: &str, made: &mut Evaluation) {
        let message = format!(
            "a label says that the pod runs the proxy of Gateway {}, but service account `{account}` is not the one of \
             that proxy, so the pod is treated as any other",
            self.gateway
        );
        let remedy = format!("remove the label; Fairway makes the pods of its proxies, as {}", self.account);
        let field = "spec.serviceAccountName";
        made.report(pod, Diagnostic::warning(Reason::PodIsNotTheProxy, field, message, remedy));
    }
}
