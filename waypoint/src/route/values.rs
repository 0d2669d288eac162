//! What conditions compare, worked out of a request once however many conditions ask for it: the first value of each query
//! parameter, and the one value of a header that came on several lines.
//!
//! Nothing is worked out, and nothing allocated, for what no condition asks for.

use ahash::HashMap;
use fairway_config::model::{Pattern, ValueMatch};
use fairway_policy::matching::{Work, join_lines};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};

/// Values of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Values<'r> {
    parameters: OnceCell<Parameters<'r>>,
    /// Headers that came on several lines; few requests have any.
    joined: RefCell<Vec<(HeaderName, Option<String>)>>,
    /// What was to be compared and is too long for that.
    too_long: Cell<Option<TooLong>>,
    /// What expressions may still take.
    work: Work,
}

/// A part of a request that is too long to be compared with an expression, or with all those that the request was compared with before.
/// Nobody can say whether it matches, so the request gets no rule: neither this one nor a wider one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// The path, or a parameter of the query.
    Target,
    /// A header, the lines of one name together.
    Header,
}

/// The first value of each parameter; none if what is encoded is no UTF-8.
type Parameters<'r> = HashMap<Cow<'r, str>, Option<Cow<'r, str>>>;

// === impl Values ===

impl<'r> Values<'r> {
    /// The first value of a parameter of this query, decoded as `application/x-www-form-urlencoded`.
    pub fn parameter(&self, query: Option<&'r str>, name: &str) -> Option<&str> {
        let query = query?;
        self.parameters.get_or_init(|| parameters(query)).get(name)?.as_deref()
    }

    /// Whether a text fits. One that is too long does not, and is noted.
    pub fn fits(&self, expected: &ValueMatch, text: &str, of: TooLong) -> bool {
        self.fits_or_is_noted(expected.compare(text, &self.work), of)
    }

    /// Whether a text fits an expression, in the same way.
    pub fn matches(&self, expected: &Pattern, text: &str, of: TooLong) -> bool {
        self.fits_or_is_noted(expected.compare(text, &self.work), of)
    }

    fn fits_or_is_noted(&self, compared: Option<bool>, of: TooLong) -> bool {
        if compared.is_none() {
            self.too_long.set(Some(of));
        }
        compared.unwrap_or_default()
    }

    /// What could not be compared, if anything.
    pub fn too_long(&self) -> Option<TooLong> {
        self.too_long.get()
    }

    /// Whether a header is there and its value fits. Values that are not ASCII match nothing.
    pub fn header_holds(&self, headers: &HeaderMap, name: &HeaderName, expected: &ValueMatch) -> bool {
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => false,
            (Some(only), None) => self.value_holds(expected, only),
            (Some(_), Some(_)) => {
                let mut joined = self.joined.borrow_mut();
                let at = joined.iter().position(|(it, _)| it == name).unwrap_or_else(|| {
                    joined.push((name.clone(), join(headers, name)));
                    joined.len() - 1
                });
                let value = joined.get(at).and_then(|(_, value)| value.as_deref());
                value.is_some_and(|it| self.fits(expected, it, TooLong::Header))
            }
        }
    }

    /// Most conditions name a value, and most values differ in their length.
    fn value_holds(&self, expected: &ValueMatch, value: &HeaderValue) -> bool {
        match expected {
            ValueMatch::Exact(text) => text.as_bytes() == value.as_bytes() && value.to_str().is_ok(),
            ValueMatch::Regex(_) => value.to_str().is_ok_and(|it| self.fits(expected, it, TooLong::Header)),
        }
    }
}

/// The lines of a header as one value, if all of them are ASCII.
fn join(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines = headers.get_all(name).iter().inspect(|_| work::count());
    let lines: Option<Vec<_>> = lines.map(|it| it.to_str().ok().map(str::as_bytes)).collect();
    String::from_utf8(join_lines(name, lines?)).ok()
}

fn parameters(query: &str) -> Parameters<'_> {
    let mut parameters = Parameters::default();
    for pair in query.split('&') {
        work::count();
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(name) = form_decoded(name) {
            parameters.entry(name).or_insert_with(|| form_decoded(value));
        }
    }
    parameters
}

/// None if what is encoded is no UTF-8.
fn form_decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.as_bytes().contains(&b'+') {
        let spaced = text.replace('+', " ");
        return Some(Cow::Owned(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}

/// How many pieces of requests were looked at; tests count them.
pub(super) mod work {
    #[cfg(test)]
    thread_local! {
        pub(in super::super) static PIECES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    #[inline]
    pub(in super::super) fn count() {
        #[cfg(test)]
        PIECES.set(PIECES.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RequestHead, select};
    use super::*;
    use crate::fixtures::{MatchExt, prefix, request, rule, tables};
    use crate::testing;
    use fairway_config::model::{Filter, Match, OriginPattern, PathMatch, Rule};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Pieces that are looked at for one request with these alternatives.
    fn pieces(alternatives: Vec<Match>, filters: Vec<Filter>, line: &str, headers: &[(&str, &str)]) -> usize {
        let tables = tables(vec![Rule { filters, ..rule(alternatives, "backend") }]);
        let socket = tables.sockets().next().unwrap();
        let parts = request(line, headers);
        let head = RequestHead::read(&parts).unwrap();
        work::PIECES.set(0);
        select(&socket.for_host("a.ex").unwrap().routes, &head).unwrap();
        work::PIECES.get()
    }

    fn alternatives(count: usize, of: impl Fn(Match, String) -> Match) -> Vec<Match> {
        (0..count)
            .map(|number| (0..16).fold(prefix("/"), |it, place| of(it, format!("n{number}x{place}"))))
            .collect()
    }

    #[test]
    fn the_work_for_a_request_does_not_grow_with_the_conditions() {
        let query = format!("GET a.ex/?{}", "a=b&".repeat(1_000) + "a=b");
        let many = vec![("x-a", "1"); 50];
        let announced = vec!["x-other"; 100].join(",");
        let preflight = [
            ("origin", "https://app.ex"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", announced.as_str()),
        ];
        for count in [1, 8, 64] {
            let parameters = alternatives(count, |it, name| it.query(&name, "1"));
            assert_eq!(pieces(parameters, vec![], &query, &[]), 1_001, "parameters, {count}");
            // All conditions of one alternative fit but the last.
            let lines = alternatives(count, |it, _| it.header("x-a", "~1,.*")).into_iter();
            let lines = lines.map(|it| it.header("x-b", "1")).collect();
            assert_eq!(pieces(lines, vec![], "GET a.ex/", &many), 50, "lines, {count}");
            let cors = vec![Filter::Cors(testing::cors(OriginPattern::Any))];
            let names = alternatives(count, |it, name| it.method("POST").header(&name, "1"));
            assert_eq!(pieces(names, cors.clone(), "OPTIONS a.ex/", &preflight), 0, "the method, {count}");
            let names = alternatives(count, |it, name| it.header(&name, "1"));
            assert_eq!(pieces(names, cors, "OPTIONS a.ex/", &preflight), 100, "names, {count}");
        }
        // Where nothing looks at the query, it is not looked at.
        let headers = alternatives(64, |it, name| it.header(&name, "1"));
        assert_eq!(pieces(headers, vec![], &query, &[]), 0);
    }

    #[test]
    fn the_first_value_of_a_parameter_counts_in_whatever_spelling() {
        for (query, name, expected) in [
            ("a=1&a=2", "a", Some("1")),
            ("b=2&%61=1", "a", Some("1")),
            ("a", "a", Some("")),
            ("a+b=c+d%2B", "a b", Some("c d+")),
            ("%ff=1&a=2", "a", Some("2")),
            // The first is the one that counts, and it is no text.
            ("a=%ff&a=2", "a", None),
            ("", "", Some("")),
            ("a=1", "b", None),
        ] {
            let values = Values::default();
            assert_eq!(values.parameter(Some(query), name), expected, "{query}");
            assert_eq!(values.parameter(Some(query), name), expected, "{query} once more");
        }
        assert_eq!(Values::default().parameter(None, ""), None);
    }

    /// Expressions whose programs are large, over texts that the limits of a head let pass.
    #[test]
    fn what_is_too_long_to_be_compared_gets_no_rule_and_no_wider_one() {
        const LARGE: &str = r"~[\pL\pN]{10}.*";
        let long = "a".repeat(15 * 1024);
        let find = |narrow: Match, target: &str, headers: &[(&str, &str)]| {
            let tables = tables(vec![rule(vec![narrow], "narrow"), rule(vec![prefix("/")], "wide")]);
            let socket = tables.sockets().next().unwrap();
            let parts = request(&format!("GET a.ex{target}"), headers);
            let head = RequestHead::read(&parts).unwrap();
            select(&socket.for_host("a.ex").unwrap().routes, &head).map(|it| it.map(|it| it.index()))
        };
        let by_header = || prefix("/").header("x-a", LARGE);
        let by_query = || prefix("/").query("q", LARGE);
        let by_path = || Match {
            path: PathMatch::Regex(Pattern::new(&format!("/{}", &LARGE[1..])).unwrap()),
            ..prefix("/")
        };
        let (query, path) = (format!("/?q={long}"), format!("/{long}"));
        for (what, found, expected) in [
            ("a header", find(by_header(), "/", &[("x-a", &long)]), Err(TooLong::Header)),
            (
                "lines of a header",
                find(by_header(), "/", &[("x-a", &long), ("x-a", "b")]),
                Err(TooLong::Header),
            ),
            ("a parameter", find(by_query(), &query, &[]), Err(TooLong::Target)),
            ("a path", find(by_path(), &path, &[]), Err(TooLong::Target)),
            // Nobody compares these.
            ("another header", find(by_header(), "/", &[("x-b", &long)]), Ok(Some(1))),
            ("another parameter", find(by_query(), &query.replace("q=", "r="), &[]), Ok(Some(1))),
            ("a short header", find(by_header(), "/", &[("x-a", &long[..30])]), Ok(Some(0))),
            ("a short path", find(by_path(), &path[..30], &[]), Ok(Some(0))),
            (
                "a small program",
                find(prefix("/").header("x-a", "~[a-z]+"), "/", &[("x-a", &long)]),
                Ok(Some(0)),
            ),
        ] {
            assert_eq!(found, expected, "{what}");
        }
    }

    /// What a table with these alternatives in one rule, and a wider rule, makes of a header.
    fn found(alternatives: &[&str], text: &str) -> Result<Option<usize>, TooLong> {
        let narrow = alternatives.iter().map(|it| prefix("/").header("x-a", it)).collect();
        let tables = tables(vec![rule(narrow, "narrow"), rule(vec![prefix("/")], "wide")]);
        let socket = tables.sockets().next().unwrap();
        let parts = request("GET a.ex/", &[("x-a", text)]);
        let head = RequestHead::read(&parts).unwrap();
        select(&socket.for_host("a.ex").unwrap().routes, &head).map(|it| it.map(|it| it.index()))
    }

    /// Each of these takes fifteen hundred steps for a byte, none more than one comparison may.
    #[test]
    fn a_request_is_not_compared_with_more_than_it_may_take_however_many_expressions_a_table_has() {
        const LARGE: &str = r"~\pL(a?){300}b";
        for (count, length, expected) in [
            (1, 2000, Ok(Some(1))),
            (2, 2000, Ok(Some(1))),
            (3, 2000, Err(TooLong::Header)),
            (128, 2000, Err(TooLong::Header)),
            (16, 250, Ok(Some(1))),
            (128, 250, Err(TooLong::Header)),
            (128, 40, Ok(Some(1))),
        ] {
            assert_eq!(found(&vec![LARGE; count], &"a".repeat(length)), expected, "{count} {length}");
        }
        // What people write, as often as a route can have it, over all that a client may send.
        for usual in ["~/v[0-9]+/items", "~.*[.]example[.]com", "~[a-f0-9-]+"] {
            assert!(found(&[usual; 128], &"a-".repeat(15 * 1024)).is_ok(), "{usual}");
        }
        assert_eq!(found(&[r"~\w+/\w+"; 128], &"a".repeat(1024)), Ok(Some(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// As if each comparison were made for itself and what it takes were added up.
        #[test]
        fn whatever_the_table_a_request_takes_no_more_than_it_may(
            chosen in vec(0..6_usize, 0..48),
            length in 0..6000_usize,
            end in "[ab]?",
        ) {
            const EACH: [&str; 6] = [r"\pL(a?){300}b", "a+c", r"(\w\w?){3}", "(a|b|ab){200}", "c.*", "[a-z]*b"];
            let text = "a".repeat(length) + &end;
            let alternatives: Vec<String> = chosen.iter().map(|it| format!("~{}", EACH[*it])).collect();
            let alternatives: Vec<&str> = alternatives.iter().map(String::as_str).collect();
            let mut taken = 0;
            let mut expected = Ok(Some(1));
            for source in chosen.iter().map(|it| EACH[*it]) {
                let work = Work::default();
                let compared = Pattern::new(source).unwrap().compare(&text, &work);
                taken += work.taken();
                match compared.filter(|_| taken <= Work::LIMIT) {
                    None => expected = Err(TooLong::Header),
                    Some(true) => expected = Ok(Some(0)),
                    Some(false) => continue,
                }
                break;
            }
            prop_assert_eq!(found(&alternatives, &text), expected);
        }
    }
}
