//! Whether a Gateway's listeners can be told apart. None of those that cannot wins: all are refused.

use crate::status::reason;
use fairway_config::model::HostnamePattern;
use fairway_gateway_api::gateways::GatewayListeners;
use std::collections::HashMap;

/// Why a listener cannot be told apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The API's word for it.
    pub reason: &'static str,
    /// With which others, and why.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

/// The listeners that conflict, by their place in the list.
pub(super) fn conflicts(listeners: &[GatewayListeners]) -> HashMap<usize, Conflict> {
    let mut found = HashMap::new();
    for (index, it) in listeners.iter().enumerate().filter(|(_, it)| is_http(it)) {
        let others =
            || listeners.iter().enumerate().filter(|(at, other)| *at != index && other.port == it.port);
        let protocol = others().filter(|(_, other)| is_http(other) && other.protocol != it.protocol);
        let protocol = names(protocol.map(|(_, other)| other));
        let hostname = others().filter(|(_, other)| other.protocol == it.protocol && host(other) == host(it));
        let hostname = names(hostname.map(|(_, other)| other));
        let conflict = match (protocol.is_empty(), hostname.is_empty()) {
            (false, _) => Conflict {
                reason: reason::PROTOCOL_CONFLICT,
                message: format!(
                    "port {} is asked for with another protocol by listener {protocol}",
                    it.port
                ),
                remedy: "give each protocol a port of its own",
            },
            (true, false) => Conflict {
                reason: reason::HOSTNAME_CONFLICT,
                message: format!("port {} and the hostname are those of listener {hostname} too", it.port),
                remedy: "give the listeners different hostnames or ports, or make them one",
            },
            (true, true) => continue,
        };
        found.insert(index, conflict);
    }
    found
}

/// The HTTPS listeners whose hostnames cover a common name, with the names of the others: a browser that coalesces
/// connections may send requests for one over a connection made for the other (GEP-3567).
pub(super) fn overlaps(listeners: &[GatewayListeners]) -> HashMap<usize, String> {
    let https = || listeners.iter().enumerate().filter(|(_, it)| it.protocol == "HTTPS");
    let overlap = |a: &GatewayListeners, b: &GatewayListeners| match (pattern(a), pattern(b)) {
        (Some(a), Some(b)) => a.intersect(&b).is_some(),
        _ => true,
    };
    https()
        .filter_map(|(index, it)| {
            let others =
                https().filter(|(at, other)| *at != index && other.port == it.port && overlap(it, other));
            let names = names(others.map(|(_, other)| other));
            (!names.is_empty()).then_some((index, names))
        })
        .collect()
}

fn is_http(listener: &GatewayListeners) -> bool {
    matches!(listener.protocol.as_str(), "HTTP" | "HTTPS" | "HBONE")
}

fn host(listener: &GatewayListeners) -> String {
    listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase()
}

fn pattern(listener: &GatewayListeners) -> Option<HostnamePattern> {
    listener.hostname.as_deref().and_then(|it| it.parse().ok())
}

fn names<'a>(listeners: impl Iterator<Item = &'a GatewayListeners>) -> String {
    listeners.map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
}
