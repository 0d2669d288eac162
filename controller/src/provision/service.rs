//! The Services through which a proxy is reached: one, and one more for each further address that is asked for.

use super::manifest::{Manifest, ManifestKind};
use super::plan::Planned;
use crate::compile::{ProxyClass, Transport};
use crate::name;
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
    let mut addresses = planned.proxy.addresses.iter();
    let mut services = vec![service(planned, planned.name(), addresses.next())];
    services.extend(addresses.enumerate().map(|(index, address)| {
        let name = name::of_further_service(planned.name(), index + 2);
        service(planned, &name, Some(address))
    }));
    services
}

fn service(planned: Planned<'_>, name: &str, address: Option<&IpAddr>) -> Manifest {
    let written = &planned.proxy.parameters.service;
    let r#type = written.r#type.unwrap_or(match planned.proxy.class {
        ProxyClass::Gateway => ServiceType::LoadBalancer,
        ProxyClass::Waypoint => ServiceType::ClusterIP,
    });
    let balanced = r#type == ServiceType::LoadBalancer;
    let mut metadata = planned.metadata(name);
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
            load_balancer_ip: address.filter(|_| balanced).map(ToString::to_string),
            load_balancer_class: written.load_balancer_class.clone().filter(|_| balanced),
            external_traffic_policy: written
                .external_traffic_policy
                .filter(|_| r#type != ServiceType::ClusterIP)
                .map(|it| match it {
                    ExternalTrafficPolicy::Cluster => "Cluster".to_owned(),
                    ExternalTrafficPolicy::Local => "Local".to_owned(),
                }),
            ip_family_policy: Some("PreferDualStack".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    planned.manifest(ManifestKind::Service, name, &object)
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
