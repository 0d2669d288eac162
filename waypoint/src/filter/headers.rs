//! Header modifiers.

use super::InvalidFilter;
use fairway_config::model::{Filter, HeaderModifier, Route};
use http::header::{self, HeaderMap, HeaderName};

/// Headers of one connection, not of the message (RFC 9110 §7.6.1), and those that say where a body ends.
const OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Refuses a route whose modifiers touch what is not theirs.
pub fn check(route: &Route) -> Result<(), InvalidFilter> {
    let filters = route.rules.iter().flat_map(|rule| {
        rule.filters.iter().chain(rule.backends.iter().flat_map(|backend| &backend.filters))
    });
    for filter in filters {
        let (Filter::RequestHeaders(modifier) | Filter::ResponseHeaders(modifier)) = filter else {
            continue;
        };
        let set_or_added = modifier.set.iter().chain(&modifier.add).map(|(name, _)| name);
        for name in set_or_added.chain(&modifier.remove) {
            if OF_CONNECTION.contains(name) {
                return Err(InvalidFilter::ConnectionHeader(name.clone()));
            }
            if *name == header::HOST {
                return Err(InvalidFilter::Host);
            }
        }
    }
    Ok(())
}

/// Sets, adds and removes. Of several entries that set one name the first counts, as the API says.
pub(super) fn modify(modifier: &HeaderModifier, headers: &mut HeaderMap) {
    for (name, value) in modifier.set.iter().rev() {
        headers.insert(name, value.clone());
    }
    for (name, value) in &modifier.add {
        headers.append(name, value.clone());
    }
    for name in &modifier.remove {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::{Attachment, Audience, ObjectName, RouteKind, Rule, Timeouts};
    use http::HeaderValue;

    fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|it| it.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn set_replaces_all_values_add_appends_and_remove_takes_all_away() {
        let modifier = HeaderModifier {
            set: vec![pair("x-set", "new"), pair("x-set", "ignored")],
            add: vec![pair("x-add", "new")],
            remove: vec![HeaderName::from_static("x-remove")],
        };
        let mut headers = HeaderMap::new();
        for name in ["x-set", "x-add", "x-remove", "x-other"] {
            headers.append(name, HeaderValue::from_static("old"));
            headers.append(name, HeaderValue::from_static("older"));
        }
        modify(&modifier, &mut headers);
        assert_eq!(values(&headers, "x-set"), ["new"]);
        assert_eq!(values(&headers, "x-add"), ["old", "older", "new"]);
        assert_eq!(values(&headers, "x-remove"), [""; 0]);
        assert_eq!(values(&headers, "x-other"), ["old", "older"]);
    }

    #[test]
    fn headers_of_the_connection_and_the_host_are_refused_wherever_they_stand() {
        let route = |modifier: HeaderModifier, on_response: bool| Route {
            key: "HTTPRoute/a/b".into(),
            kind: RouteKind::Http,
            object: ObjectName::new("a", "b"),
            created: 0,
            attachments: vec![Attachment::Service {
                service: "a/b".into(),
                port: None,
                audience: Audience::Producer,
            }],
            rules: vec![Rule {
                name: None,
                matches: vec![],
                filters: vec![if on_response {
                    Filter::ResponseHeaders(modifier)
                } else {
                    Filter::RequestHeaders(modifier)
                }],
                backends: vec![],
                timeouts: Timeouts::default(),
                retry: None,
            }],
        };
        let names =
            ["connection", "transfer-encoding", "content-length", "te", "upgrade", "keep-alive", "host"];
        for name in names {
            let bad = pair(name, "x");
            for modifier in [
                HeaderModifier { set: vec![bad.clone()], ..Default::default() },
                HeaderModifier { add: vec![bad.clone()], ..Default::default() },
                HeaderModifier { remove: vec![bad.0.clone()], ..Default::default() },
            ] {
                assert!(check(&route(modifier.clone(), false)).is_err(), "{name}");
                assert!(check(&route(modifier, true)).is_err(), "{name}");
            }
        }
        let fine = HeaderModifier { set: vec![pair("x-fine", "x")], ..Default::default() };
        assert!(check(&route(fine, false)).is_ok());
    }
}
