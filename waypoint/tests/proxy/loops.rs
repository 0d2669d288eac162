//! Endpoints that are the proxy itself, of requests. Those of bytes and datagrams are in `byte_loops.rs`.

use crate::support;
use fairway_config::model::{
    AppProtocol, BackendTarget, Filter, Fraction, HeaderModifier, Mirror, PathModifier, Resource, Rule,
    UrlRewrite,
};
use http::{HeaderName, HeaderValue};
use support::backend::{Server, echo};
use support::wire::{exchange, get, status};
use support::*;

/// A proxy with these rules, whose backend `shop/self:80` is the proxy.
fn calls_itself(rules: Vec<Rule>, protocol: AppProtocol, others: Vec<Resource>) -> Proxy {
    let mut proxy = Proxy::start(vec![http()]);
    let mut resources = backend("shop/self:80", protocol, &[proxy.address()]);
    resources.push(routed(rules));
    resources.extend(others);
    proxy.apply(resources).unwrap();
    proxy
}

fn rewritten(to: &str) -> Filter {
    Filter::Rewrite(UrlRewrite { hostname: None, path: Some(PathModifier::ReplacePrefix(to.into())) })
}

fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// Requests that the proxy has taken, itself as a client included.
fn taken(proxy: &Proxy) -> usize {
    let scrape = proxy.scrape();
    let of_codes = scrape.lines().filter(|it| it.contains("requests_total"));
    of_codes.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as usize
}

#[tokio::test]
async fn a_proxy_that_calls_itself_is_cut_off_in_the_first_round() {
    let plain = rule("/", "shop/self:80");
    // No filter of a route makes the proxy forget, nor does a path that changes.
    let mut hides = rule("/", "shop/self:80");
    hides.filters = vec![Filter::RequestHeaders(HeaderModifier {
        set: vec![header("x-fairway-via", "0")],
        remove: vec![HeaderName::from_static("x-fairway-via")],
        ..HeaderModifier::default()
    })];
    let mut grows = rule("/", "shop/self:80");
    grows.filters = vec![rewritten("/again")];
    for (name, rule) in [("plain", plain), ("hides", hides), ("grows", grows)] {
        for protocol in [AppProtocol::Http1, AppProtocol::Http2] {
            let proxy = calls_itself(vec![rule.clone()], protocol, vec![]);
            assert_eq!(status(&get(proxy.address(), "/a").await), 508, "{name} {protocol:?}");
            wait_for(|| taken(&proxy) == 2).await;
        }
    }
}

#[tokio::test]
async fn rules_that_lead_to_each_other_are_passed_once_each() {
    let mut one = rule("/one", "shop/self:80");
    one.filters = vec![rewritten("/two")];
    let mut two = rule("/two", "shop/self:80");
    two.filters = vec![rewritten("/one")];
    let proxy = calls_itself(vec![one, two], AppProtocol::Http1, vec![]);
    assert_eq!(status(&get(proxy.address(), "/one").await), 508);
    wait_for(|| taken(&proxy) == 3).await;
}

#[tokio::test]
async fn a_mirror_of_a_route_to_itself_makes_one_copy() {
    let server = Server::http(1, echo).await;
    let mut mirrored = rule("/", "shop/web:80");
    let target = BackendTarget::Backend("shop/self:80".into());
    mirrored.filters = vec![Filter::Mirror(Mirror { target, fraction: Fraction::ALL })];
    let web = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    let proxy = calls_itself(vec![mirrored], AppProtocol::Http1, web);
    assert_eq!(status(&get(proxy.address(), "/").await), 200);
    wait_for(|| taken(&proxy) == 2).await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_request_may_pass_another_rule_of_the_same_proxy() {
    let server = Server::http(1, echo).await;
    let mut outer = rule("/outer", "shop/self:80");
    outer.filters = vec![rewritten("/inner")];
    let web = backend("shop/web:80", AppProtocol::Http1, &[server.address]);
    let proxy = calls_itself(vec![outer, rule("/inner", "shop/web:80")], AppProtocol::Http1, web);
    let answer = get(proxy.address(), "/outer/a").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let via = answer.lines().find_map(|it| it.strip_prefix("x-fairway-via: ")).unwrap();
    assert_eq!(via.split(',').count(), 2);

    // Who forges the header is alone with what comes of it.
    let forged =
        format!("GET /outer HTTP/1.1\r\nhost: a\r\nx-fairway-via: {via}\r\nconnection: close\r\n\r\n");
    assert_eq!(status(&exchange(proxy.address(), forged).await), 508);
    assert_eq!(status(&get(proxy.address(), "/outer").await), 200);
}
