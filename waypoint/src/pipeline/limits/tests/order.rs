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
