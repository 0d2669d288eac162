//! The Services through which a proxy is reached: one, or one for each address that is asked for.

use super::manifest::{Manifest, ManifestKind};
use super::plan::Planned;
use crate::provision::{ProxyClass, ProxyService, Transport};
use crate::resources::Routability;
use crate::resources::gateway_parameters::{ExternalTrafficPolicy, ServiceType};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::IpAddr;

/// Its Services. None while it has no ports: a Service without any is not one, and one that is there keeps its address
/// (see [`super::reconcile`]).
pub(super) fn all(planned: Planned<'_>) -> Vec<Manifest> {
    if planned.proxy.ports.is_empty() {
        return Vec::new();
    }
    planned.proxy.services.iter().map(|it| service(planned, it)).collect()
}

fn service(planned: Planned<'_>, asked: &ProxyService) -> Manifest {
    let written = &planned.proxy.parameters.service;
    let usual = written.r#type.unwrap_or(match planned.proxy.class {
        ProxyClass::Gateway => ServiceType::LoadBalancer,
        ProxyClass::Waypoint => ServiceType::ClusterIP,
    });
    let (r#type, is_scoped) = match asked.routability {
        Routability::Default => (usual, false),
        // Whatever the parameters say: an address that reaches further must not be given (GEP-5093).
        Routability::Cluster | Routability::Sentinel => (ServiceType::ClusterIP, true),
    };
    let balanced = r#type == ServiceType::LoadBalancer;
    let mut metadata = planned.metadata(&asked.name);
    metadata.annotations.get_or_insert_default().extend(written.annotations.clone());
    let object = Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(
                match r#type {
                    ServiceType::LoadBalancer => "LoadBalancer",
                    ServiceType::NodePort => "NodePort",
                    ServiceType::ClusterIP => "ClusterIP",
                }
                .to_owned(),
            ),
            selector: Some(planned.selected_labels()),
            ports: Some(
                planned.proxy.ports.iter().map(|(port, transport)| service_port(*port, *transport)).collect(),
            ),
            // Deprecated, and what the load balancers still go by that can be asked for an address at all.
            load_balancer_ip: asked.address.filter(|_| balanced).map(|it| it.to_string()),
            cluster_ip: asked.address.filter(|_| is_scoped).map(|it| it.to_string()),
            ip_families: asked.address.filter(|_| is_scoped).map(|it| vec![family(it).to_owned()]),
            load_balancer_class: written.load_balancer_class.clone().filter(|_| balanced),
            external_traffic_policy: written
                .external_traffic_policy
                .filter(|_| r#type != ServiceType::ClusterIP)
                .map(|it| match it {
                    ExternalTrafficPolicy::Cluster => "Cluster".to_owned(),
                    ExternalTrafficPolicy::Local => "Local".to_owned(),
                }),
            // An entry that asks for a scope is given one address.
            ip_family_policy: Some(if is_scoped { "SingleStack" } else { "PreferDualStack" }.to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    planned.manifest(ManifestKind::Service, &asked.name, &object)
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// The proxy binds the Gateway's own ports.
fn service_port(port: u16, transport: Transport) -> ServicePort {
    let (word, protocol) = match transport {
        Transport::Tcp => ("tcp", "TCP"),
        Transport::Udp => ("udp", "UDP"),
    };
    ServicePort {
        name: Some(format!("{word}-{port}")),
        port: port.into(),
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    }
}
