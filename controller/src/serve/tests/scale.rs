//! Many routes: what one edit costs.

use super::universe::{at_listener, rule};
use super::*;
use crate::serve::Hub;
use fairway_config::model::{Generation, ListenerProtocol, Resource};
use fairway_config::wire;
use std::time::Duration;

fn routes(count: usize) -> Vec<Resource> {
    (0..count)
        .map(|i| {
            let rules = vec![
                rule(&format!("/{i}/a"), &["shop/a:80"], None),
                rule(&format!("/{i}/b"), &["shop/b:80"], None),
            ];
            route(&format!("r{i}"), vec![at_listener("shop/gw/x")], rules)
        })
        .collect()
}

fn clock() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[test]
fn five_thousand_routes_encode_and_decode_in_a_moment() {
    let routes = routes(5000);
    let start = clock();
    let encoded: Vec<_> = routes.iter().map(wire::encode).collect();
    let encoding = start.elapsed();
    let start = clock();
    let decoded: Vec<_> = encoded.iter().map(|it| wire::decode(it.bytes.clone()).unwrap()).collect();
    let decoding = start.elapsed();
    assert_eq!(decoded, routes);
    let size: usize = encoded.iter().map(|it| it.bytes.len()).sum();
    println!("5,000 routes, {size} bytes: encoded in {encoding:?}, decoded in {decoding:?}");
    assert!(encoding + decoding < Duration::from_secs(5));
}

#[tokio::test]
async fn one_edit_among_five_thousand_routes_sends_one_route() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let mut all = routes(5000);
    all.push(listener("shop/gw", "x", ListenerProtocol::Http));
    all.push(backend("shop/a:80", 80, None));
    all.push(backend("shop/b:80", 80, None));

    let start = clock();
    hub.commit(all, vec![]);
    let committed = start.elapsed();
    let mut proxy = Watcher::over(&network, gateway("shop/gw"));
    proxy.generation(Generation(1)).await;
    let synced = start.elapsed();

    let before = network.bytes_to_proxies();
    let edited = route("r77", vec![at_listener("shop/gw/x")], vec![rule("/new", &["shop/b:80"], None)]);
    let start = clock();
    hub.commit(vec![edited], vec![]);
    let recommitted = start.elapsed();
    let history = proxy.generation(Generation(2)).await;
    let edited = start.elapsed();
    let bytes = network.bytes_to_proxies() - before;
    println!(
        "5,000 routes: committed in {committed:?}, in force after {synced:?}; one edit: committed in {recommitted:?}, in force after {edited:?}, {bytes} bytes"
    );
    assert_eq!(history.applied[1].1.len(), 1);
    assert!(bytes < 1000, "{bytes}");
    assert!(edited < Duration::from_secs(2));
    assert!(synced < Duration::from_secs(30));
}
