//! Limits beside stages and policies, and what is counted once.

use super::{
    Authorization, Condition, Endpoint, Filter, Limit, LimitKeyPart, PathMatch, Resource, Retry, Scene,
    by_header, limit, limits, local,
};
use fairway_config::model::{
    AuthProtocol, BackendTarget, CorsPolicy, ExternalAuth, Fraction, Mirror, OriginPattern, Redirect,
};
use fairway_policy::{Action, Rule};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::advance;

fn no_admin() -> Resource {
    let path = Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
    Resource::Authorization(Arc::new(Authorization::new(
        "no-admin",
        Action::Deny,
        vec![Rule::when(vec![path])],
    )))
}

fn cors() -> Filter {
    Filter::Cors(CorsPolicy {
        allow_origins: vec![OriginPattern::Exact("https://app.ex".into())],
        allow_credentials: false,
        allow_methods: None,
        allow_headers: None,
        expose_headers: None,
        max_age: Duration::from_secs(5),
    })
}

fn asks(backend: &str) -> Filter {
    let protocol =
        AuthProtocol::Http { path_prefix: None, request_headers: vec![], response_headers: vec![] };
    Filter::ExternalAuth(ExternalAuth { target: BackendTarget::Backend(backend.into()), protocol })
}

#[tokio::test(start_paused = true)]
async fn a_preflight_is_not_counted_and_browsers_see_the_refusal() {
    local(async {
        let redirect = Filter::Redirect(Redirect {
            scheme: None,
            hostname: Some("b.ex".into()),
            path: None,
            port: None,
            status: StatusCode::FOUND,
        });
        for key in [vec![], vec![LimitKeyPart::ClientAddress]] {
            let filters = vec![redirect.clone(), cors()];
            let scene = Scene { at_rule: vec!["p"], filters, ..Scene::default() };
            let scene = scene.start([limits("p", vec![limit(1, key)])]);
            let origin = "origin: https://app.ex\r\n";
            for _ in 0..3 {
                let (status, _) =
                    scene.ask("OPTIONS /", &format!("{origin}access-control-request-method: GET\r\n")).await;
                assert_eq!(status, 204);
            }
            assert_eq!(scene.ask("GET /", origin).await.0, 302, "what a filter answers is counted");
            let (status, text) = scene.ask("GET /", origin).await;
            assert_eq!(status, 429);
            assert!(text.contains("access-control-allow-origin: https://app.ex"), "{text}");
            // One without a preflight's headers is a request as any other.
            assert_eq!(scene.ask("OPTIONS /", "").await.0, 429);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn by_address_alone_is_counted_before_policies_and_all_else_behind_them() {
    local(async {
        for (key, is_coarse) in
            [(vec![LimitKeyPart::ClientAddress], true), (by_header("x"), false), (vec![], false)]
        {
            let scene = Scene {
                at_rule: vec!["p"],
                judges: vec!["no-admin"],
                more: vec![no_admin()],
                ..Scene::default()
            };
            let scene = scene.start([limits("p", vec![limit(2, key.clone())])]);
            for _ in 0..2 {
                assert_eq!(scene.ask("GET /admin", "").await.0, 403);
            }
            let (refused, passes) = if is_coarse { (429, 429) } else { (403, 200) };
            assert_eq!(scene.ask("GET /admin", "").await.0, refused, "{key:?}");
            assert_eq!(scene.status("").await, passes, "{key:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn by_address_alone_is_counted_before_an_authorization_service_is_asked() {
    local(async {
        for (key, asked) in [(vec![LimitKeyPart::ClientAddress], 1), (vec![], 3)] {
            let scene = Scene { at_rule: vec!["p"], filters: vec![asks("other")], ..Scene::default() };
            let scene = scene.start([limits("p", vec![limit(1, key.clone())])]);
            assert_eq!(scene.statuses(3).await, [200, 429, 429], "{key:?}");
            let services = scene.reached.borrow().iter().filter(|it| *it == "other").count();
            assert_eq!(services, asked, "{key:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whom_a_limit_by_key_refuses_takes_nothing_from_the_others() {
    local(async {
        // As written the one for all stands first.
        let all = Limit { name: Some("all".into()), ..limit(4, vec![]) };
        let each = Limit { name: Some("each".into()), ..limit(2, by_header("x-customer")) };
        let scene = Scene { at_rule: vec!["p"], ..Scene::default() }.start([limits("p", vec![all, each])]);
        let mut statuses = Vec::new();
        for customer in ["a", "a", "a", "a", "a", "b", "b", "c"] {
            statuses.push(scene.status(&format!("x-customer: {customer}\r\n")).await);
        }
        assert_eq!(statuses, [200, 200, 429, 429, 429, 200, 200, 429]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_is_counted_once_however_often_it_is_tried_and_its_copies_are_not() {
    local(async {
        let retry = Retry {
            attempts: 2,
            backoff: None,
            codes: vec![StatusCode::SERVICE_UNAVAILABLE],
            connection_errors: true,
        };
        let scene = Scene {
            at_rule: vec!["p"],
            at_backend: vec!["q"],
            retry: Some(retry),
            endpoint: Endpoint::Fails,
            ..Scene::default()
        };
        let two = |name| limits(name, vec![limit(2, vec![])]);
        let scene = scene.start([two("p"), two("q")]);
        assert_eq!(scene.statuses(3).await, [503, 503, 429]);
        assert_eq!(scene.reached.borrow().len(), 6, "each was tried three times");

        let mirror = Filter::Mirror(Mirror {
            target: BackendTarget::Backend("asked".into()),
            fraction: Fraction::ALL,
        });
        let scene =
            Scene { at_backend: vec!["q"], filters: vec![mirror], ..Scene::default() }.start([two("q")]);
        assert_eq!(scene.statuses(3).await, [200, 200, 429]);
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(scene.reached.borrow().len(), 4, "two requests and their copies");
    })
    .await;
}

/// The names of the limits at each level, in the order in which they are asked.
const LEVELS: [&str; 3] = ["at/listener", "at/rule", "at/service"];

fn at_every_level() -> Scene {
    let [listener, rule, service] = LEVELS;
    Scene { at_listener: vec![listener], at_rule: vec![rule], at_backend: vec![service], ..Scene::default() }
}

#[tokio::test(start_paused = true)]
async fn levels_are_asked_from_the_gateway_to_the_service_and_the_first_that_refuses_is_named() {
    local(async {
        // Every set of levels that refuses the second request.
        for refusing in 1..8_u32 {
            let refuses = |level: usize| refusing & (1 << level) != 0;
            let each = LEVELS.into_iter().enumerate();
            let each = each
                .map(|(level, name)| limits(name, vec![limit(if refuses(level) { 1 } else { 9 }, vec![])]));
            let scene = at_every_level().start(each);
            assert_eq!(scene.statuses(2).await, [200, 429], "{refusing:b}");
            let first = LEVELS.into_iter().enumerate().find(|(level, _)| refuses(*level)).unwrap().1;
            for name in LEVELS {
                let line = format!(
                    "rate_limit_decisions_total{{policy=\"{name}\",limit=\"all\",decision=\"limited\"}} 1"
                );
                assert_eq!(scene.shows(&line), name == first, "{refusing:b} {name}: {}", scene.scrape());
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_takes_nothing_from_limits_that_are_asked_with_or_behind_the_one_that_refuses()
 {
    local(async {
        // The limit of three at one level is asked by requests that one of two at another level refuses.
        for (refusing, other, is_taken) in
            [(0, 1, false), (0, 2, false), (1, 0, false), (1, 2, false), (2, 0, true), (2, 1, true)]
        {
            let two = limits(LEVELS[refusing], vec![limit(2, by_header("x-key"))]);
            let three = limits(LEVELS[other], vec![limit(3, vec![])]);
            let rest = LEVELS.into_iter().enumerate().filter(|(it, _)| *it != refusing && *it != other);
            let rest = rest.map(|(_, name)| limits(name, vec![]));
            let scene = at_every_level().start(rest.chain([two, three]));
            let mut statuses = Vec::new();
            for key in ["a", "a", "a", "a", "b"] {
                statuses.push(scene.status(&format!("x-key: {key}\r\n")).await);
            }
            // Limits of a Service are asked when it is chosen; what counted before has counted.
            let last = if is_taken { 429 } else { 200 };
            assert_eq!(statuses, [200, 200, 429, 429, last], "{refusing} {other}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_by_one_slow_limit_is_not_locked_out_by_another() {
    local(async {
        let hour = |key| Limit { per: Duration::from_secs(3600), ..limit(1, key) };
        let scene = Scene { at_listener: vec!["p"], at_rule: vec!["q"], ..Scene::default() };
        let scene =
            scene.start([limits("p", vec![hour(by_header("x-key"))]), limits("q", vec![hour(vec![])])]);
        assert_eq!(scene.status("x-key: other\r\n").await, 200);
        let mut statuses = Vec::new();
        for _ in 0..60 {
            advance(Duration::from_secs(60)).await;
            statuses.push(scene.status("x-key: mine\r\n").await);
        }
        // As soon as there is one for all again.
        assert_eq!(statuses.iter().position(|it| *it == 200), Some(59), "{statuses:?}");
    })
    .await;
}
