//! What is made for a Gateway: its proxy.

use super::{GatewayReport, Protocol};
use crate::compile::names::waypoint::HBONE_PORT;
use crate::compile::program::Made;
use crate::compile::settings::CompileSettings;
use crate::compile::workload::proxy;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::Parameters;
use crate::provision::{Owner, Proxy, ProxyClass, Transport, Want};
use crate::resources::{Gateway, ObjectRef};
use fairway_config::model::ObjectName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The proxy of a Gateway.
pub(super) fn proxy(
    name: &ObjectName,
    gateway: &Gateway,
    report: &GatewayReport,
    parameters: Arc<Parameters>,
    settings: &CompileSettings,
) -> Option<Proxy> {
    let class = report.plan.class;
    let service_account = proxy::service_account(name, class, settings);
    let identity = settings.identity(&name.namespace, &service_account)?;
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let pairs = |map: Option<&BTreeMap<String, String>>| {
        map.into_iter().flatten().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
    };
    // All listeners of a waypoint are one: its tunnel's.
    let ports: BTreeSet<(u16, Transport)> = match class {
        ProxyClass::Waypoint => BTreeSet::from([(HBONE_PORT, Transport::Tcp)]),
        ProxyClass::Gateway => report.served().map(|(_, it)| (it.port, transport(it.protocol))).collect(),
    };
    Some(Proxy {
        name: name.clone(),
        class,
        gateway_class: gateway.spec.gateway_class_name.as_str().into(),
        want: if report.refusal.is_none() { Want::Run } else { Want::Leave },
        owner: Some(Owner { uid: gateway.meta.uid.clone() }),
        implied: false,
        service_account,
        identity,
        listeners: report.served().map(|(name, it)| (name, it.port)).collect(),
        ports: ports.into_iter().collect(),
        services: report.addresses.services.clone(),
        parameters,
        labels: pairs(infrastructure.and_then(|it| it.labels.as_ref())),
        annotations: pairs(infrastructure.and_then(|it| it.annotations.as_ref())),
    })
}

/// Says which annotations do not reach everything that is made: a key with a domain is an order to others, which on pods and
/// service accounts can be a right that whoever writes the Gateway does not have.
pub(super) fn warn_of_annotations(
    gateway: &Gateway,
    object: &ObjectRef,
    settings: &CompileSettings,
    made: &mut Made,
) {
    let annotations = gateway.spec.infrastructure.as_ref().and_then(|it| it.annotations.as_ref());
    for key in annotations.into_iter().flat_map(|it| it.keys()) {
        if !settings.rights.reaches_pods(key) {
            let warning = Diagnostic::warning(
                Reason::AnnotationNotOnPods,
                format!("spec.infrastructure.annotations[{key}]"),
                "the annotation is set on the Services of the proxy, but not on its pods and service account",
                "set it in the GatewayParameters of the GatewayClass, or let the administrator allow it by the chart values \
                 gatewayParameters.allowedAnnotations and gatewayParameters.tenantFields",
            );
            made.report(object, warning);
        }
    }
}

fn transport(protocol: Option<Protocol>) -> Transport {
    match protocol {
        Some(Protocol::Udp) => Transport::Udp,
        _ => Transport::Tcp,
    }
}
