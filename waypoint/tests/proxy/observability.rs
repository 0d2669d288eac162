//! What a proxy shows Prometheus of the requests that it serves, and the ids that it gives them.

use crate::support;
use fairway_config::Delta;
use fairway_config::model::{AppProtocol, Resource};
use fairway_runtime::metrics::Metrics;
use fairway_telemetry::testing::{self, Exposition};
use http::Response;
use std::sync::Arc;
use support::backend::{Server, echo, full};
use support::wire::{exchange, get, status};
use support::*;

const TOTAL: &str = "fairway_requests_total";

fn scrape(proxy: &Proxy) -> Exposition {
    let metrics = Metrics::new("waypoint", "test");
    metrics.with_registry(|registry| proxy.waypoint.metrics().register(registry));
    Exposition::parse(&metrics.encode())
}

/// Two routes, the first with a named rule, to one Service.
fn routes() -> [Resource; 2] {
    let mut canary = rule("/canary", "shop/web:80");
    canary.name = Some("canary".into());
    let routes =
        [route("a", vec![rule("/a", "shop/web:80"), canary]), route("b", vec![rule("/b", "shop/none:80")])];
    routes.map(|it| Resource::Route(Arc::new(it)))
}

async fn started() -> (Server, Proxy) {
    let server = Server::http(1, echo).await;
    let mut resources = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    resources.push(http());
    resources.extend(routes());
    (server, Proxy::start(resources))
}

#[tokio::test]
async fn requests_are_counted_by_route_rule_service_and_class() {
    let (_server, proxy) = started().await;
    for (path, code) in [("/a", 200), ("/a", 200), ("/canary", 200), ("/b", 500), ("/nowhere", 404)] {
        assert_eq!(status(&get(proxy.address(), path).await), code);
    }
    wait_for(|| scrape(&proxy).sum(TOTAL, &[]) == 5.0).await;
    let scraped = scrape(&proxy);
    let to_web = ("backend", "shop/web");
    for (labels, count) in [
        (
            &[("route", "HTTPRoute/shop/a"), ("rule", "0"), to_web, ("backend_port", "80"), ("class", "2xx")]
                [..],
            2.0,
        ),
        (&[("route", "HTTPRoute/shop/a"), ("rule", "canary"), to_web, ("class", "2xx")], 1.0),
        (&[("route", "HTTPRoute/shop/b"), ("rule", "0"), ("backend", "shop/none"), ("class", "5xx")], 1.0),
        (&[("route", ""), ("rule", ""), ("backend", ""), ("class", "4xx")], 1.0),
        (&[("gateway", "shop/gateway")], 5.0),
    ] {
        assert_eq!(scraped.sum(TOTAL, labels), count, "{labels:?}");
    }
    assert_eq!(scraped.sum("fairway_request_duration_seconds_count", &[]), 5.0);
    assert_eq!(scraped.sum("fairway_local_replies_total", &[("reason", "no_route")]), 1.0);
}

#[tokio::test]
async fn a_rule_uses_a_series_for_each_backend_that_requests_go_to_and_no_other() {
    let (_server, proxy) = started().await;
    get(proxy.address(), "/a").await;
    get(proxy.address(), "/canary").await;
    wait_for(|| scrape(&proxy).sum(TOTAL, &[]) == 2.0).await;
    let scraped = scrape(&proxy);
    assert_eq!(scraped.sum("fairway_series", &[]), 2.0);
    let without_backend = [("route", "HTTPRoute/shop/a"), ("backend", "")];
    assert_eq!(scraped.samples("fairway_request_duration_seconds_count", &without_backend).count(), 0);
}

#[tokio::test]
async fn series_outlive_an_edit_of_their_route_and_go_with_it() {
    let (_server, mut proxy) = started().await;
    get(proxy.address(), "/a").await;
    wait_for(|| scrape(&proxy).sum(TOTAL, &[]) == 1.0).await;
    let edited = route("a", vec![rule("/a", "shop/web:80"), rule("/more", "shop/web:80")]);
    proxy.apply(vec![Resource::Route(Arc::new(edited))]).unwrap();
    get(proxy.address(), "/a").await;
    let of_a = [("route", "HTTPRoute/shop/a"), ("rule", "0")];
    wait_for(|| scrape(&proxy).sum(TOTAL, &of_a) == 2.0).await;

    let [a, _] = routes();
    proxy.apply_delta(Delta { removals: vec![a.key()], ..Delta::default() }).unwrap();
    // Nobody asks for anything: the worker lets go of the old configuration by itself.
    wait_for(|| scrape(&proxy).samples(TOTAL, &of_a).count() == 0).await;
    wait_for(|| scrape(&proxy).sum("fairway_series", &[]) == 0.0).await;
}

#[tokio::test]
async fn the_queries_of_the_documentation_can_be_answered() {
    let page = include_str!("../../../docs/observability.md");
    let (_server, proxy) = started().await;
    get(proxy.address(), "/a").await;
    wait_for(|| scrape(&proxy).sum(TOTAL, &[]) == 1.0).await;
    let scraped = scrape(&proxy);
    for query in testing::queries(page, "### Queries about requests") {
        testing::check(&query, &scraped).unwrap_or_else(|why| panic!("{query}: {why}"));
    }
    for name in scraped.names().into_iter().filter(|it| !it.starts_with("fairway_process_")) {
        let name = ["_bucket", "_count", "_sum"].iter().fold(name, |it, end| it.trim_end_matches(end));
        assert!(page.contains(&format!("`{name}")), "{name} is not documented");
    }
}

#[tokio::test]
async fn a_gateway_gives_each_request_an_id_of_its_own() {
    let server = Server::http(1, |request| async move {
        let ids = request.headers().get_all("x-request-id").iter().map(|it| it.to_str().unwrap());
        Response::new(full(ids.collect::<Vec<_>>().join("\n")))
    })
    .await;
    let proxy = Proxy::start(simple(AppProtocol::Http1, &[server.address]));
    let forged = "GET / HTTP/1.1\r\nhost: shop\r\nx-request-id: mine\r\nx-request-id: two\r\nconnection: close\r\n\r\n";
    let mut seen = vec![];
    for _ in 0..2 {
        for answer in [get(proxy.address(), "/").await, exchange(proxy.address(), forged).await] {
            seen.push(answer.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
    }
    assert!(seen.iter().all(|it| it.len() == 36 && !it.contains("mine")), "one each: {seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "no id twice");
}
