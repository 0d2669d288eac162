use super::*;
use crate::fixtures::{MatchExt, attachment, exact, listener, prefix, route, rule};
use crate::testing::{MemoryProxy, backend, cors, endpoint, redirect, set, to};
use fairway_config::model::{
    AddressSource, AppProtocol, Attachment, Audience, AuthProtocol, BackendTarget, ExternalAuth, Filter,
    Listener, OriginPattern, Resource, Route, Rule, UrlRewrite,
};
use http::HeaderValue;

#[test]
fn explain_says_where_the_client_is_and_behind_whom() {
    let trusted: fairway_policy::CidrSet = std::iter::once("10.0.0.0/8".parse().unwrap()).collect();
    for (address_source, query, expected) in [
        (
            AddressSource::ForwardedFor(trusted.clone()),
            "client=10.0.0.1&header=x-forwarded-for:203.0.113.7",
            "client   203.0.113.7, behind 10.0.0.1\n",
        ),
        (
            AddressSource::ProxyProtocol(trusted.clone()),
            "client=203.0.113.7",
            "client   203.0.113.7, behind 10.0.0.0\n",
        ),
        (AddressSource::ForwardedFor(trusted), "client=192.0.2.1&header=x-forwarded-for:203.0.113.7", ""),
    ] {
        let listener = Listener { address_source, ..listener("web", None) };
        let route = Route {
            attachments: vec![attachment("web", &[])],
            rules: vec![rule(vec![prefix("/")], "web")],
            ..route("r")
        };
        let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
        resources.extend(backend("web", AppProtocol::Http1, &[endpoint(1)]));
        let proxy = MemoryProxy::start(resources, |_, _| Err(std::io::ErrorKind::ConnectionRefused.into()));
        let explained = text(proxy.unwrap().view().explain(&format!("url=http://a.ex/&{query}")));
        assert!(explained.contains(expected), "{query}: {explained}");
        assert!(!expected.is_empty() || !explained.contains("client   "), "{query}: {explained}");
    }
}

const SECRET: &str = "hunter2-hunter2";

fn credentials() -> Filter {
    Filter::RequestHeaders(set("authorization", SECRET))
}

fn view() -> View {
    let host = HeaderValue::from_static("internal.ex");
    let rewrite = Filter::Rewrite(UrlRewrite { hostname: Some(host), path: None });
    let secretive = prefix("/cart").header("x-api-key", SECRET);
    let rules = vec![
        Rule { filters: vec![credentials(), rewrite], ..rule(vec![exact("/cart")], "web") },
        Rule { backends: vec![to(9, "web"), to(1, "canary")], ..rule(vec![prefix("/cart")], "web") },
        Rule {
            filters: vec![Filter::Redirect(redirect("b.ex")), Filter::Cors(cors(OriginPattern::Any))],
            ..rule(vec![prefix("/old")], "web")
        },
        rule(vec![prefix("/cart").method("POST")], "web"),
        rule(vec![secretive], "web"),
        rule(vec![prefix("/lost")], "unknown"),
        Rule { filters: vec![Filter::Unresolved("x".into())], ..rule(vec![prefix("/closed")], "web") },
    ];
    let at_listener =
        Route { attachments: vec![attachment("web", &[("a.ex", "a.ex")])], rules, ..route("r") };
    let at_service = Route {
        attachments: vec![Attachment::Service {
            service: "shop/cart".into(),
            port: None,
            audience: Audience::Producer,
        }],
        rules: vec![rule(vec![prefix("/").header("x-tenant", "~[a-c]")], "canary")],
        ..route("s")
    };
    let mut resources = vec![
        Resource::Listener(Arc::new(listener("web", None))),
        Resource::Route(Arc::new(at_listener)),
        Resource::Route(Arc::new(at_service)),
    ];
    resources.extend(backend("web", AppProtocol::Http1, &[endpoint(1)]));
    resources.extend(backend("canary", AppProtocol::Http1, &[endpoint(2)]));
    let proxy = MemoryProxy::start(resources, |_, _| Err(std::io::ErrorKind::ConnectionRefused.into()));
    proxy.unwrap().view()
}

fn text(content: Content) -> String {
    match content {
        Content::Text(text) => text,
        Content::Json(value) => value.to_string(),
        Content::Invalid(why) => why,
    }
}

#[test]
fn the_whole_table_is_shown_with_routes_in_the_order_of_precedence() {
    let shown = text(view().config("format=text"));
    let expected = [
        "generation 0",
        "socket * port 80/TCP",
        "  listener web (HTTP, *)",
        "    host a.ex",
        "      path /cart: HTTPRoute/shop/r rule 0",
        "        stage request-headers: sets authorization",
        "        stage rewrite: the host becomes internal.ex",
        "        backend web weight 1",
        "      path prefix /cart, method POST: HTTPRoute/shop/r rule 3",
        "        backend web weight 1",
        "      path prefix /lost: HTTPRoute/shop/r rule 5",
        "        backend unknown weight 1",
        "      path prefix /cart, header x-api-key: HTTPRoute/shop/r rule 4",
        "        backend web weight 1",
        "      path prefix /cart: HTTPRoute/shop/r rule 1",
        "        backend web weight 9",
        "        backend canary weight 1",
        "      path prefix /old: HTTPRoute/shop/r rule 2",
        "        stage cors: answers preflights, allows every origin",
        "        stage redirect: answers 302 with another location",
        "        backend web weight 1",
        "      path prefix /closed: HTTPRoute/shop/r rule 6",
        "        stage unresolved: answers 500: the filter is not known here, or its rule does not hold",
        "        backend web weight 1",
        "service shop/cart other ports for everybody",
        "    host *",
        "      path prefix /, header x-tenant: HTTPRoute/shop/s rule 0",
        "        backend canary weight 1",
        "backends",
        "  canary (Http1)",
        "    10.0.0.2:80 healthy, 0 requests in flight",
        "  web (Http1)",
        "    10.0.0.1:80 healthy, 0 requests in flight",
    ];
    let mut lines: Vec<&str> = shown.lines().collect();
    let mut expected = expected.to_vec();
    // The exact path goes first, then longer prefixes; `/lost` and `/cart` are of one length.
    assert_eq!(lines[..8], expected[..8]);
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{shown}");
    let Content::Json(json) = view().config("") else { panic!() };
    assert_eq!(json["generation"], 0);
    assert_eq!(json["sockets"][0]["listeners"][0]["hosts"][0]["rules"][0]["match"], "path /cart");
}

#[test]
fn a_request_is_explained_as_it_would_be_served() {
    let view = view();
    let with_key = format!("url=http://a.ex/cart/7&header=X-Api-Key:%20{SECRET}");
    for (query, expected) in [
        (
            "url=http://a.ex/cart",
            vec![
                "request  GET http://a.ex/cart",
                "target   listener web",
                "rule     HTTPRoute/shop/r rule 0",
                "stage    request-headers: sets authorization",
                "sent on  GET http://internal.ex/cart",
                "outcome  it goes to web",
                "backend  web (100 %)",
                "10.0.0.1:80 healthy",
                "because the method is not POST",
                "because header x-api-key is not there, or has another value",
                "because it fits, but goes behind the one that is chosen",
                "3 more, whose host or path is another",
            ],
        ),
        (
            "url=http://A.ex:80/%63art/7?x=1&method=GET",
            vec!["rule     HTTPRoute/shop/r rule 1", "one of 2 backends", "web (90 %)", "canary (10 %)"],
        ),
        ("url=http://a.ex/cart/7&method=POST", vec!["rule     HTTPRoute/shop/r rule 3"]),
        (with_key.as_str(), vec!["HTTPRoute/shop/r rule 4"]),
        ("url=http://a.ex/old", vec!["outcome  a stage answers 302 Found"]),
        (
            "url=http://a.ex/old&method=OPTIONS&header=origin:https://x&header=access-control-request-method:GET",
            vec!["outcome  a stage answers 204 No Content"],
        ),
        (
            "url=http://a.ex/closed",
            vec!["rule     HTTPRoute/shop/r rule 6", "outcome  refused with 500", "(unresolved_filter)"],
        ),
        ("url=http://a.ex/lost", vec!["backend  unknown (100 %)", "not known here: 500"]),
        ("url=http://a.ex/nothing", vec!["outcome  refused with 404", "(no_route)", "7 more"]),
        ("url=http://a.ex/a/../b", vec!["outcome  refused with 400", "(bad_request)"]),
        ("url=http://a.ex:81/cart", vec!["outcome  refused: no listener has this port"]),
        (
            "url=http://x/a&service=shop/cart&header=x-tenant:b",
            vec!["target   Service shop/cart:80", "it goes to canary"],
        ),
        ("url=http://x/a&service=shop/cart&header=x-tenant:d", vec!["(no_route)", "header x-tenant"]),
    ] {
        let shown = text(view.explain(query));
        for part in expected {
            assert!(shown.contains(part), "{query}: `{part}` is not in\n{shown}");
        }
    }
}

#[test]
fn a_stage_that_would_ask_another_service_is_assumed_to_let_the_request_pass_and_the_rest_is_explained() {
    let asks = Filter::ExternalAuth(ExternalAuth {
        target: BackendTarget::Backend("judge".into()),
        protocol: AuthProtocol::Grpc { request_headers: vec![] },
    });
    let guarded = Rule {
        filters: vec![asks, Filter::Cors(cors(OriginPattern::Any)), credentials()],
        ..rule(vec![prefix("/guarded")], "web")
    };
    let route = Route {
        attachments: vec![attachment("web", &[("a.ex", "a.ex")])],
        rules: vec![guarded],
        ..route("r")
    };
    let mut resources =
        vec![Resource::Listener(Arc::new(listener("web", None))), Resource::Route(Arc::new(route))];
    resources.extend(backend("web", AppProtocol::Http1, &[endpoint(1)]));
    let proxy = MemoryProxy::start(resources, |_, _| Err(std::io::ErrorKind::ConnectionRefused.into()));
    let view = proxy.unwrap().view();
    let shown = text(view.explain("url=http://a.ex/guarded"));
    for part in ["assumed  external-auth lets it pass", "outcome  it goes to web", "10.0.0.1:80 healthy"] {
        assert!(shown.contains(part), "`{part}` is not in\n{shown}");
    }
    // A preflight is answered before anybody is asked.
    let preflight = "url=http://a.ex/guarded&method=OPTIONS&header=origin:https://x&header=access-control-request-method:GET";
    let shown = text(view.explain(preflight));
    assert!(shown.contains("a stage answers 204") && !shown.contains("assumed"), "{shown}");
}

#[test]
fn a_question_that_is_not_understood_says_what_to_write() {
    let view = view();
    for (query, expected) in [
        ("", "describe a request: /explain?url="),
        ("url=/cart", "describe a request"),
        ("url=http://a.ex/&port=http", "port=`http` is not understood: write a number from 1 to 65535"),
        ("url=http://a.ex/&header=x", "header=`x` is not understood: write name:value"),
        ("url=http://a.ex/&peer=me", "peer=`me` is not understood: write a SPIFFE ID"),
        ("urn=http://a.ex/", "`urn` is no parameter"),
    ] {
        let Content::Invalid(why) = view.explain(query) else { panic!("{query}") };
        assert!(why.contains(expected), "{query}: {why}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let view = view();
    let shown = [
        view.config(""),
        view.config("format=text"),
        view.explain("url=http://a.ex/cart"),
        view.explain("url=http://a.ex/cart/7&format=json"),
    ];
    for shown in shown.map(text) {
        assert!(shown.contains("cart") && !shown.contains(SECRET), "{shown}");
    }
}
