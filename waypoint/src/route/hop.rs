//! Which rules a request has passed, so that it does not pass one twice.
//!
//! An endpoint can be the proxy itself, by mistake or by intent: an EndpointSlice may name any address. Each round would then
//! make another one, until descriptors or memory end. So each rule that sends a request on adds its mark to a header, and
//! refuses a request that bears it already with 508 (RFC 5842 §7.2); mirrored copies bear it, too. The header is written
//! after the stages: no route can take it out or forge it. A client that forges it gets the 508 itself and nobody else.
//!
//! The mark is of the rule and not of the proxy: an application may send what it gets to another route of the same Gateway.
//! It holds at every replica. Creation times tell routes of one name in several clusters apart.

use fairway_config::model::{ListenerKey, Route};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that bears the marks.
pub const VIA: HeaderName = HeaderName::from_static("x-fairway-via");

/// Rules that a request passes at most, and routes that bytes do.
pub const MOST: usize = 16;

/// Length of a mark.
const DIGITS: usize = 16;

/// The mark of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop(HeaderValue);

/// The marks that a request came with.
#[derive(Clone, Debug)]
pub struct Hops(Result<Option<HeaderValue>, Looped>);

/// The request has passed the rule before, or too many rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has passed this rule before")]
pub struct Looped;

// === impl Hop ===

impl Hop {
    /// The mark of a route's rule.
    pub fn for_rule(route: &Route, rule: usize) -> Self {
        let parts: [&[u8]; 3] =
            [route.key.as_str().as_bytes(), &route.created.to_be_bytes(), &(rule as u64).to_be_bytes()];
        Self::marked(&parts)
    }

    /// The mark of a listener, which its filters put on what they send. What a rule sends on does not bear it.
    pub fn for_listener(listener: &ListenerKey) -> Self {
        Self::marked(&[b"listener", listener.as_str().as_bytes()])
    }

    fn marked(parts: &[&[u8]]) -> Self {
        let mark = parts.iter().flat_map(|part| part.iter().copied().chain([0xff])).fold(BASIS, mixed);
        let text = format!("{mark:0DIGITS$x}");
        Self(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0")))
    }
}

/// FNV-1a: the same in every process.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn mixed(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

// === impl Hops ===

impl Hops {
    /// Takes the marks out of a request.
    pub fn take(headers: &mut HeaderMap) -> Self {
        let mut marks = headers.get_all(VIA).iter();
        let Some(first) = marks.next() else { return Self(Ok(None)) };
        let list = match marks.next() {
            None => Ok(first.clone()),
            Some(_) => {
                let lines: Vec<&[u8]> = headers.get_all(VIA).iter().map(HeaderValue::as_bytes).collect();
                HeaderValue::from_bytes(&lines.join(&b',')).map_err(|_| Looped)
            }
        };
        headers.remove(VIA);
        Self(list.map(Some))
    }

    /// Whether the request may pass a rule.
    pub fn check(&self, hop: &Hop) -> Result<(), Looped> {
        let Some(list) = self.0.as_ref().map_err(|error| *error)? else { return Ok(()) };
        let mut passed = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if passed.clone().count() >= MOST || passed.any(|mark| mark == hop.0.as_bytes()) {
            return Err(Looped);
        }
        Ok(())
    }

    /// Puts them back as they were. Nobody else writes the header: what stands there meanwhile goes.
    pub fn restore(self, headers: &mut HeaderMap) -> Result<(), Looped> {
        match self.0? {
            Some(list) => drop(headers.insert(VIA, list)),
            None => drop(headers.remove(VIA)),
        }
        Ok(())
    }

    /// Puts them back, with the mark of the rule that sends the request on.
    pub fn put(self, headers: &mut HeaderMap, hop: &Hop) {
        let list = match self.0 {
            Ok(None) | Err(Looped) => hop.0.clone(),
            Ok(Some(list)) => HeaderValue::from_bytes(&[list.as_bytes(), hop.0.as_bytes()].join(&b','))
                .unwrap_or_else(|_| hop.0.clone()),
        };
        headers.insert(VIA, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::{ObjectName, RouteKind};

    fn route(key: &str, created: u64) -> Route {
        Route {
            key: key.into(),
            kind: RouteKind::Http,
            object: ObjectName::new("shop", "web"),
            created: created.try_into().unwrap(),
            attachments: vec![],
            rules: vec![],
        }
    }

    fn pass(headers: &mut HeaderMap, hop: &Hop) -> Result<(), Looped> {
        let passed = Hops::take(headers);
        passed.check(hop)?;
        passed.put(headers, hop);
        Ok(())
    }

    #[test]
    fn a_rule_is_passed_once() {
        let (one, two) = (Hop::for_rule(&route("a", 1), 0), Hop::for_rule(&route("a", 1), 1));
        let mut headers = HeaderMap::new();
        for hop in [&one, &two] {
            pass(&mut headers, hop).unwrap();
        }
        for hop in [&one, &two] {
            assert_eq!(pass(&mut headers.clone(), hop), Err(Looped));
        }
        // Nor does it help to write the list over several lines.
        let list = headers[VIA].to_str().unwrap().to_owned();
        headers.clear();
        for mark in list.split(',') {
            headers.append(VIA, HeaderValue::from_str(&format!(" {mark}")).unwrap());
        }
        assert_eq!(pass(&mut headers, &one), Err(Looped));
    }

    #[test]
    fn rules_of_other_routes_places_and_clusters_are_others() {
        let hops = [
            Hop::for_rule(&route("a", 1), 0),
            Hop::for_rule(&route("a", 1), 1),
            Hop::for_rule(&route("a", 2), 0),
            Hop::for_rule(&route("b", 1), 0),
        ];
        for (at, hop) in hops.iter().enumerate() {
            assert_eq!(hop.0.len(), DIGITS);
            assert!(hops.iter().skip(at + 1).all(|it| it != hop));
        }
        assert_eq!(hops[0], Hop::for_rule(&route("a", 1), 0), "at every replica");
    }

    #[test]
    fn a_request_passes_so_many_rules_and_no_more() {
        let mut headers = HeaderMap::new();
        for index in 0..MOST {
            let hop = Hop::for_rule(&route("a", 1), index);
            pass(&mut headers, &hop).unwrap();
        }
        let hop = Hop::for_rule(&route("a", 1), MOST);
        assert_eq!(pass(&mut headers, &hop), Err(Looped));
    }
}
