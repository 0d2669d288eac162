//! What became of a policy at one of its targets.

use super::Decide;
use super::decide::listeners;
use crate::compile::gateway;
use crate::compile::gateway::client_policies::{ClientSettings, of_listeners};
use crate::compile::policy::merge::MergeOutcome;
use crate::compile::policy::status::TargetOutcome;
use crate::compile::program::{Made, Reader};
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::ProxyClass;
use crate::resources::client_policy::{ClientField, ClientPolicyTarget};
use crate::resources::{ClientPolicy, Gateway, Kind, ListenerSet, ObjectRef};
use crate::status::{Enforcement, Enforcer, ParentRef};
use fairway_config::model::{ListenerKey, ObjectName, ResourceKey, ResourceKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A policy and one of its targets.
pub(super) struct Review<'a> {
    pub name: &'a ObjectRef,
    pub policy: &'a ClientPolicy,
    pub target: &'a ClientPolicyTarget,
    /// The path of the target.
    pub field: &'a str,
}

/// Listeners, each with how it treats its clients.
type Listeners = Vec<(ListenerKey, ClientSettings)>;

/// What became of one field of a policy at a target.
#[derive(Default)]
struct FieldOutcome {
    /// The listeners for which it holds.
    held: BTreeSet<ListenerKey>,
    /// The others for which the field holds, by the policies by which it does.
    others: BTreeMap<ObjectRef, BTreeSet<ListenerKey>>,
}

// === impl FieldOutcome ===

impl FieldOutcome {
    /// Whether the field is about none of the listeners.
    fn is_nowhere(&self) -> bool {
        self.held.is_empty() && self.others.is_empty()
    }
}

/// Listeners that are named in a message.
const TOLD: usize = 4;

// === impl Review ===

impl Review<'_> {
    /// What became of it there; none where another controller speaks.
    pub(super) fn run(&self, reader: &mut Reader<'_>, made: &mut Made) -> Option<(ParentRef, TargetOutcome)> {
        let target = self.target;
        let named = ObjectName::new(self.name.namespace.clone(), target.name.as_str());
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
            Some(kind) => self.at(reader, &ObjectRef::from_name(kind, &named), section.as_ref(), made)?,
            None => {
                let message = format!(
                    "objects of kind {} have no listeners, so the policy has no effect there",
                    target.kind
                );
                Err(self.error(Reason::ClientPolicyTargetKind, message, "name a Gateway or a ListenerSet"))
            }
        };
        Some((ancestor, outcome.unwrap_or_else(TargetOutcome::failed)))
    }

    fn at(
        &self,
        reader: &mut Reader<'_>,
        object: &ObjectRef,
        section: Option<&Arc<str>>,
        made: &mut Made,
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
        if let Some(name) = section
            && !listeners(reader, object).is_some_and(|it| it.contains(name))
        {
            let message = format!("{object} has no listener named {name}, so the policy has no effect there");
            return Some(Err(self.error(Reason::ClientPolicySectionNotFound, message, "correct the name")));
        }
        let served = of_listeners(reader, &gateway, object, section.map(|it| &**it));
        Some(self.carried(reader, &gateway, object, section, &served, made))
    }

    /// What became of its fields at the listeners that are served.
    fn carried(
        &self,
        reader: &mut Reader<'_>,
        gateway: &ObjectName,
        object: &ObjectRef,
        section: Option<&Arc<str>>,
        served: &Listeners,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let decided = reader.get::<Decide>(object);
        let fields: Vec<_> = ClientField::ALL.into_iter().filter(|it| self.policy.spec.has(*it)).collect();
        let (mut overridden, mut notes, mut held) = (Vec::new(), Vec::new(), BTreeSet::new());
        for field in &fields {
            let merged = decided.as_ref().and_then(|it| it.get(field));
            let outcome = self.of_field(*field, served);
            let winner = match merged.and_then(|it| it.outcome(self.name, section)) {
                Some(MergeOutcome::LosesTo(winner)) => Some(winner),
                _ if outcome.held.is_empty() => outcome.others.keys().next(),
                _ => None,
            };
            if let Some(winner) = winner {
                overridden.push(self.conflict(*field, object, winner));
                continue;
            }
            for (policy, listeners) in &outcome.others {
                notes.push(format!("{} is that of {policy} at {}", field.name(), name(listeners)));
            }
            if *field == ClientField::Tls && outcome.is_nowhere() && !served.is_empty() {
                notes.push(format!("tls has no effect at {object}: TLS ends at none of the listeners"));
            }
            held.extend(outcome.held);
        }
        if overridden.len() == fields.len()
            && let Some(error) = overridden.first()
        {
            return Err(error.clone());
        }
        if let Some(error) = self.fault(gateway, served) {
            return Err(error);
        }
        let texts: Vec<String> = overridden.iter().map(Diagnostic::text).collect();
        overridden.into_iter().for_each(|it| made.report(self.name, it));
        let by = (!held.is_empty()).then(|| Enforcer::Gateway(gateway.clone()));
        let carriers = held.iter().map(|it| ResourceKey::new(ResourceKind::Listener, it.as_arc())).collect();
        let enforcement = Enforcement { carriers, by: by.into_iter().collect() };
        let told = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(". "));
        Ok(TargetOutcome {
            overridden: told(texts),
            note: told(notes),
            ..TargetOutcome::carried_out(enforcement)
        })
    }

    fn of_field(&self, field: ClientField, served: &Listeners) -> FieldOutcome {
        let mut outcome = FieldOutcome::default();
        for (key, settings) in served {
            match settings.holder(field) {
                Some(policy) if policy == self.name => drop(outcome.held.insert(key.clone())),
                Some(policy) => drop(outcome.others.entry(policy.clone()).or_default().insert(key.clone())),
                None => {}
            }
        }
        outcome
    }

    /// The first kind of what keeps listeners from learning where their clients are as the policy says, and the listeners that have it.
    fn fault(&self, gateway: &ObjectName, served: &Listeners) -> Option<Diagnostic> {
        let ours = served.iter().filter(|(_, it)| it.policy.as_ref() == Some(self.name));
        let faults: Vec<_> = ours.filter_map(|(key, it)| Some((key, it.fault.as_ref()?))).collect();
        let (reason, first) = faults.iter().find_map(|(_, it)| Some((it.reason()?, *it)))?;
        let same = |it: &&(&ListenerKey, _)| std::mem::discriminant(it.1) == std::mem::discriminant(first);
        let keys: BTreeSet<ListenerKey> = faults.iter().filter(same).map(|(key, _)| (*key).clone()).collect();
        let message = format!("{}, so these listeners are closed: {}", first.describe(gateway), name(&keys));
        Some(self.error(reason, message, first.remedy()))
    }

    fn conflict(&self, field: ClientField, object: &ObjectRef, winner: &ObjectRef) -> Diagnostic {
        let message = format!(
            "{} of {winner} applies to {object} in place of this policy's: one that names a listener goes before one that does not, one \
             of the Gateway before one of a ListenerSet, and then the older",
            field.name()
        );
        let remedy = "remove one of the two, or let the policies name different listeners";
        self.error(Reason::ClientPolicyConflict, message, remedy)
    }

    fn error(&self, reason: Reason, message: String, remedy: &'static str) -> Diagnostic {
        Diagnostic::error(reason, self.field, message, remedy)
    }
}

/// The first of some listeners, by name.
fn name(listeners: &BTreeSet<ListenerKey>) -> String {
    let names: Vec<&str> = listeners.iter().take(TOLD).map(ListenerKey::as_str).collect();
    match listeners.len().saturating_sub(TOLD) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
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
