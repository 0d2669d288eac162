//! What became of a policy at one of its targets.

use super::decide::listeners;
use super::defect::{Defect, is_understood};
use crate::compile::gateway;
use crate::compile::gateway::client_policies::ClientsOf;
use crate::compile::gateway::client_treatment::place_of;
use crate::compile::gateway::clients_served::{ClientsServed, ServedListener};
use crate::compile::names::absent::{Absent, CORRECT_NAME, absent};
use crate::compile::names::class;
use crate::compile::policy::status::{AtTarget, TargetOutcome};
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

/// What became of one field of a policy at a target.
enum FieldOutcome {
    /// Another policy has it in its place.
    Overridden(ObjectRef),
    /// It holds for some listeners.
    Holds {
        /// Those for which it does.
        held: BTreeSet<ListenerKey>,
        /// The others for which the field holds, by the policies by which it does.
        others: BTreeMap<ObjectRef, BTreeSet<ListenerKey>>,
    },
}

/// Listeners that are named in a message.
const TOLD: usize = 4;

// === impl Review ===

impl Review<'_> {
    /// What became of it there; none where another controller speaks.
    pub(super) fn run(&self, reader: &mut Reader<'_>, made: &mut Made) -> Option<(ParentRef, AtTarget)> {
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
            Some(Kind::Gateway) if gateway::is_held(reader, &named) => {
                return Some((ancestor, AtTarget::Held));
            }
            Some(Kind::ListenerSet) if gateway::is_set_held(reader, &named) => {
                return Some((ancestor, AtTarget::Held));
            }
            Some(kind) => self.at(reader, &ObjectRef::from_name(kind, &named), section.as_ref(), made)?,
            None => {
                let message = format!(
                    "objects of kind {} have no listeners, so the policy has no effect there",
                    target.kind
                );
                Err(self.error(Reason::ClientPolicyTargetKind, message, "name a Gateway or a ListenerSet"))
            }
        };
        Some((ancestor, AtTarget::Judged(Box::new(outcome.unwrap_or_else(TargetOutcome::failed)))))
    }

    fn at(
        &self,
        reader: &mut Reader<'_>,
        object: &ObjectRef,
        section: Option<&Arc<str>>,
        made: &mut Made,
    ) -> Option<Result<TargetOutcome, Diagnostic>> {
        let Some(gateway) = gateway_of(reader, object) else {
            let Absent { message, remedy } = absent(reader, object, CORRECT_NAME);
            let message = format!("{message}, so the policy has no effect there");
            return Some(Err(self.error(Reason::ClientPolicyTargetNotFound, message, remedy)));
        };
        let its_class = reader.input::<Gateway>(&gateway)?.spec.gateway_class_name.clone();
        if class::named(reader, &its_class)?.class == ProxyClass::Waypoint {
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
        Some(self.at_listeners(reader, &gateway, object, section, made))
    }

    /// What became of it at the listeners of an object. Where other policies have all of its fields, the listeners are not looked at:
    /// thousands of policies may lose, and are not looked at again for each change of a listener.
    fn at_listeners(
        &self,
        reader: &mut Reader<'_>,
        gateway: &ObjectName,
        object: &ObjectRef,
        section: Option<&Arc<str>>,
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let fields: Vec<_> = ClientField::ALL.into_iter().filter(|it| self.policy.spec.has(*it)).collect();
        let mut winners = BTreeMap::new();
        for field in &fields {
            let set = ClientsOf { object: object.clone(), listener: section.cloned(), field: *field };
            let winner = reader.members(&set).first().filter(|it| *it != self.name).cloned();
            winners.extend(winner.map(|it| (*field, it)));
        }
        let is_lost = !fields.is_empty() && winners.len() == fields.len() && is_understood(self.policy);
        let served: Vec<ServedListener> = match is_lost {
            true => Vec::new(),
            false => {
                let all = reader.get::<ClientsServed>(&(gateway.clone(), object.clone()));
                all.iter().filter(|it| section.is_none_or(|name| it.name == *name)).cloned().collect()
            }
        };
        // One of the whole Gateway holds for its ListenerSets, too. Whether there are some is no matter of its owner: anybody may name
        // the Gateway in one.
        let beyond = match object.kind {
            Kind::Gateway if section.is_none() => ", and those of its ListenerSets, if it has any",
            _ => "",
        };
        if let Some(defect) = Defect::of_whole(self.policy) {
            let keys: BTreeSet<ListenerKey> = served.iter().map(|it| it.key.clone()).collect();
            return Err(match keys.is_empty() {
                true => defect.told(&format!("; no listener of {object} is served, so nothing is closed there for it")),
                false => defect.told(&format!(
                    ", so nobody can say what the policy asks for, and these listeners are closed: {}{beyond}",
                    name(&keys)
                )),
            });
        }
        if let Some(defect) = Defect::of_nothing(self.policy) {
            return Err(defect.told(", so it has no effect"));
        }
        let outcomes: Vec<(ClientField, FieldOutcome)> = fields
            .iter()
            .map(|field| (*field, self.of_field(*field, winners.remove(field), &served)))
            .collect();
        for (field, outcome) in &outcomes {
            if let Some(defect) = Defect::of_field(self.policy, *field) {
                return Err(defect.told(&consequence(*field, outcome, object, beyond)));
            }
        }
        self.carried(gateway, object, &outcomes, &served, made)
    }

    /// What became of fields with which nothing is wrong.
    fn carried(
        &self,
        gateway: &ObjectName,
        object: &ObjectRef,
        outcomes: &[(ClientField, FieldOutcome)],
        served: &[ServedListener],
        made: &mut Made,
    ) -> Result<TargetOutcome, Diagnostic> {
        let (mut overridden, mut notes, mut all_held) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (field, outcome) in outcomes {
            let (held, others) = match outcome {
                FieldOutcome::Overridden(winner) => {
                    overridden.push(self.conflict(*field, object, winner));
                    continue;
                }
                FieldOutcome::Holds { held, others } => (held, others),
            };
            for (policy, listeners) in others {
                notes.push(format!("{} is that of {policy} at {}", field.name(), name(listeners)));
            }
            if held.is_empty() && others.is_empty() && !served.is_empty() {
                notes.push(format!("{} has no effect at {object}: {}", field.name(), place_of(*field)));
            }
            all_held.extend(held.iter().cloned());
        }
        if overridden.len() == outcomes.len()
            && let Some(error) = overridden.first()
        {
            return Err(error.clone());
        }
        if let Some(error) = self.fault(gateway, served) {
            return Err(error);
        }
        let texts: Vec<String> = overridden.iter().map(Diagnostic::text).collect();
        overridden.into_iter().for_each(|it| made.report(self.name, it));
        if served.is_empty() {
            notes.push(format!("no listener of {object} is served, so it has no effect there until one is"));
        }
        // A listener may be closed for what others say.
        let closed: Vec<_> =
            served.iter().filter(|it| it.is_closed() && all_held.contains(&it.key)).collect();
        let open: BTreeSet<&ListenerKey> =
            all_held.iter().filter(|key| closed.iter().all(|it| it.key != **key)).collect();
        let told: Vec<String> = closed.iter().map(|it| describe_closed(it, gateway)).collect();
        let pending = (open.is_empty() && !told.is_empty()).then(|| told.join(". "));
        notes.extend(told);
        let by = (!open.is_empty()).then(|| Enforcer::Gateway(gateway.clone()));
        let carriers = open.iter().map(|it| ResourceKey::new(ResourceKind::Listener, it.as_arc())).collect();
        let enforcement = Enforcement { carriers, by: by.into_iter().collect() };
        let told = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(". "));
        Ok(TargetOutcome {
            pending,
            overridden: told(texts),
            note: told(notes),
            ..TargetOutcome::carried_out(enforcement)
        })
    }

    fn of_field(
        &self,
        field: ClientField,
        winner: Option<ObjectRef>,
        served: &[ServedListener],
    ) -> FieldOutcome {
        if let Some(winner) = winner {
            return FieldOutcome::Overridden(winner);
        }
        let mut held = BTreeSet::new();
        let mut others: BTreeMap<ObjectRef, BTreeSet<ListenerKey>> = BTreeMap::new();
        for it in served {
            match it.holder(field) {
                Some(policy) if policy == self.name => drop(held.insert(it.key.clone())),
                Some(policy) => drop(others.entry(policy.clone()).or_default().insert(it.key.clone())),
                None => {}
            }
        }
        match others.keys().next().filter(|_| held.is_empty()) {
            Some(winner) => FieldOutcome::Overridden(winner.clone()),
            None => FieldOutcome::Holds { held, others },
        }
    }

    /// The first kind of what keeps listeners from learning where their clients are as the policy says, and the listeners that have it.
    fn fault(&self, gateway: &ObjectName, served: &[ServedListener]) -> Option<Diagnostic> {
        let ours = served.iter().filter(|it| it.holder(ClientField::ClientAddress) == Some(self.name));
        let faults: Vec<_> = ours.filter_map(|it| Some((&it.key, it.fault.as_ref()?))).collect();
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

/// What follows at a target from what is wrong with a field.
fn consequence(field: ClientField, outcome: &FieldOutcome, object: &ObjectRef, beyond: &str) -> String {
    let held = match outcome {
        FieldOutcome::Overridden(winner) => {
            return format!(
                "; nothing follows from it at {object}, where {} of {winner} applies in its place",
                field.name()
            );
        }
        FieldOutcome::Holds { held, .. } => held,
    };
    match field {
        _ if held.is_empty() => {
            format!("; nothing follows from it at {object}, where it is about no listener that is served")
        }
        ClientField::ClientAddress | ClientField::Limits => {
            format!("; until this is corrected, these listeners are closed: {}{beyond}", name(held))
        }
        ClientField::Tls => {
            let held = name(held);
            format!("; until this is corrected, TLS 1.3 alone is spoken by these listeners: {held}{beyond}")
        }
        ClientField::Timeouts => {
            let held = name(held);
            format!("; until this is corrected, these listeners wait as without a policy: {held}{beyond}")
        }
        ClientField::Keepalive | ClientField::RequestId | ClientField::CertificateHeader => {
            let held = name(held);
            format!("; until this is corrected, these listeners do as without it: {held}{beyond}")
        }
        ClientField::Underscores => {
            let held = name(held);
            format!(
                "; until this is corrected, these listeners refuse headers with underscores: {held}{beyond}"
            )
        }
    }
}

/// That a listener is closed for what others say, or for how its port begins connections.
fn describe_closed(listener: &ServedListener, gateway: &ObjectName) -> String {
    let key = &listener.key;
    match (listener.closer(), &listener.fault) {
        (Some(policy), _) => format!("{policy} closes {key}"),
        (None, Some(fault)) => format!("{key} is closed: {}", fault.describe(gateway)),
        (None, None) => format!("{key} is closed"),
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
