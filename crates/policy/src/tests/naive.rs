//! The rules of the documentation, one after the other, as slowly and plainly as they can be written.

use super::samples::{HttpSample, Sample};
use crate::{Action, Authorization, Condition, HeaderMatch, Level, Mode, PathCondition, PathMatch};
use std::net::IpAddr;

/// Whether a request is let in; `observing` asks what were if everything that is observed counted.
pub(super) fn is_allowed(
    policies: &[(Level, &Authorization, bool)],
    sample: &Sample,
    observing: bool,
) -> bool {
    // "An authorization that a target names and nobody knows refuses."
    if policies.iter().any(|(_, _, known)| !known) {
        return false;
    }
    let counting: Vec<_> =
        policies.iter().filter(|(_, it, _)| observing || it.mode == Mode::Enforce).collect();
    // "A Deny that matches refuses, whatever an Allow says."
    if counting.iter().any(|(_, it, _)| it.action == Action::Deny && matches(it, sample)) {
        return false;
    }
    // "At each level that has an Allow one of them has to match."
    [Level::Gateway, Level::Route, Level::Service, Level::Pod].into_iter().all(|level| {
        let allows: Vec<_> =
            counting.iter().filter(|(at, it, _)| *at == level && it.action == Action::Allow).collect();
        allows.is_empty() || allows.iter().any(|(_, it, _)| matches(it, sample))
    })
}

fn matches(authorization: &Authorization, sample: &Sample) -> bool {
    let mut rules = authorization.rules.iter();
    rules.any(|rule| rule.conditions.iter().all(|it| holds(it, sample, authorization.action)))
}

fn holds(condition: &Condition, sample: &Sample, action: Action) -> bool {
    // "A condition that cannot be judged matches nothing in an Allow and everything in a Deny."
    judge(condition, sample, action).unwrap_or(match action {
        Action::Allow => false,
        Action::Deny => true,
    })
}

/// `None`: it cannot be judged.
fn judge(condition: &Condition, sample: &Sample, action: Action) -> Option<bool> {
    let peer = sample.peer.as_ref();
    Some(match condition {
        Condition::PeerIs(ids) => peer.is_some_and(|it| ids.iter().any(|id| id.as_str() == it.as_str())),
        Condition::PeerIsNot(ids) => !peer.is_some_and(|it| ids.iter().any(|id| id.as_str() == it.as_str())),
        Condition::PeerNamespaceIs { trust_domain, namespaces } => peer.is_some_and(|it| {
            let begins = |name| it.as_str().starts_with(&format!("spiffe://{trust_domain}/ns/{name}/sa/"));
            namespaces.iter().any(begins)
        }),
        Condition::ClientIn(set) => {
            let client = sample.client?;
            set.cidrs().iter().any(|it| is_in(client, &it.to_string()))
        }
        Condition::ClientNotIn(set) => {
            let client = sample.client?;
            !set.cidrs().iter().any(|it| is_in(client, &it.to_string()))
        }
        Condition::PortIs(ports) => ports.contains(&sample.port),
        Condition::HostIs(hosts) => {
            let host = sample.request.as_ref()?.host.to_lowercase();
            let host = host.split(':').next()?.trim_end_matches('.').to_owned();
            hosts.iter().any(|pattern| match pattern.to_string().strip_prefix('*') {
                None => pattern.to_string() == host,
                Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
            })
        }
        Condition::MethodIs(methods) => {
            let method = sample.request.as_ref()?.method.as_str();
            methods.iter().any(|it| it.as_str() == method)
        }
        Condition::PathIs(paths) => {
            let request = sample.request.as_ref()?;
            paths.iter().any(|it| path_holds(it, request, action))
        }
        Condition::HeaderIs(header) => return header_holds(header, sample.request.as_ref()?, action),
        Condition::AnyOf(lists) => lists.iter().any(|list| list.iter().all(|it| holds(it, sample, action))),
        Condition::NotUnderstood(_) => return None,
    })
}

/// Bit by bit. "IPv4-mapped addresses are IPv4 addresses."
fn is_in(address: IpAddr, cidr: &str) -> bool {
    let bits = |ip: IpAddr| -> Vec<bool> {
        let bytes = match ip {
            IpAddr::V4(it) => it.octets().to_vec(),
            IpAddr::V6(it) => match it.to_ipv4_mapped() {
                Some(it) => it.octets().to_vec(),
                None => it.octets().to_vec(),
            },
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
    };
    let (first, length) = cidr.split_once('/').unwrap();
    let (first, length): (_, usize) = (bits(first.parse().unwrap()), length.parse().unwrap());
    let address = bits(address);
    address.len() == first.len() && address[..length] == first[..length]
}

/// "Paths are compared as they are written and as lenient servers read them: a Deny matches one of the two, an Allow both."
fn path_holds(condition: &PathCondition, request: &HttpSample, action: Action) -> bool {
    let written = condition.as_written();
    // An Allow of a path that folds differently means that path, so its own folded form is what the folded reading is held to.
    let of_folded = match written {
        PathMatch::Exact(it) => PathMatch::Exact(lenient(it).into()),
        PathMatch::Prefix(it) => PathMatch::Prefix(lenient(it).trim_end_matches('/').into()),
        other => other.clone(),
    };
    let (path, folded) = (request.path.as_str(), lenient(&request.path));
    match action {
        Action::Allow => written.matches(path) && of_folded.matches(&folded),
        Action::Deny => written.matches(path) || written.matches(&folded) || of_folded.matches(&folded),
    }
}

/// Slashes merged, path parameters cut, `%2F`, `%5C` and `%3B` read as what they stand for.
fn lenient(path: &str) -> String {
    let mut read = path.to_owned();
    for (from, to) in
        [("%2F", "/"), ("%2f", "/"), ("%5C", "/"), ("%5c", "/"), ("\\", "/"), ("%3B", ";"), ("%3b", ";")]
    {
        read = read.replace(from, to);
    }
    let segments: Vec<&str> = read.split('/').map(|it| it.split(';').next().unwrap()).collect();
    let mut lenient = segments.join("/");
    while lenient.contains("//") {
        lenient = lenient.replace("//", "/");
    }
    lenient
}

fn header_holds(header: &HeaderMatch, request: &HttpSample, action: Action) -> Option<bool> {
    let lines: Option<Vec<&str>> = request
        .headers
        .get_all(&header.name)
        .iter()
        .map(|it| std::str::from_utf8(it.as_bytes()).ok())
        .collect();
    let lines = lines?;
    if lines.is_empty() {
        return Some(false);
    }
    Some(match action {
        Action::Allow => lines.iter().all(|it| header.value.matches(it)),
        Action::Deny => {
            lines.iter().any(|it| header.value.matches(it)) || header.value.matches(&lines.join(","))
        }
    })
}
