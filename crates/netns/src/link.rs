//! Bridges, cables between namespaces, addresses, routes, and switches of the kernel.
//!
//! All of it in the namespace of the calling thread: call it through [`Namespace::run`](crate::Namespace::run).

use crate::address::octets;
use crate::netlink::{Attribute, Connection, Family, Message, NetlinkError, flags};
use crate::{IpFamily, Mac, Namespace, Subnet};
use rustix::fd::{AsFd, AsRawFd};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// The links of the namespace in which it was opened.
pub struct Links {
    kernel: Connection,
}

/// Interfaces by the numbers that the kernel gives them.
pub(crate) mod interface_index {
    /// Of `lo`, the same in every namespace.
    pub(crate) const LOOPBACK: u32 = 1;
}

mod kind {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const DELETE_LINK: u16 = 17;
    pub(super) const GET_LINK: u16 = 18;
    pub(super) const SET_LINK: u16 = 19;
    pub(super) const NEW_ADDRESS: u16 = 20;
    pub(super) const NEW_ROUTE: u16 = 24;
}

mod attribute {
    pub(super) const MAC: u16 = 1;
    pub(super) const NAME: u16 = 3;
    pub(super) const MASTER: u16 = 10;
    pub(super) const INFO: u16 = 18;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const PEER: u16 = 1;
    pub(super) const NAMESPACE: u16 = 28;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const INTERFACE: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
}

// === impl Links ===

impl Links {
    /// Opens those of this thread's namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        Connection::open(Family::Route).map(|kernel| Self { kernel })
    }

    /// Adds a bridge of this name, which is down.
    pub fn add_bridge(&mut self, name: &str) -> Result<(), NetlinkError> {
        let info = vec![Attribute::text(attribute::INFO_KIND, "bridge")];
        self.add(format!("add the bridge {name}"), name, info)
    }

    /// Adds a cable: `name` is its end here, `peer` the one in the other namespace.
    pub fn add_veth(
        &mut self,
        name: &str,
        peer: &str,
        there: &Namespace,
        mac: Mac,
    ) -> Result<(), NetlinkError> {
        // The peer is a whole link message in an attribute: a header of nothing, then attributes.
        let mut end = link_header(0, 0);
        Attribute::text(attribute::NAME, peer).encode(&mut end);
        Attribute::bytes(attribute::MAC, mac.0).encode(&mut end);
        Attribute::u32(attribute::NAMESPACE, there.as_fd().as_raw_fd() as u32).encode(&mut end);
        let data = Attribute::nested(attribute::INFO_DATA, vec![Attribute::bytes(attribute::PEER, end)]);
        let info = vec![Attribute::text(attribute::INFO_KIND, "veth"), data];
        self.add(format!("add the cable {name} to {peer} in {}", there.id()), name, info)
    }

    /// Removes a link, and with one end of a cable the other.
    pub fn remove(&mut self, name: &str) -> Result<(), NetlinkError> {
        let fixed = link_header(self.index(name)?, 0);
        let what = format!("remove {name}");
        self.kernel.execute(&Message {
            what,
            kind: kind::DELETE_LINK,
            flags: 0,
            fixed,
            attributes: Vec::new(),
        })
    }

    fn add(&mut self, what: String, name: &str, info: Vec<Attribute>) -> Result<(), NetlinkError> {
        self.kernel.execute(&Message {
            what,
            kind: kind::NEW_LINK,
            flags: flags::CREATE | flags::EXCLUSIVE,
            fixed: link_header(0, 0),
            attributes: vec![
                Attribute::text(attribute::NAME, name),
                Attribute::nested(attribute::INFO, info),
            ],
        })
    }

    /// Plugs a link into a bridge.
    pub fn plug(&mut self, name: &str, bridge: &str) -> Result<(), NetlinkError> {
        let bridge_index = self.index(bridge)?;
        let attributes = vec![Attribute::u32(attribute::MASTER, bridge_index)];
        let fixed = link_header(self.index(name)?, 0);
        let what = format!("plug {name} into {bridge}");
        self.kernel.execute(&Message { what, kind: kind::SET_LINK, flags: 0, fixed, attributes })
    }

    /// Switches a link on.
    pub fn up(&mut self, name: &str) -> Result<(), NetlinkError> {
        const UP: u32 = 1;
        let fixed = link_header(self.index(name)?, UP);
        let what = format!("switch {name} on");
        self.kernel.execute(&Message { what, kind: kind::SET_LINK, flags: 0, fixed, attributes: Vec::new() })
    }

    /// Gives a link an address, usable at once: nobody else can have it, so nobody is asked (no IPv6 duplicate detection).
    pub fn add_address(&mut self, name: &str, subnet: Subnet) -> Result<(), NetlinkError> {
        const NO_DUPLICATE_DETECTION: u8 = 2;
        let mut fixed = vec![subnet.family().number(), subnet.prefix, NO_DUPLICATE_DETECTION, 0];
        fixed.extend(self.index(name)?.to_ne_bytes());
        let address = octets(subnet.address);
        self.kernel.execute(&Message {
            what: format!("give {name} the address {subnet}"),
            kind: kind::NEW_ADDRESS,
            flags: flags::CREATE | flags::EXCLUSIVE,
            fixed,
            attributes: vec![
                Attribute::bytes(attribute::LOCAL, address.clone()),
                Attribute::bytes(attribute::ADDRESS, address),
            ],
        })
    }

    /// Sends whatever has no better route to this neighbour.
    pub fn add_default_route(&mut self, gateway: IpAddr) -> Result<(), NetlinkError> {
        let fixed = route_header(gateway, 0);
        let what = format!("add the default route by {gateway}");
        self.add_route(what, fixed, vec![Attribute::bytes(attribute::GATEWAY, octets(gateway))])
    }

    /// Sends what is for a network out by this link.
    pub fn add_link_route(&mut self, subnet: Subnet, name: &str) -> Result<(), NetlinkError> {
        let fixed = route_header(subnet.address, subnet.prefix);
        let index = self.index(name)?;
        let attributes = vec![
            Attribute::bytes(attribute::DESTINATION, octets(subnet.address)),
            Attribute::u32(attribute::INTERFACE, index),
        ];
        self.add_route(format!("add the route to {subnet} by {name}"), fixed, attributes)
    }

    fn add_route(
        &mut self,
        what: String,
        fixed: Vec<u8>,
        attributes: Vec<Attribute>,
    ) -> Result<(), NetlinkError> {
        let flags = flags::CREATE | flags::REPLACE;
        self.kernel.execute(&Message { what, kind: kind::NEW_ROUTE, flags, fixed, attributes })
    }

    fn index(&mut self, name: &str) -> Result<u32, NetlinkError> {
        let replies = self.kernel.ask(&Message {
            what: format!("find the link {name}"),
            kind: kind::GET_LINK,
            flags: 0,
            fixed: link_header(0, 0),
            attributes: vec![Attribute::text(attribute::NAME, name)],
        })?;
        let index = replies.first().and_then(|reply| reply.body.get(4..)?.first_chunk());
        index.map(|index| u32::from_ne_bytes(*index)).ok_or(NetlinkError::Garbled("a link without an index"))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Links")
    }
}

/// Turns a switch of this thread's namespace, `net/ipv4/ip_forward` say.
pub fn set_switch(name: &str, value: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys").join(name);
    std::fs::write(&path, value).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot set {} to {value}: {error}", path.display()))
    })
}

/// `struct ifinfomsg`, with these flags set.
fn link_header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header
}

/// `struct rtmsg` of an ordinary route in the main table.
fn route_header(destination: IpAddr, prefix: u8) -> Vec<u8> {
    const MAIN: u8 = 254;
    const STATIC: u8 = 4;
    const UNICAST: u8 = 1;
    vec![IpFamily::from_address(destination).number(), prefix, 0, 0, MAIN, STATIC, 0, UNICAST, 0, 0, 0, 0]
}
