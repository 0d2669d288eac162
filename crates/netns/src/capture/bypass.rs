//! Whether a pod has connections that do not go through the tunnel: they are older than the rules, and no fence may cut them off.

use super::CaptureRules;
use crate::sockets::TcpConnection;
use std::collections::HashSet;

/// Whether one of these, which are all that the pod's namespace has, goes around the tunnel.
pub(super) fn is_among(all: &[TcpConnection], rules: &CaptureRules) -> bool {
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
    all.iter().any(|it| !is_tunnels(it) && !is_within(it) && !is_captured(it))
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
            (vec![], false, "nothing"),
            (vec![out, accepted], false, "out, captured"),
            (vec![out], true, "out, from before"),
            (vec![served, made], false, "in, from the tunnel"),
            (vec![served, another], true, "in, from before, beside another of the same program"),
            (vec![tunnels, taken], false, "the tunnel's own"),
            (vec![itself, loopback], false, "within the pod"),
        ] {
            assert_eq!(is_among(&all, &rules), expected, "{what}");
        }
    }
}
