//! The pods that run a Gateway's proxy, and who they are.

use crate::compile::names::class;
use crate::compile::names::waypoint::{IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::ProxyClass;
use crate::provision::metadata::{GATEWAY, GATEWAY_NAME};
use crate::resources::{Gateway, Meta, Object, ObjectRef, Pod};
use fairway_config::model::{ObjectName, SpiffeId};
use fairway_incremental::{Query, Set};
use std::net::IpAddr;
use std::sync::Arc;

/// Pods that say that they run the proxy of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct PodsOf(pub ObjectName);

impl Set<Cluster> for PodsOf {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        let Object::Pod(it) = object else { return Vec::new() };
        let gateway = gateway_of(&it.meta).map(|it| ObjectName::new(name.namespace.clone(), it.clone()));
        gateway.map(|it| (Self(it), name.clone())).into_iter().collect()
    }
}

/// The pods that run a Gateway's proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct ProxyPods {
    /// Those that have an address.
    pub pods: Vec<ProxyPod>,
}

/// A pod that runs a Gateway's proxy.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ProxyPod {
    pub address: IpAddr,
    pub ready: bool,
    pub node: Arc<str>,
}

/// Finds the pods that run the proxy of a Gateway: those that bear its label and run as the service account that is made
/// for it. A label says nothing by itself: whoever makes a pod writes it.
pub(in crate::compile) struct Running;

impl Query<Cluster> for Running {
    type Key = (ObjectName, ProxyClass);
    type Value = Arc<ProxyPods>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(
        (gateway, class): &(ObjectName, ProxyClass),
        reader: &mut Reader<'_>,
        _: &mut Made,
    ) -> Arc<ProxyPods> {
        let mut found = ProxyPods::default();
        let account = service_account(gateway, *class, &reader.settings());
        for it in reader.members(&PodsOf(gateway.clone())).iter() {
            let Some(pod) = reader.input::<Pod>(&it.object_name()).filter(|it| !it.ended) else { continue };
            if pod.service_account != account {
                continue;
            }
            let ready = pod.is_ready();
            let proxy = |address: &IpAddr| ProxyPod { address: *address, ready, node: pod.node.clone() };
            found.pods.extend(pod.addresses.first().map(proxy));
        }
        Arc::new(found)
    }
}

/// The service account that is made for a Gateway's proxy.
pub(in crate::compile) fn service_account(
    gateway: &ObjectName,
    class: ProxyClass,
    settings: &CompileSettings,
) -> Arc<str> {
    let class = match class {
        ProxyClass::Gateway => &settings.gateway_class,
        ProxyClass::Waypoint => &settings.waypoint_class,
    };
    crate::name::of_proxy(&gateway.name, class).into()
}

/// The identity of a Gateway's proxy: that of the service account that is made for it, whatever pods say of themselves.
/// None only if the names cannot stand in one.
pub(in crate::compile) fn identity(
    gateway: &ObjectName,
    class: ProxyClass,
    settings: &CompileSettings,
) -> Option<SpiffeId> {
    settings.identity(&gateway.namespace, &service_account(gateway, class, settings))
}

/// A pod's word that it runs the proxy of a Gateway of ours.
pub(in crate::compile) struct Claim {
    pub gateway: ObjectName,
    /// The service account that is made for the proxy.
    account: Arc<str>,
    /// Whether it is so: the pod runs as that account.
    pub holds: bool,
}

/// What a pod's label says of a Gateway of ours. Other controllers use the label too, and whoever makes a pod writes it.
pub(in crate::compile) fn claim(reader: &mut Reader<'_>, pod: &Pod) -> Option<Claim> {
    let settings = reader.settings();
    let gateway = ObjectName::new(pod.meta.namespace.clone(), gateway_of(&pod.meta)?.clone());
    let class = match reader.input::<Gateway>(&gateway) {
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
    pub(in crate::compile) fn deny(&self, pod: &ObjectRef, account: &str, made: &mut Made) {
        let message = format!(
            "a label says that the pod runs the proxy of Gateway {}, but service account `{account}` is not the one of \
             that proxy, so the pod is treated as any other",
            self.gateway
        );
        let remedy = format!(
            "remove the label; Fairway itself makes the pods of its proxies, with service account {}",
            self.account
        );
        let field = "spec.serviceAccountName";
        made.report(pod, Diagnostic::warning(Reason::PodIsNotTheProxy, field, message, remedy));
    }
}

/// The Gateway that a pod runs the proxy of, by its label (GEP-1762), or in full by our annotation where the name is longer
/// than a label's value.
pub(in crate::compile) fn gateway_of(pod: &Meta) -> Option<&Arc<str>> {
    pod.annotations.get(GATEWAY).or_else(|| pod.labels.get(GATEWAY_NAME))
}
