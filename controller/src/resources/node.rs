//! Nodes, cut down to the addresses that are theirs and those that they give to pods.

use super::core::invalid;
use super::{InvalidObject, Meta};
use fairway_policy::Cidr;
use k8s_openapi::api::core::v1 as full;
use std::net::IpAddr;
use std::str::FromStr;

/// What is read of a Node: no Service has its addresses as endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name; its labels are not kept.
    pub meta: Meta,
    /// Its own addresses, inside the cluster and outside. (Names among them are none.)
    pub addresses: Vec<IpAddr>,
    /// The ranges from which its pods have their addresses, and from which its bridge and its tunnels may have theirs. Empty where
    /// the network plugin keeps them for itself.
    pub pod_ranges: Vec<Cidr>,
}

// === impl Node ===

impl Node {
    /// Takes what is needed.
    pub fn new(full: full::Node) -> Result<Self, InvalidObject> {
        let (spec, status) = (full.spec.unwrap_or_default(), full.status.unwrap_or_default());
        let addresses = status.addresses.into_iter().flatten();
        let mut written = spec.pod_cidrs.unwrap_or_default();
        if written.is_empty() {
            written.extend(spec.pod_cidr.filter(|it| !it.is_empty()));
        }
        let range =
            |it: &String| Cidr::from_str(it).map_err(|error| invalid("spec.podCIDRs", error.to_string()));
        Ok(Self {
            meta: Meta::without_labels(full.metadata, false),
            addresses: addresses
                .filter_map(|it| it.address.parse::<IpAddr>().ok())
                .map(|it| it.to_canonical())
                .collect(),
            pod_ranges: written.iter().map(range).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_a_node_its_addresses_and_its_ranges_for_pods_are_kept() {
        for (spec, status, addresses, ranges) in [
            (json!({}), json!({}), &[][..], Some(&[][..])),
            (
                json!({ "podCIDR": "10.244.1.0/24" }),
                json!({ "addresses": [
                    { "type": "InternalIP", "address": "192.0.2.1" },
                    { "type": "ExternalIP", "address": "::ffff:198.51.100.1" },
                    { "type": "Hostname", "address": "n1" },
                ] }),
                &["192.0.2.1", "198.51.100.1"],
                Some(&["10.244.1.0/24"]),
            ),
            (
                json!({ "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"] }),
                json!({}),
                &[],
                Some(&["10.244.1.0/24", "fd00:1::/64"]),
            ),
            (json!({ "podCIDRs": ["all of them"] }), json!({}), &[], None),
        ] {
            let manifest = json!({ "metadata": { "name": "n1" }, "spec": spec, "status": status });
            let node = Node::new(serde_json::from_value(manifest).unwrap());
            let Some(ranges) = ranges else {
                assert_eq!(node.unwrap_err().field, "spec.podCIDRs");
                continue;
            };
            let node = node.unwrap();
            assert_eq!(node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), addresses);
            assert_eq!(node.pod_ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ranges);
        }
    }
}
