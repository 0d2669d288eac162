//! What proxies get of a Gateway and of its ListenerSets.

use super::authentications::authentications;
use super::limits::{carries_requests, limits};
use super::listener::ListenerReport;
use super::unreadable::HeldGateways;
use super::{Check, GatewayPlan, GatewayReport, ListenerPlan, ListenerSetPlan, Protocol, set, waypoint};
use crate::compile::gateway::certificate::{self, CertificateUsers};
use crate::compile::names::absent::{Absent, CORRECT_REFERENCE, absent};
use crate::compile::names::access::Form;
use crate::compile::names::backend::BackendGateways;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::Mode;
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::{ProxyClass, Want};
use crate::resources::access_policy::AccessMode;
use crate::resources::{AccessPolicy, Gateway, Kind, ListenerSet, ObjectRef};
use fairway_config::model::{
    AddressSource, AuthorizationKey, Listener, ListenerProtocol, ObjectName, Resource, TlsAlgorithms,
    TlsTermination, TlsVersion,
};
use fairway_incremental::{OfInput, Query, Set};
use std::sync::Arc;

/// Gateways and waypoints that get a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Proxies(pub ProxyClass);

impl Set<Cluster> for Proxies {
    type Member = ObjectRef;
}

/// Policies that judge what comes by the listeners of a Gateway or a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct JudgedBy {
    /// The Gateway or ListenerSet.
    pub object: ObjectRef,
    /// None is all of its listeners.
    pub listener: Option<Arc<str>>,
    /// The form that the policies have there.
    pub form: Form,
}

impl Set<Cluster> for JudgedBy {
    type Member = ObjectRef;
}

/// The authorizations that judge what comes by a listener of an object, which a Gateway serves. Those of the Gateway judge the
/// listeners that ListenerSets add to it as well.
pub(in crate::compile) fn judges(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    listener: &Arc<str>,
) -> Vec<AuthorizationKey> {
    let gateway = ObjectRef::from_name(Kind::Gateway, gateway);
    let mut places = vec![(gateway.clone(), None), (object.clone(), Some(listener.clone()))];
    places.extend((*object != gateway).then(|| (object.clone(), None)));
    let mut judges = Vec::new();
    for (object, listener) in places {
        for form in [Form::Gateway, Form::Nobody, Form::Closed] {
            let set = JudgedBy { object: object.clone(), listener: listener.clone(), form };
            judges.extend(reader.members(&set).iter().map(|it| form.key(&it.object_name())));
        }
    }
    judges
}

/// Whether policies of a Gateway decide of all that it serves, also by the listeners of its ListenerSets. One that only observes
/// closes nothing.
pub(super) fn guards(reader: &mut Reader<'_>, gateway: &ObjectRef) -> bool {
    let is_enforced = |reader: &mut Reader<'_>, policy: &ObjectRef| {
        let policy = reader.input::<AccessPolicy>(&policy.object_name());
        policy.is_some_and(|it| it.spec.mode == AccessMode::Enforce)
    };
    [Form::Gateway, Form::Nobody, Form::Closed].into_iter().any(|form| {
        let policies = reader.members(&JudgedBy { object: gateway.clone(), listener: None, form });
        policies.iter().any(|it| is_enforced(reader, it))
    })
}

/// Makes a Gateway's own listeners and keeps what routes see.
pub(in crate::compile) struct Publish;

impl Query<Cluster> for Publish {
    type Key = ObjectName;
    type Value = Option<Arc<GatewayPlan>>;
    const STAGE: u8 = stage::PLANS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<GatewayPlan>> {
        let report = reader.get::<Check>(name)?;
        let settings = reader.settings();
        let object = ObjectRef::from_name(Kind::Gateway, name);
        let plan = &report.plan;
        if plan.class == ProxyClass::Waypoint {
            let runs = (report.refusal.is_none() || settings.mode == Mode::Kubernetes)
                && report.addresses.nowhere.is_none();
            made.resources.push(match runs && report.proxy.is_some() {
                true => waypoint::endpoints(reader, name, &plan.addresses, &settings),
                false => waypoint::nowhere(name),
            });
            if let Some(secret) = &plan.backend_certificate {
                made.put(CertificateUsers(secret.clone()), object.clone());
            }
        } else {
            serve(reader, name, &object, &report, plan.listeners.iter().zip(&report.listeners), made);
        }
        if let Some(proxy) = &report.proxy {
            if proxy.want == Want::Run || settings.mode == Mode::Kubernetes {
                made.put(Proxies(plan.class), object);
            }
            made.proxies.push(proxy.clone());
        }
        if report.is_held() {
            made.put(HeldGateways, ObjectRef::from_name(Kind::Gateway, name));
        }
        (!report.is_held()).then(|| plan.clone())
    }
}

impl OfInput<Cluster> for Publish {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Gateway).then(|| name.object_name())
    }
}

/// Makes a ListenerSet's listeners and keeps what routes see.
pub(in crate::compile) struct PublishSet;

impl Query<Cluster> for PublishSet {
    type Key = ObjectName;
    type Value = Option<Arc<ListenerSetPlan>>;
    const STAGE: u8 = stage::PLANS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<ListenerSetPlan>> {
        let set = reader.input::<ListenerSet>(name)?;
        let object = ObjectRef::from_name(Kind::ListenerSet, name);
        let Some(gateway) = set.spec.gateway(&set.meta.namespace) else {
            let kind = set.spec.parent_ref.kind.as_deref().unwrap_or_default();
            let (message, remedy) = (
                format!("a {kind} cannot have listeners, so this object has no effect"),
                "refer to a Gateway",
            );
            let warning =
                Diagnostic::warning(Reason::ListenerSetParentKind, "spec.parentRef", message, remedy);
            made.report(&object, warning);
            return None;
        };
        let Some(report) = reader.get::<Check>(&gateway) else {
            if reader.input::<Gateway>(&gateway).is_none() {
                let Absent { message, remedy } =
                    absent(reader, &ObjectRef::from_name(Kind::Gateway, &gateway), CORRECT_REFERENCE);
                let error =
                    Diagnostic::error(Reason::ListenerSetParentNotFound, "spec.parentRef", message, remedy);
                made.report(&object, error);
            }
            return None;
        };
        if set.meta.unreadable.is_some() {
            // One that the Gateway does not take has no routes there, whatever it says.
            let gateway = ObjectRef::from_name(Kind::Gateway, &gateway);
            if set::is_taken(reader, &gateway, &set.meta.namespace) {
                made.put(HeldGateways, gateway);
            }
            return None;
        }
        let it = report.sets.get(name)?;
        serve(reader, &gateway, &object, &report, it.plan.listeners.iter().zip(&it.listeners), made);
        Some(it.plan.clone())
    }
}

impl OfInput<Cluster> for PublishSet {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::ListenerSet).then(|| name.object_name())
    }
}

/// Makes the listeners of one object that are served, and those that are closed.
fn serve<'a>(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    report: &GatewayReport,
    listeners: impl Iterator<Item = (&'a ListenerPlan, &'a ListenerReport)>,
    made: &mut Made,
) {
    let server = ObjectRef::from_name(Kind::Gateway, gateway);
    for (plan, listener) in listeners {
        for service in listener.asks.iter().filter(|_| plan.programmed) {
            made.put(BackendGateways(service.clone()), server.clone());
        }
        let clients = report.client_settings(object, &plan.name);
        let spoken = clients.tls.map(|(_, version, algorithms)| (version, algorithms)).unwrap_or_default();
        let Some(protocol) = protocol(plan, listener, spoken) else { continue };
        let resource = Listener {
            key: plan.key.clone(),
            gateway: gateway.clone(),
            section: plan.name.clone(),
            addresses: report.addresses.bound.clone(),
            port: plan.port,
            hostname: plan.hostname.clone(),
            protocol,
            backend_certificate: None,
            authorizations: Vec::new(),
            limits: Vec::new(),
            authentications: Vec::new(),
            address_source: AddressSource::Connection,
            filters: Vec::new(),
            treatment: None,
            closed: None,
        };
        if !plan.programmed || plan.is_closed {
            let closed = listener.closed.clone().and_then(|why| resource.close(why));
            made.resources.extend(closed.map(|it| Resource::Listener(Arc::new(it))));
            continue;
        }
        let shown = report.plan.backend_certificate.as_ref();
        made.resources.push(Resource::Listener(Arc::new(Listener {
            backend_certificate: shown.map(certificate::key),
            authorizations: judges(reader, gateway, object, &plan.name),
            limits: limits(reader, gateway, object, &plan.name, carries_requests(plan)),
            authentications: authentications(reader, gateway, object, &plan.name),
            address_source: clients.source,
            filters: listener.filters.clone(),
            treatment: (!clients.treatment.is_empty()).then(|| Arc::new(clients.treatment)),
            ..resource
        })));
        let used = listener.certificates.iter().chain(shown).cloned();
        for secret in used {
            made.put(CertificateUsers(secret), object.clone());
        }
    }
}

fn protocol(
    plan: &ListenerPlan,
    listener: &ListenerReport,
    (min_version, algorithms): (TlsVersion, TlsAlgorithms),
) -> Option<ListenerProtocol> {
    let termination = move || TlsTermination {
        certificates: listener.certificates.iter().map(certificate::key).collect(),
        clients: listener.clients.clone(),
        min_version,
        algorithms,
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
