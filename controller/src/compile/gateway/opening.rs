//! How the connections to a port begin: with a header of the PROXY protocol, or with what the client says. That is before anything
//! says which listener a connection is for, so all listeners of a port begin alike.
//!
//! The Gateway decides where it listens on the port itself, also by a listener that is not served: its load balancer sends what it is
//! told to send. Else a ListenerSet decides that asks for no header, and else the oldest: so no tenant closes a listener of another
//! that asks for nothing. Of the listeners of a ListenerSet those have a say that are served. What cannot be understood has no say, also
//! where it is the Gateway's: it closes its own listeners, and nobody can say what it asks of others.

use super::ListenerPlan;
use super::client_address::AddressFault;
use super::client_policies::ClientSettings;
use super::protocol::Protocol;
use crate::resources::ObjectRef;
use fairway_config::model::{AddressSource, ListenerKey};
use std::collections::BTreeMap;

/// How the connections to a port begin by the listeners of one object, and the listener that says so.
struct Opening<'a> {
    source: AddressSource,
    by: &'a ListenerKey,
    object: &'a ObjectRef,
    rank: Rank,
}

/// Within one object what is written goes before what is not, and then what is served before what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_unwritten: bool,
    is_unserved: bool,
}

/// Lets the listeners of each port begin in one way. Listeners without a policy follow the Gateway, or another listener of their own
/// object: nobody else says for them whom to believe. All others that would begin in another way are closed.
///
/// The `listeners` that are not served are those of the Gateway; what is `wanted` for them serves nobody.
pub(super) fn share_ports(
    gateway: &ObjectRef,
    listeners: &[(ObjectRef, &ListenerPlan)],
    wanted: &mut [ClientSettings],
) {
    // Of each object that has a say on a port, in their order.
    let mut ports: BTreeMap<u16, Vec<Opening<'_>>> = BTreeMap::new();
    for ((object, plan), it) in listeners.iter().zip(&*wanted) {
        let Some(source) = said(it, object == gateway).filter(|_| is_of_streams(plan)) else { continue };
        let rank = Rank { is_unwritten: it.policy.is_none(), is_unserved: !plan.programmed };
        let opening = Opening { source, by: &plan.key, object, rank };
        let of_port = ports.entry(plan.port).or_default();
        match of_port.iter_mut().find(|it| it.object == object) {
            Some(first) if rank < first.rank => *first = opening,
            Some(_) => {}
            None => of_port.push(opening),
        }
    }
    for ((object, plan), it) in listeners.iter().zip(wanted) {
        let of_port = ports.get(&plan.port).filter(|_| is_of_streams(plan) && !it.is_closed());
        let Some(opening) = of_port.and_then(|it| Opening::of_port(it, gateway)) else { continue };
        if beginning(&it.source) == opening.source {
            continue;
        }
        if it.policy.is_none() && (opening.object == gateway || opening.object == object) {
            it.source = opening.source.clone();
            continue;
        }
        it.source = AddressSource::Connection;
        it.fault = Some(AddressFault::PortDiffers(opening.by.clone()));
    }
}

/// How connections begin by what is wanted for a listener; none if that has no say.
fn said(wanted: &ClientSettings, is_of_gateway: bool) -> Option<AddressSource> {
    let is_understood = wanted.unknown.is_none() && wanted.fault != Some(AddressFault::Invalid);
    let has_say = is_understood && (is_of_gateway || !wanted.is_closed());
    has_say.then(|| beginning(&wanted.source))
}

/// What of a source says how connections begin.
fn beginning(source: &AddressSource) -> AddressSource {
    match source {
        AddressSource::ProxyProtocol(_) => source.clone(),
        _ => AddressSource::Connection,
    }
}

fn is_of_streams(plan: &ListenerPlan) -> bool {
    plan.protocol.is_some_and(|it| it != Protocol::Udp)
}

// === impl Opening ===

impl<'a> Opening<'a> {
    /// That of a port, by the objects that have a say on it.
    fn of_port(objects: &'a [Self], gateway: &ObjectRef) -> Option<&'a Self> {
        let own = objects.iter().find(|it| it.object == gateway);
        own.or_else(|| objects.iter().find(|it| it.source.is_connection())).or_else(|| objects.first())
    }
}
