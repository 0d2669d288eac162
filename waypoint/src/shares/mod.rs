//! How much of what a worker has one client or one backend may take, so that it cannot have all of it.

mod listener;
mod mirrors;

pub use listener::{ListenerConnections, ListenerPlace};
pub use mirrors::MirrorPlaces;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// While no more than this part is in use, nobody is counted out.
const FREE: usize = 2;
/// Beyond that, one may have this part. Clients behind one address (a NAT, a load balancer that hides theirs) share it.
pub const EACH: usize = 16;

type Counts<K> = Rc<RefCell<HashMap<K, usize, ahash::RandomState>>>;

/// What is in use, by whom.
#[derive(Clone, Debug)]
pub struct Shares<K>(Counts<K>);

/// One place that somebody has. It is given back when it is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    counts: Counts<K>,
    holder: K,
}

// === impl Shares ===

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Counts::default())
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// One more for a holder, unless it has `most` already.
    pub fn take(&self, holder: K, most: usize) -> Option<Share<K>> {
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(holder.clone()).or_default();
        // Who holds nothing is never counted out, so that no empty count stays.
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(Share { counts: self.0.clone(), holder })
    }
}

impl Shares<IpAddr> {
    /// One more for a client, of `taken` that all have and `limit` that all may have.
    pub fn admit(&self, client: IpAddr, taken: usize, limit: usize) -> Option<Share<IpAddr>> {
        let most = if taken > limit / FREE { limit / EACH } else { usize::MAX };
        self.take(subscriber(client), most)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.holder);
            }
        }
    }
}

/// Of IPv6, whoever has one address has the /64 around it (RFC 6177).
pub fn subscriber(client: IpAddr) -> IpAddr {
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
