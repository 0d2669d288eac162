//! Session affinity by rendezvous hashing.

use std::net::{IpAddr, SocketAddr};

/// The rendezvous hash key of a client or of an endpoint.
///
/// A client goes to the endpoint with the highest [`score`](Self::score). All proxies therefore agree without a table, and
/// removing an endpoint moves only its own clients. The keys and scores are the same in every process and every version:
/// proxies of two versions serve one Service during an upgrade.
///
/// ```
/// use fairway_balance::HashKey;
/// use std::net::SocketAddr;
///
/// let client = HashKey::of_client([10, 244, 1, 7].into());
/// let choose = |endpoints: &[SocketAddr]| {
///     endpoints.iter().copied().max_by_key(|address| HashKey::of_endpoint(*address).score(client))
/// };
///
/// let all: Vec<SocketAddr> = (1..=3_u8).map(|host| ([10, 0, 0, host], 80).into()).collect();
/// let chosen = choose(&all);
/// for removed in all.iter().filter(|address| Some(**address) != chosen) {
///     let rest: Vec<SocketAddr> = all.iter().copied().filter(|address| address != removed).collect();
///     assert_eq!(choose(&rest), chosen);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(u64);

// === impl HashKey ===

impl HashKey {
    /// The key of a client: of its address alone, because each connection has another port. An IPv4-mapped IPv6 address has
    /// the key of the IPv4 address.
    pub fn of_client(address: IpAddr) -> Self {
        Self::hash(address, 0)
    }

    /// The key of an endpoint: of its address and its port.
    pub fn of_endpoint(address: SocketAddr) -> Self {
        Self::hash(address.ip(), address.port())
    }

    /// The score of this endpoint for `client`.
    pub fn score(self, client: Self) -> u64 {
        mix(self.0 ^ client.0.rotate_left(32))
    }

    fn hash(address: IpAddr, port: u16) -> Self {
        let bits = match address.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let halves = [bits, bits >> 64].map(|half| (half & u128::from(u64::MAX)) as u64);
        Self(halves.into_iter().fold(mix(u64::from(port)), |hash, half| mix(hash ^ half)))
    }
}

/// The finalizer of SplitMix64: each bit of the input flips about half of the bits of the output.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_the_same_in_every_version() {
        let client = HashKey::of_client("10.244.1.7".parse().unwrap());
        let endpoint = HashKey::of_endpoint("[fd00::1]:8080".parse().unwrap());
        assert_eq!(client, HashKey::of_client("::ffff:10.244.1.7".parse().unwrap()));
        assert_eq!(endpoint.score(client), 447_546_417_622_411_065);
    }
}
