//! Which policy holds for a port of a Service.

use super::targets;
use crate::compile::evaluation::{Evaluation, Value};
use crate::compile::index::IndexKey;
use crate::compile::reader::Reader;
use crate::resources::ObjectRef;
use fairway_config::model::{BackendSecurity, ObjectName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How policies secure the ports of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct ServiceTls {
    /// The TCP ports that a policy is about.
    pub ports: BTreeMap<u16, BackendSecurity>,
    /// What became of each policy at the Service or at the port of it that it names.
    pub standings: BTreeMap<(ObjectRef, Option<Arc<str>>), Standing>,
}

/// What became of a policy at one of its targets.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum Standing {
    /// It holds. (For a whole Service: where no policy names the port.)
    Holds,
    /// Another one holds.
    LosesTo(ObjectRef),
    /// The Service has no port of that name.
    NoSuchPort,
}

/// Decides for each port of a Service. Of policies for the same target the older one holds, then the first by name; one
/// that names a port goes before one that names none, and takes nothing from it at other ports.
pub(in crate::compile) fn of_service(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let Some(service) = reader.service(name) else { return made };
    let mut asked: BTreeMap<Option<Arc<str>>, Vec<(i64, ObjectRef)>> = BTreeMap::new();
    for object in reader.members(IndexKey::Policies(name.clone())).iter() {
        let Some(policy) = reader.backend_tls_policy(&object.object_name()) else { continue };
        for (_, section) in targets(&policy).filter(|(service, _)| *service == &*name.name) {
            asked.entry(section).or_default().push((policy.meta.created, object.clone()));
        }
    }
    let (mut held, mut standings) = (BTreeMap::new(), BTreeMap::new());
    for (section, mut policies) in asked {
        let is_there = section.is_none() || service.tcp_ports().any(|it| it.name == section);
        policies.sort();
        policies.dedup();
        let winner = policies.first().map(|(_, it)| it.clone());
        for (_, policy) in policies {
            let standing = match &winner {
                _ if !is_there => Standing::NoSuchPort,
                Some(winner) if *winner != policy => Standing::LosesTo(winner.clone()),
                _ => Standing::Holds,
            };
            standings.insert((policy, section.clone()), standing);
        }
        held.insert(section, winner);
    }
    // A policy that names a port which is not there may mean any of them: none of those without a policy of their own is
    // spoken to in the clear.
    let astray = standings.iter().find(|(_, standing)| **standing == Standing::NoSuchPort);
    let closed = astray.map(|((policy, section), _)| {
        let section = section.as_deref().unwrap_or_default();
        BackendSecurity::Unusable(format!("{policy}: Service {name} has no TCP port named {section}").into())
    });
    let mut ports = BTreeMap::new();
    for port in service.tcp_ports() {
        let named = port.name.as_ref().and_then(|it| held.get(&Some(it.clone())));
        let Some(Some(policy)) = named.or_else(|| held.get(&None)) else {
            ports.extend(closed.clone().map(|it| (port.port, it)));
            continue;
        };
        let security = match reader.validation(&policy.object_name()).map(|it| it.tls.clone()) {
            Some(Ok(tls)) => BackendSecurity::Tls(tls),
            Some(Err(defect)) => BackendSecurity::Unusable(format!("{policy}: {}", defect.text()).into()),
            None => continue,
        };
        ports.insert(port.port, security);
    }
    made.value = Value::ServiceTls(Arc::new(ServiceTls { ports, standings }));
    made
}
