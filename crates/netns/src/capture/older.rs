//! The connections of a pod that are older than its rules. They go on around the tunnel until they end, and are the only ones:
//! they are known one by one from the moment of capture on, and none is ever added.

use super::{CaptureRules, attribute};
use crate::IpFamily;
use crate::address::octets;
use crate::netlink::Attribute;
use crate::sockets::TcpConnection;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

/// More are not told apart: they would not go to the kernel in one message.
const MOST: usize = 2000;

/// Connections that are older than the rules, by their ends: the pod's and the other's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Older(BTreeSet<(SocketAddr, SocketAddr)>);

/// Which end of a connection is this host's, of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// The set that a rule looks them up in.
pub(super) fn set_name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::IPv4 => "older4",
        IpFamily::IPv6 => "older6",
    }
}

// === impl Older ===

impl Older {
    /// Those of these that go around the tunnel. These are all that the pod's namespace has.
    pub(super) fn among(all: &[TcpConnection], rules: &CaptureRules) -> Self {
        let tunnel_ports = [rules.outbound_port, rules.inbound_port, rules.hbone_port];
        let is_tunnels =
            |it: &TcpConnection| it.mark == rules.own_mark || tunnel_ports.contains(&it.local.port());
        // The ends that the tunnel has: accepted from a program under the tunnel's port, or made to it, maybe in a client's name.
        let tunnels = || all.iter().filter(|it| is_tunnels(it));
        let accepted: HashSet<_> =
            tunnels().filter(|it| it.local.port() == rules.outbound_port).map(|it| it.remote).collect();
        let made: HashSet<_> = tunnels().map(|it| (it.remote, it.local)).collect();
        let is_captured =
            |it: &TcpConnection| accepted.contains(&it.local) || made.contains(&(it.local, it.remote));
        let is_within = |it: &TcpConnection| it.remote.ip().is_loopback() || it.remote.ip() == it.local.ip();
        let around = all.iter().filter(|it| !is_tunnels(it) && !is_within(it) && !is_captured(it));
        around.map(|it| (it.local, it.remote)).collect()
    }

    /// Those that are still there.
    pub(super) fn still_among(&self, now: &Self) -> Self {
        Self(self.0.intersection(&now.0).copied().collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the kernel can be told of each.
    pub(super) fn is_countable(&self) -> bool {
        self.len() <= MOST
    }

    /// Their keys in the set of a family, as [`super::expression`] puts them together from a packet.
    pub(super) fn keys(&self, family: IpFamily) -> Vec<Vec<u8>> {
        let of_family = self.0.iter().filter(|(local, _)| IpFamily::from_address(local.ip()) == family);
        of_family
            .map(|(local, remote)| {
                let mut key = octets(local.ip());
                key.extend(octets(remote.ip()));
                for port in [local.port(), remote.port()] {
                    key.extend(port.to_be_bytes());
                    key.extend([0; 2]);
                }
                key
            })
            .collect()
    }

    /// Takes up the elements of the set of a family, as the kernel lists them. None if one is no key of ours.
    pub(super) fn read(&mut self, family: IpFamily, elements: &[u8]) -> Option<()> {
        const KEY: u16 = 1;
        const VALUE: u16 = 1;
        for (_, element) in crate::netlink::attributes(elements) {
            let key = attribute(attribute(element, KEY)?, VALUE)?;
            self.0.insert(parse(family, key)?);
        }
        Some(())
    }
}

impl FromIterator<(SocketAddr, SocketAddr)> for Older {
    fn from_iter<T: IntoIterator<Item = (SocketAddr, SocketAddr)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

fn parse(family: IpFamily, key: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let length = match family {
        IpFamily::IPv4 => 4,
        IpFamily::IPv6 => 16,
    };
    let ip = |number: usize| {
        let octets = key.get(number * length..(number + 1) * length)?;
        Some(match family {
            IpFamily::IPv4 => IpAddr::from(*octets.first_chunk::<4>()?),
            IpFamily::IPv6 => IpAddr::from(*octets.first_chunk::<16>()?),
        })
    };
    let port = |number: usize| {
        let octets = key.get(2 * length + 4 * number..)?;
        octets.first_chunk().map(|port| u16::from_be_bytes(*port))
    };
    Some((SocketAddr::new(ip(0)?, port(0)?), SocketAddr::new(ip(1)?, port(1)?)))
}

/// The elements of a set, from their keys.
pub(super) fn elements(keys: &[Vec<u8>]) -> Vec<Attribute> {
    const LIST_ELEMENT: u16 = 1;
    const KEY: u16 = 1;
    const VALUE: u16 = 1;
    let element = |key: &Vec<u8>| {
        let value = vec![Attribute::bytes(VALUE, key.clone())];
        Attribute::nested(LIST_ELEMENT, vec![Attribute::nested(KEY, value)])
    };
    keys.iter().map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Mark;

    #[test]
    fn only_what_the_tunnel_has_no_end_of_goes_around_it() {
        let rules = CaptureRules::default();
        let connection = |local: &str, remote: &str, mark: Mark| TcpConnection {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            mark,
        };
        let none = Mark(0);
        let out = connection("10.0.0.2:40000", "10.96.0.1:80", none);
        let accepted = connection("127.0.0.1:15001", "10.0.0.2:40000", none);
        let served = connection("10.0.0.2:8080", "10.0.0.9:5000", none);
        let made = connection("10.0.0.9:5000", "10.0.0.2:8080", rules.own_mark);
        let another = connection("10.0.0.9:5001", "10.0.0.2:8080", rules.own_mark);
        let tunnels = connection("10.0.0.2:41000", "10.0.0.9:15008", rules.own_mark);
        let taken = connection("10.0.0.2:15008", "10.0.0.9:42000", none);
        let itself = connection("10.0.0.2:43000", "10.0.0.2:8080", none);
        let loopback = connection("127.0.0.1:44000", "127.0.0.1:9000", none);
        for (all, expected, what) in [
            (vec![], vec![], "nothing"),
            (vec![out, accepted], vec![], "out, captured"),
            (vec![out], vec![out], "out, from before"),
            (vec![served, made], vec![], "in, from the tunnel"),
            (vec![served, another], vec![served], "in, from before, beside another of the same program"),
            (vec![tunnels, taken], vec![], "the tunnel's own"),
            (vec![itself, loopback], vec![], "within the pod"),
        ] {
            let expected: Older = expected.into_iter().map(|it| (it.local, it.remote)).collect();
            assert_eq!(Older::among(&all, &rules), expected, "{what}");
        }
    }

    #[test]
    fn what_the_kernel_lists_is_what_it_was_told() {
        let pair = |local: &str, remote: &str| (local.parse().unwrap(), remote.parse().unwrap());
        let told: Older = [
            pair("10.0.0.2:8080", "10.0.0.9:40000"),
            pair("10.0.0.2:40000", "10.0.0.9:443"),
            pair("[fd00::2]:8080", "[fd00::9]:40000"),
        ]
        .into_iter()
        .collect();
        let mut read = Older::default();
        for family in [IpFamily::IPv4, IpFamily::IPv6] {
            let mut bytes = Vec::new();
            elements(&told.keys(family)).iter().for_each(|it| it.encode(&mut bytes));
            assert_eq!(read.read(family, &bytes), Some(()));
        }
        assert_eq!(read, told);
        assert_eq!(read.read(IpFamily::IPv6, &[12, 0, 1, 0, 8, 0, 1, 0, 4, 0, 1, 0]), None, "cut off");
    }

    #[test]
    fn none_is_ever_added() {
        let pair =
            |port: u16| (SocketAddr::from(([10, 0, 0, 2], 8080)), SocketAddr::from(([10, 0, 0, 9], port)));
        let before: Older = [pair(1), pair(2)].into_iter().collect();
        let now: Older = [pair(2), pair(3)].into_iter().collect();
        assert_eq!(before.still_among(&now), [pair(2)].into_iter().collect());
    }
}
