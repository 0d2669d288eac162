//! Services on the wire.

use super::backend::{decode_protocol, encode_protocol};
use super::invalid::{Invalid, each, optional};
use super::value;
use crate::model::{ConsumerWaypoint, Service, ServicePort};
use crate::proto;

pub(super) fn encode(service: &Service) -> proto::Service {
    proto::Service {
        key: service.key.to_string(),
        namespace: service.namespace.to_string(),
        addresses: service.addresses.iter().map(value::encode_ip).collect(),
        ports: service.ports.iter().map(encode_port).collect(),
        waypoint: service.waypoint.as_ref().map(ToString::to_string),
        consumer_waypoints: service.consumer_waypoints.iter().map(encode_consumer).collect(),
        routers: service.routers.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn decode(message: proto::Service) -> Result<Service, Invalid> {
    Ok(Service {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        namespace: value::name(message.namespace).map_err(|it| it.within("namespace"))?,
        addresses: each(message.addresses, "addresses", value::ip)?,
        ports: each(message.ports, "ports", decode_port)?,
        waypoint: optional(message.waypoint, "waypoint", value::key)?,
        consumer_waypoints: each(message.consumer_waypoints, "consumer_waypoints", decode_consumer)?,
        routers: each(message.routers, "routers", value::identity)?,
    })
}

fn encode_port(port: &ServicePort) -> proto::ServicePort {
    proto::ServicePort {
        port: port.port.into(),
        name: port.name.as_ref().map(ToString::to_string),
        protocol: encode_protocol(port.protocol).into(),
        backend: port.backend.to_string(),
    }
}

fn decode_port(message: proto::ServicePort) -> Result<ServicePort, Invalid> {
    Ok(ServicePort {
        port: value::port(message.port).map_err(|it| it.within("port"))?,
        name: optional(message.name, "name", value::text)?,
        protocol: decode_protocol(message.protocol)?,
        backend: value::key(message.backend).map_err(|it| it.within("backend"))?,
    })
}

fn encode_consumer(consumer: &ConsumerWaypoint) -> proto::ConsumerWaypoint {
    proto::ConsumerWaypoint {
        namespace: consumer.namespace.to_string(),
        waypoint: consumer.waypoint.to_string(),
        ports: consumer.ports.iter().map(|port| u32::from(*port)).collect(),
    }
}

fn decode_consumer(message: proto::ConsumerWaypoint) -> Result<ConsumerWaypoint, Invalid> {
    Ok(ConsumerWaypoint {
        namespace: value::name(message.namespace).map_err(|it| it.within("namespace"))?,
        waypoint: value::key(message.waypoint).map_err(|it| it.within("waypoint"))?,
        ports: each(message.ports, "ports", value::port)?,
    })
}
