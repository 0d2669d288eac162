//! What proxies get of a Gateway and of its ListenerSets.

use super::listener::ListenerReport;
use super::{GatewayReport, ListenerPlan, Protocol};
use crate::compile::evaluation::{Evaluation, Value};
use crate::compile::index::IndexKey;
use crate::compile::output::{ProxyClass, Want};
use crate::compile::reader::Reader;
use crate::compile::settings::Mode;
use crate::compile::{certificate, waypoint};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{Listener, ListenerProtocol, ObjectName, Resource, TlsTermination};
use std::sync::Arc;

/// Makes a Gateway's own listeners and keeps what routes see.
pub(in crate::compile) fn publish(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(report) = reader.gateway_report(name) else { return made };
    let settings = reader.settings();
    let object = ObjectRef::of(Kind::Gateway, name);
    let plan = &report.plan;
    if plan.class == ProxyClass::Waypoint {
        let runs = (report.refusal.is_none() || settings.mode == Mode::Kubernetes)
            && report.addresses.nowhere.is_none();
        made.resources.push(match runs && report.proxy.is_some() {
            true => waypoint::endpoints(reader, name, &plan.addresses, &settings),
            false => waypoint::nowhere(name),
        });
        let shown = plan.backend_certificate.iter().cloned().map(IndexKey::CertificateUsers);
        made.index.extend(shown.map(|key| (key, object.clone())));
    } else {
        serve(name, &object, &report, plan.listeners.iter().zip(&report.listeners), &mut made);
    }
    if let Some(proxy) = &report.proxy {
        if proxy.want == Want::Run || settings.mode == Mode::Kubernetes {
            made.index.push((IndexKey::Proxies(plan.class), object));
        }
        made.proxies.push(proxy.clone());
    }
    made.value = Value::Gateway(plan.clone());
    made
}

/// Makes a ListenerSet's listeners and keeps what routes see.
pub(in crate::compile) fn publish_set(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(set) = reader.listener_set(name) else { return made };
    let object = ObjectRef::of(Kind::ListenerSet, name);
    let Some(gateway) = set.spec.gateway(&set.meta.namespace) else {
        let kind = set.spec.parent_ref.kind.as_deref().unwrap_or_default();
        let (message, remedy) = (format!("a {kind} cannot have listeners"), "refer to a Gateway");
        let warning = Diagnostic::warning(Reason::ListenerSetParentKind, "spec.parentRef", message, remedy);
        made.report(&object, warning);
        return made;
    };
    let Some(report) = reader.gateway_report(&gateway) else {
        if reader.gateway(&gateway).is_none() {
            let message = format!("Gateway {gateway} does not exist");
            let remedy = "create it, or correct the reference";
            let error =
                Diagnostic::error(Reason::ListenerSetParentNotFound, "spec.parentRef", message, remedy);
            made.report(&object, error);
        }
        return made;
    };
    if let Some(it) = report.sets.get(name) {
        serve(&gateway, &object, &report, it.plan.listeners.iter().zip(&it.listeners), &mut made);
        made.value = Value::ListenerSet(it.plan.clone());
    }
    made
}

/// Makes the listeners of one object that are served.
fn serve<'a>(
    gateway: &ObjectName,
    object: &ObjectRef,
    report: &GatewayReport,
    listeners: impl Iterator<Item = (&'a ListenerPlan, &'a ListenerReport)>,
    made: &mut Evaluation,
) {
    for (plan, listener) in listeners.filter(|(plan, _)| plan.programmed) {
        let Some(protocol) = protocol(plan, listener) else { continue };
        let shown = report.plan.backend_certificate.as_ref();
        made.resources.push(Resource::Listener(Arc::new(Listener {
            key: plan.key.clone(),
            gateway: gateway.clone(),
            section: plan.name.clone(),
            addresses: report.addresses.bound.clone(),
            port: plan.port,
            hostname: plan.hostname.clone(),
            protocol,
            backend_certificate: shown.map(certificate::key),
        })));
        let used = listener.certificates.iter().chain(shown).cloned();
        made.index.extend(used.map(|it| (IndexKey::CertificateUsers(it), object.clone())));
    }
}

fn protocol(plan: &ListenerPlan, listener: &ListenerReport) -> Option<ListenerProtocol> {
    let termination = || TlsTermination {
        certificates: listener.certificates.iter().map(certificate::key).collect(),
        clients: listener.clients.clone(),
    };
    Some(match plan.protocol? {
        Protocol::Http => ListenerProtocol::Http,
        Protocol::Https => ListenerProtocol::Https(termination()),
        Protocol::TlsTerminate => ListenerProtocol::TlsTerminate(termination()),
        Protocol::TlsPassthrough => ListenerProtocol::TlsPassthrough,
        Protocol::Tcp => ListenerProtocol::Tcp,
        Protocol::Udp => ListenerProtocol::Udp,
        // Made for all waypoints at once, see `waypoint::listeners`.
        Protocol::Hbone => return None,
    })
}
