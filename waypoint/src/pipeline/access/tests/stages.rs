//! Policies beside the stages of a rule.

use super::{Scene, local, no_admin, policy};
use fairway_config::model::{
    AuthProtocol, BackendTarget, CorsPolicy, ExternalAuth, Filter, Fraction, HeaderMatch, Mirror,
    OriginPattern, Redirect, ValueMatch,
};
use fairway_policy::{Action, Authorization, Condition, Rule};
use http::{HeaderName, StatusCode};
use std::time::Duration;
use tokio::task::yield_now;

#[tokio::test(start_paused = true)]
async fn a_preflight_is_answered_and_a_redirect_is_not_reached() {
    local(async {
        let cors = Filter::Cors(CorsPolicy {
            allow_origins: vec![OriginPattern::Exact("https://app.ex".into())],
            allow_credentials: false,
            allow_methods: None,
            allow_headers: None,
            expose_headers: None,
            max_age: Duration::from_secs(5),
        });
        let redirect = Filter::Redirect(Redirect {
            scheme: None,
            hostname: Some("b.ex".into()),
            path: None,
            port: None,
            status: StatusCode::FOUND,
        });
        let scene = Scene {
            at_rule: vec!["shop/no-admin@gateway"],
            filters: vec![redirect, cors],
            policies: vec![no_admin()],
            ..Scene::default()
        };
        let scene = scene.start();
        let origin = "origin: https://app.ex\r\n";
        let (status, _) =
            scene.ask("OPTIONS /admin", &format!("{origin}access-control-request-method: GET\r\n")).await;
        assert_eq!(status, 204);
        let (status, text) = scene.ask("GET /admin", origin).await;
        assert_eq!(status, 403);
        // A browser is told of the refusal, and not of a failure of CORS in its place.
        assert!(text.contains("access-control-allow-origin: https://app.ex"), "{text}");
        assert_eq!(scene.ask("GET /", origin).await.0, 302);
        // One without a preflight's headers is a request as any other.
        assert_eq!(scene.ask("OPTIONS /admin", "").await.0, 403);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_authorization_service_is_not_asked_for_what_policies_refuse_and_opens_nothing() {
    local(async {
        let protocol =
            AuthProtocol::Http { path_prefix: None, request_headers: vec![], response_headers: vec![] };
        let target = BackendTarget::Backend("other".into());
        let filters = vec![Filter::ExternalAuth(ExternalAuth { target, protocol })];
        // The service answers with this header, which then is the request's.
        let role =
            HeaderMatch { name: HeaderName::from_static("x-role"), value: ValueMatch::Exact("admin".into()) };
        let policies = vec![no_admin(), policy("role", Action::Allow, vec![Condition::HeaderIs(role)])];
        let at_listener = vec!["shop/no-admin@gateway", "shop/role@gateway"];
        let scene = Scene { at_listener, filters, policies, ..Scene::default() }.start();
        for (line, headers, status, reached) in [
            ("GET /admin", "x-role: admin\r\n", 403, &[][..]),
            ("GET /", "", 403, &[][..]),
            ("GET /", "x-role: admin\r\n", 200, &["other", "asked"][..]),
        ] {
            let (got, text) = scene.ask(line, headers).await;
            assert_eq!(got, status, "{line} {headers}: {text}");
            assert_eq!(scene.reached.take(), reached, "{line} {headers}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_goes_only_to_a_service_whose_policies_let_it_pass() {
    local(async {
        for (at_other, copied) in [(vec![], true), (vec!["shop/no-admin@gateway"], false)] {
            let mirror = Mirror { target: BackendTarget::Backend("other".into()), fraction: Fraction::ALL };
            let scene = Scene {
                at_other,
                filters: vec![Filter::Mirror(mirror)],
                policies: vec![no_admin()],
                ..Scene::default()
            };
            let scene = scene.start();
            assert_eq!(scene.ask("GET /admin", "").await.0, 200);
            for _ in 0..20 {
                yield_now().await;
            }
            assert_eq!(scene.reached.borrow().iter().any(|it| it == "other"), copied);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_authorization_service_whose_policies_refuse_the_client_is_not_asked() {
    local(async {
        for (action, status, reached) in
            [(Action::Allow, 200, &["other", "asked"][..]), (Action::Deny, 403, &[][..])]
        {
            let protocol =
                AuthProtocol::Http { path_prefix: None, request_headers: vec![], response_headers: vec![] };
            let target = BackendTarget::Backend("other".into());
            let scene = Scene {
                at_other: vec!["shop/all@service"],
                filters: vec![Filter::ExternalAuth(ExternalAuth { target, protocol })],
                policies: vec![Authorization::new("shop/all@service", action, vec![Rule::default()])],
                ..Scene::default()
            };
            let scene = scene.start();
            let (got, text) = scene.ask("GET /", "").await;
            assert_eq!(got, status, "{action:?}: {text}");
            assert_eq!(scene.reached.take(), reached, "{action:?}");
        }
    })
    .await;
}
