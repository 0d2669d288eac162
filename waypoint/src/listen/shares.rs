//! How many connections each client address has, so that one cannot have them all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// While no more than this part of the connections is in use, nobody is counted out.
const FREE: usize = 2;
/// Beyond that, one address may have this part of them. Clients behind one address (a NAT, a load balancer that hides theirs)
/// share it.
const EACH: usize = 16;

/// Connections by client address.
#[derive(Debug, Default)]
pub struct Shares(Rc<RefCell<HashMap<IpAddr, usize, ahash::RandomState>>>);

/// One connection of a client. It is given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    counts: Rc<RefCell<HashMap<IpAddr, usize, ahash::RandomState>>>,
    client: IpAddr,
}

// === impl Shares ===

impl Shares {
    /// One more connection for a client, of `open` that all have and `limit` that all may have.
    pub fn admit(&self, client: IpAddr, open: usize, limit: usize) -> Option<Share> {
        let client = subscriber(client);
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(client).or_default();
        if open > limit / FREE && *count >= (limit / EACH).max(1) {
            return None;
        }
        *count += 1;
        Some(Share { counts: self.0.clone(), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Of IPv6, whoever has one address has the /64 around it (RFC 6177).
fn subscriber(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_its_share_once_half_is_in_use_and_the_others_have_theirs() {
        let shares = Shares::default();
        let mut held = Vec::new();
        while held.len() <= 64 {
            held.push(shares.admit(ip("192.0.2.1"), held.len(), 128).unwrap());
        }
        assert!(shares.admit(ip("192.0.2.1"), held.len(), 128).is_none());
        for _ in 0..8 {
            held.push(shares.admit(ip("192.0.2.2"), held.len(), 128).unwrap());
        }
        assert!(shares.admit(ip("192.0.2.2"), held.len(), 128).is_none());
        assert!(shares.admit(ip("192.0.2.3"), held.len(), 128).is_some());
        held.clear();
        assert!(shares.0.borrow().is_empty());
    }

    #[test]
    fn the_addresses_of_one_subscriber_are_one() {
        for (one, two, same) in [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
        ] {
            assert_eq!(subscriber(ip(one)) == subscriber(ip(two)), same, "{one} {two}");
        }
    }
}
