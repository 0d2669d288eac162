//! Services that routes send to and that have no endpoints: requests are answered with 503, and no object is wrong by itself.

use crate::compile::Compiler;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Edit, EndpointSlice, Kind, Object, ObjectRef, Service, ServicePort, Transport};
use fairway_config::model::{Backend, ObjectName, Resource, ResourceKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Says of each Service that a route sends to which of its ports has no endpoint, and why.
pub(super) fn missing(edits: &[Edit], compiler: &Compiler) -> Vec<Diagnostic> {
    let mut asked = BTreeSet::new();
    let mut have = BTreeSet::new();
    let mut backends = BTreeMap::new();
    for (key, it) in compiler.resources() {
        match it {
            Resource::Route(_) | Resource::L4Route(_) => asked.extend(it.references()),
            Resource::Endpoints(it) if !it.endpoints.is_empty() => drop(have.insert(it.backend.clone())),
            Resource::Backend(it) => drop(backends.insert(key.clone(), it.clone())),
            _ => {}
        }
    }
    let objects = Objects::collect(edits);
    let asked = asked.iter().filter(|key| key.kind == ResourceKind::Backend);
    let without = asked.filter_map(|key| backends.get(key)).filter(|it| !have.contains(&it.key));
    without.filter_map(|it| objects.describe(it)).collect()
}

/// The objects that say what the endpoints of Services are.
#[derive(Default)]
struct Objects<'a> {
    services: BTreeMap<ObjectName, &'a Arc<Service>>,
    slices: BTreeMap<ObjectName, Vec<&'a Arc<EndpointSlice>>>,
    /// EndpointSlices that are of no Service, by namespace.
    unlabelled: BTreeMap<Arc<str>, &'a Arc<EndpointSlice>>,
}

// === impl Objects ===

impl<'a> Objects<'a> {
    fn collect(edits: &'a [Edit]) -> Self {
        let mut objects = Self::default();
        for edit in edits {
            match edit {
                Edit::Upsert(Object::Service(it)) => {
                    let name = ObjectName::new(it.meta.namespace.clone(), it.meta.name.clone());
                    objects.services.insert(name, it);
                }
                Edit::Upsert(Object::EndpointSlice(it)) => match &it.service {
                    Some(service) => {
                        let name = ObjectName::new(it.meta.namespace.clone(), service.clone());
                        objects.slices.entry(name).or_default().push(it);
                    }
                    None => drop(objects.unlabelled.insert(it.meta.namespace.clone(), it)),
                },
                _ => {}
            }
        }
        objects
    }

    /// Why there is nothing behind a port of a Service.
    fn describe(&self, backend: &Backend) -> Option<Diagnostic> {
        let (namespace, name) = backend.service.as_str().split_once('/')?;
        let name = ObjectName::new(namespace, name);
        let service = self.services.get(&name)?;
        let transport = match backend.key.as_str().ends_with("/udp") {
            true => Transport::Udp,
            false => Transport::Tcp,
        };
        let is_it = |it: &ServicePort| it.port == backend.port && it.transport == transport;
        let index = service.ports.iter().position(is_it)?;
        let port = service.ports.get(index)?;
        let written = port.name.as_deref().unwrap_or_default();
        let slices = self.slices.get(&name).map(Vec::as_slice).unwrap_or_default();
        let has_addresses = slices.iter().any(|it| !it.addresses.endpoints.is_empty());
        let named = |it: &&&Arc<EndpointSlice>| it.addresses.ports.iter().any(|it| *it.name == *written);
        let (why, remedy) = match slices {
            // The cluster makes them, for whatever pods there will be.
            [] if service.selector.is_some() => return None,
            [] => {
                let label = format!("kubernetes.io/service-name={}", name.name);
                let other = self.unlabelled.get(&name.namespace);
                let other = other.map(|it| {
                    format!("; EndpointSlice {}/{} has no such label", it.meta.namespace, it.meta.name)
                });
                let why = format!("no EndpointSlice has the label {label}{}", other.unwrap_or_default());
                (why, "write its EndpointSlices with this label; v1 Endpoints are not read".to_owned())
            }
            _ if has_addresses && !slices.iter().any(|it| named(&it)) => {
                let names: BTreeSet<&str> =
                    slices.iter().flat_map(|it| &it.addresses.ports).map(|it| &*it.name).collect();
                let quoted = |it: &str| if it.is_empty() { "no name".to_owned() } else { format!("`{it}`") };
                let names: Vec<String> = names.into_iter().map(quoted).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let why = format!(
                    "the ports of its EndpointSlices are called by the names of the Service's ports; this one has {}, \
                     those have {names}",
                    quoted(written)
                );
                let remedy = "give both the same name; if targetPort is a name, see whether the pods have a port of this name";
                (why, remedy.to_owned())
            }
            _ => {
                let why = "its EndpointSlices have no endpoint that can be used".to_owned();
                (why, "see whether its pods run, and whether its selector selects them".to_owned())
            }
        };
        let message = format!("routes send to port {}, and nothing is behind it: {why}", port.port);
        let field = format!("spec.ports[{index}]");
        let object = ObjectRef::from_name(Kind::Service, &name);
        Some(Diagnostic::warning(Reason::NoEndpoints, field, message, remedy).about(&object))
    }
}
