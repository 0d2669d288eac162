//! Gateways, in three steps so that an edit does not wake more than it has to: [`check`] looks at everything,
//! [`publish`] keeps what routes and proxies see of that, [`status`] adds the count of attached routes.

mod address;
mod conditions;
mod distinct;
mod listener;
mod protocol;
mod set;
mod tls;

pub(super) use conditions::status;
pub(super) use listener::{ListenerPlan, NamespacePolicy};
pub(super) use protocol::Protocol;
pub(super) use set::{ListenerSetPlan, publish_set};

use super::evaluation::{Evaluation, Value};
use super::index::IndexKey;
use super::output::{Owner, Proxy, ProxyClass, Transport, Want};
use super::reader::Reader;
use super::settings::Settings;
use super::{class, parameters, proxy, waypoint};
use crate::provision::Parameters;
use crate::resources::{Gateway, Kind, ObjectRef, RouteKind};
use crate::status::{Condition, reason};
use fairway_config::model::{
    CertificateKey, Listener, ListenerProtocol, ObjectName, Resource, TlsTermination,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What routes and proxies see of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GatewayPlan {
    /// What it is for.
    pub class: ProxyClass,
    /// The addresses the user asked for.
    pub addresses: Vec<IpAddr>,
    /// Its own listeners, in the user's order; not those that ListenerSets add to it.
    pub listeners: Vec<ListenerPlan>,
}

/// Everything that is known of a Gateway but the routes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GatewayReport {
    plan: Arc<GatewayPlan>,
    generation: i64,
    /// Why nothing of it is served; none when something is.
    refusal: Option<(&'static str, String)>,
    addresses: address::Addresses,
    listeners: Vec<ListenerReport>,
    sets: BTreeMap<ObjectName, Arc<ListenerSetPlan>>,
    proxy: Option<Proxy>,
}

/// What is known of one listener beside its plan.
#[derive(Clone, Debug, PartialEq)]
struct ListenerReport {
    supported_kinds: Vec<RouteKind>,
    conditions: Vec<Condition>,
    /// The Secrets whose certificates it uses, with leave.
    certificates: Vec<ObjectName>,
    is_https: bool,
    is_accepted: bool,
}

/// Looks at everything a Gateway says.
pub(super) fn check(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let Some(gateway) = reader.gateway(name) else { return made };
    let Some(its_class) = reader.gateway_class(&gateway.spec.gateway_class_name) else { return made };
    let Some(class) = class::of(&its_class, &settings) else { return made };
    let object = ObjectRef::of(Kind::Gateway, name);

    let addresses = address::of(reader, name, class, &gateway, &mut made);
    let parameters = parameters::of_gateway(reader, name, &gateway, &its_class);
    let refusal = refusal(&parameters, &addresses, &object, &mut made);
    let conflicts = distinct::conflicts(&gateway.spec.listeners);
    let overlaps = distinct::overlaps(&gateway.spec.listeners);
    let (mut plans, mut listeners) = (Vec::new(), Vec::new());
    for (index, written) in gateway.spec.listeners.iter().enumerate() {
        let asked = listener::Asked {
            gateway: name,
            object: &object,
            spec: &gateway.spec,
            written,
            index,
            class,
            generation: gateway.meta.generation,
            gateway_refused: refusal.is_some(),
            conflict: conflicts.get(&index),
            overlaps: overlaps.get(&index),
        };
        let (plan, report) = listener::check(reader, &asked, &mut made);
        plans.push(plan);
        listeners.push(report);
    }
    let plan = GatewayPlan { class, addresses: addresses.written.clone(), listeners: plans };
    let want = if refusal.is_none() { Want::Run } else { Want::Leave };
    let parameters = parameters.unwrap_or_default();
    let proxy = proxy_for(name, &gateway, &plan, (want, parameters), &settings);
    made.value = Value::GatewayReport(Arc::new(GatewayReport {
        plan: Arc::new(plan),
        generation: gateway.meta.generation,
        refusal,
        addresses,
        listeners,
        sets: BTreeMap::new(),
        proxy,
    }));
    made
}

/// What makes a whole Gateway unusable.
fn refusal(
    parameters: &Result<Arc<Parameters>, parameters::Defect>,
    addresses: &address::Addresses,
    object: &ObjectRef,
    made: &mut Evaluation,
) -> Option<(&'static str, String)> {
    if let Err(parameters::Defect { field, message, remedy }) = parameters {
        made.error(object, *field, message.clone(), remedy.clone());
        return Some((reason::INVALID_PARAMETERS, format!("{field}: {message}; {remedy}")));
    }
    addresses.unsupported.clone().map(|it| (reason::UNSUPPORTED_ADDRESS, it))
}

fn proxy_for(
    name: &ObjectName,
    gateway: &Gateway,
    plan: &GatewayPlan,
    (want, parameters): (Want, Arc<Parameters>),
    settings: &Settings,
) -> Option<Proxy> {
    let service_account = proxy::service_account(name, plan.class, settings);
    let identity = settings.identity(&name.namespace, &service_account)?;
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let pairs = |map: Option<&BTreeMap<String, String>>| {
        map.into_iter().flatten().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
    };
    let served: Vec<&ListenerPlan> = plan.listeners.iter().filter(|it| it.programmed).collect();
    // All listeners of a waypoint are one: its tunnel's.
    let ports: BTreeSet<(u16, Transport)> = match plan.class {
        ProxyClass::Waypoint => BTreeSet::from([(waypoint::HBONE_PORT, Transport::Tcp)]),
        ProxyClass::Gateway => served.iter().map(|it| (it.port, Transport::Tcp)).collect(),
    };
    Some(Proxy {
        name: name.clone(),
        class: plan.class,
        gateway_class: gateway.spec.gateway_class_name.as_str().into(),
        want,
        owner: Some(Owner { uid: gateway.meta.uid.clone() }),
        implied: false,
        service_account,
        identity,
        listeners: served.iter().map(|it| (it.name.clone(), it.port)).collect(),
        ports: ports.into_iter().collect(),
        addresses: plan.addresses.clone(),
        parameters,
        labels: pairs(infrastructure.and_then(|it| it.labels.as_ref())),
        annotations: pairs(infrastructure.and_then(|it| it.annotations.as_ref())),
    })
}

/// Makes the listeners and keeps what routes see.
pub(super) fn publish(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(report) = reader.gateway_report(name) else { return made };
    let settings = reader.settings();
    let object = ObjectRef::of(Kind::Gateway, name);
    let plan = &report.plan;
    if plan.class == ProxyClass::Waypoint {
        made.resources.push(match report.refusal.is_none() && report.proxy.is_some() {
            true => waypoint::endpoints(reader, name, &plan.addresses, &settings),
            false => waypoint::nowhere(name),
        });
    } else {
        let served = plan.listeners.iter().zip(&report.listeners).filter(|(plan, _)| plan.programmed);
        for (plan, listener) in served {
            made.resources.push(resource(name, plan, listener, &report.addresses.bound));
            let users = listener.certificates.iter().cloned().map(IndexKey::CertificateUsers);
            made.index.extend(users.map(|key| (key, object.clone())));
        }
    }
    if let Some(proxy) = &report.proxy {
        if proxy.want == Want::Run {
            made.index.push((IndexKey::Proxies(plan.class), object));
        }
        made.proxies.push(proxy.clone());
    }
    made.value = Value::Gateway(plan.clone());
    made
}

fn resource(
    name: &ObjectName,
    plan: &ListenerPlan,
    report: &ListenerReport,
    addresses: &[IpAddr],
) -> Resource {
    let certificates: Vec<CertificateKey> = report.certificates.iter().map(super::certificate::key).collect();
    Resource::Listener(Arc::new(Listener {
        key: plan.key.clone(),
        gateway: name.clone(),
        section: plan.name.clone(),
        addresses: addresses.to_vec(),
        port: plan.port,
        hostname: plan.hostname.clone(),
        protocol: match report.is_https {
            true => ListenerProtocol::Https(TlsTermination { certificates, clients: None }),
            false => ListenerProtocol::Http,
        },
        backend_certificate: None,
    }))
}
