//! Which rule answers a preflight: the one of the request that it announces.
//!
//! A preflight (Fetch standard, CORS-preflight fetch) is an `OPTIONS` without the method and the headers of the request it is
//! for. Compared as it comes, it would pass by every rule with a method or a header in its match, and so by that rule's CORS
//! policy. So a CORS policy is looked for with what is announced. Where the announced request would certainly be served by
//! a rule without CORS, or a rule asks for `OPTIONS` itself, the preflight is matched as any other request.

use super::compiled::Candidate;
use super::head::RequestHead;
use super::predicate::{holds, holds_with_method};
use super::table::RouteTable;
use super::values::work;
use ahash::HashSet;
use fairway_config::model::{HeaderMatch, Match};
use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use std::cell::OnceCell;
use std::ops::ControlFlow;

/// The request that a preflight announces.
#[derive(Clone, Debug)]
pub(super) struct Announced<'r> {
    method: &'r [u8],
    headers: &'r HeaderMap,
    /// The headers that it names, split when they are first asked for.
    names: OnceCell<HashSet<HeaderName>>,
}

/// Header names that a preflight announces at most; more are not looked at. A request has fewer (see [`Limits::header_fields`]).
///
/// [`Limits::header_fields`]: crate::settings::Limits::header_fields
const MOST_ANNOUNCED: usize = 256;

/// Whether the announced request will fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    /// It depends on a header whose value is not known yet.
    Perhaps,
    Surely,
}

// === impl Announced ===

impl<'r> Announced<'r> {
    /// What a request announces, if it is a preflight.
    pub fn read(head: &RequestHead<'r>) -> Option<Self> {
        if *head.method != Method::OPTIONS || !head.headers.contains_key(header::ORIGIN) {
            return None;
        }
        let method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(Self { method: method.as_bytes(), headers: head.headers, names: OnceCell::new() })
    }

    /// The alternative whose CORS policy answers, or none if the preflight is matched as any other request.
    pub fn find<'t>(&self, table: &'t RouteTable, head: &RequestHead<'_>) -> Option<&'t Candidate> {
        let strict = table.walk(head, |candidate| {
            let Some(it) = candidate.matched() else { return ControlFlow::Continue(()) };
            if it.method == Some(Method::OPTIONS) && holds(it, head) {
                return ControlFlow::Break(None);
            }
            match self.fits(it, head) {
                Fit::No => ControlFlow::Continue(()),
                _ if candidate.has_cors() => ControlFlow::Break(Some(candidate)),
                Fit::Perhaps => ControlFlow::Continue(()),
                Fit::Surely => ControlFlow::Break(None),
            }
        });
        match strict {
            ControlFlow::Break(found) => found,
            // The announced request would find nothing. Its author may not have announced the headers that it will have.
            ControlFlow::Continue(()) => self.find_by_method(table, head),
        }
    }

    fn find_by_method<'t>(&self, table: &'t RouteTable, head: &RequestHead<'_>) -> Option<&'t Candidate> {
        let found = table.walk(head, |candidate| match candidate.matched() {
            Some(it) if candidate.has_cors() && holds_with_method(it, self.method, head) => {
                ControlFlow::Break(candidate)
            }
            _ => ControlFlow::Continue(()),
        });
        match found {
            ControlFlow::Break(candidate) => Some(candidate),
            ControlFlow::Continue(()) => None,
        }
    }

    fn fits(&self, it: &Match, head: &RequestHead<'_>) -> Fit {
        if !holds_with_method(it, self.method, head) {
            return Fit::No;
        }
        let mut least = Fit::Surely;
        for header in &it.headers {
            least = least.min(self.header_fits(header, head));
            if least == Fit::No {
                break;
            }
        }
        least
    }

    fn header_fits(&self, it: &HeaderMatch, head: &RequestHead<'_>) -> Fit {
        if self.announces(&it.name) {
            return Fit::Perhaps;
        }
        match head.header_holds(&it.name, &it.value) {
            true => Fit::Surely,
            false if comes_unannounced(&it.name) => Fit::Perhaps,
            false => Fit::No,
        }
    }

    fn announces(&self, name: &HeaderName) -> bool {
        self.names.get_or_init(|| self.split()).contains(name)
    }

    fn split(&self) -> HashSet<HeaderName> {
        let lines = self.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let names = lines.flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
        let names = names.take(MOST_ANNOUNCED).inspect(|_| work::count());
        names.filter_map(|it| HeaderName::from_bytes(it.trim_ascii()).ok()).collect()
    }
}

/// Whether a request may have a header that its preflight neither has nor announces: those that need no leave (Fetch
/// §2.2.2), and those that a browser adds when it sends credentials.
fn comes_unannounced(name: &HeaderName) -> bool {
    [
        header::ACCEPT,
        header::ACCEPT_LANGUAGE,
        header::AUTHORIZATION,
        header::CONTENT_LANGUAGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::RANGE,
    ]
    .contains(name)
        || name.as_str().starts_with("sec-")
}

#[cfg(test)]
mod tests {
    use super::super::{RequestHead, select};
    use super::*;
    use crate::fixtures::{prefix, request, rule, tables, value};
    use fairway_config::model::{CorsPolicy, Filter, OriginPattern, QueryMatch, Rule};
    use std::time::Duration;

    fn cors() -> Filter {
        Filter::Cors(CorsPolicy {
            allow_origins: vec![OriginPattern::Any],
            allow_credentials: false,
            allow_methods: None,
            allow_headers: None,
            expose_headers: None,
            max_age: Duration::from_secs(5),
        })
    }

    /// `path method header=value ?name=value +cors`
    fn written(text: &str) -> Rule {
        let mut words = text.split(' ');
        let mut it = prefix(words.next().unwrap());
        let mut filters = vec![];
        for word in words {
            match (word, word.split_once('=')) {
                ("+cors", _) => filters.push(cors()),
                (_, Some((name, expected))) => match name.strip_prefix('?') {
                    Some(name) => it.query.push(QueryMatch { name: name.into(), value: value(expected) }),
                    None => {
                        it.headers.push(HeaderMatch { name: name.parse().unwrap(), value: value(expected) })
                    }
                },
                (method, None) => it.method = Some(method.parse().unwrap()),
            }
        }
        Rule { filters, ..rule(vec![it], "backend") }
    }

    fn found(rules: &[&str], line: &str, headers: &[(&str, &str)]) -> Option<usize> {
        let tables = tables(rules.iter().map(|it| written(it)).collect());
        let socket = tables.sockets().next().unwrap();
        let parts = request(line, headers);
        let head = RequestHead::read(&parts).unwrap();
        select(&socket.for_host("a.ex").unwrap().routes, &head).unwrap().map(|it| it.index())
    }

    #[test]
    fn a_preflight_finds_the_policy_of_the_request_that_it_announces() {
        let plain = |method, announced: &'static str, more: &[(&'static str, &'static str)]| {
            let mut headers = vec![("origin", "https://app.ex"), ("access-control-request-method", method)];
            if !announced.is_empty() {
                headers.push(("access-control-request-headers", announced));
            }
            headers.extend_from_slice(more);
            headers
        };
        type Row<'a> = (&'a [&'a str], Vec<(&'a str, &'a str)>, Option<usize>);
        let table: Vec<Row<'_>> = vec![
            // A method.
            (&["/a GET +cors"], plain("GET", "", &[]), Some(0)),
            (&["/a GET +cors"], plain("POST", "", &[]), None),
            (&["/a GET +cors", "/"], plain("GET", "", &[]), Some(0)),
            (&["/a GET +cors", "/"], plain("POST", "", &[]), Some(1)),
            (&["/a POST +cors", "/a +cors"], plain("GET", "", &[]), Some(1)),
            // What has no CORS stays as it is.
            (&["/a GET", "/ +cors"], plain("GET", "", &[]), Some(1)),
            (&["/a", "/ +cors"], plain("GET", "", &[]), Some(0)),
            (&["/a GET"], plain("GET", "", &[]), None),
            // A header that is announced.
            (&["/a x-tenant=a +cors", "/"], plain("GET", "X-Other,x-tenant", &[]), Some(0)),
            (&["/a x-tenant=a", "/a +cors"], plain("GET", "x-tenant", &[]), Some(1)),
            (&["/a x-tenant=a +cors", "/a x-tenant=b +cors"], plain("GET", "x-tenant", &[]), Some(0)),
            // One that is not: the request will not have it, unless nothing else is there.
            (&["/a x-tenant=a +cors", "/"], plain("GET", "", &[]), Some(1)),
            (&["/a x-tenant=a +cors", "/ +cors"], plain("GET", "x-other", &[]), Some(1)),
            (&["/a x-tenant=a +cors"], plain("GET", "", &[]), Some(0)),
            (&["/a GET x-tenant=a +cors"], plain("PUT", "", &[]), None),
            // One that needs no leave, or comes with credentials.
            (&["/a cookie=a +cors", "/"], plain("GET", "", &[]), Some(0)),
            (&["/a content-type=text/plain +cors", "/"], plain("POST", "", &[]), Some(0)),
            (&["/a accept=application/json +cors", "/"], plain("GET", "", &[("accept", "*/*")]), Some(0)),
            // One that the preflight has itself.
            (&["/a origin=https://app.ex +cors", "/"], plain("GET", "", &[]), Some(0)),
            (&["/a origin=https://other.ex +cors", "/"], plain("GET", "", &[]), Some(1)),
            // A rule for OPTIONS is what somebody wrote for preflights, or for less specific paths.
            (&["/a OPTIONS", "/a GET +cors"], plain("GET", "", &[]), Some(0)),
            (&["/ OPTIONS", "/a GET +cors"], plain("GET", "", &[]), Some(1)),
            // The query is the same in both.
            (&["/a GET ?v=1 +cors", "/"], plain("GET", "", &[]), Some(0)),
            (&["/a GET ?v=2 +cors", "/"], plain("GET", "", &[]), Some(1)),
        ];
        for (rules, headers, expected) in table {
            assert_eq!(found(rules, "OPTIONS a.ex/a?v=1", &headers), expected, "{rules:?} {headers:?}");
        }
    }

    #[test]
    fn what_is_no_preflight_is_matched_as_it_comes() {
        let rules = &["/a GET +cors", "/a x-tenant=a +cors", "/"];
        let method = ("access-control-request-method", "GET");
        for (line, headers, expected) in [
            ("OPTIONS a.ex/a", vec![("origin", "https://app.ex")], 2),
            ("OPTIONS a.ex/a", vec![method], 2),
            ("PUT a.ex/a", vec![("origin", "https://app.ex"), method], 2),
            ("GET a.ex/a", vec![("origin", "https://app.ex"), method], 0),
            ("PUT a.ex/a", vec![("x-tenant", "a")], 1),
        ] {
            assert_eq!(found(rules, line, &headers), Some(expected), "{line} {headers:?}");
        }
    }
}
