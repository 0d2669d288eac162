//! The rules of `docs/access-policy.md`, one after the other, as slowly and plainly as they can be written.

use crate::resources::access_policy::{
    AccessAction, AccessOperation, AccessPath, AccessPathType, AccessPolicySpec, AccessRule, AccessSource,
};
use http::HeaderMap;
use std::net::IpAddr;

/// The sort of target that a policy guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Gateway,
    Service,
    Pods,
}

/// What is judged. The waypoints of all namespaces are called `waypoint-fairway-waypoint`.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub peer: Option<String>,
    pub client: Option<IpAddr>,
    pub port: u16,
    pub request: Option<Asked>,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub method: String,
    pub host: String,
    /// As routes compare it.
    pub path: String,
    pub headers: HeaderMap,
}

/// The namespace of the policies.
pub(super) const NAMESPACE: &str = "shop";

/// Whether policies that guard one target let pass. All of them are enforced.
pub(super) fn lets_pass(policies: &[AccessPolicySpec], place: Place, sample: &Sample) -> bool {
    // "A Deny that matches refuses, whatever others say."
    let denied = policies.iter().any(|it| it.action == AccessAction::Deny && matches(it, place, sample));
    // "Where there are Allows, one of them has to match."
    let allows: Vec<_> = policies.iter().filter(|it| it.action == AccessAction::Allow).collect();
    !denied && (allows.is_empty() || allows.iter().any(|it| matches(it, place, sample)))
}

fn matches(policy: &AccessPolicySpec, place: Place, sample: &Sample) -> bool {
    let is_deny = policy.action == AccessAction::Deny;
    let rules = policy.rules.as_deref().unwrap_or_default();
    // "A policy is carried out whole, or it lets nobody in."
    if !is_deny && rules.iter().any(|it| !is_whole(it, place)) {
        return false;
    }
    rules.iter().any(|rule| {
        let from = rule
            .from
            .as_ref()
            .is_none_or(|list| list.iter().any(|it| comes_from(it, place, is_deny, sample)));
        let to =
            rule.to.as_ref().is_none_or(|list| list.iter().any(|it| asks_for(it, place, is_deny, sample)));
        from && to
    })
}

/// Whether all fields are valid, and can be judged at such a target.
fn is_whole(rule: &AccessRule, place: Place) -> bool {
    let from = rule.from.iter().flatten().all(|it| {
        let has_addresses = it.cidrs.is_some() || it.except_cidrs.is_some();
        *it != AccessSource::default()
            && !(place == Place::Service && has_addresses)
            && it.cidrs.iter().chain(&it.except_cidrs).flatten().all(|it| range(it).is_some())
            && it.spiffe_ids.iter().flatten().all(|it| it.starts_with("spiffe://") && it.contains("/sa/"))
    });
    let to = rule.to.iter().flatten().all(|it| {
        let of_request = AccessOperation { ports: None, ..it.clone() } != AccessOperation::default();
        *it != AccessOperation::default()
            && !(place == Place::Pods && of_request)
            && it.ports.iter().flatten().all(|it| *it != 0)
            && it.paths.iter().flatten().all(|it| is_path(&it.value))
    });
    from && to
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.split('/').any(|it| it == "..")
}

fn comes_from(source: &AccessSource, place: Place, is_deny: bool, sample: &Sample) -> bool {
    let peer = sample.peer.as_deref();
    let is = |id: &str| peer == Some(id);
    // "At pods, a Deny that names clients refuses the waypoint of their namespace as well."
    let own_waypoint = is_deny && place == Place::Pods && is(&waypoint(NAMESPACE));
    // What is left out is no condition; what cannot be judged matches in a Deny.
    let mut holds = vec![*source != AccessSource::default() || is_deny];
    if let Some(accounts) = &source.service_accounts {
        let named = accounts.iter().any(|it| {
            let namespace = it.namespace.as_deref().unwrap_or(NAMESPACE);
            let speaks = is_deny && place != Place::Gateway && is(&waypoint(namespace));
            is(&format!("spiffe://cluster.local/ns/{namespace}/sa/{}", it.name)) || speaks
        });
        holds.push(named || (own_waypoint && !accounts.is_empty()));
    }
    if let Some(ids) = &source.spiffe_ids {
        let is_valid = ids.iter().all(|it| it.starts_with("spiffe://") && it.contains("/sa/"));
        let named = ids.iter().any(|it| {
            let mesh = it.strip_prefix("spiffe://cluster.local/ns/").and_then(|it| it.split_once('/'));
            let speaks = mesh
                .is_some_and(|(namespace, _)| is_deny && place != Place::Gateway && is(&waypoint(namespace)));
            is(it) || speaks
        });
        holds.push(if is_valid { named || (own_waypoint && !ids.is_empty()) } else { is_deny });
    }
    if let Some(namespaces) = &source.namespaces {
        let begins = |name: &String| {
            peer.is_some_and(|it| it.starts_with(&format!("spiffe://cluster.local/ns/{name}/sa/")))
        };
        holds.push(namespaces.iter().any(begins) || (own_waypoint && !namespaces.is_empty()));
    }
    // "... and the waypoint of each namespace that the entry names, wherever it is."
    let accounts = source.service_accounts.iter().flatten();
    let mut named: Vec<String> =
        accounts.map(|it| it.namespace.clone().unwrap_or(NAMESPACE.to_owned())).collect();
    let ids = source
        .spiffe_ids
        .iter()
        .flatten()
        .filter(|it| it.contains("/sa/"))
        .filter_map(|it| it.split("/ns/").nth(1)?.split('/').next());
    named.extend(ids.map(str::to_owned));
    named.extend(source.namespaces.iter().flatten().cloned());
    let speaks = is_deny && place == Place::Pods && named.iter().any(|it| is(&waypoint(it)));
    for (ranges, is_in) in [(&source.cidrs, true), (&source.except_cidrs, false)] {
        let Some(ranges) = ranges else { continue };
        let all_valid = ranges.iter().all(|it| range(it).is_some());
        let judged = sample.client.filter(|_| all_valid && place != Place::Service);
        holds.push(match judged {
            Some(client) => {
                let named = ranges.iter().any(|it| contains(it, client)) == is_in;
                named || ((own_waypoint || speaks) && !(is_in && ranges.is_empty()))
            }
            None => is_deny,
        });
    }
    // "The policy lets the waypoint in only if it names it."
    let names_nobody = source.service_accounts.is_none() && source.spiffe_ids.is_none();
    holds.push(is_deny || place != Place::Pods || !names_nobody || !is(&waypoint(NAMESPACE)));
    holds.into_iter().all(|it| it)
}

fn waypoint(namespace: &str) -> String {
    format!("spiffe://cluster.local/ns/{namespace}/sa/waypoint-fairway-waypoint")
}

fn asks_for(operation: &AccessOperation, place: Place, is_deny: bool, sample: &Sample) -> bool {
    let mut holds = vec![*operation != AccessOperation::default() || is_deny];
    if let Some(ports) = &operation.ports {
        holds.push(if ports.contains(&0) { is_deny } else { ports.contains(&sample.port) });
    }
    let request = sample.request.as_ref().filter(|_| place != Place::Pods);
    if let Some(hosts) = &operation.hosts {
        holds.push(request.map_or(is_deny, |it| hosts.iter().any(|host| is_host(host, &it.host))));
    }
    if let Some(methods) = &operation.methods {
        let is_same = |one: &str, other: &str| match is_deny {
            true => one.to_lowercase() == other.to_lowercase(),
            false => one == other,
        };
        holds.push(request.map_or(is_deny, |it| methods.iter().any(|method| is_same(method, &it.method))));
    }
    if let Some(paths) = &operation.paths {
        let all_valid = paths.iter().all(|it| is_path(&it.value));
        let judged = request.filter(|_| all_valid);
        holds.push(judged.map_or(is_deny, |it| paths.iter().any(|path| is_at(path, &it.path, is_deny))));
    }
    if let Some(methods) = &operation.grpc {
        let is_method = |path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            let [first, service, method] = parts[..] else { return false };
            first.is_empty()
                && !service.is_empty()
                && !method.is_empty()
                && methods.iter().any(|it| {
                    it.service.as_deref().is_none_or(|it| it == service)
                        && it.method.as_deref().is_none_or(|it| it == method)
                })
        };
        holds.push(request.map_or(is_deny, |it| {
            let mut all = readings(&it.path).into_iter().chain([it.path.clone()]);
            if is_deny { all.any(|it| is_method(&it)) } else { all.all(|it| is_method(&it)) }
        }));
    }
    if let Some(headers) = &operation.headers {
        holds.push(!headers.is_empty() || (is_deny && place == Place::Pods));
        for header in headers {
            holds.push(request.map_or(is_deny, |it| {
                let lines: Vec<&str> =
                    it.headers.get_all(&header.name).iter().map(|it| it.to_str().unwrap()).collect();
                let equal = |it: &str| it == header.value;
                match is_deny {
                    // "A line, a part of a list, or all lines joined."
                    true => {
                        let parts = || lines.iter().flat_map(|it| it.split(',')).map(str::trim);
                        lines.iter().any(|it| equal(it))
                            || parts().any(equal)
                            || (lines.len() > 1 && (equal(&lines.join(",")) || equal(&lines.join(", "))))
                    }
                    false => !lines.is_empty() && lines.iter().all(|it| equal(it)),
                }
            }));
        }
    }
    holds.into_iter().all(|it| it)
}

fn is_host(pattern: &str, host: &str) -> bool {
    let host = host.to_lowercase();
    let host = host.split(':').next().unwrap().trim_end_matches('.');
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
    }
}

fn is_at(written: &AccessPath, path: &str, is_deny: bool) -> bool {
    let matches = |pattern: &str, path: &str| match written.kind.unwrap_or_default() {
        AccessPathType::Exact => pattern == path,
        AccessPathType::PathPrefix => {
            let pattern = pattern.trim_end_matches('/');
            path == pattern || path.starts_with(&format!("{pattern}/")) || pattern.is_empty()
        }
    };
    let (all, own) = (readings(path), readings(&written.value));
    match is_deny {
        true => {
            let mut patterns = own.iter().chain([&written.value]);
            patterns.any(|it| matches(it, path) || all.iter().any(|reading| matches(it, reading)))
        }
        false => {
            matches(&written.value, path) && own.iter().zip(&all).all(|(own, reading)| matches(own, reading))
        }
    }
}

/// "As lenient servers read it": decoded again up to three times, `%2F` and `%3B` read as what they stand for before or after path
/// parameters are cut, slashes merged.
fn readings(path: &str) -> Vec<String> {
    let unescape = |it: &str| it.replace("%2F", "/").replace("%3B", ";");
    let cut = |it: &str| {
        let segments: Vec<&str> = it.split('/').map(|it| it.split(';').next().unwrap()).collect();
        segments.join("/")
    };
    let merge = |mut it: String| {
        while it.contains("//") {
            it = it.replace("//", "/");
        }
        it
    };
    let (mut readings, mut read) = (Vec::new(), path.to_owned());
    for _ in 0..3 {
        readings.extend([merge(cut(&unescape(&read))), merge(unescape(&cut(&read)))]);
        read = read.replace("%252F", "%2F").replace("%253B", "%3B").replace("%2561", "a");
    }
    readings
}

/// An address as bits; "IPv4-mapped addresses are IPv4 addresses".
fn bits(address: IpAddr) -> Vec<bool> {
    let bytes = match address.to_canonical() {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => it.octets().to_vec(),
    };
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

/// The bits that all addresses of a range begin with, and how many bits they have.
fn range(text: &str) -> Option<(Vec<bool>, usize)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(it, length)| (it, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let (is_mapped, bits) = (address.is_ipv6() && address.to_canonical().is_ipv4(), bits(address));
    let all = bits.len();
    let length: Option<usize> = length.map_or(Some(all), |it| it.parse().ok());
    // "::ffff:10.0.0.0/104 is 10.0.0.0/8."
    let length = if is_mapped && text.contains('/') { length?.checked_sub(96)? } else { length? };
    let (first, rest) = bits.split_at_checked(length)?;
    (!rest.contains(&true)).then(|| (first.to_vec(), all))
}

fn contains(text: &str, address: IpAddr) -> bool {
    let (Some((first, all)), address) = (range(text), bits(address)) else { return false };
    address.len() == all && address.starts_with(&first)
}
