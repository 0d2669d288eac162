//! What a cluster would fill in, where there is none: namespaces, GatewayClasses, cluster IPs, EndpointSlices, readiness.
//! Pure: edits in, edits out.

use crate::compile::{AddressPool, CompileSettings};
use crate::resources::{
    AddressSlice, ClusterTrustBundle, Edit, EndpointSlice, GatewayClass, Kind, Meta, Namespace, Object,
    ObjectRef, Pod, Resources, Service, ServiceKind, SliceEndpoint, SlicePort, Transport, Typed,
};
use fairway_gateway_api::gatewayclasses::GatewayClassSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// How to fill in.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Where Services without a cluster IP get one.
    pub services: AddressPool,
    /// The controller name of the GatewayClasses that are implied.
    pub controller_name: Arc<str>,
    /// The GatewayClasses that are there even if nobody writes them.
    pub classes: Vec<Arc<str>>,
}

/// Fills in what a cluster would.
#[derive(Debug)]
pub struct Standalone {
    completion: Completion,
    /// What the user wrote.
    written: Resources,
    /// What was made of it: all objects of the kinds of which something is filled in.
    made: BTreeMap<ObjectRef, Object>,
    addresses: BTreeMap<ObjectRef, Ipv4Addr>,
    /// How many objects are in each namespace: one with any is implied.
    population: BTreeMap<Arc<str>, usize>,
    is_new: bool,
}

// === impl Completion ===

impl Completion {
    /// Fills in for a configuration with these settings, with loopback addresses for Services.
    pub fn for_settings(settings: &CompileSettings) -> Self {
        Self {
            services: AddressPool::SERVICES,
            controller_name: settings.controller_name.clone(),
            classes: vec![settings.gateway_class.clone(), settings.waypoint_class.clone()],
        }
    }
}

// === impl Standalone ===

impl Standalone {
    /// Nothing is written yet.
    pub fn new(completion: Completion) -> Self {
        Self {
            completion,
            written: Resources::default(),
            made: BTreeMap::new(),
            addresses: BTreeMap::new(),
            population: BTreeMap::new(),
            is_new: true,
        }
    }

    /// Takes the user's edits and gives back all edits that follow.
    pub fn complete(&mut self, edits: impl IntoIterator<Item = Edit>) -> Vec<Edit> {
        let (mut out, mut is_affected) = (Vec::new(), std::mem::take(&mut self.is_new));
        for edit in edits {
            let object = edit.object();
            // Routes and the like come by the thousand and pass through as they are.
            let is_settled_below = matches!(
                object.kind,
                Kind::Namespace | Kind::Service | Kind::Pod | Kind::EndpointSlice | Kind::GatewayClass
            ) || (object.kind == Kind::ClusterTrustBundle
                && &*object.name == ClusterTrustBundle::KIND);
            is_affected |= self.count(&edit, &object) || is_settled_below;
            match &edit {
                Edit::Upsert(it) => drop(self.written.insert(it.clone())),
                Edit::Remove(it) => drop(self.written.remove(it)),
            }
            if !is_settled_below {
                out.push(edit);
            }
        }
        if is_affected {
            let wanted = self.make();
            let gone: Vec<ObjectRef> =
                self.made.keys().filter(|it| !wanted.contains_key(it)).cloned().collect();
            for it in gone {
                self.made.remove(&it);
                out.push(Edit::Remove(it));
            }
            for (reference, object) in wanted {
                if self.made.get(&reference) != Some(&object) {
                    out.push(Edit::Upsert(object.clone()));
                    self.made.insert(reference, object);
                }
            }
        }
        out
    }

    /// Counts the objects of a namespace; true when it came to life or died.
    fn count(&mut self, edit: &Edit, object: &ObjectRef) -> bool {
        let was_there = self.written.get(object).is_some();
        let is_there = matches!(edit, Edit::Upsert(_));
        if object.namespace.is_empty() || was_there == is_there {
            return false;
        }
        let count = self.population.entry(object.namespace.clone()).or_default();
        *count = if is_there { *count + 1 } else { count.saturating_sub(1) };
        match (*count, is_there) {
            (0, _) => {
                self.population.remove(&object.namespace);
                true
            }
            (1, true) => true,
            _ => false,
        }
    }

    /// All objects of the kinds of which something is filled in.
    fn make(&mut self) -> BTreeMap<ObjectRef, Object> {
        let mut made = BTreeMap::new();
        let mut put = |object: Object| drop(made.insert(object.reference(), object));
        // Files may have every kind.
        put(ClusterTrustBundle::of_kind());
        for name in self.population.keys() {
            if self.written.get(&ObjectRef::new(Kind::Namespace, "", name.clone())).is_none() {
                put(Object::Namespace(Arc::new(implied_namespace(name))));
            }
        }
        for name in &self.completion.classes {
            if self.written.get(&ObjectRef::new(Kind::GatewayClass, "", name.clone())).is_none() {
                put(Object::GatewayClass(Arc::new(implied_class(name, &self.completion.controller_name))));
            }
        }
        let mut pods: BTreeMap<Arc<str>, Vec<Arc<Pod>>> = BTreeMap::new();
        let mut sliced = BTreeSet::new();
        let mut services = BTreeMap::new();
        for object in self.written.iter() {
            match object {
                Object::Pod(it) => {
                    let pod = admitted(it);
                    pods.entry(pod.meta.namespace.clone()).or_default().push(pod.clone());
                    put(Object::Pod(pod));
                }
                Object::Namespace(_) | Object::GatewayClass(_) => put(object.clone()),
                Object::EndpointSlice(it) => {
                    sliced.extend(it.service.iter().map(|name| (it.meta.namespace.clone(), name.clone())));
                }
                Object::Service(it) => {
                    services.insert(object.reference(), it.clone());
                }
                _ => {}
            }
        }
        pods.values_mut().for_each(|it| it.sort_by(|a, b| a.meta.name.cmp(&b.meta.name)));
        self.addresses = allocate(&services, std::mem::take(&mut self.addresses), &self.completion.services);
        for (reference, service) in services {
            let service = match self.addresses.get(&reference) {
                Some(address) => {
                    Arc::new(Service { cluster_ips: vec![IpAddr::V4(*address)], ..Service::clone(&service) })
                }
                None => service,
            };
            let name = (service.meta.namespace.clone(), service.meta.name.clone());
            if !sliced.contains(&name) {
                let pods = pods.get(&service.meta.namespace).map(Vec::as_slice).unwrap_or_default();
                slices(&service, pods).into_iter().for_each(|it| put(Object::EndpointSlice(Arc::new(it))));
            }
            put(Object::Service(service));
        }
        // Last, so that one whose name is that of one of ours stays what the user wrote.
        self.written.iter().filter(|it| it.kind() == Kind::EndpointSlice).for_each(|it| put(it.clone()));
        made
    }
}

fn implied_namespace(name: &Arc<str>) -> Namespace {
    let labels = BTreeMap::from([("kubernetes.io/metadata.name".into(), name.clone())]);
    Namespace { meta: Meta { name: name.clone(), generation: 1, labels, ..Meta::default() } }
}

fn implied_class(name: &Arc<str>, controller_name: &Arc<str>) -> GatewayClass {
    let meta = Meta { name: name.clone(), generation: 1, ..Meta::default() };
    Typed {
        meta,
        spec: GatewayClassSpec { controller_name: controller_name.to_string(), ..Default::default() },
    }
}

/// What a cluster would have given the pod: a uid, and readiness. Nobody probes a pod here: one that has an address and does
/// not say otherwise is ready.
fn admitted(pod: &Arc<Pod>) -> Arc<Pod> {
    let is_ready = pod.ready.is_none() && !pod.addresses.is_empty();
    if !is_ready && !pod.meta.uid.is_empty() {
        return pod.clone();
    }
    let mut admitted = Pod::clone(pod);
    if is_ready {
        admitted.ready = Some(true);
    }
    if admitted.meta.uid.is_empty() {
        admitted.meta.uid = format!("{}/{}", pod.meta.namespace, pod.meta.name).into();
    }
    Arc::new(admitted)
}

/// Gives each Service that needs one an address: the one its name asks for, or the next that is free. Who has one keeps
/// it while this process runs; after a restart only those whose names ask for the same address can change places.
fn allocate(
    services: &BTreeMap<ObjectRef, Arc<Service>>,
    before: BTreeMap<ObjectRef, Ipv4Addr>,
    pool: &AddressPool,
) -> BTreeMap<ObjectRef, Ipv4Addr> {
    let mut taken: BTreeSet<IpAddr> =
        services.values().flat_map(|it| it.cluster_ips.iter().copied()).collect();
    let needs = |it: &Service| it.kind == ServiceKind::ClusterIp && it.cluster_ips.is_empty();
    let mut given = BTreeMap::new();
    let (old, new): (Vec<&ObjectRef>, Vec<&ObjectRef>) = services
        .iter()
        .filter(|(_, it)| needs(it))
        .map(|(name, _)| name)
        .partition(|it| before.contains_key(*it));
    for name in old.into_iter().chain(new) {
        let text = format!("{}/{}", name.namespace, name.name);
        let own = before.get(name).copied().into_iter();
        let mut choices = own.chain((0..pool.capacity()).map(|attempt| pool.pick(&text, attempt)));
        if let Some(address) = choices.find(|it| !taken.contains(&IpAddr::V4(*it))) {
            taken.insert(IpAddr::V4(address));
            given.insert(name.clone(), address);
        }
    }
    given
}

/// Names of a Service's ports, the numbers behind them at a pod, and their transports.
type Ports = Vec<(Arc<str>, u16, Transport)>;

/// The EndpointSlices a cluster would make of a Service's selector: one for each set of port numbers.
fn slices(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSlice> {
    let Some(selector) = service.selector.as_ref().filter(|_| service.kind != ServiceKind::ExternalName)
    else {
        return Vec::new();
    };
    let mut by_ports: BTreeMap<Ports, Vec<SliceEndpoint>> = BTreeMap::new();
    for pod in pods.iter().filter(|it| !it.ended && selector.matches(&it.meta.labels)) {
        let Some(address) = pod.addresses.first() else { continue };
        let resolved = service
            .ports
            .iter()
            .filter_map(|it| Some((it.name.clone().unwrap_or_default(), pod.resolve(it)?, it.transport)));
        by_ports.entry(resolved.collect()).or_default().push(SliceEndpoint {
            address: *address,
            ready: pod.is_ready() || service.publish_not_ready,
            serving: pod.ready == Some(true),
            terminating: pod.terminating,
            node: Some(pod.node.clone()).filter(|it| !it.is_empty()),
            zone: None,
            is_pod: true,
            hints: None,
        });
    }
    let slice = |(index, (ports, endpoints)): (usize, (Ports, Vec<SliceEndpoint>))| EndpointSlice {
        meta: Meta {
            namespace: service.meta.namespace.clone(),
            name: format!("{}-standalone-{index}", service.meta.name).into(),
            generation: 1,
            ..Meta::default()
        },
        service: Some(service.meta.name.clone()),
        addresses: AddressSlice {
            endpoints,
            ports: ports
                .into_iter()
                .map(|(name, port, transport)| SlicePort { name, port, transport })
                .collect(),
        },
    };
    by_ports.into_iter().enumerate().map(slice).collect()
}

#[cfg(test)]
mod tests;
