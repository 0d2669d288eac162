//! How the listeners of a Gateway and of its ListenerSets treat their clients, by the ClientPolicies that hold for them.

use super::client_address::{self, AddressFault};
use super::listener::ListenerReport;
use super::protocol::Protocol;
use super::{GatewayReport, ListenerPlan, client_treatment, opening};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::diagnostic::Diagnostic;
use crate::provision::ProxyClass;
use crate::resources::client_policy::ClientField;
use crate::resources::{ClientPolicy, Kind, ObjectRef};
use crate::status::{Condition, reason};
use fairway_config::model::{
    AddressSource, ClientTreatment, ObjectName, TlsAlgorithms, TlsVersion, WithoutCertificate,
};
use fairway_incremental::{Query, Set};
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

/// The ClientPolicies for a Gateway or a ListenerSet, or for a listener of it, of which nobody can say what they ask for. They close the
/// listeners, and take no field from another policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ClientsClosed {
    /// The Gateway or ListenerSet.
    pub object: ObjectRef,
    /// None is all of its listeners.
    pub listener: Option<Arc<str>>,
}

impl Set<Cluster> for ClientsClosed {
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
    /// A policy of which nobody can say what it asks for. Then the listener is closed.
    pub unknown: Option<ObjectRef>,
    /// The lowest version of TLS that it speaks with them and the algorithms, if it ends TLS, and the policy that says so.
    pub tls: Option<(ObjectRef, TlsVersion, TlsAlgorithms)>,
    /// How it treats them in other ways.
    pub treatment: ClientTreatment,
    /// The policy that holds for its limits, if these cannot be understood. Then the listener is closed.
    pub unlimited: Option<ObjectRef>,
    /// The policies by which it does.
    pub treated_by: Vec<(ClientField, ObjectRef)>,
}

/// Those of the listeners of a Gateway and of its ListenerSets.
pub(super) type SettingsByListener = BTreeMap<(ObjectRef, Arc<str>), ClientSettings>;

// === impl ClientSettings ===

impl ClientSettings {
    /// Those of a listener for which a policy says where its clients are.
    pub(super) fn of_policy(policy: &ObjectRef) -> Self {
        Self { policy: Some(policy.clone()), ..Self::default() }
    }

    /// The policy of which nobody can say what it asks for, as a whole or of its limits.
    fn misunderstood(&self) -> Option<&ObjectRef> {
        self.unknown.as_ref().or(self.unlimited.as_ref())
    }

    /// Whether the listener is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.fault.is_some() || self.unknown.is_some() || self.unlimited.is_some()
    }
}

/// What a policy asks for, as proxies have it: looked at once, whatever the number of listeners for which it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// How a listener learns where its clients are; none if that cannot be understood.
    source: Option<AddressSource>,
    /// The lowest version of TLS, and the algorithms. What cannot be understood may have asked for the newest only.
    tls: (TlsVersion, TlsAlgorithms),
    /// What else. What cannot be understood is as [`client_treatment::asked`] has it.
    pub treatment: ClientTreatment,
    /// Whether its limits cannot be understood.
    has_unknown_limits: bool,
}

/// Reads what a policy asks for.
pub(super) struct Ask;

impl Query<Cluster> for Ask {
    type Key = ObjectName;
    type Value = Option<Arc<Asked>>;
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Option<Arc<Asked>> {
        let policy = reader.input::<ClientPolicy>(name)?;
        let source = match &policy.spec.client_address {
            Ok(None) => Some(AddressSource::Connection),
            Ok(Some(it)) => it.source().ok(),
            Err(_) => None,
        };
        let tls = match &policy.spec.tls {
            Ok(it) => it.clone().unwrap_or_default(),
            Err(_) => (TlsVersion::V1_3, TlsAlgorithms::default()),
        };
        let (treatment, has_unknown_limits) =
            (client_treatment::asked(&policy.spec), policy.spec.limits.is_err());
        Some(Arc::new(Asked { source, tls, treatment, has_unknown_limits }))
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
    // With each whether it validates the certificates of its clients.
    let mut all: Vec<((ObjectRef, &ListenerPlan), bool)> = Vec::new();
    let of_own = report.plan.listeners.iter().zip(&report.listeners);
    all.extend(of_own.map(|(plan, it)| ((own.clone(), plan), validates(it))));
    for set in sets {
        let Some(of_set) = report.sets.get(set) else { continue };
        let object = ObjectRef::from_name(Kind::ListenerSet, set);
        let of_set = of_set.plan.listeners.iter().zip(&of_set.listeners);
        all.extend(of_set.map(|(plan, it)| ((object.clone(), plan), validates(it))));
    }
    all.retain(|((object, plan), _)| plan.programmed || *object == own);
    let mut wanted: Vec<ClientSettings> =
        all.iter().map(|((object, plan), validates)| want(reader, &own, object, plan, *validates)).collect();
    let listeners: Vec<(ObjectRef, &ListenerPlan)> = all.into_iter().map(|(it, _)| it).collect();
    opening::share_ports(&own, &listeners, &mut wanted);
    for ((object, plan), it) in listeners.iter().zip(wanted).filter(|((_, plan), _)| plan.programmed) {
        settings.insert((object.clone(), plan.name.clone()), it);
    }
    settings
}

/// Whether a client without a valid certificate is refused.
fn validates(listener: &ListenerReport) -> bool {
    listener.clients.as_ref().is_some_and(|it| it.without == WithoutCertificate::Refused)
}

/// What the policies that hold for a listener ask for there.
fn want(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    object: &ObjectRef,
    plan: &ListenerPlan,
    validates: bool,
) -> ClientSettings {
    let places = places(gateway, object, &plan.name);
    let of_address = holder(reader, &places, ClientField::ClientAddress);
    let address = of_address
        .map(|(policy, it)| client_address::want(reader, gateway, plan, &policy, it.source.as_ref()));
    let ends_tls = plan.protocol.is_some_and(Protocol::ends_tls);
    let of_tls = ends_tls.then(|| holder(reader, &places, ClientField::Tls)).flatten();
    let tls = of_tls.map(|(policy, it)| (policy, it.tls.0, it.tls.1.clone()));
    let (mut treatment, mut treated_by, mut unlimited) = (ClientTreatment::default(), Vec::new(), None);
    for field in ClientField::OF_TREATMENT {
        let Some((policy, it)) = holder(reader, &places, field) else { continue };
        if field == ClientField::Limits && it.has_unknown_limits {
            unlimited = Some(policy.clone());
            treated_by.push((field, policy));
        } else if client_treatment::applies(field, &it.treatment, plan.protocol, validates) {
            client_treatment::put(field, &it.treatment, &mut treatment);
            treated_by.push((field, policy));
        }
    }
    let mut unknown = places.iter().filter_map(|(object, listener)| {
        let set = ClientsClosed { object: (*object).clone(), listener: listener.clone() };
        reader.members(&set).first().cloned()
    });
    let unknown = unknown.next();
    ClientSettings { tls, unknown, treatment, unlimited, treated_by, ..address.unwrap_or_default() }
}

/// What policies for a listener name, in the order in which they go before each other. One of the whole Gateway goes before one of a
/// ListenerSet, and one that names the listener before one for all of its object.
fn places<'a>(
    gateway: &'a ObjectRef,
    object: &'a ObjectRef,
    listener: &Arc<str>,
) -> Vec<(&'a ObjectRef, Option<Arc<str>>)> {
    let of_gateway = (object != gateway).then_some((gateway, None));
    of_gateway.into_iter().chain([(object, Some(listener.clone())), (object, None)]).collect()
}

/// The policy by which a field holds for a listener, and what it asks for.
fn holder(
    reader: &mut Reader<'_>,
    places: &[(&ObjectRef, Option<Arc<str>>)],
    field: ClientField,
) -> Option<(ObjectRef, Arc<Asked>)> {
    for (object, listener) in places {
        let set = ClientsOf { object: (*object).clone(), listener: listener.clone(), field };
        let Some(policy) = reader.members(&set).first().cloned() else { continue };
        if let Some(asked) = reader.get::<Ask>(&policy.object_name()) {
            return Some((policy, asked));
        }
    }
    None
}

/// Closes each listener for which that cannot be carried out, and says why nobody is served there. A policy says itself what is wrong
/// with it; where none asks for anything, the object of the listener does.
pub(super) fn close(report: &mut GatewayReport, gateway: &ObjectName, made: &mut Made) {
    for ((object, name), settings) in &report.settings {
        if !settings.is_closed() {
            continue;
        }
        let (plans, reports) = match object.kind {
            Kind::ListenerSet => {
                let Some(set) = report.sets.get_mut(&object.object_name()) else { continue };
                (&mut Arc::make_mut(&mut set.plan).listeners, &mut set.listeners)
            }
            _ => (&mut Arc::make_mut(&mut report.plan).listeners, &mut report.listeners),
        };
        let Some(index) = plans.iter().position(|it| it.name == *name) else { continue };
        let (Some(plan), Some(listener)) = (plans.get_mut(index), reports.get_mut(index)) else { continue };
        let why = match (settings.misunderstood(), &settings.policy, &settings.fault) {
            (Some(policy), ..) => {
                format!("{policy} closes the listener: it cannot be understood; see its conditions")
            }
            (None, Some(policy), Some(fault)) => {
                format!("{policy} closes the listener: {}", fault.describe(gateway))
            }
            (None, None, Some(fault)) => match fault.reason() {
                None => fault.describe(gateway),
                Some(reason) => {
                    let message = format!("{}, so the listener is closed", fault.describe(gateway));
                    let field = format!("spec.listeners[{index}].port");
                    let error = Diagnostic::error(reason, field, message, fault.remedy());
                    let text = error.text();
                    made.report(object, error);
                    text
                }
            },
            (None, _, None) => continue,
        };
        plan.is_closed = true;
        listener.closed = Some(why.as_str().into());
        for condition in listener.conditions.iter_mut().filter(|it| it.kind == reason::PROGRAMMED) {
            let generation = condition.observed_generation;
            *condition = Condition::fails(reason::PROGRAMMED, reason::INVALID, why.clone(), generation);
        }
    }
}
