//! What an endpoint is told of the client: X-Forwarded-For and X-Forwarded-Proto.
//!
//! A Gateway is the edge: what a client says there of itself, in these or in other headers, is dropped (see [`crate::header_names`])
//! and said anew. A waypoint is inside: what the proxies before it said is kept, and added to.

use super::Origin;
use fairway_config::model::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Sets both. `address` is the client's.
pub(crate) fn tell(headers: &mut HeaderMap, origin: &Origin, scheme: Scheme, address: Option<&HeaderValue>) {
    let proto = match scheme {
        Scheme::Http => HeaderValue::from_static("http"),
        Scheme::Https => HeaderValue::from_static("https"),
    };
    match (origin, address) {
        (Origin::Gateway { .. }, Some(address)) => {
            headers.insert(FOR, address.clone());
            headers.insert(PROTO, proto);
        }
        (Origin::Gateway { .. }, None) => {
            headers.remove(FOR);
            headers.insert(PROTO, proto);
        }
        (Origin::Service(_), address) => {
            if let Some(address) = address {
                add(headers, address);
            }
            headers.entry(PROTO).or_insert(proto);
        }
    }
}

/// Adds an address to the end of the list, as one line: some servers read only the first.
fn add(headers: &mut HeaderMap, address: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        headers.insert(FOR, address.clone());
        return;
    }
    list.extend_from_slice(address.as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(FOR, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_added_to_what_earlier_proxies_said() {
        let mut headers = HeaderMap::new();
        add(&mut headers, &HeaderValue::from_static("10.0.0.3"));
        assert_eq!(headers[FOR], "10.0.0.3");
        headers.insert(FOR, HeaderValue::from_static("192.0.2.1"));
        headers.append(FOR, HeaderValue::from_static("10.0.0.1, 10.0.0.2"));
        add(&mut headers, &HeaderValue::from_static("10.0.0.3"));
        assert_eq!(
            headers.get_all(FOR).iter().collect::<Vec<_>>(),
            ["192.0.2.1, 10.0.0.1, 10.0.0.2, 10.0.0.3"]
        );
    }
}
