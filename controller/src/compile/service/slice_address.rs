//! Which addresses of EndpointSlices are taken.
//!
//! Who writes a Service and its slices chooses where the proxies of others connect to, with their identities and from
//! their place in the network (CVE-2021-25740). So a Service has the pods of its own namespace, those that their
//! namespace grants to it, and what is outside the cluster, as far as that is known.

use crate::compile::names::grant;
use crate::compile::program::Reader;
use crate::compile::service::embedded;
use crate::compile::settings::Loopback;
use crate::compile::workload;
use crate::compile::workload::address::{self, At, Holder, NodesAt, Slices};
use crate::resources::{EndpointSlice, Kind, ObjectRef};
use fairway_config::model::{ObjectName, SpiffeId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that is taken.
#[derive(Clone, Debug, Default)]
pub(in crate::compile) struct Taken {
    /// The pods at the address that the Service may have; none at an address outside the cluster.
    pub pods: Vec<ObjectRef>,
    /// Who is there, if that is a captured pod.
    pub identity: Option<SpiffeId>,
    /// Whether a Gateway or a waypoint of Fairway is there.
    pub is_proxy: bool,
}

/// Why an address is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Forbidden {
    /// It means another machine to each that connects, or none.
    Special(&'static str),
    /// A pod of another namespace, which does not grant it.
    Foreign,
    /// A node's: programs of the host listen there, for nobody's Service.
    Node,
    /// Of a range that a node has for its pods, and of no pod that is known: the node's own on the bridge of its pods, or a pod that
    /// is not known yet, or no more.
    PodRange,
    /// A cluster IP: it would lead around what guards that Service.
    Service,
    /// The API server's, which only the Service `default/kubernetes` may name.
    ApiServer,
}

/// Judges an address of a Service's EndpointSlices.
pub(in crate::compile) fn judge(
    reader: &mut Reader<'_>,
    service: &ObjectName,
    address: IpAddr,
) -> Result<Taken, Forbidden> {
    let may_be_loopback = reader.settings().loopback == Loopback::Allowed;
    if let Some(word) = special(address).filter(|_| !(may_be_loopback && address.is_loopback())) {
        return Err(Forbidden::Special(word));
    }
    for behind in embedded::behind(address).into_iter().flatten() {
        let taken = judge(reader, service, behind)?;
        if !taken.pods.is_empty() {
            return Err(Forbidden::Foreign);
        }
    }
    let holders = reader.members(&At(address));
    let pods = address::pods(&holders);
    if !pods.is_empty() {
        let pods = of_service(reader, service, &pods);
        return if pods.is_empty() { Err(Forbidden::Foreign) } else { Ok(taken(reader, pods)) };
    }
    let host_pods = address::host_pods(&holders);
    let own = of_service(reader, service, &host_pods);
    if !own.is_empty() {
        return Ok(Taken { pods: own, ..Taken::default() });
    }
    // The API server's own Service names it, wherever it is.
    let api_server = ObjectName::new("default", "kubernetes");
    if *service == api_server {
        return Ok(Taken::default());
    }
    if !host_pods.is_empty() || reader.count(&NodesAt(address)) > 0 {
        return Err(Forbidden::Node);
    }
    if holders.contains(&Holder::Service) {
        return Err(Forbidden::Service);
    }
    if address::is_of_pod_range(reader, address) {
        return Err(Forbidden::PodRange);
    }
    for slice in reader.members(&Slices(api_server)).iter() {
        let slice = reader.input::<EndpointSlice>(&slice.object_name());
        if slice.is_some_and(|it| it.addresses.endpoints.iter().any(|it| it.address == address)) {
            return Err(Forbidden::ApiServer);
        }
    }
    Ok(Taken::default())
}

/// Of these pods those of the Service's namespace; if there are none, those that it is granted.
fn of_service(reader: &mut Reader<'_>, service: &ObjectName, pods: &[ObjectRef]) -> Vec<ObjectRef> {
    let own: Vec<_> = pods.iter().filter(|it| it.namespace == service.namespace).cloned().collect();
    if !own.is_empty() {
        return own;
    }
    let from = (Kind::Service, &service.namespace);
    let granted = |it: &&ObjectRef| grant::permits(reader, from, (Kind::Pod, &it.namespace, &it.name));
    pods.iter().filter(granted).cloned().collect()
}

/// What a slice says of its target is not asked: the address is what will be dialled.
fn taken(reader: &mut Reader<'_>, pods: Vec<ObjectRef>) -> Taken {
    let mut taken = Taken::default();
    for it in &pods {
        let Some(pod) = reader.get::<workload::Identify>(&it.object_name()) else { continue };
        taken.is_proxy |= pod.is_proxy;
        if pod.captured && taken.identity.is_none() {
            taken.identity = Some(pod.identity.clone());
        }
    }
    Taken { pods, ..taken }
}

/// Where machines ask their cloud for credentials, beside the link-local 169.254.169.254.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What an address is that no endpoint can have.
fn special(address: IpAddr) -> Option<&'static str> {
    let (is_link_local, is_nobodys) = match address {
        IpAddr::V4(it) => (it.is_link_local(), it.octets()[0] == 0 || it.is_broadcast()),
        IpAddr::V6(it) => (it.is_unicast_link_local(), it.is_unspecified()),
    };
    match () {
        () if address.is_loopback() => Some("a loopback address"),
        () if address.is_multicast() => Some("a multicast address"),
        () if is_link_local => Some("a link-local address"),
        () if is_nobodys => Some("an unspecified or broadcast address"),
        () if METADATA.contains(&address) => Some("the address of a cloud's metadata service"),
        () => None,
    }
}

// === impl Forbidden ===

impl Forbidden {
    /// What is wrong with the address. Nobody's pods, Services and nodes are named to others.
    pub(in crate::compile) fn message(self, address: IpAddr, service: &ObjectName) -> String {
        let what = match self {
            Self::Special(word) => word.to_owned(),
            Self::Foreign => {
                format!("the address of a pod, but of no pod in namespace {}", service.namespace)
            }
            Self::Node => "the address of a node".to_owned(),
            Self::PodRange => {
                "in a node's range for pods, and the address of no pod that is known".to_owned()
            }
            Self::Service => "the address of a Service".to_owned(),
            Self::ApiServer => "the address of the API server".to_owned(),
        };
        format!("{address} is {what}, so it is not used as an endpoint of Service {service}")
    }

    /// What the owner of the Service can do about it, for a diagnostic.
    pub(in crate::compile) fn remedy(self, service: &ObjectName) -> String {
        match self {
            Self::Foreign => format!(
                "use pods of namespace {ns}, or create a ReferenceGrant in the pod's namespace with from {{group: \"\", \
                 kind: Service, namespace: {ns}}} and to {{group: \"\", kind: Pod}}",
                ns = service.namespace
            ),
            Self::Special(_) | Self::Node | Self::PodRange | Self::Service | Self::ApiServer => {
                format!("use pods of namespace {}, or addresses outside the cluster", service.namespace)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_another_machine_to_each_are_known() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::1", true),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("::", true),
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("224.0.0.1", true),
            ("ff02::1", true),
            ("255.255.255.255", true),
            ("10.0.0.1", false),
            ("192.0.2.1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(special(address.parse().unwrap()).is_some(), expected, "{address}");
        }
    }
}
