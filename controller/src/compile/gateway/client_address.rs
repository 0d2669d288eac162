//! How listeners learn where their clients are, by the ClientPolicies that hold for them.
//!
//! Who believes the wrong proxy lets its clients choose their address, and with it what access policies let them do. So a listener
//! for which that cannot be carried out is closed, and a ListenerSet does not say for the policies of its Gateway whom to believe, nor
//! how connections begin at the listeners of others.

use super::ListenerPlan;
use super::client_policies::ClientSettings;
use super::protocol::Protocol;
use super::publish::guards;
use crate::compile::program::Reader;
use crate::diagnostic::Reason;
use crate::resources::{ClientPolicy, ObjectRef};
use fairway_config::model::{AddressSource, ListenerKey, ObjectName};
use std::collections::BTreeMap;

/// Why a listener cannot learn where its clients are as it should.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum AddressFault {
    /// The policy itself is not valid. It says so of itself.
    Invalid,
    /// Only bytes are seen there, and the address would be in a request.
    NeedsRequests,
    /// Datagrams come without anything before them.
    Datagrams,
    /// Connections to the port begin as this other listener has it.
    PortDiffers(ListenerKey),
    /// Access policies of the Gateway judge what comes by the listener.
    OfOthers,
}

// === impl AddressFault ===

impl AddressFault {
    /// What a policy is told of it; none where it says so of itself.
    pub(in crate::compile) fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Invalid => return None,
            Self::NeedsRequests => Reason::ClientPolicyNeedsRequests,
            Self::Datagrams => Reason::ClientPolicyOfDatagrams,
            Self::PortDiffers(_) => Reason::ClientPolicyPortDiffers,
            Self::OfOthers => Reason::ClientPolicyOverGuard,
        })
    }

    /// Why the listener is closed.
    pub(in crate::compile) fn describe(&self, gateway: &ObjectName) -> String {
        match self {
            Self::Invalid => "it is not valid; see its conditions".to_owned(),
            Self::NeedsRequests => {
                "connections carry bytes there, and the address would be in a header".to_owned()
            }
            Self::Datagrams => "datagrams do not say where their clients are".to_owned(),
            Self::PortDiffers(other) => format!(
                "connections to the port begin as listener {other} has it, with or without the PROXY protocol"
            ),
            Self::OfOthers => format!(
                "access policies of Gateway {gateway} judge its clients, and a policy of another namespace would say where these are"
            ),
        }
    }

    /// What the owner of the policy can do about it.
    pub(in crate::compile) fn remedy(&self) -> &'static str {
        match self {
            Self::Invalid => "correct the policy",
            Self::NeedsRequests => {
                "use source ProxyProtocol there, or name the listeners for HTTP by sectionName"
            }
            Self::Datagrams => {
                "give them a policy of their own with source Connection, or name other listeners"
            }
            Self::PortDiffers(_) => "let all listeners of the port have one policy, or use another port",
            Self::OfOthers => {
                "ask the owner of the Gateway for a ClientPolicy there; it holds for ListenerSets as well"
            }
        }
    }
}

/// How connections to a port begin, and the listener that says so.
struct Opening<'a> {
    source: AddressSource,
    by: &'a ListenerKey,
    object: &'a ObjectRef,
    /// Whether a policy says so.
    is_written: bool,
}

/// How a listener learns where its clients are by the policy that holds for that.
pub(super) fn want(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    plan: &ListenerPlan,
    policy: &ObjectRef,
    written: &ClientPolicy,
) -> ClientSettings {
    let source = match &written.spec.client_address {
        Ok(None) => Some(AddressSource::Connection),
        Ok(Some(it)) => it.source().ok(),
        Err(_) => None,
    };
    let policy = Some(policy.clone());
    let Some(source) = source else { return closed(policy, AddressFault::Invalid) };
    let is_proxy_protocol = matches!(source, AddressSource::ProxyProtocol(_));
    match plan.protocol {
        _ if source.is_connection() => {}
        // A policy is in the namespace of what it names.
        _ if policy.as_ref().is_some_and(|it| it.namespace != gateway.namespace)
            && guards(reader, gateway) =>
        {
            return closed(policy, AddressFault::OfOthers);
        }
        Some(Protocol::Udp) => {
            return closed(policy, AddressFault::Datagrams);
        }
        Some(Protocol::Tcp | Protocol::TlsPassthrough | Protocol::TlsTerminate) if !is_proxy_protocol => {
            return closed(policy, AddressFault::NeedsRequests);
        }
        _ => {}
    }
    ClientSettings { source, policy, ..ClientSettings::default() }
}

fn closed(policy: Option<ObjectRef>, fault: AddressFault) -> ClientSettings {
    ClientSettings { policy, fault: Some(fault), ..ClientSettings::default() }
}

/// The connections to a port begin in one way, before anything says which listener they are for: as the Gateway has it where it listens
/// itself, else without a header where one object has it so, else as the first object has it. So no ListenerSet closes listeners of
/// others that ask for nothing. Listeners without a policy follow the Gateway, or another listener of their own object: nobody else
/// says for them whom to believe. All others that would begin in another way are closed.
pub(super) fn share_ports(
    gateway: &ObjectRef,
    listeners: &[(ObjectRef, &ListenerPlan)],
    wanted: &mut [ClientSettings],
) {
    // Of each object that listens on a port, in their order.
    let mut ports: BTreeMap<u16, Vec<Opening<'_>>> = BTreeMap::new();
    let is_closed = |it: &ClientSettings| it.fault.is_some();
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
        let of_port = ports.entry(plan.port).or_default();
        match of_port.iter_mut().find(|it| it.object == object) {
            // Within one object what is written goes before what is not.
            Some(first) if !first.is_written && it.policy.is_some() => *first = opening(),
            Some(_) => {}
            None => of_port.push(opening()),
        }
    }
    for ((object, plan), it) in listeners.iter().zip(wanted) {
        let of_port = ports.get(&plan.port).filter(|_| on_streams(plan) && !is_closed(it));
        let Some(opening) = of_port.and_then(|it| Opening::of_port(it, gateway)) else { continue };
        if opening_of(&it.source) == opening.source {
            continue;
        }
        if it.policy.is_none() && (opening.object == gateway || opening.object == object) {
            it.source = opening.source.clone();
            continue;
        }
        let fault = AddressFault::PortDiffers(opening.by.clone());
        *it = ClientSettings { tls: it.tls.take(), ..closed(it.policy.take(), fault) };
    }
}

impl<'a> Opening<'a> {
    fn of_port(objects: &'a [Self], gateway: &ObjectRef) -> Option<&'a Self> {
        let own = objects.iter().find(|it| it.object == gateway);
        own.or_else(|| objects.iter().find(|it| it.source.is_connection())).or_else(|| objects.first())
    }
}

/// What of a source says how connections begin.
fn opening_of(source: &AddressSource) -> AddressSource {
    match source {
        AddressSource::ProxyProtocol(_) => source.clone(),
        _ => AddressSource::Connection,
    }
}
