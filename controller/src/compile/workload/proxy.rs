//! The pods that run a Gateway's proxy, and who they are.

use crate::compile::names::class;
use crate::compile::names::waypoint::{IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::metadata::{GATEWAY, GATEWAY_NAME};
use crate::provision::{ProxyClass, is_of_proxy};
use crate::resources::provenance::{FAIRWAY, PART_OF};
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

/// Finds the pods that run the proxy of a Gateway: those that bear its label and are what is made for it (see [`Imposture`]).
/// A label says nothing by itself: whoever makes a pod writes it.
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
            if judge(&pod, &account, &reader.settings()).is_err() {
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
    /// Why it is not so, if it is not.
    imposture: Option<Imposture>,
}

/// Why a pod that says that it runs the proxy of a Gateway does not. Such a pod is treated as any other: what a proxy is excused
/// from (capture, and with it strictness and policies) an application must not get by a label and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Imposture {
    /// It runs as another service account.
    Account,
    /// It does not say that it is of Fairway.
    Unmarked,
    /// It has something that Fairway's proxies do not have.
    Foreign(Arc<str>),
    /// It runs another program.
    Image(Arc<str>),
}

/// Whether a pod is what is made for the proxy with this service account, as far as its manifest says so. On one machine
/// whoever writes the manifests runs the proxies, too.
fn judge(pod: &Pod, account: &Arc<str>, settings: &CompileSettings) -> Result<(), Imposture> {
    if pod.service_account != *account {
        return Err(Imposture::Account);
    }
    if settings.mode == Mode::Standalone {
        return Ok(());
    }
    let provenance = pod.provenance.as_ref().ok_or(Imposture::Unmarked)?;
    if let Some(what) = &provenance.foreign {
        return Err(Imposture::Foreign(what.clone()));
    }
    let is_other = |it: &&Arc<str>| {
        settings.proxy_image.as_ref().is_some_and(|own| !is_of_proxy(it, own, &settings.rights))
    };
    match provenance.images.iter().find(is_other) {
        Some(image) => Err(Imposture::Image(image.clone())),
        None => Ok(()),
    }
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
    let imposture = judge(pod, &account, &settings).err();
    Some(Claim { gateway, account, imposture })
}

fn is_implied(gateway: &ObjectName) -> bool {
    [IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT].contains(&&*gateway.name)
}

// === impl Claim ===

impl Claim {
    /// Whether it is so.
    pub(in crate::compile) fn holds(&self) -> bool {
        self.imposture.is_none()
    }

    /// Says of a pod that it is none of the proxies it says it is, if it is none.
    pub(in crate::compile) fn report(&self, pod: &ObjectRef, account: &str, made: &mut Made) {
        let Some(imposture) = &self.imposture else { return };
        let gateway = &self.gateway;
        let says = format!("a label says that the pod runs the proxy of Gateway {gateway}, but");
        let (field, message) = match imposture {
            Imposture::Account => (
                "spec.serviceAccountName",
                format!(
                    "{says} service account `{account}` is not the one of that proxy, so the pod is treated as any other"
                ),
            ),
            Imposture::Unmarked => (
                "metadata.labels",
                format!("{says} it has no label {PART_OF}={FAIRWAY}, so the pod is treated as any other"),
            ),
            Imposture::Image(image) => (
                "spec.containers",
                format!("{says} it runs the image {image}, so the pod is treated as any other"),
            ),
            Imposture::Foreign(what) => {
                let message = format!(
                    "the pod has {what}, which Fairway did not put there, so it gets no configuration and is treated as any other pod"
                );
                let remedy = "remove it, or exempt Fairway's proxies from the admission webhook that adds it";
                return made.report(pod, Diagnostic::error(Reason::ProxyPodChanged, "spec", message, remedy));
            }
        };
        let remedy = format!(
            "remove the label; Fairway itself makes the pods of its proxies, with service account {}",
            self.account
        );
        made.report(pod, Diagnostic::warning(Reason::PodIsNotTheProxy, field, message, remedy));
    }
}

/// The Gateway that a pod runs the proxy of, by its label (GEP-1762), or in full by our annotation where the name is longer
/// than a label's value.
pub(in crate::compile) fn gateway_of(pod: &Meta) -> Option<&Arc<str>> {
    pod.annotations.get(GATEWAY).or_else(|| pod.labels.get(GATEWAY_NAME))
}
