//! Addresses, as links have them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// The text is no `address/prefix`, or the prefix is too long for the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address with a prefix length, such as 10.0.0.1/24")]
pub struct SubnetError(String);

/// The two kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// Addresses of four bytes, RFC 791.
    IPv4,
    /// Addresses of sixteen bytes, RFC 8200.
    IPv6,
}

/// The hardware address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub(crate) [u8; 6]);

// === impl Subnet ===

impl Subnet {
    /// None if the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// The address with its host part, as it was written.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many of its bits all addresses of the network share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Which kind of address.
    pub fn family(self) -> IpFamily {
        IpFamily::from_address(self.address)
    }

    /// Whether an address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        let bits = |address| match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let ((ours, our_kind), (theirs, their_kind)) = (bits(self.address), bits(address));
        let differing = (ours ^ theirs).leading_zeros();
        our_kind == their_kind && differing >= u32::from(self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| SubnetError(text.to_owned()))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

// === impl Mac ===

impl Mac {
    /// One that follows from an IP address: who takes over the address is not looked for where it was before.
    pub fn from_address(address: IpAddr) -> Self {
        // Locally administered, not multicast.
        let mut mac = [0x02, 0xfa, 0, 0, 0, 0];
        let octets = octets(address);
        for (byte, octet) in mac.iter_mut().rev().zip(octets.iter().rev()).take(4) {
            *byte = *octet;
        }
        Self(mac)
    }
}

// === impl IpFamily ===

impl IpFamily {
    /// The family that an address is written in.
    pub fn from_address(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::IPv4 } else { Self::IPv6 }
    }

    /// Those that this thread's namespace has: IPv6 may be compiled out or switched off.
    pub(crate) fn present() -> Vec<Self> {
        let has_v6 = std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
            .is_ok_and(|value| value.trim() == "0");
        if has_v6 { vec![Self::IPv4, Self::IPv6] } else { vec![Self::IPv4] }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::IPv4 => libc::AF_INET as u8,
            Self::IPv6 => libc::AF_INET6 as u8,
        }
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_follows_from_an_address() {
        assert_eq!(Mac::from_address("10.42.0.7".parse().unwrap()).0, [0x02, 0xfa, 10, 42, 0, 7]);
        assert_eq!(Mac::from_address("fd00::1:2".parse().unwrap()).0, [0x02, 0xfa, 0, 1, 0, 2]);
    }

    #[test]
    fn a_subnet_is_read_and_knows_its_addresses() {
        let subnet: Subnet = "10.42.0.1/16".parse().unwrap();
        assert!(subnet.contains("10.42.255.7".parse().unwrap()));
        assert!(!subnet.contains("10.43.0.1".parse().unwrap()));
        assert!(!subnet.contains("::a2a:1".parse().unwrap()));
        assert!("fd00::1/64".parse::<Subnet>().unwrap().contains("fd00::ffff".parse().unwrap()));
        for wrong in ["10.0.0.1", "10.0.0.1/33", "fd00::/129", "/8", "x/8", "10.0.0.1/-1"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }
}
