//! What became of a policy at one of its targets.

use super::Decide;
use crate::compile::gateway;
use crate::compile::gateway::client_address::{Fault, Located, located};
use crate::compile::output::ProxyClass;
use crate::compile::policy::merge::Standing;
use crate::compile::program::Reader;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::client_policy::ClientPolicyTarget;
use crate::resources::{Gateway, Kind, ListenerSet, ObjectRef};
use crate::status::{Enforcement, Enforcer, ParentRef};
use fairway_config::model::{ListenerKey, ObjectName, ResourceKey, ResourceKind};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What became of a policy at one target.
pub(super) struct TargetOutcome {
    pub outcome: Result<(), Diagnostic>,
    /// Who carries it out, and by what.
    pub enforcement: Enforcement,
}

/// A policy and one of its targets.
pub(super) struct Review<'a> {
    pub policy: &'a ObjectRef,
    pub target: &'a ClientPolicyTarget,
    pub field: &'a str,
    /// Whether it says where clients are, or tries to.
    pub says_address: bool,
}

/// Listeners that are named in a message.
const TOLD: usize = 4;

impl Review<'_> {
    /// What became of it there; none where another controller speaks.
    pub(super) fn run(&self, reader: &mut Reader<'_>) -> Option<(ParentRef, TargetOutcome)> {
        let target = self.target;
        let named = ObjectName::new(self.policy.namespace.clone(), target.name.as_str());
        let section: Option<Arc<str>> =
            target.section_name.as_deref().filter(|it| !it.is_empty()).map(Into::into);
        let ancestor = ParentRef {
            group: Some(target.group.as_str().into()),
            kind: Some(target.kind.as_str().into()),
            namespace: Some(named.namespace.clone()),
            name: named.name.clone(),
            section_name: section.clone(),
            port: None,
        };
        let kind = Kind::named(&target.group, &target.kind);
        let outcome = match kind.filter(|it| matches!(it, Kind::Gateway | Kind::ListenerSet)) {
            Some(kind) => self.at(reader, &ObjectRef::of(kind, &named), section.as_ref())?,
            None => {
                let message = format!(
                    "objects of kind {} have no listeners, so the policy has no effect there",
                    target.kind
                );
                Err(self.error(Reason::ClientPolicyTargetKind, message, "name a Gateway or a ListenerSet"))
            }
        };
        let outcome = outcome.unwrap_or_else(|error| TargetOutcome {
            outcome: Err(error),
            enforcement: Enforcement::default(),
        });
        Some((ancestor, outcome))
    }

    fn at(
        &self,
        reader: &mut Reader<'_>,
        object: &ObjectRef,
        section: Option<&Arc<str>>,
    ) -> Option<Result<TargetOutcome, Diagnostic>> {
        let Some(gateway) = gateway_of(reader, object) else {
            let message = format!("{object} does not exist, so the policy has no effect there");
            let remedy = "create it, or correct the name";
            return Some(Err(self.error(Reason::ClientPolicyTargetNotFound, message, remedy)));
        };
        let plan = reader.get::<gateway::Publish>(&gateway)?;
        if plan.class == ProxyClass::Waypoint {
            let message =
                "a waypoint knows its clients by their certificates, so the policy has no effect there";
            let remedy = "remove the target";
            return Some(Err(self.error(Reason::ClientPolicyAtWaypoint, message.to_owned(), remedy)));
        }
        let standing = reader
            .get::<Decide>(object)
            .and_then(|it| it.standing(self.policy, section.cloned().as_ref()).cloned());
        match standing {
            Some(Standing::NoSuchSection) => {
                let name = section.map(|it| &**it).unwrap_or_default();
                let message =
                    format!("{object} has no listener named {name}, so the policy has no effect there");
                let error = self.error(Reason::ClientPolicySectionNotFound, message, "correct the name");
                return Some(Err(error));
            }
            Some(Standing::LosesTo(winner)) => return Some(Err(self.conflict(object, &winner))),
            Some(Standing::Holds) | None => {}
        }
        Some(self.carried(&gateway, object, located(reader, &gateway, object, section.map(|it| &**it))))
    }

    /// What became of it at the listeners that are served.
    fn carried(
        &self,
        gateway: &ObjectName,
        object: &ObjectRef,
        listeners: Vec<(ListenerKey, Located)>,
    ) -> Result<TargetOutcome, Diagnostic> {
        let holds_for_tls = |it: &Located| it.tls.as_ref().is_some_and(|(policy, _)| policy == self.policy);
        let is_ours =
            |(_, it): &&(ListenerKey, Located)| it.policy.as_ref() == Some(self.policy) || holds_for_tls(it);
        let ours: Vec<&(ListenerKey, Located)> = listeners.iter().filter(is_ours).collect();
        if ours.is_empty() {
            // Policies for single listeners, or one of the Gateway, hold for all of them; or nothing there ends TLS.
            let of_address = |it: &Located| it.policy.clone().filter(|_| self.says_address);
            let of_tls = |it: &Located| it.tls.as_ref().map(|(policy, _)| policy.clone());
            let winner = listeners.iter().find_map(|(_, it)| of_address(it).or_else(|| of_tls(it)));
            return match winner {
                Some(winner) => Err(self.conflict(object, &winner)),
                None => Ok(TargetOutcome { outcome: Ok(()), enforcement: Enforcement::default() }),
            };
        }
        let carriers: BTreeSet<ResourceKey> =
            ours.iter().map(|(key, _)| ResourceKey::new(ResourceKind::Listener, key.as_arc())).collect();
        let by = BTreeSet::from([Enforcer::Gateway(gateway.clone())]);
        let is_for_address = |it: &&&(ListenerKey, Located)| it.1.policy.as_ref() == Some(self.policy);
        let faults: Vec<&Fault> =
            ours.iter().filter(is_for_address).filter_map(|(_, it)| it.fault.as_ref()).collect();
        let outcome = self.describe(&faults).map_or(Ok(()), Err);
        Ok(TargetOutcome { outcome, enforcement: Enforcement { carriers, by } })
    }

    /// The first kind of fault, and the listeners that have it.
    fn describe(&self, faults: &[&Fault]) -> Option<Diagnostic> {
        let first = faults.iter().find(|it| !matches!(it, Fault::Invalid))?;
        let same = |it: &&&Fault| std::mem::discriminant(**it) == std::mem::discriminant(*first);
        let keys = faults.iter().filter(same).filter_map(|it| it.listener());
        let keys: Vec<&str> = keys.take(TOLD).map(ListenerKey::as_str).collect();
        let keys = keys.join(", ");
        Some(match first {
            Fault::Invalid => return None,
            Fault::NeedsRequests(_) => {
                let message = format!("no headers are seen on {keys}, which carry bytes; they are closed");
                let remedy = "use source ProxyProtocol there, or name the listeners for HTTP by sectionName";
                self.error(Reason::ClientPolicyNeedsRequests, message, remedy)
            }
            Fault::Datagrams(_) => {
                let message =
                    format!("datagrams to {keys} do not say where their clients are; they are closed");
                let remedy =
                    "give them a policy of their own with source Connection, or name other listeners";
                self.error(Reason::ClientPolicyOfDatagrams, message, remedy)
            }
            Fault::PortDiffers { other, .. } => {
                let message = format!(
                    "connections to the port of {keys} begin as listener {other} has it, with or without the PROXY protocol; they \
                     are closed"
                );
                let remedy = "let all listeners of the port have one policy, or use another port";
                self.error(Reason::ClientPolicyPortDiffers, message, remedy)
            }
            Fault::OfOthers { gateway, .. } => {
                let message = format!(
                    "access policies of Gateway {gateway} judge the clients of {keys}, and this policy would let others say \
                     where these are; they are closed"
                );
                let remedy = "ask the owner of the Gateway for a ClientPolicy there; it holds for ListenerSets as well";
                self.error(Reason::ClientPolicyOverGuard, message, remedy)
            }
        })
    }

    fn conflict(&self, object: &ObjectRef, winner: &ObjectRef) -> Diagnostic {
        let message = format!(
            "{winner} applies to {object} in place of this policy: one that names a listener goes before one that does not, one of \
             the Gateway before one of a ListenerSet, and then the older"
        );
        let remedy = "remove one of the two, or let them name different listeners";
        self.error(Reason::ClientPolicyConflict, message, remedy)
    }

    fn error(&self, reason: Reason, message: String, remedy: &'static str) -> Diagnostic {
        Diagnostic::error(reason, self.field, message, remedy)
    }
}

/// The Gateway that serves the listeners of an object; none if the object does not exist.
fn gateway_of(reader: &mut Reader<'_>, object: &ObjectRef) -> Option<ObjectName> {
    let name = object.object_name();
    match object.kind {
        Kind::Gateway => reader.input::<Gateway>(&name).map(|_| name),
        Kind::ListenerSet => {
            let set = reader.input::<ListenerSet>(&name)?;
            set.spec.gateway(&set.meta.namespace)
        }
        _ => None,
    }
}
