//! How listeners learn where their clients are, by the ClientPolicies that hold for them.
//!
//! Who believes the wrong proxy lets its clients choose their address, and with it what access policies let them do. So a listener
//! for which that cannot be carried out is closed, and a ListenerSet does not say for the policies of its Gateway whom to believe.

use super::ListenerPlan;
use super::client_policies::ClientSettings;
use super::protocol::Protocol;
use super::publish::guards;
use crate::compile::program::Reader;
use crate::diagnostic::Reason;
use crate::resources::ObjectRef;
use fairway_config::model::{AddressSource, ListenerKey, ObjectName};

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
                "a TCP or TLS listener sees no HTTP headers, and the client's address would be in one"
                    .to_owned()
            }
            Self::Datagrams => "datagrams do not say where their clients are".to_owned(),
            Self::PortDiffers(other) => format!(
                "listener {other} is on the same port, and only one of the two uses the PROXY protocol"
            ),
            Self::OfOthers => format!(
                "access policies of Gateway {gateway} judge its clients, and a policy of another namespace would decide their addresses"
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

/// How a listener learns where its clients are by the policy that holds for that.
pub(super) fn want(
    reader: &mut Reader<'_>,
    gateway: &ObjectRef,
    plan: &ListenerPlan,
    policy: &ObjectRef,
    asked: Option<&AddressSource>,
) -> ClientSettings {
    let closed = |fault| ClientSettings { fault: Some(fault), ..ClientSettings::of_policy(policy) };
    let Some(source) = asked else { return closed(AddressFault::Invalid) };
    let is_proxy_protocol = matches!(source, AddressSource::ProxyProtocol(_));
    match plan.protocol {
        _ if source.is_connection() => {}
        // A policy is in the namespace of what it names.
        _ if policy.namespace != gateway.namespace && guards(reader, gateway) => {
            return closed(AddressFault::OfOthers);
        }
        Some(Protocol::Udp) => return closed(AddressFault::Datagrams),
        Some(Protocol::Tcp | Protocol::TlsPassthrough | Protocol::TlsTerminate) if !is_proxy_protocol => {
            return closed(AddressFault::NeedsRequests);
        }
        _ => {}
    }
    ClientSettings { source: source.clone(), ..ClientSettings::of_policy(policy) }
}
