//! The network of one node: a bridge, and a link to each pod.

use crate::{Pod, Sandbox};
use fairway_netns::link::{Links, set_switch};
use fairway_netns::{IpFamily, Mac, Namespace, NetlinkError, NetnsError, Subnet};
use std::cell::Cell;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

const BRIDGE: &str = "node0";

/// A bridge in the node's namespace, and who is plugged into it.
///
/// Pods reach each other over the bridge, and send all else to the node, where nothing answers: an address of a Service leads
/// nowhere unless capture sees to it, as in a cluster without kube-proxy.
#[derive(Debug)]
pub struct Network {
    node: Namespace,
    handles: PathBuf,
    subnets: Vec<Subnet>,
    pods: Cell<u32>,
}

/// Why something in the testbed could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// A link, address or route.
    #[error("{whose}: {source}")]
    Link {
        /// Of the node or which pod.
        whose: String,
        /// The error that the kernel answered with.
        source: NetlinkError,
    },
    /// A network namespace could not be made or entered.
    #[error("{whose}: {source}")]
    Namespace {
        /// Of the node or which pod.
        whose: String,
        /// The error of the namespace.
        source: NetnsError,
    },
    /// A switch, process or socket.
    #[error("{whose}: {source}")]
    Io {
        /// Of the node or which pod.
        whose: String,
        /// The error of the system call.
        source: io::Error,
    },
    /// The address is in no subnet of the network.
    #[error("{pod}: {address} is in no subnet of the network")]
    NoSubnet {
        /// The name of the pod.
        pod: String,
        /// The address that it was to have.
        address: IpAddr,
    },
}

pub(crate) enum LinkFailure {
    Link(NetlinkError),
    Io(io::Error),
}

// === impl Network ===

impl Network {
    /// Makes the bridge. Each subnet's address is the node's: the pods' gateway.
    pub fn new(sandbox: &Sandbox, subnets: &[Subnet]) -> Result<Self, TestbedError> {
        let wanted = subnets.to_vec();
        within(sandbox.node(), "the node", move || {
            // No route leads back by the way a spoofed address came; pods are trusted here.
            ensure("net/ipv4/conf/all/rp_filter", "0")?;
            ensure("net/ipv4/conf/default/rp_filter", "0")?;
            // What no route is for gets "unreachable" at once, rather than silence.
            ensure("net/ipv4/ip_forward", "1")?;
            if wanted.iter().any(|subnet| subnet.family() == IpFamily::IPv6) {
                prepare_ipv6()?;
                ensure("net/ipv6/conf/all/forwarding", "1")?;
            }
            let mut links = Links::open()?;
            links.add_bridge(BRIDGE)?;
            links.up(BRIDGE)?;
            for subnet in wanted {
                links.add_address(BRIDGE, subnet)?;
            }
            Ok(())
        })?;
        Ok(Self {
            node: sandbox.node().clone(),
            handles: sandbox.handles().to_owned(),
            subnets: subnets.to_vec(),
            pods: Cell::new(0),
        })
    }

    /// Adds a pod. Its addresses must be in the network's subnets.
    pub fn add_pod(&self, name: &str, addresses: &[IpAddr]) -> Result<Pod, TestbedError> {
        let routed =
            addresses.iter().map(|address| self.routed(name, *address)).collect::<Result<Vec<_>, _>>()?;
        let netns_path = self.handles.join(name);
        let whose = format!("pod {name}");
        let namespace = Namespace::create_at(&netns_path)
            .map_err(|source| TestbedError::Namespace { whose: whose.clone(), source })?;

        self.pods.set(self.pods.get() + 1);
        let port = format!("pod{}", self.pods.get());
        let cable = port.clone();
        let there = namespace.clone();
        let mac = Mac::from_address(addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        // Before the cable, or its IPv6 address waits a second for somebody to object.
        within(&namespace, &whose, prepare_pod)?;
        within(&self.node, &whose, move || {
            let mut links = Links::open()?;
            links.add_veth(&port, "eth0", &there, mac)?;
            links.plug(&port, BRIDGE)?;
            Ok(links.up(&port)?)
        })?;
        within(&namespace, &whose, move || {
            let mut links = Links::open()?;
            links.up("lo")?;
            links.up("eth0")?;
            for (own, gateway) in routed {
                links.add_address("eth0", own)?;
                links.add_default_route(gateway)?;
            }
            Ok(())
        })?;
        let (name, addresses, node) = (name.to_owned(), addresses.to_vec(), self.node.clone());
        Ok(Pod { name, addresses, namespace, netns_path, node, cable })
    }

    /// The node's own namespace, where the kubelet would be.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    fn routed(&self, pod: &str, address: IpAddr) -> Result<(Subnet, IpAddr), TestbedError> {
        let subnet = self.subnets.iter().find(|subnet| subnet.contains(address));
        subnet
            .and_then(|subnet| Some((Subnet::new(address, subnet.prefix())?, subnet.address())))
            .ok_or_else(|| TestbedError::NoSubnet { pod: pod.to_owned(), address })
    }
}

// === impl LinkFailure ===

impl From<NetlinkError> for LinkFailure {
    fn from(error: NetlinkError) -> Self {
        Self::Link(error)
    }
}

impl From<io::Error> for LinkFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) fn within(
    namespace: &Namespace,
    whose: &str,
    work: impl FnOnce() -> Result<(), LinkFailure> + Send + 'static,
) -> Result<(), TestbedError> {
    let whose = whose.to_owned();
    match namespace.run_blocking(work) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(LinkFailure::Link(source))) => Err(TestbedError::Link { whose, source }),
        Ok(Err(LinkFailure::Io(source))) => Err(TestbedError::Io { whose, source }),
        Err(source) => Err(TestbedError::Namespace { whose, source }),
    }
}

fn prepare_pod() -> Result<(), LinkFailure> {
    ensure("net/ipv4/conf/all/rp_filter", "0")?;
    ensure("net/ipv4/conf/default/rp_filter", "0")?;
    // As container runtimes set it: programs of pods listen on port 80 without being root.
    ensure("net/ipv4/ip_unprivileged_port_start", "0")?;
    prepare_ipv6()
}

fn prepare_ipv6() -> Result<(), LinkFailure> {
    const SWITCHES: &str = "net/ipv6/conf/default";
    if !Path::new("/proc/sys").join(SWITCHES).exists() {
        return Ok(());
    }
    // Link-local addresses are usable at once.
    ensure(format!("{SWITCHES}/accept_dad"), "0")?;
    ensure(format!("{SWITCHES}/disable_ipv6"), "0")
}

/// Turns a switch unless it is as it should be: in containers they may be read-only, but right.
fn ensure(name: impl AsRef<str> + Display, value: &str) -> Result<(), LinkFailure> {
    let now = std::fs::read_to_string(Path::new("/proc/sys").join(name.as_ref()))?;
    if now.trim() == value {
        return Ok(());
    }
    Ok(set_switch(name.as_ref(), value)?)
}
