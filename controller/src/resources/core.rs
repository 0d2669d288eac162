//! Objects of the core groups, cut down.

use super::{Address, InvalidObject, Meta, Provenance, Selector, probe, static_pod};
use fairway_config::model::{Family, InternalTrafficPolicy, Probe, SessionAffinity};
use k8s_openapi::api::core::v1 as full;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What is read of a Namespace: its labels decide what is in the mesh, and what routes listeners take.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// Its labels are what is read.
    pub meta: Meta,
}

/// What is read of a Service: where clients connect to, and which pods are behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// How clients reach it.
    pub kind: ServiceKind,
    /// Its cluster IPs; none for a headless Service, or when nobody has given it one yet.
    pub cluster_ips: Vec<IpAddr>,
    /// Of its addresses and its endpoints' those that come first, if it has a word on that.
    pub family: Option<Family>,
    /// Where its load balancer is reached; none when it has no type LoadBalancer.
    pub load_balancer: Option<Vec<Address>>,
    /// The ports that clients connect to, in the order of the manifest.
    pub ports: Vec<ServicePort>,
    /// The pods behind it; none when its endpoints are written by hand.
    pub selector: Option<Selector>,
    /// Whether pods that are not ready count as ready.
    pub publish_not_ready: bool,
    /// Whether everybody's connections go through a waypoint: from then on nothing goes around one, whichever that is. Our own
    /// word, in the Service's status.
    pub through_waypoint: bool,
    /// Whether a client meets the same endpoint again.
    pub session_affinity: SessionAffinity,
    /// From where its endpoints may be reached, by pods.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// Which endpoints are for whom rather than others.
    pub distribution: Option<Distribution>,
}

/// Which endpoints clients are sent to first (`trafficDistribution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Those in their zone (`PreferSameZone`, and `PreferClose`, its older name).
    SameZone,
    /// Those on their node, then those in their zone (`PreferSameNode`).
    SameNode,
}

/// How clients reach a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// By a cluster IP (types ClusterIP, NodePort, LoadBalancer).
    ClusterIp,
    /// Its pods directly (`clusterIP: None`).
    Headless,
    /// A DNS alias (`externalName`): it has no endpoints, so nothing is sent to it.
    ExternalName,
}

/// One port of a Service; the name is unique within the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// The number clients dial.
    pub port: u16,
    /// Over what it is spoken to.
    pub transport: Transport,
    /// What is spoken there, as written.
    pub app_protocol: Option<Arc<str>>,
    /// `targetPort`: the port at the pods, a number or a name of their containers.
    pub target: TargetPort,
}

/// Over what a port is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// `TCP`, which is also what a port without protocol means.
    Tcp,
    /// `UDP`: never captured, and carried by Gateways only.
    Udp,
    /// Anything else (SCTP): only its existence is known.
    Other,
}

/// The pods' port behind a Service's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number at every pod.
    Number(u16),
    /// The name of a container port.
    Name(Arc<str>),
}

/// What is read of a Pod: where it is, who it is, and whether it is captured.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Name, namespace, labels, generation.
    pub meta: Meta,
    /// `serviceAccountName`, or `default`: with the namespace it is the SPIFFE identity.
    pub service_account: Arc<str>,
    /// Of a static pod the uid that the kubelet has given it; that of its object is another one.
    pub node_uid: Option<Arc<str>>,
    /// `spec.nodeName`; empty until the pod is scheduled.
    pub node: Arc<str>,
    /// Its addresses; none before it runs.
    pub addresses: Vec<IpAddr>,
    /// Whether it shares the node's network.
    pub host_network: bool,
    /// The addresses of its node, as far as they are said.
    pub node_addresses: Vec<IpAddr>,
    /// Its `Ready` condition, if it has one.
    pub ready: Option<bool>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether it is about to end.
    pub terminating: bool,
    /// Its named container ports.
    pub ports: Vec<ContainerPort>,
    /// What its node's kubelet asks of its programs: probes, and hooks that are HTTP requests.
    pub probes: Vec<Probe>,
    /// Whether it is one that Fairway made; none of a pod that does not say so.
    pub provenance: Option<Arc<Provenance>>,
}

/// A named container port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// The name that a `targetPort` may refer to.
    pub name: Arc<str>,
    /// The number at which the container listens.
    pub port: u16,
    /// Over what it is spoken to.
    pub transport: Transport,
}

pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> InvalidObject {
    InvalidObject { field: field.into(), reason: reason.into() }
}

pub(super) fn port(field: impl Into<String>, number: i32) -> Result<u16, InvalidObject> {
    match u16::try_from(number) {
        Ok(it) if it > 0 => Ok(it),
        _ => Err(invalid(field, format!("{number} is not a port: it takes a number from 1 to 65535"))),
    }
}

pub(super) fn address(field: impl Into<String>, text: &str) -> Result<IpAddr, InvalidObject> {
    // An IPv4 address in IPv6 form is that IPv4 address, whoever compares.
    let parsed: Result<IpAddr, _> = text.parse();
    parsed.map(|it| it.to_canonical()).map_err(|_| invalid(field, format!("`{text}` is not an IP address")))
}

// === impl Transport ===

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Other => "SCTP",
        })
    }
}

impl Transport {
    pub(super) fn parse(protocol: Option<&str>) -> Self {
        match protocol {
            None | Some("TCP") => Self::Tcp,
            Some("UDP") => Self::Udp,
            Some(_) => Self::Other,
        }
    }
}

// === impl Namespace ===

impl Namespace {
    /// Takes what is needed.
    pub fn new(full: full::Namespace) -> Self {
        let mut meta = Meta::new(full.metadata, false);
        // Every cluster sets this label, and selectors of `allowedRoutes` rely on it.
        meta.labels.insert("kubernetes.io/metadata.name".into(), meta.name.clone());
        Self { meta }
    }
}

// === impl Service ===

impl Service {
    /// Takes what is needed.
    pub fn new(full: full::Service) -> Result<Self, InvalidObject> {
        let (spec, status) = (full.spec.unwrap_or_default(), full.status.unwrap_or_default());
        let load_balancer = (spec.type_.as_deref() == Some("LoadBalancer"))
            .then(|| ingress(status.load_balancer))
            .transpose()?;
        let first = spec.cluster_ip.as_deref().unwrap_or_default();
        let kind = match spec.type_.as_deref() {
            Some("ExternalName") => ServiceKind::ExternalName,
            _ if first == "None" => ServiceKind::Headless,
            _ => ServiceKind::ClusterIp,
        };
        let mut written = spec.cluster_ips.unwrap_or_default();
        if written.is_empty() && !first.is_empty() {
            written.push(first.to_owned());
        }
        let cluster_ips = match kind {
            ServiceKind::ClusterIp => {
                written.iter().map(|it| address("spec.clusterIPs", it)).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        let ports = spec.ports.unwrap_or_default();
        let ports = ports.into_iter().enumerate().map(|(index, it)| service_port(index, it));
        Ok(Self {
            meta: Meta::new(full.metadata, true),
            kind,
            family: spec.ip_families.iter().flatten().next().and_then(|it| match it.as_str() {
                "IPv4" => Some(Family::V4),
                "IPv6" => Some(Family::V6),
                _ => None,
            }),
            cluster_ips,
            load_balancer,
            ports: ports.collect::<Result<_, _>>()?,
            selector: spec
                .selector
                .filter(|it| !it.is_empty())
                .map(|it| Selector::of_labels(it.iter().map(|(key, value)| (key.as_str(), value.as_str())))),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
            through_waypoint: false,
            session_affinity: match spec.session_affinity.as_deref() {
                Some("ClientIP") => SessionAffinity::ClientIp,
                _ => SessionAffinity::None,
            },
            internal_traffic_policy: match spec.internal_traffic_policy.as_deref() {
                Some("Local") => InternalTrafficPolicy::Local,
                _ => InternalTrafficPolicy::Cluster,
            },
            distribution: match spec.traffic_distribution.as_deref() {
                Some("PreferSameZone" | "PreferClose") => Some(Distribution::SameZone),
                Some("PreferSameNode") => Some(Distribution::SameNode),
                _ => None,
            },
        })
    }

    /// The addresses that the cluster has given to it: whoever connects to one of them connects to one of its endpoints. Not those
    /// of `externalIPs`, which whoever writes a Service may choose, also those of others.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ingress = self.load_balancer.iter().flatten().filter_map(|it| match it {
            Address::Ip(ip) => Some(*ip),
            Address::Hostname(_) => None,
        });
        self.cluster_ips.iter().copied().chain(ingress)
    }

    /// The ports with protocol TCP, which are the ones that the mesh carries.
    pub fn tcp_ports(&self) -> impl Iterator<Item = &ServicePort> {
        self.ports_over(Transport::Tcp)
    }

    /// The ports that are served over this transport, in the order of the spec.
    pub fn ports_over(&self, transport: Transport) -> impl Iterator<Item = &ServicePort> {
        self.ports.iter().filter(move |it| it.transport == transport)
    }
}

fn ingress(full: Option<full::LoadBalancerStatus>) -> Result<Vec<Address>, InvalidObject> {
    let ingress = full.and_then(|it| it.ingress).into_iter().flatten();
    let written = ingress.filter_map(|it| match it.ip.filter(|it| !it.is_empty()) {
        Some(ip) => Some(address("status.loadBalancer.ingress[].ip", &ip).map(Address::Ip)),
        None => it.hostname.filter(|it| !it.is_empty()).map(|it| Ok(Address::Hostname(it.into()))),
    });
    written.collect()
}

fn service_port(index: usize, full: full::ServicePort) -> Result<ServicePort, InvalidObject> {
    let number = port(format!("spec.ports[{index}].port"), full.port)?;
    let target = match full.target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Number(number),
        Some(IntOrString::Int(it)) => {
            TargetPort::Number(port(format!("spec.ports[{index}].targetPort"), it)?)
        }
        Some(IntOrString::String(name)) => TargetPort::Name(name.into()),
    };
    Ok(ServicePort {
        name: full.name.filter(|it| !it.is_empty()).map(Into::into),
        port: number,
        transport: Transport::parse(full.protocol.as_deref()),
        app_protocol: full.app_protocol.map(Into::into),
        target,
    })
}

// === impl Pod ===

impl ServicePort {
    /// The number behind it at a pod with these named ports.
    pub fn number_at(&self, ports: &[ContainerPort]) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => {
                let named = |it: &&ContainerPort| it.name == *name && it.transport == self.transport;
                ports.iter().find(named).map(|it| it.port)
            }
        }
    }
}

impl Pod {
    /// Takes what is needed.
    pub fn new(full: full::Pod, provenance: Option<Provenance>) -> Result<Self, InvalidObject> {
        let terminating = full.metadata.deletion_timestamp.is_some();
        let (spec, status) = (full.spec.unwrap_or_default(), full.status.unwrap_or_default());
        let mut written: Vec<String> = status.pod_ips.into_iter().flatten().map(|it| it.ip).collect();
        if written.is_empty() {
            written.extend(status.pod_ip.filter(|it| !it.is_empty()));
        }
        let mut of_node: Vec<String> = status.host_ips.into_iter().flatten().map(|it| it.ip).collect();
        if of_node.is_empty() {
            of_node.extend(status.host_ip.filter(|it| !it.is_empty()));
        }
        let condition = status.conditions.into_iter().flatten().find(|it| it.type_ == "Ready");
        let probes = probe::probes(&spec);
        let mut ports = Vec::new();
        // A sidecar is an init container that stays. Of two ports of one name Kubernetes takes the one of a container.
        let stays = |it: &full::Container| it.restart_policy.as_deref() == Some("Always");
        let sidecars = spec.init_containers.into_iter().flatten().filter(stays);
        for it in spec.containers.into_iter().chain(sidecars).flat_map(|it| it.ports.unwrap_or_default()) {
            if let Some(name) = it.name {
                let port = port("spec.containers[].ports[].containerPort", it.container_port)?;
                let transport = Transport::parse(it.protocol.as_deref());
                ports.push(ContainerPort { name: name.into(), port, transport });
            }
        }
        Ok(Self {
            node_uid: static_pod::node_uid(&full.metadata, spec.node_name.as_deref()),
            meta: Meta::new(full.metadata, true),
            service_account: spec
                .service_account_name
                .filter(|it| !it.is_empty())
                .map_or("default".into(), Into::into),
            node: spec.node_name.unwrap_or_default().into(),
            addresses: written.iter().map(|it| address("status.podIPs", it)).collect::<Result<_, _>>()?,
            host_network: spec.host_network.unwrap_or_default(),
            node_addresses: of_node
                .iter()
                .map(|it| address("status.hostIPs", it))
                .collect::<Result<_, _>>()?,
            ready: condition.map(|it| it.status == "True"),
            ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            terminating,
            ports,
            probes,
            provenance: provenance.map(Arc::new),
        })
    }

    /// The number behind a Service's port.
    pub fn resolve(&self, behind: &ServicePort) -> Option<u16> {
        behind.number_at(&self.ports)
    }

    /// Whether it may get traffic.
    pub fn is_ready(&self) -> bool {
        self.ready == Some(true) && !self.terminating && !self.ended
    }
}
