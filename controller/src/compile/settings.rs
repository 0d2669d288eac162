//! What compiling has to know beside the objects.

use crate::compile::pool::AddressPool;
use crate::provision::Rights;
use fairway_config::model::SpiffeId;
use fairway_identity::TrustDomain;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The name in `controllerName` of our GatewayClasses, and in statuses.
pub(crate) const CONTROLLER_NAME: &str = "fairway.dev/controller";

/// What compiling has to know beside the objects.
#[derive(Clone, Debug)]
pub struct CompileSettings {
    /// The name in `controllerName` of the GatewayClasses that are ours.
    pub controller_name: Arc<str>,
    /// The name of the GatewayClass for Gateways: `fairway`, unless the chart sets another.
    pub gateway_class: Arc<str>,
    /// The name of the GatewayClass for waypoints: `fairway-waypoint`, unless the chart sets another.
    pub waypoint_class: Arc<str>,
    /// The trust domain of identities.
    pub trust_domain: TrustDomain,
    /// Whether captured pods exist where this configuration is used.
    pub capture: Capture,
    /// Where Gateways listen that say nothing (only in [`Mode::Standalone`]).
    pub default_addresses: Vec<IpAddr>,
    /// The network from which waypoints without pods and addresses get one of their own.
    pub waypoint_network: AddressPool,
    /// What fills in addresses and pods.
    pub mode: Mode,
    /// Whether loopback addresses may be endpoints.
    pub loopback: Loopback,
    /// The name of the XMesh that stands for this mesh (GEP-3949).
    pub mesh_name: Arc<str>,
    /// What parameters of Gateways may choose.
    pub rights: Rights,
    /// The image of the proxies that are made; none where that is not known, and a pod with any is one.
    pub proxy_image: Option<Arc<str>>,
}

/// Whether pods are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Labelled namespaces' pods are captured by a ztunnel.
    On,
    /// Nothing is captured; Services are reached by listeners on their own (loopback) addresses.
    Off,
}

/// Where the configuration is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On one machine, from a directory.
    Standalone,
    /// In a cluster, from the objects of its API server.
    Kubernetes,
}

/// Whether loopback addresses may be endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// One owner wrote everything, for programs of one machine.
    Allowed,
    /// A loopback address is the proxy's own machine, and what listens there is not for others.
    Refused,
}

// === impl CompileSettings ===

impl CompileSettings {
    /// The defaults of a machine without capture and without a cluster.
    pub fn standalone(trust_domain: TrustDomain) -> Self {
        Self {
            controller_name: CONTROLLER_NAME.into(),
            gateway_class: "fairway".into(),
            waypoint_class: "fairway-waypoint".into(),
            trust_domain,
            capture: Capture::Off,
            default_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            waypoint_network: AddressPool::WAYPOINTS,
            mode: Mode::Standalone,
            loopback: Loopback::Allowed,
            mesh_name: "fairway".into(),
            // Nothing is made by them.
            rights: Rights::unlimited(),
            proxy_image: None,
        }
    }

    /// The defaults of a cluster.
    pub fn kubernetes(trust_domain: TrustDomain) -> Self {
        Self {
            capture: Capture::On,
            default_addresses: Vec::new(),
            mode: Mode::Kubernetes,
            loopback: Loopback::Refused,
            rights: Rights::default(),
            ..Self::standalone(trust_domain)
        }
    }

    /// Whether there is a mesh: in a cluster whose pods nobody captures there are only Gateways.
    pub(super) fn has_mesh(&self) -> bool {
        self.mode == Mode::Standalone || self.capture == Capture::On
    }

    /// The identity of a service account; none when one of the names cannot stand in an identity.
    pub(super) fn identity(&self, namespace: &str, service_account: &str) -> Option<SpiffeId> {
        SpiffeId::of_service_account(&self.trust_domain, namespace, service_account).ok()
    }
}
