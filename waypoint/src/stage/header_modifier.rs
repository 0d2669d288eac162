//! Header modifiers, of requests and of responses.

use super::{Kept, StageRequest, SyncStage, Verdict};
use fairway_config::model::HeaderModifier;
use http::header::{HeaderMap, HeaderName};

/// Changes the headers of the request.
#[derive(Debug)]
pub(super) struct RequestHeaders {
    modifier: HeaderModifier,
    /// What it removes and sets: what a client says of it does not count.
    owned: Box<[HeaderName]>,
}

/// Changes the headers of the response.
#[derive(Debug)]
pub(super) struct ResponseHeaders(HeaderModifier);

impl RequestHeaders {
    pub(super) fn new(modifier: &HeaderModifier) -> Self {
        let set = modifier.set.iter().map(|(name, _)| name);
        let owned = modifier.remove.iter().chain(set).cloned().collect();
        Self { modifier: modifier.clone(), owned }
    }
}

impl ResponseHeaders {
    pub(super) fn new(modifier: &HeaderModifier) -> Self {
        Self(modifier.clone())
    }
}

impl SyncStage for RequestHeaders {
    fn name(&self) -> &'static str {
        "request-headers"
    }

    fn describe(&self) -> String {
        describe(&self.modifier)
    }

    fn owned(&self) -> &[HeaderName] {
        &self.owned
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        modify(&self.modifier, &mut request.parts.headers);
        Verdict::Continue
    }
}

impl SyncStage for ResponseHeaders {
    fn name(&self) -> &'static str {
        "response-headers"
    }

    fn describe(&self) -> String {
        describe(&self.0)
    }

    fn on_response(&self, response: &mut HeaderMap, _kept: &Kept<'_>) {
        modify(&self.0, response);
    }
}

/// Removes, sets and adds, in that order: what one filter removes and sets is replaced, and what it adds is there, whatever
/// came in. The API leaves the order open; Envoy's is the same. Of several entries that set one name the first counts, as
/// the API says.
fn modify(modifier: &HeaderModifier, headers: &mut HeaderMap) {
    for name in &modifier.remove {
        headers.remove(name);
    }
    for (name, value) in modifier.set.iter().rev() {
        headers.insert(name, value.clone());
    }
    for (name, value) in &modifier.add {
        headers.append(name, value.clone());
    }
}

fn describe(modifier: &HeaderModifier) -> String {
    let names =
        |verb: &str, names: Vec<&str>| (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")));
    let parts = [
        names("removes", modifier.remove.iter().map(|name| name.as_str()).collect()),
        names("sets", modifier.set.iter().map(|(name, _)| name.as_str()).collect()),
        names("adds", modifier.add.iter().map(|(name, _)| name.as_str()).collect()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn what_is_removed_and_set_or_added_is_replaced() {
        let name = HeaderName::from_static("x-a");
        for (set, add, expected) in [
            (vec![], vec![], vec![]),
            (vec![pair("x-a", "set")], vec![], vec!["set"]),
            (vec![], vec![pair("x-a", "added")], vec!["added"]),
            (vec![pair("x-a", "set")], vec![pair("x-a", "added")], vec!["set", "added"]),
        ] {
            let modifier = HeaderModifier { set, add, remove: vec![name.clone()] };
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static("old"));
            modify(&modifier, &mut headers);
            assert_eq!(values(&headers, "x-a"), expected, "{modifier:?}");
        }
    }
}
