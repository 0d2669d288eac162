//! The authorizations that proxies have of a policy.

use super::rules::{self, Compiled, Reach};
use crate::compile::names::access::Form;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::compile::waypoint::choice::{Choose, GatewaysOfClass};
use crate::compile::workload::proxy;
use crate::provision::ProxyClass;
use crate::resources::access_policy::{AccessAction, AccessMode, AccessPolicySpec, PolicyTarget};
use crate::resources::{AccessPolicy, Kind, ObjectRef};
use fairway_config::model::{Authorization, ObjectName, Resource, SpiffeId};
use fairway_incremental::{OfInput, Query};
use fairway_policy::{Action, Mode, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Makes the authorizations of a policy, one for each form that its targets need.
pub(in crate::compile) struct Authorize;

impl Query<Cluster> for Authorize {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<AccessPolicy>(name) else { return };
        for form in forms(&policy) {
            let key = form.key(name).as_arc();
            let (action, rules) = match &policy.spec.spec {
                Ok(spec) => decision(reader, name, spec, form),
                Err(_) => (Action::Deny, vec![Rule::default()]),
            };
            let mode = match policy.spec.mode {
                AccessMode::Observe => Mode::Observe,
                AccessMode::Enforce => Mode::Enforce,
            };
            let authorization = Authorization { name: key, action, mode, rules };
            made.resources.push(Resource::Authorization(Arc::new(authorization)));
        }
    }
}

impl OfInput<Cluster> for Authorize {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::AccessPolicy).then(|| name.object_name())
    }
}

/// The forms that a policy needs at its targets.
fn forms(policy: &AccessPolicy) -> BTreeSet<Form> {
    let of_target = |it: &PolicyTarget| match Kind::named(&it.group, &it.kind) {
        Some(Kind::Pod) => vec![Form::Pod, Form::Closed],
        Some(Kind::Service) => vec![Form::Service, Form::Closed],
        Some(Kind::Gateway) => vec![Form::Gateway, Form::Nobody, Form::Closed],
        Some(Kind::ListenerSet) => vec![Form::Closed],
        Some(it) if it.as_route().is_some() => vec![Form::Gateway, Form::Nobody, Form::Closed],
        _ => vec![],
    };
    policy.spec.targets.iter().flat_map(of_target).collect()
}

fn decision(
    reader: &mut Reader<'_>,
    name: &ObjectName,
    spec: &AccessPolicySpec,
    form: Form,
) -> (Action, Vec<Rule>) {
    match (form, spec.action) {
        (Form::Nobody, _) => (Action::Allow, vec![]),
        (Form::Closed, _) => (Action::Deny, vec![Rule::default()]),
        (_, AccessAction::Allow) => {
            let compiled = compiled(reader, name, spec, form);
            // Whole or closed: what it allows in part is not allowed in part.
            (Action::Allow, if compiled.is_whole() { compiled.rules } else { vec![] })
        }
        (_, AccessAction::Deny) => (Action::Deny, compiled(reader, name, spec, form).rules),
    }
}

fn compiled(reader: &mut Reader<'_>, name: &ObjectName, spec: &AccessPolicySpec, form: Form) -> Compiled {
    let settings = reader.settings();
    let mut speakers = BTreeMap::new();
    // A waypoint speaks for the clients of its namespace, and for all clients of the Services of its namespace.
    for namespace in rules::namespaces(&name.namespace, spec) {
        let found = waypoints(reader, &namespace);
        speakers.insert(namespace, found);
    }
    let own = if form == Form::Pod { waypoints(reader, &name.namespace) } else { Vec::new() };
    let reach =
        Reach { namespace: &name.namespace, settings: &settings, form, speakers: &speakers, own: &own };
    rules::compile(spec, &reach)
}

/// The identities of the proxies that are, or could be, the waypoint of a namespace.
fn waypoints(reader: &mut Reader<'_>, namespace: &Arc<str>) -> Vec<SpiffeId> {
    let settings = reader.settings();
    let mut gateways = BTreeSet::from([reader.get::<Choose>(namespace).gateway.clone()]);
    let written = reader.members(&GatewaysOfClass(settings.waypoint_class.clone(), namespace.clone()));
    gateways.extend(written.iter().map(ObjectRef::object_name));
    gateways.iter().filter_map(|it| proxy::identity(it, ProxyClass::Waypoint, &settings)).collect()
}
