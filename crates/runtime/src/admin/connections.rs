//! The connections of a port, of which there may be so many.

use std::collections::VecDeque;
use std::net::IpAddr;
use tokio::task::AbortHandle;

/// The connections that are open, the oldest first.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: VecDeque<(IpAddr, AbortHandle)>,
}

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: VecDeque::new() }
    }

    /// One more. Where there are too many, the address that has most loses its oldest.
    pub(super) fn add(&mut self, address: IpAddr, connection: AbortHandle) {
        self.open.retain(|(_, it)| !it.is_finished());
        self.open.push_back((network(address), connection));
        if self.open.len() <= self.most {
            return;
        }
        let count = |address: &IpAddr| self.open.iter().filter(|(it, _)| it == address).count();
        // Of several that have as many, the one with the oldest connection.
        let most =
            (0..self.open.len()).rev().max_by_key(|at| self.open.get(*at).map_or(0, |(it, _)| count(it)));
        let Some((address, _)) = most.and_then(|at| self.open.get(at)).cloned() else { return };
        if let Some(oldest) = self.open.iter().position(|(it, _)| *it == address)
            && let Some((_, connection)) = self.open.remove(oldest)
        {
            connection.abort();
        }
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => IpAddr::V6((it.to_bits() >> 64 << 64).into()),
        it @ IpAddr::V4(_) => it,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> AbortHandle {
        tokio::spawn(std::future::pending::<()>()).abort_handle()
    }

    #[tokio::test]
    async fn the_address_that_has_most_loses_its_oldest() {
        let [greedy, other, third]: [IpAddr; 3] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|it| it.parse().unwrap());
        let mut connections = Connections::new(4);
        let mut add = |address| {
            let connection = pending();
            connections.add(address, connection.clone());
            connection
        };
        let all = [add(other), add(greedy), add(greedy), add(greedy), add(third), add(greedy)];
        tokio::task::yield_now().await;
        let ended: Vec<_> = all.iter().map(AbortHandle::is_finished).collect();
        assert_eq!(ended, [false, true, true, false, false, false]);
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_count_together_and_mapped_ones_as_ipv4() {
        let mut connections = Connections::new(2);
        let all = ["2001:db8::1", "10.0.0.1", "2001:db8::2", "::ffff:10.0.0.1"].map(|it| {
            let connection = pending();
            connections.add(it.parse().unwrap(), connection.clone());
            connection
        });
        tokio::task::yield_now().await;
        assert_eq!(all.map(|it| it.is_finished()), [true, true, false, false]);
    }
}
