//! How the listeners of a Gateway and of its ListenerSets treat their clients, by the ClientPolicies that hold for them: above all, how
//! they learn where clients are.
//!
//! Who believes the wrong proxy lets its clients choose their address, and with it what access policies let them do. So a listener
//! for which that cannot be carried out is closed, and a ListenerSet does not say for the policies of its Gateway whom to believe.

use super::protocol::Protocol;
use super::publish::guards;
use super::{Check, GatewayReport, ListenerPlan};
use crate::compile::output::ProxyClass;
use crate::compile::program::{Cluster, Reader};
use crate::resources::{ClientPolicy, Kind, ObjectRef};
use fairway_config::model::{AddressSource, ListenerKey, ObjectName, TlsVersion};
use fairway_incremental::Set;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ClientPolicy that holds for a Gateway or a ListenerSet, or for a listener of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct ClientsOf {
    /// The Gateway or ListenerSet.
    pub object: ObjectRef,
    /// None is those of its listeners that no policy names.
    pub listener: Option<Arc<str>>,
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
pub(in crate::compile) struct Located {
    /// How it learns where they are.
    pub source: AddressSource,
    /// The policy that holds for that.
    pub policy: Option<ObjectRef>,
    /// The lowest version of TLS that it speaks with them, if it ends TLS, and the policy that says so.
    pub tls: Option<(ObjectRef, TlsVersion)>,
    /// Why that cannot be carried out. Then the listener is closed.
    pub fault: Option<Fault>,
}

/// Why a policy cannot be carried out at a listener.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum Fault {
    /// The policy itself is not valid. It says so of itself.
    Invalid,
    /// Only bytes are seen there, and the address would be in a request.
    NeedsRequests(ListenerKey),
    /// Datagrams come without anything before them.
    Datagrams(ListenerKey),
    /// Connections to the port begin as this other listener has it.
    PortDiffers { listener: ListenerKey, other: ListenerKey },
    /// Access policies of the Gateway judge what comes by the listener.
    OfOthers { listener: ListenerKey, gateway: ObjectName },
}

// === impl Fault ===

impl Fault {
    /// The listener that is closed.
    pub(in crate::compile) fn listener(&self) -> Option<&ListenerKey> {
        match self {
            Self::Invalid => None,
            Self::NeedsRequests(listener)
            | Self::Datagrams(listener)
            | Self::PortDiffers { listener, .. }
            | Self::OfOthers { listener, .. } => Some(listener),
        }
    }
}

/// The listeners of a Gateway and of its ListenerSets.
pub(super) type LocatedListeners = BTreeMap<(ObjectRef, Arc<str>), Located>;

/// How connections to a port begin, and the listener that says so.
struct Opening<'a> {
    source: AddressSource,
    by: &'a ListenerKey,
    object: &'a ObjectRef,
    /// Whether a policy says so.
    is_written: bool,
}

/// What holds for each listener that something is written about, in the order in which listeners go before others.
pub(super) fn locate(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    report: &GatewayReport,
    sets: &[ObjectName],
) -> LocatedListeners {
    let mut located = LocatedListeners::new();
    if report.plan.class != ProxyClass::Gateway {
        return located;
    }
    let own = ObjectRef::of(Kind::Gateway, gateway);
    let mut listeners: Vec<(ObjectRef, &ListenerPlan)> =
        report.plan.listeners.iter().map(|it| (own.clone(), it)).collect();
    for set in sets {
        let plans = report.sets.get(set).map(|it| it.plan.listeners.iter()).into_iter().flatten();
        listeners.extend(plans.map(|it| (ObjectRef::of(Kind::ListenerSet, set), it)));
    }
    let objects =
        std::iter::once(own.clone()).chain(sets.iter().map(|it| ObjectRef::of(Kind::ListenerSet, it)));
    if !objects.into_iter().any(|it| reader.count(&ClientsAt(it)) > 0) {
        return located;
    }
    listeners.retain(|(_, plan)| plan.programmed);
    let mut wanted: Vec<Located> =
        listeners.iter().map(|(object, plan)| want(reader, &own, object, plan)).collect();
    share_ports(&listeners, &mut wanted);
    for ((object, plan), it) in listeners.iter().zip(wanted) {
        located.insert((object.clone(), plan.name.clone()), it);
    }
    located
}

/// What the policies that hold for a listener ask for there.
fn want(reader: &mut Reader<'_>, gateway: &ObjectRef, object: &ObjectRef, plan: &ListenerPlan) -> Located {
    let holders = holders(reader, gateway, object, &plan.name);
    let of_address = holders.iter().find(|(_, it)| !matches!(it.spec.client_address, Ok(None)));
    let located = of_address.map(|(policy, it)| want_source(reader, gateway, plan, policy, it));
    let of_tls = holders.iter().find(|(_, it)| !matches!(it.spec.tls, Ok(None)));
    let tls = of_tls.filter(|_| plan.protocol.is_some_and(Protocol::ends_tls)).map(|(policy, it)| {
        // What cannot be understood may have asked for the newest version only.
        let asked = it.spec.tls.as_ref().map(|it| it.map(|it| it.min_version.into()).unwrap_or_default());
        (policy.clone(), asked.unwrap_or(TlsVersion::V1_3))
    });
    Located { tls, ..located.unwrap_or_default() }
}

/// How a listener learns where its clients are by the policy that holds for that.
fn want_source(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    plan: &ListenerPlan,
    policy: &ObjectRef,
    written: &ClientPolicy,
) -> Located {
    let source = match &written.spec.client_address {
        Ok(None) => Ok(AddressSource::Connection),
        Ok(Some(it)) => it.source().map_err(|it| it.reason),
        Err(it) => Err(it.reason.clone()),
    };
    let policy = policy.clone();
    let source = match source {
        Ok(source) => source,
        Err(why) => return closed(policy, Fault::Invalid, &why),
    };
    let is_introduced = matches!(source, AddressSource::ProxyProtocol(_));
    let key = || plan.key.clone();
    match plan.protocol {
        _ if source.is_connection() => {}
        // A policy is in the namespace of what it names.
        _ if policy.namespace != gateway.namespace && guards(reader, gateway) => {
            let fault = Fault::OfOthers { listener: key(), gateway: gateway.object_name() };
            return closed(policy, fault, "access policies of the Gateway go by the addresses of clients");
        }
        Some(Protocol::Udp) => {
            return closed(policy, Fault::Datagrams(key()), "datagrams say nothing of their clients");
        }
        Some(Protocol::Tcp | Protocol::TlsPassthrough | Protocol::TlsTerminate) if !is_introduced => {
            return closed(policy, Fault::NeedsRequests(key()), "a connection of bytes has no headers");
        }
        _ => {}
    }
    Located { source, policy: Some(policy), ..Located::default() }
}

fn closed(policy: ObjectRef, fault: Fault, why: &str) -> Located {
    let source = AddressSource::Closed(why.into());
    Located { source, policy: Some(policy), fault: Some(fault), ..Located::default() }
}

/// The policies for a listener, those first that go before the others: one that names it before one for all of its object, and one of
/// the Gateway before one of a ListenerSet. Of each of their parts the first holds that has it.
fn holders(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    object: &ObjectRef,
    listener: &Arc<str>,
) -> Vec<(ObjectRef, Arc<ClientPolicy>)> {
    let of_gateway = (object != gateway).then_some((gateway, None));
    let places = of_gateway.into_iter().chain([(object, Some(listener.clone())), (object, None)]);
    let mut holders = Vec::new();
    for (object, listener) in places {
        let set = ClientsOf { object: object.clone(), listener };
        let Some(policy) = reader.members(&set).first().cloned() else { continue };
        if let Some(written) = reader.input::<ClientPolicy>(&policy.object_name()) {
            holders.push((policy, written));
        }
    }
    holders
}

/// The connections to a port begin in one way, before anything says which listener they are for: as the first object has it that
/// listens there. Listeners without a policy follow; those with another one are closed.
fn share_ports(listeners: &[(ObjectRef, &ListenerPlan)], wanted: &mut [Located]) {
    let mut ports: BTreeMap<u16, Opening<'_>> = BTreeMap::new();
    let is_closed = |it: &Located| matches!(it.source, AddressSource::Closed(_));
    let on_streams = |plan: &ListenerPlan| plan.protocol != Some(Protocol::Udp);
    for ((object, plan), it) in listeners.iter().zip(&*wanted) {
        if is_closed(it) || !on_streams(plan) {
            continue;
        }
        let opening = || Opening {
            source: opening_of(&it.source),
            by: &plan.key,
            object,
            is_written: it.policy.is_some(),
        };
        let first = ports.entry(plan.port).or_insert_with(opening);
        // Within one object what is written goes before what is not.
        if first.object == object && !first.is_written && it.policy.is_some() {
            *first = opening();
        }
    }
    for ((_, plan), it) in listeners.iter().zip(wanted) {
        let Some(opening) = ports.get(&plan.port).filter(|_| on_streams(plan) && !is_closed(it)) else {
            continue;
        };
        if opening_of(&it.source) == opening.source {
            continue;
        }
        match it.policy.take() {
            None => it.source = opening.source.clone(),
            Some(policy) => {
                let fault = Fault::PortDiffers { listener: plan.key.clone(), other: opening.by.clone() };
                let why = "other listeners of the port begin connections in another way";
                *it = Located { tls: it.tls.take(), ..closed(policy, fault, why) };
            }
        }
    }
}

/// What of a source says how connections begin.
fn opening_of(source: &AddressSource) -> AddressSource {
    match source {
        AddressSource::ProxyProtocol(_) => source.clone(),
        _ => AddressSource::Connection,
    }
}

/// What holds for the listeners of an object, one of them or all that are served, at the Gateway that serves them.
pub(in crate::compile) fn located(
    reader: &mut Reader<'_>,
    gateway: &ObjectName,
    object: &ObjectRef,
    listener: Option<&str>,
) -> Vec<(ListenerKey, Located)> {
    let Some(report) = reader.get::<Check>(gateway) else { return Vec::new() };
    let plans = match object.kind {
        Kind::ListenerSet => report.sets.get(&object.object_name()).map(|it| it.plan.listeners.as_slice()),
        _ => Some(report.plan.listeners.as_slice()),
    };
    let plans = plans.unwrap_or_default().iter().filter(|it| it.programmed);
    let plans = plans.filter(|it| listener.is_none_or(|name| *it.name == *name));
    let of = |plan: &ListenerPlan| {
        let found = report.located.get(&(object.clone(), plan.name.clone())).cloned();
        (plan.key.clone(), found.unwrap_or_default())
    };
    plans.map(of).collect()
}
