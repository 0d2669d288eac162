//! Stages of filters as the conformance suite (v1.7.0) sees them, and at their edges.

use super::*;
use crate::fixtures::{prefix, request};
use fairway_config::model::{
    BackendTarget, CorsPolicy, Filter, Fraction, HeaderModifier, InvalidFilter, Match, Mirror, OriginPattern,
    PathModifier, Pattern, Redirect, Scheme, UrlRewrite,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use rand::SeedableRng;
use std::time::Duration;

const LISTENER: (Scheme, u16) = (Scheme::Http, 80);

/// What came of a request.
struct Outcome<'t> {
    stages: &'t StageList,
    verdict: Verdict,
    kept: Kept<'t>,
    mirrors: Mirrors<'t>,
}

/// Runs the stages of filters on a request and gives the outcome to `look`.
fn run<R>(
    filters: &[Filter],
    parts: &mut Parts,
    listener: (Scheme, u16),
    matched: &Match,
    look: impl FnOnce(Outcome<'_>) -> R,
) -> R {
    let (stages, rng) = (StageList::new(filters).unwrap(), RefCell::new(SmallRng::seed_from_u64(3)));
    let original = parts.uri.clone();
    look(run_stages(&stages, parts, listener, matched, &original, &rng))
}

fn run_stages<'t>(
    stages: &'t StageList,
    parts: &mut Parts,
    (scheme, port): (Scheme, u16),
    matched: &Match,
    original: &Uri,
    rng: &RefCell<SmallRng>,
) -> Outcome<'t> {
    let route = crate::fixtures::route("r");
    let attributes = RequestAttributes {
        client_address: None,
        peer: None,
        scheme,
        port,
        service: None,
        rule: Some(MatchedRule { route: &route, index: 0, matched }),
        started: tokio::time::Instant::now(),
        deadline: None,
    };
    let (mut mirrors, mut kept) = (Mirrors::new(), Kept::default());
    let mut request = StageRequest {
        parts,
        attributes: &attributes,
        callout: &callout::Assumed::default(),
        original,
        rng,
        mirrors: &mut mirrors,
        kept: &mut kept,
    };
    let verdict = stages.run(stages.all(), &mut request);
    Outcome { stages, verdict, kept, mirrors }
}

fn answered(outcome: Outcome<'_>) -> StageResponse {
    match outcome.verdict {
        Verdict::Respond(mut response) => {
            outcome.stages.on_response(&mut response.headers, &outcome.kept);
            *response
        }
        other => panic!("no stage responds: {other:?}"),
    }
}

/// Why a stage cannot be carried out, and what is done to the response.
fn failed(outcome: Outcome<'_>) -> (Failure, HeaderMap) {
    let Verdict::Fail(failure) = outcome.verdict else { panic!("no stage failed") };
    let mut headers = HeaderMap::new();
    outcome.stages.on_response(&mut headers, &outcome.kept);
    (failure, headers)
}

/// What is done to a response with these headers.
fn response(outcome: Outcome<'_>, headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let Verdict::Continue = outcome.verdict else { panic!("the request does not go on") };
    let mut response = HeaderMap::new();
    for (name, value) in headers {
        response.append(*name, HeaderValue::from_static(value));
    }
    outcome.stages.on_response(&mut response, &outcome.kept);
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|it| it.to_str().unwrap())
}

fn redirect() -> Redirect {
    Redirect { scheme: None, hostname: None, path: None, port: None, status: StatusCode::FOUND }
}

fn location(redirect: Redirect, line: &str, listener: (Scheme, u16), path_prefix: &str) -> String {
    let status = redirect.status;
    let mut parts = request(line, &[]);
    let answer = run(&[Filter::Redirect(redirect)], &mut parts, listener, &prefix(path_prefix), answered);
    assert_eq!(answer.status, status);
    text(&answer.headers, "location").unwrap().to_owned()
}

#[test]
fn the_port_and_scheme_of_a_redirect_follow_the_rules_of_the_api() {
    use Scheme::{Http, Https};
    // Listener, scheme, port, expected; HTTPRouteRedirectPortAndScheme and the API's documentation.
    for (listener, scheme, port, expected) in [
        ((Http, 80), None, None, "http://example.org/x"),
        ((Http, 80), None, Some(80), "http://example.org/x"),
        ((Http, 80), None, Some(8080), "http://example.org:8080/x"),
        ((Http, 80), Some(Https), None, "https://example.org/x"),
        ((Http, 80), Some(Https), Some(443), "https://example.org/x"),
        ((Http, 80), Some(Https), Some(8443), "https://example.org:8443/x"),
        ((Http, 8080), None, None, "http://example.org:8080/x"),
        ((Http, 8080), None, Some(80), "http://example.org/x"),
        ((Http, 8080), Some(Https), None, "https://example.org/x"),
        ((Http, 8080), Some(Http), None, "http://example.org/x"),
        ((Https, 443), None, None, "https://example.org/x"),
        ((Https, 443), None, Some(443), "https://example.org/x"),
        ((Https, 443), None, Some(8443), "https://example.org:8443/x"),
        ((Https, 443), Some(Http), None, "http://example.org/x"),
        ((Https, 443), Some(Http), Some(80), "http://example.org/x"),
        ((Https, 443), Some(Http), Some(8080), "http://example.org:8080/x"),
        ((Https, 443), None, Some(80), "https://example.org:80/x"),
    ] {
        let redirect = Redirect { scheme, port, hostname: Some("example.org".into()), ..redirect() };
        let line = "GET other.com:9999/x";
        assert_eq!(location(redirect, line, listener, "/"), expected, "{listener:?} {scheme:?} {port:?}");
    }
}

#[test]
fn a_redirect_keeps_what_it_does_not_change() {
    let path = |it| Redirect { path: Some(it), ..redirect() };
    let replace = |it: &str| PathModifier::ReplacePrefix(it.into());
    for (redirect, line, prefix, expected) in [
        (redirect(), "GET Example.com:9999/a%2Fb?x=1&y", "/", "http://example.com/a%2Fb?x=1&y"),
        (path(replace("/new")), "GET a.com/original/lemon?q", "/original", "http://a.com/new/lemon?q"),
        (path(replace("/new")), "GET a.com/original", "/original", "http://a.com/new"),
        (path(PathModifier::ReplaceFull("/full".into())), "GET a.com/x/y?q=1", "/x", "http://a.com/full?q=1"),
        (
            Redirect { status: StatusCode::PERMANENT_REDIRECT, ..redirect() },
            "GET a.com/",
            "/",
            "http://a.com/",
        ),
        (redirect(), "GET [::1]:80/", "/", "http://[::1]/"),
    ] {
        assert_eq!(location(redirect, line, LISTENER, prefix), expected, "{line}");
    }
}

#[test]
fn a_redirect_of_a_request_without_host_is_a_bad_request() {
    let mut parts = request("GET /x", &[]);
    let (failure, _) = run(&[Filter::Redirect(redirect())], &mut parts, LISTENER, &prefix("/"), failed);
    assert_eq!(failure, Failure::NoHost);
}

#[test]
fn rewrites_change_path_and_host_and_keep_the_query() {
    let replace = |it: &str| Some(PathModifier::ReplacePrefix(it.into()));
    for (line, path_prefix, path, expected) in [
        ("GET a/prefix/one/two", "/prefix/one", replace("/one"), "/one/two"),
        ("GET a/strip-prefix/three", "/strip-prefix", replace("/"), "/three"),
        ("GET a/strip-prefix", "/strip-prefix", replace("/"), "/"),
        ("GET a/strip-prefix?x=1", "/strip-prefix", replace(""), "/?x=1"),
        ("GET a/full/one/two?x=%20", "/full", Some(PathModifier::ReplaceFull("/one".into())), "/one?x=%20"),
        ("GET a/same?x", "/", None, "/same?x"),
    ] {
        let mut parts = request(line, &[]);
        let hostname = Some(HeaderValue::from_static("new.example.org"));
        let rewrite = Filter::Rewrite(UrlRewrite { hostname, path });
        run(&[rewrite], &mut parts, LISTENER, &prefix(path_prefix), |it| drop(response(it, &[])));
        assert_eq!(parts.uri, expected.parse::<Uri>().unwrap(), "{line}");
        assert_eq!(text(&parts.headers, "host"), Some("new.example.org"));
    }
}

#[test]
fn a_backends_rewrite_stands_instead_of_the_rules() {
    let replace = |it: &str| {
        [Filter::Rewrite(UrlRewrite { hostname: None, path: Some(PathModifier::ReplacePrefix(it.into())) })]
    };
    let (mut parts, matched) = (request("GET a/original/x", &[]), prefix("/original"));
    let original = parts.uri.clone();
    let rng = RefCell::new(SmallRng::seed_from_u64(3));
    for filters in [replace("/rule"), replace("/backend")] {
        let stages = StageList::new(&filters).unwrap();
        run_stages(&stages, &mut parts, LISTENER, &matched, &original, &rng);
    }
    assert_eq!(parts.uri.path(), "/backend/x");
}

#[test]
fn a_path_that_is_no_path_is_an_error_and_not_something_else() {
    let rewrite = UrlRewrite { hostname: None, path: Some(PathModifier::ReplaceFull("/a b\r\nx: y".into())) };
    let mut parts = request("GET a/x", &[]);
    let (failure, _) = run(&[Filter::Rewrite(rewrite)], &mut parts, LISTENER, &prefix("/"), failed);
    assert_eq!(failure, Failure::NoUrl);
}

#[test]
fn an_unresolved_filter_fails_and_stops() {
    let set = |name: &'static str| HeaderModifier {
        set: vec![(HeaderName::from_static(name), HeaderValue::from_static("1"))],
        ..Default::default()
    };
    let filters = [
        Filter::ResponseHeaders(set("x-response")),
        Filter::RequestHeaders(set("x-before")),
        Filter::Unresolved("example.net/Kind/x".into()),
        Filter::RequestHeaders(set("x-after")),
    ];
    let mut parts = request("GET a/x", &[]);
    let (failure, headers) = run(&filters, &mut parts, LISTENER, &prefix("/"), failed);
    assert_eq!(failure, Failure::Unresolved);
    assert_eq!(text(&headers, "x-response"), Some("1"), "answers of our own are responses too");
    assert!(parts.headers.contains_key("x-before") && !parts.headers.contains_key("x-after"));
}

#[test]
fn a_filter_of_a_newer_controller_lets_nothing_through() {
    let mut parts = request("GET a/x", &[]);
    let filters = [Filter::Unknown(bytes::Bytes::from_static(&[0xF2, 0x01, 0x00]))];
    let (failure, _) = run(&filters, &mut parts, LISTENER, &prefix("/"), failed);
    assert_eq!(failure, Failure::Unresolved);
}

#[test]
fn mirrors_get_their_share_of_the_requests() {
    let mirror = |key: &str, numerator, denominator| {
        let fraction = Fraction::new(numerator, denominator).unwrap();
        Filter::Mirror(Mirror { target: BackendTarget::Backend(key.into()), fraction })
    };
    let filters =
        [mirror("all", 1, 1), mirror("none", 0, 100), mirror("fifth", 20, 100), mirror("rare", 1, 1_000)];
    let stages = StageList::new(&filters).unwrap();
    let (mut parts, matched) = (request("GET a/x", &[]), prefix("/"));
    let original = parts.uri.clone();
    let rng = RefCell::new(SmallRng::seed_from_u64(3));
    let mut counts = std::collections::HashMap::<String, u32>::new();
    for _ in 0..10_000 {
        let outcome = run_stages(&stages, &mut parts, LISTENER, &matched, &original, &rng);
        for target in outcome.mirrors {
            let BackendTarget::Backend(key) = target else { panic!() };
            *counts.entry(key.to_string()).or_default() += 1;
        }
    }
    // Five standard deviations: 200 and 16.
    assert_eq!((counts.get("all"), counts.get("none")), (Some(&10_000), None));
    assert!((1_800..=2_200).contains(&counts["fifth"]) && (1..=26).contains(&counts["rare"]), "{counts:?}");
}

// === CORS ===

fn policy(origins: &[&str]) -> CorsPolicy {
    let origin = |it: &&str| match it.strip_prefix('~') {
        Some(pattern) => OriginPattern::Pattern(Pattern::new(pattern).unwrap()),
        None if *it == "*" => OriginPattern::Any,
        None => OriginPattern::Exact((*it).into()),
    };
    CorsPolicy {
        allow_origins: origins.iter().map(origin).collect(),
        allow_credentials: false,
        allow_methods: Some(vec![]),
        allow_headers: Some(vec![]),
        expose_headers: Some(vec![]),
        max_age: Duration::from_secs(5),
    }
}

/// Like the first route of HTTPRouteCORS.
fn listed() -> CorsPolicy {
    let names = |names: [&'static str; 2]| Some(names.map(HeaderName::from_static).to_vec());
    CorsPolicy {
        allow_credentials: true,
        allow_methods: Some(vec![Method::GET, Method::OPTIONS]),
        allow_headers: names(["x-header-1", "x-header-2"]),
        expose_headers: names(["x-header-3", "x-header-4"]),
        max_age: Duration::from_secs(3600),
        ..policy(&["https://www.foo.com", "~https://.*\\.bar\\.com"])
    }
}

fn wildcards(allow_credentials: bool) -> CorsPolicy {
    CorsPolicy {
        allow_credentials,
        allow_methods: None,
        allow_headers: None,
        expose_headers: None,
        ..policy(&["*"])
    }
}

fn preflight(policy: CorsPolicy, headers: &[(&str, &str)]) -> HeaderMap {
    let mut parts = request("OPTIONS a/x", headers);
    let answer = run(&[Filter::Cors(policy)], &mut parts, LISTENER, &prefix("/"), answered);
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    answer.headers
}

fn actual(
    policy: CorsPolicy,
    line: &str,
    headers: &[(&str, &str)],
    of_backend: &[(&'static str, &'static str)],
) -> HeaderMap {
    let mut parts = request(line, headers);
    run(&[Filter::Cors(policy)], &mut parts, LISTENER, &prefix("/"), |it| response(it, of_backend))
}

const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";
const METHODS: &str = "access-control-allow-methods";
const HEADERS: &str = "access-control-allow-headers";
const EXPOSE: &str = "access-control-expose-headers";

fn asking(origin: &'static str, method: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "x-header-1, x-header-2"),
    ]
}

#[test]
fn a_preflight_from_an_allowed_origin_is_told_everything() {
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        let answer = preflight(listed(), &asking(origin, "GET"));
        for (name, expected) in [
            (ORIGIN, origin),
            (CREDENTIALS, "true"),
            (METHODS, "GET, OPTIONS"),
            (HEADERS, "x-header-1, x-header-2"),
            (EXPOSE, "x-header-3, x-header-4"),
            ("access-control-max-age", "3600"),
            ("vary", "origin, access-control-request-method, access-control-request-headers"),
        ] {
            assert_eq!(text(&answer, name), Some(expected), "{origin} {name}");
        }
    }
}

#[test]
fn a_preflight_from_another_origin_is_told_nothing() {
    for origin in [
        "https://foobar.com",
        "http://www.foo.com",
        "https://www.foo.com:8443",
        "https://www.foo.com.evil.com",
        "https://bar.com",
        "null",
        "",
    ] {
        let answer = preflight(listed(), &asking(origin, "GET"));
        assert!(answer.keys().all(|it| it == "vary"), "{origin}: {answer:?}");
    }
}

#[test]
fn what_is_longer_than_an_origin_is_none() {
    for (host, allowed) in [(496, true), (500, true), (501, false), (16_000, false)] {
        let origin = &*format!("https://{}.com", "a".repeat(host)).leak();
        for policy in [policy(&["~https://.*\\.com"]), wildcards(false), wildcards(true)] {
            let answer = preflight(policy, &asking(origin, "GET"));
            assert_eq!(answer.contains_key(ORIGIN), allowed, "{} bytes", origin.len());
        }
    }
}

#[test]
fn stars_are_answered_with_a_star_or_with_credentials_by_name() {
    let plain = preflight(wildcards(false), &asking("https://a.com", "PUT"));
    for name in [ORIGIN, METHODS, HEADERS, EXPOSE] {
        assert_eq!(text(&plain, name), Some("*"), "{name}");
    }
    assert_eq!(text(&plain, CREDENTIALS), None);

    let named = preflight(wildcards(true), &asking("https://a.com", "PUT"));
    for (name, expected) in [
        (ORIGIN, Some("https://a.com")),
        (METHODS, Some("PUT")),
        (HEADERS, Some("x-header-1, x-header-2")),
        (EXPOSE, None),
        (CREDENTIALS, Some("true")),
    ] {
        assert_eq!(text(&named, name), expected, "{name}");
    }
    let no_headers = preflight(wildcards(true), &asking("https://a.com", "PUT")[..2]);
    assert_eq!(text(&no_headers, HEADERS), None, "nothing was asked for");

    let port = preflight(wildcards(false), &asking("https://a.com:12345", "PUT"));
    assert_eq!(text(&port, ORIGIN), Some("*"));
}

#[test]
fn a_default_port_is_the_same_as_none() {
    for (allowed, origin) in [
        ("https://a.com:443", "https://a.com"),
        ("https://a.com", "https://a.com:443"),
        ("http://a.com:80", "http://A.com"),
        ("~https://.*\\.com", "https://a.com:443"),
    ] {
        assert_eq!(
            text(&preflight(policy(&[allowed]), &asking(origin, "GET")), ORIGIN),
            Some(origin),
            "{allowed}"
        );
    }
    let other = preflight(policy(&["https://a.com"]), &asking("https://a.com:80", "GET"));
    assert_eq!(text(&other, ORIGIN), None);
}

#[test]
fn responses_to_cross_origin_requests_carry_the_gateways_policy_and_not_the_backends() {
    let of_backend = [(ORIGIN, "*"), (EXPOSE, "x-secret"), ("vary", "accept"), ("x-other", "1")];
    let allowed = actual(listed(), "GET a/x", &[("origin", "https://www.foo.com")], &of_backend);
    assert_eq!(allowed.get_all(ORIGIN).iter().collect::<Vec<_>>(), ["https://www.foo.com"]);
    assert_eq!(text(&allowed, CREDENTIALS), Some("true"));
    assert_eq!(text(&allowed, EXPOSE), Some("x-header-3, x-header-4"));
    assert_eq!(allowed.get_all("vary").iter().collect::<Vec<_>>(), ["accept", "origin"]);

    let refused = actual(listed(), "GET a/x", &[("origin", "https://foobar.com")], &of_backend);
    assert!([ORIGIN, CREDENTIALS, EXPOSE].iter().all(|it| !refused.contains_key(*it)), "{refused:?}");
    assert!(refused.contains_key("x-other") && refused.get_all("vary").iter().any(|it| it == "origin"));

    let same_origin = actual(listed(), "GET a/x", &[], &of_backend);
    assert_eq!(text(&same_origin, ORIGIN), Some("*"), "not a cross-origin request");
    assert!(
        same_origin.get_all("vary").iter().any(|it| it == "origin"),
        "its answer may be cached all the same"
    );

    let for_all = actual(wildcards(false), "PUT a/x", &[("origin", "https://a.com")], &[]);
    assert_eq!((text(&for_all, ORIGIN), text(&for_all, "vary")), (Some("*"), None));
}

#[test]
fn an_options_request_that_is_no_preflight_goes_to_the_backend() {
    for headers in [vec![("origin", "https://www.foo.com")], asking("x", "GET")[1..].to_vec(), vec![]] {
        actual(listed(), "OPTIONS a/x", &headers, &[]);
    }
    actual(listed(), "GET a/x", &asking("https://www.foo.com", "GET"), &[]);
}

#[test]
fn an_answer_of_our_own_is_told_of_cors_wherever_the_policy_stands() {
    let failing = || Filter::Unresolved("x".into());
    for filters in [vec![Filter::Cors(listed()), failing()], vec![failing(), Filter::Cors(listed())]] {
        for (origin, allowed) in [("https://www.foo.com", true), ("https://www.evil.com", false)] {
            let mut parts = request("GET a/x", &[("origin", origin)]);
            let (_, headers) = run(&filters, &mut parts, LISTENER, &prefix("/"), failed);
            assert_eq!(text(&headers, ORIGIN), allowed.then_some(origin), "{filters:?}");
        }
    }
    for filters in [
        [Filter::Cors(listed()), Filter::Redirect(redirect())],
        [Filter::Redirect(redirect()), Filter::Cors(listed())],
    ] {
        let mut parts = request("GET a/x", &[("origin", "https://www.foo.com")]);
        let answer = run(&filters, &mut parts, LISTENER, &prefix("/"), answered);
        assert_eq!(answer.status, StatusCode::FOUND);
        assert_eq!(text(&answer.headers, ORIGIN), Some("https://www.foo.com"), "{filters:?}");
    }
}

#[test]
fn two_cors_filters_in_one_rule_are_refused() {
    let twice = [Filter::Cors(listed()), Filter::Cors(listed())];
    assert_eq!(StageList::new(&twice).unwrap_err(), InvalidFilter::ManyCors);
}

// === Order ===

#[test]
fn stages_stand_in_their_fixed_order_and_those_of_one_position_as_written() {
    let headers = || Filter::RequestHeaders(HeaderModifier::default());
    let responses = || Filter::ResponseHeaders(HeaderModifier::default());
    let unresolved = || Filter::Unresolved("x".into());
    for (filters, expected) in [
        (vec![], vec![]),
        (vec![responses(), headers()], vec!["response-headers", "request-headers"]),
        (vec![headers(), responses()], vec!["request-headers", "response-headers"]),
        (
            vec![headers(), Filter::Redirect(redirect()), Filter::Cors(listed())],
            vec!["cors", "request-headers", "redirect"],
        ),
        (vec![unresolved(), Filter::Cors(listed())], vec!["cors", "unresolved"]),
    ] {
        let stages = StageList::new(&filters).unwrap().describe();
        let names: Vec<_> = stages.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected, "{filters:?}");
    }
}

#[test]
fn a_response_passes_the_stages_backwards_so_that_the_policy_for_origins_has_the_last_word() {
    let forged = HeaderModifier {
        set: vec![(HeaderName::from_static(ORIGIN), HeaderValue::from_static("*"))],
        ..HeaderModifier::default()
    };
    for filters in [
        [Filter::Cors(listed()), Filter::ResponseHeaders(forged.clone())],
        [Filter::ResponseHeaders(forged), Filter::Cors(listed())],
    ] {
        let mut parts = request("GET a/x", &[("origin", "https://www.evil.com")]);
        let headers = run(&filters, &mut parts, LISTENER, &prefix("/"), |it| response(it, &[]));
        assert_eq!(text(&headers, ORIGIN), None, "{filters:?}");
    }
}

#[test]
fn a_preflight_is_answered_before_any_other_stage_ends_it() {
    for other in [Filter::Redirect(redirect()), Filter::Unresolved("x".into())] {
        let mut parts = request("OPTIONS a/x", &asking("https://www.foo.com", "GET"));
        let answer = run(&[other, Filter::Cors(listed())], &mut parts, LISTENER, &prefix("/"), answered);
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(text(&answer.headers, ORIGIN), Some("https://www.foo.com"));
    }
}
