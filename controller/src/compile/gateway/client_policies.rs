//! How the listeners of a Gateway and of its ListenerSets treat their clients, by the ClientPolicies that hold for them.

use super::client_address::{self, AddressFault};
use super::protocol::Protocol;
use super::{Check, GatewayReport, ListenerPlan};
use crate::compile::program::{Cluster, Made, Reader};
use crate::diagnostic::Diagnostic;
use crate::provision::ProxyClass;
use crate::resources::client_policy::ClientField;
use crate::resources::{ClientPolicy, Kind, ObjectRef};
use crate::status::{Condition, reason};
use fairway_config::model::{AddressSource, ListenerKey, ObjectName, TlsVersion};
use fairway_incremental::Set;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ClientPolicy by which a field holds for a Gateway or a ListenerSet, or for a listener of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ClientsOf {
    /// The Gateway or ListenerSet.
    pub object: ObjectRef,
    /// None is those of its listeners that no policy names.
    pub listener: Option<Arc<str>>,
    pub field: ClientField,
}

impl Set<Cluster> for ClientsOf {
    type Member = ObjectRef;
}

/// The policies that hold for a Gateway or a ListenerSet, or for one of its listeners. Asked first, because most have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ClientsAt(pub ObjectRef);

impl Set<Cluster> for ClientsAt {
    type Member = ObjectRef;
}

/// How a listener treats its clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct ClientSettings {
    /// How it learns where they are.
    pub source: AddressSource,
    /// The policy that holds for that.
    pub policy: Option<ObjectRef>,
    /// Why that cannot be carried out. Then the listener is closed.
    pub fault: Option<AddressFault>,
    /// The lowest version of TLS that it speaks with them, if it ends TLS, and the policy that says so.
    pub tls: Option<(ObjectRef, TlsVersion)>,
}

/// Those of the listeners of a Gateway and of its ListenerSets.
pub(super) type SettingsByListener = BTreeMap<(ObjectRef, Arc<str>), ClientSettings>;

// === impl ClientSettings ===

impl ClientSettings {
    /// The policy by which a field holds.
    pub(in crate::compile) fn holder(&self, field: ClientField) -> Option<&ObjectRef> {
        match field {
            ClientField::ClientAddress => self.policy.as_ref(),
            ClientField::Tls => self.tls.as_ref().map(|(policy, _)| policy),
        }
    }
}

/// What holds for each listener that something is written about. `sets` are in the order in which their listeners go before others.
pub(super) fn decide(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    report: &GatewayReport,
    sets: &[ObjectName],
) -> SettingsByListener {
    let mut settings = SettingsByListener::new();
    if report.plan.class != ProxyClass::Gateway {
        return settings;
    }
    let own = ObjectRef::from_name(Kind::Gateway, gateway);
    let objects =
        std::iter::once(own.clone()).chain(sets.iter().map(|it| ObjectRef::from_name(Kind::ListenerSet, it)));
    if !objects.into_iter().any(|it| reader.count(&ClientsAt(it)) > 0) {
        return settings;
    }
    let mut listeners: Vec<(ObjectRef, &ListenerPlan)> =
        report.plan.listeners.iter().map(|it| (own.clone(), it)).collect();
    for set in sets {
        let plans = report.sets.get(set).map(|it| it.plan.listeners.iter()).into_iter().flatten();
        listeners.extend(plans.map(|it| (ObjectRef::from_name(Kind::ListenerSet, set), it)));
    }
    listeners.retain(|(_, plan)| plan.programmed);
    let mut wanted: Vec<ClientSettings> =
        listeners.iter().map(|(object, plan)| want(reader, &own, object, plan)).collect();
    client_address::share_ports(&own, &listeners, &mut wanted);
    for ((object, plan), it) in listeners.iter().zip(wanted) {
        settings.insert((object.clone(), plan.name.clone()), it);
    }
    settings
}

/// What the policies that hold for a listener ask for there.
fn want(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    object: &ObjectRef,
    plan: &ListenerPlan,
) -> ClientSettings {
    let of_address = holder(reader, gateway, object, &plan.name, ClientField::ClientAddress);
    let address = of_address.map(|(policy, it)| client_address::want(reader, gateway, plan, &policy, &it));
    let ends_tls = plan.protocol.is_some_and(Protocol::ends_tls);
    let of_tls = ends_tls.then(|| holder(reader, gateway, object, &plan.name, ClientField::Tls)).flatten();
    let tls = of_tls.map(|(policy, it)| {
        // What cannot be understood may have asked for the newest version only.
        let asked = it.spec.tls.as_ref().map(|it| it.map(|it| it.min_version.into()).unwrap_or_default());
        (policy, asked.unwrap_or(TlsVersion::V1_3))
    });
    ClientSettings { tls, ..address.unwrap_or_default() }
}

/// The policy by which a field holds for a listener. One of the whole Gateway goes before one of a ListenerSet, and one that names the
/// listener before one for all of its object.
fn holder(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    object: &ObjectRef,
    listener: &Arc<str>,
    field: ClientField,
) -> Option<(ObjectRef, Arc<ClientPolicy>)> {
    let of_gateway = (object != gateway).then_some((gateway, None));
    let places = of_gateway.into_iter().chain([(object, Some(listener.clone())), (object, None)]);
    for (object, listener) in places {
        let set = ClientsOf { object: object.clone(), listener, field };
        let Some(policy) = reader.members(&set).first().cloned() else { continue };
        if let Some(written) = reader.input::<ClientPolicy>(&policy.object_name()) {
            return Some((policy, written));
        }
    }
    None
}

/// Closes each listener for which that cannot be carried out, and says why nobody is served there. A policy says itself what is wrong
/// with it; where none asks for anything, the object of the listener does.
pub(super) fn close(report: &mut GatewayReport, gateway: &ObjectName, made: &mut Made) {
    for ((object, name), settings) in &report.settings {
        let Some(fault) = &settings.fault else { continue };
        let (plans, reports) = match object.kind {
            Kind::ListenerSet => {
                let Some(set) = report.sets.get_mut(&object.object_name()) else { continue };
                (&mut Arc::make_mut(&mut set.plan).listeners, &mut set.listeners)
            }
            _ => (&mut Arc::make_mut(&mut report.plan).listeners, &mut report.listeners),
        };
        let Some(index) = plans.iter().position(|it| it.name == *name) else { continue };
        let (Some(plan), Some(listener)) = (plans.get_mut(index), reports.get_mut(index)) else { continue };
        plan.is_closed = true;
        let why = match (&settings.policy, fault.reason()) {
            (Some(policy), _) => format!("{policy} closes the listener: {}", fault.describe(gateway)),
            (None, None) => fault.describe(gateway),
            (None, Some(reason)) => {
                let message = format!("{}, so the listener is closed", fault.describe(gateway));
                let remedy = fault.remedy();
                let field = format!("spec.listeners[{index}].port");
                let error = Diagnostic::error(reason, field, message, remedy);
                let text = error.text();
                made.report(object, error);
                text
            }
        };
        listener.closed = Some(why.as_str().into());
        for condition in listener.conditions.iter_mut().filter(|it| it.kind == reason::PROGRAMMED) {
            let generation = condition.observed_generation;
            *condition = Condition::fails(reason::PROGRAMMED, reason::INVALID, why.clone(), generation);
        }
    }
}

/// What holds for the listeners of an object, one of them or all that are served, at the Gateway that serves them.
pub(in crate::compile) fn of_listeners(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    listener: Option<&str>,
) -> Vec<(ListenerKey, ClientSettings)> {
    let Some(report) = reader.get::<Check>(gateway) else { return Vec::new() };
    let plans = match object.kind {
        Kind::ListenerSet => report.sets.get(&object.object_name()).map(|it| it.plan.listeners.as_slice()),
        _ => Some(report.plan.listeners.as_slice()),
    };
    let plans = plans.unwrap_or_default().iter().filter(|it| it.programmed);
    let plans = plans.filter(|it| listener.is_none_or(|name| *it.name == *name));
    plans.map(|it| (it.key.clone(), report.client_settings(object, &it.name))).collect()
}
