//! A network from which addresses are given out by name: the same name gets the same address after every restart.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A network from which addresses are given out by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    network: u32,
    size: u32,
}

/// A text that is not a network we can give addresses out of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IPv4 network such as 127.96.0.0/16 (the prefix takes 8 to 30)")]
pub struct InvalidPool(String);

// === impl AddressPool ===

impl AddressPool {
    /// Where Services without a cluster IP get one, on a machine without privileges.
    pub const SERVICES: Self = Self::loopback(96);
    /// Where waypoints without pods and addresses get one.
    pub const WAYPOINTS: Self = Self::loopback(97);

    const fn loopback(second: u32) -> Self {
        Self { network: (127 << 24) | (second << 16), size: 1 << 16 }
    }

    /// How many addresses there are to give.
    pub fn capacity(&self) -> u32 {
        self.size - 2
    }

    /// The address a name asks for first; `attempt` moves on from one that is taken.
    pub fn pick(&self, name: &str, attempt: u32) -> Ipv4Addr {
        let slot = (stable_hash(name) % u64::from(self.capacity())) as u32;
        // Neither the first nor the last address: on a real network those are not hosts.
        let host = 1 + (slot + attempt % self.capacity()) % self.capacity();
        Ipv4Addr::from(self.network + host)
    }

    /// Whether an address is of this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & !(self.size - 1) == self.network
    }
}

/// FNV-1a. The standard hasher may change with the compiler, and with it every address.
fn stable_hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl FromStr for AddressPool {
    type Err = InvalidPool;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix) = (address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u32>().ok()?);
            let size = (8..=30).contains(&prefix).then(|| 1_u32 << (32 - prefix))?;
            Some(Self { network: u32::from(address) & !(size - 1), size })
        };
        parse().ok_or_else(|| InvalidPool(text.to_owned()))
    }
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.size.leading_zeros() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_addresses_of_its_network_and_never_its_first_or_last() {
        let pool: AddressPool = "10.0.0.8/30".parse().unwrap();
        assert_eq!(pool.capacity(), 2);
        for name in ["a", "b", "c", "d", "e", "f"] {
            for attempt in 0..5 {
                let address = pool.pick(name, attempt);
                assert!(["10.0.0.9", "10.0.0.10"].contains(&address.to_string().as_str()), "{address}");
            }
            assert_ne!(pool.pick(name, 0), pool.pick(name, 1));
        }
    }

    #[test]
    fn addresses_do_not_change_between_releases() {
        assert_eq!(AddressPool::SERVICES.pick("bookshop/reviews", 0).to_string(), "127.96.188.125");
        assert_eq!(AddressPool::SERVICES.to_string(), "127.96.0.0/16");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/7", "a/8", "::/64"] {
            assert!(text.parse::<AddressPool>().is_err(), "{text}");
        }
    }
}
