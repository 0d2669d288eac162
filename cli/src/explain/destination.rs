//! What a URL names: a Service, a Gateway's listener, or an address.

use super::scene::Scene;
use super::{Asked, Asker};
use fairway_config::model::{Attachment, ListenerKey, Resource, ServiceKey};
use fairway_controller::compile::Proxy;
use std::net::{IpAddr, SocketAddr};

/// What a URL names.
#[derive(Clone, Debug)]
pub(super) enum Destination<'s> {
    /// An address of a Service, and its port.
    Service(ServiceKey, SocketAddr),
    /// A Service without an address of its own.
    Headless(ServiceKey),
    /// The listeners of a Gateway on this port.
    Gateway(&'s Proxy, u16),
    /// An address that is nobody's Service.
    Address(SocketAddr),
    /// Nothing that is known here.
    Unknown,
}

/// Finds what the URL names, for who asks.
pub(super) fn find<'s>(scene: &'s Scene<'_>, asked: &Asked) -> anyhow::Result<Destination<'s>> {
    let host = asked.to.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let port = match (asked.to.port_u16(), asked.to.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, Some("https")) => 443,
        (None, _) => anyhow::bail!("--to `{}`: write http:// or https://, a host and a path", asked.to),
    };
    if let Some(name) = &asked.gateway {
        let found = scene.gateways().find(|it| it.name == *name);
        let gateway =
            found.ok_or_else(|| anyhow::anyhow!("there is no Gateway {name} that a proxy runs for"))?;
        return Ok(Destination::Gateway(gateway, port));
    }
    if let Asker::Pod(pod) = &asked.from {
        if let Ok(address) = host.parse::<IpAddr>() {
            let dialled = SocketAddr::new(address, port);
            return Ok(match scene.everywhere().service_at(address) {
                Some(service) => Destination::Service(service.key.clone(), dialled),
                None => Destination::Address(dialled),
            });
        }
        let own = pod.as_str().split_once('/').map_or("", |(namespace, _)| namespace);
        let services = &scene.everywhere().snapshot().services;
        if let Some(service) = key(&host, own).and_then(|it| services.get(&*it)) {
            return Ok(match service.addresses.first() {
                Some(address) => Destination::Service(service.key.clone(), SocketAddr::new(*address, port)),
                None => Destination::Headless(service.key.clone()),
            });
        }
    }
    let any = matches!(asked.from, Asker::Address(_));
    let mut having = scene.gateways().filter(|it| has_listener(scene, it, &host, port, any));
    match (having.next(), having.next()) {
        (None, _) => Ok(Destination::Unknown),
        (Some(gateway), None) => Ok(Destination::Gateway(gateway, port)),
        (Some(one), Some(other)) => anyhow::bail!(
            "Gateways {} and {} both have a listener for {host}:{port}: say which one is asked with --gateway",
            one.name,
            other.name
        ),
    }
}

/// The Service that a name of the cluster's DNS stands for, asked from a namespace.
fn key(host: &str, own: &str) -> Option<String> {
    let mut labels = host.split('.');
    let name = labels.next().filter(|it| !it.is_empty())?;
    match (labels.next(), labels.next()) {
        (None, _) => Some(format!("{own}/{name}")),
        (Some(namespace), None | Some("svc")) => Some(format!("{namespace}/{name}")),
        _ => None,
    }
}

/// Whether a Gateway has a listener for a host. One for every host says nothing of this one: then a route has to name it, unless `any`
/// listener will do.
fn has_listener(scene: &Scene<'_>, gateway: &Proxy, host: &str, port: u16, any: bool) -> bool {
    let resources = scene.resources(gateway);
    let is_named = |listener: &ListenerKey| {
        let routes = resources.iter().filter_map(|it| match it {
            Resource::Route(it) => Some(&it.attachments),
            _ => None,
        });
        routes.flatten().any(|it| match it {
            Attachment::Listener { listener: of, hostnames } => {
                of == listener && hostnames.iter().any(|it| it.effective.matches(host))
            }
            Attachment::Service { .. } => false,
        })
    };
    resources.iter().any(|it| match it {
        Resource::Listener(it) if it.port == port => match &it.hostname {
            Some(hostname) => hostname.matches(host),
            None => any || is_named(&it.key),
        },
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_service_is_one_that_dns_knows() {
        for (host, expected) in [
            ("web", Some("shop/web")),
            ("web.mall", Some("mall/web")),
            ("web.mall.svc", Some("mall/web")),
            ("web.mall.svc.cluster.local", Some("mall/web")),
            ("www.shop.example", None),
            ("", None),
        ] {
            assert_eq!(key(host, "shop").as_deref(), expected, "{host}");
        }
    }
}
