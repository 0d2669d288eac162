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
            match action {
                Action::Allow => methods.iter().any(|it| it.as_str() == method),
                Action::Deny => methods.iter().any(|it| it.as_str().to_lowercase() == method.to_lowercase()),
            }
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

/// "Paths are compared as they are written and as lenient servers read them: a Deny matches one reading, an Allow all."
fn path_holds(condition: &PathCondition, request: &HttpSample, action: Action) -> bool {
    let written = condition.as_written();
    let path = request.path.as_str();
    // An Allow of a path that servers read differently means that path, so each reading is held to the same reading of its own.
    let own: Vec<PathMatch> = match written {
        PathMatch::Exact(it) => readings(it).into_iter().map(|it| PathMatch::Exact(it.into())).collect(),
        PathMatch::Prefix(it) => {
            let prefix = |it: String| PathMatch::Prefix(it.trim_end_matches('/').into());
            readings(it).into_iter().map(prefix).collect()
        }
        other => vec![other.clone(); 6],
    };
    let all = readings(path);
    match action {
        Action::Allow => {
            written.matches(path) && own.iter().zip(&all).all(|(own, reading)| own.matches(reading))
        }
        Action::Deny => {
            let mut conditions = own.iter().chain([written]);
            conditions.any(|it| it.matches(path) || all.iter().any(|reading| it.matches(reading)))
        }
    }
}

/// Decoded once to three times; each time parameters are cut behind escaped slashes, and before them.
fn readings(path: &str) -> Vec<String> {
    let (mut readings, mut read) = (Vec::new(), path.to_owned());
    for _ in 0..3 {
        readings.extend([merge(&cut(&unescape(&read))), merge(&unescape(&cut(&read)))]);
        read = decode(&read);
    }
    readings
}

fn unescape(path: &str) -> String {
    let mut read = path.to_owned();
    for (from, to) in
        [("%2F", "/"), ("%2f", "/"), ("%5C", "/"), ("%5c", "/"), ("\\", "/"), ("%3B", ";"), ("%3b", ";")]
    {
        read = read.replace(from, to);
    }
    read
}

fn cut(path: &str) -> String {
    let path = path.replace('\\', "/");
    let segments: Vec<&str> = path.split('/').map(|it| it.split(';').next().unwrap()).collect();
    segments.join("/")
}

fn merge(path: &str) -> String {
    let mut merged = path.to_owned();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    merged
}

/// `%25` and two digits: one escape less.
fn decode(path: &str) -> String {
    let mut parts = path.split("%25");
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        match part.get(..2).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit())) {
            Some(digits) => {
                let byte = u8::from_str_radix(digits, 16).unwrap();
                let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                let escape = format!("%{}", digits.to_uppercase());
                decoded += &if is_unreserved { char::from(byte).to_string() } else { escape };
                decoded += &part[2..];
            }
            None => decoded += &format!("%25{part}"),
        }
    }
    decoded
}

fn header_holds(header: &HeaderMatch, request: &HttpSample, action: Action) -> Option<bool> {
    let named = |name: &str| -> Option<Vec<&str>> {
        let all = request.headers.iter().filter(|(it, _)| it.as_str() == name);
        all.map(|(_, it)| std::str::from_utf8(it.as_bytes()).ok()).collect()
    };
    let names: std::collections::BTreeSet<&str> = request.headers.keys().map(|it| it.as_str()).collect();
    let is_other = |it: &&&str| {
        **it != header.name.as_str() && it.replace('_', "-") == header.name.as_str().replace('_', "-")
    };
    let others: Vec<&str> = names.iter().filter(is_other).copied().collect();
    if action == Action::Allow {
        if !others.is_empty() {
            return None;
        }
        let lines = named(header.name.as_str())?;
        let lines = if header.name == "cookie" && !lines.is_empty() {
            vec![cookie_of(&lines)]
        } else {
            lines.into_iter().map(str::to_owned).collect()
        };
        return Some(!lines.is_empty() && lines.iter().all(|it| header.value.matches(it)));
    }
    let mut lines = named(header.name.as_str())?;
    for it in others {
        lines.extend(named(it)?);
    }
    let separator = if header.name == "cookie" { ';' } else { ',' };
    let mut readings: Vec<String> = lines.iter().map(|it| it.to_string()).collect();
    readings.extend(
        lines
            .iter()
            .filter(|it| it.contains(separator))
            .flat_map(|it| it.split(separator))
            .map(|it| it.trim().to_owned()),
    );
    if lines.len() > 1 {
        readings.extend(match header.name == "cookie" {
            true => vec![cookie_of(&lines)],
            false => vec![lines.join(","), lines.join(", ")],
        });
    }
    Some(readings.iter().any(|it| header.value.matches(it)))
}

/// RFC 9113 §8.2.3, of the pieces that have something in them.
fn cookie_of(lines: &[&str]) -> String {
    let said: Vec<&str> = lines.iter().copied().filter(|it| !it.is_empty()).collect();
    said.join("; ")
}
