//! Refusals that name nothing of what was sent: something from before, or nothing at all. The proxy goes on with the rest.

use super::universe::{at_listener, certificate, rule};
use super::watcher::{Refusals, names};
use super::*;
use crate::serve::Hub;
use fairway_config::model::{Generation, Listener, ListenerProtocol, Resource, TlsTermination};
use fairway_config::stream::Proxy;

fn https() -> Resource {
    listener(
        "shop/gw",
        "https",
        ListenerProtocol::Https(TlsTermination {
            certificates: vec!["shop/tls".into()],
            clients: None,
            min_version: Default::default(),
            algorithms: Default::default(),
        }),
    )
}

fn port_of(watcher: &Watcher, backend: &str) -> Option<u16> {
    watcher.now().now.backends.get(backend).map(|it| it.port)
}

#[tokio::test(start_paused = true)]
async fn what_has_to_do_with_the_named_is_left_out_and_the_rest_goes_on() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let a_route =
        |path| route("r", vec![at_listener("shop/gw/https")], vec![rule(path, &["shop/a:80"], None)]);
    hub.commit(vec![https(), certificate("shop/tls"), a_route("/1"), backend("shop/a:80", 80, None)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;

    // The proxy names the listener, which has not changed. Its route has, and two backends, of which the route needs one.
    proxy.refusals.naming_with(https().key(), a_route("/2").key());
    let unrelated = || backend("blog/c:80", 80, None);
    hub.commit(vec![a_route("/2"), backend("shop/a:80", 81, None), unrelated()], vec![]);
    let history = proxy.generation(Generation(2)).await;
    assert!(history.now.backends.contains_key("blog/c:80"), "{:?}", names(&history.now));
    let path = |history: &watcher::History| {
        history.now.routes.values().map(|it| format!("{:?}", it.rules[0].matches[0].path)).collect::<Vec<_>>()
    };
    assert!(path(&history)[0].contains("/1"), "the last good version: {:?}", path(&history));
    let mut states = hub.states();
    let state = wait_for_state(&mut states, "all is acknowledged", |it| it.acked == Generation(2)).await;
    let told: Vec<_> = state.rejected.iter().map(ToString::to_string).collect();
    let because = "the proxy refuses what it was sent with this, because of Listener shop/gw/https: poison";
    assert_eq!(
        told,
        [
            format!("Route HTTPRoute/shop/r: {because}"),
            format!("Backend shop/a:80: {because}"),
            "Listener shop/gw/https: poison".to_owned(),
        ]
    );

    // Later changes reach the proxy, and once it takes what was left out, nothing is said of it.
    hub.commit(vec![backend("blog/c:80", 82, None)], vec![]);
    proxy.generation(Generation(3)).await;
    assert_eq!(port_of(&proxy, "blog/c:80"), Some(82));
    proxy.refusals.clear();
    let history = proxy.until(|it| path(it)[0].contains("/2")).await;
    assert_eq!(history.now.backends.get("shop/a:80").map(|it| it.port), Some(81));
    wait_for_state(&mut states, "nothing is refused", |it| it.rejected.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_has_to_do_with_the_named_all_of_the_difference_is_left_out_and_later_ones_go_on() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let gone = backend("shop/gone:80", 80, None);
    hub.commit(vec![certificate("shop/tls"), backend("shop/a:80", 80, None), gone.clone()], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;

    proxy.refusals.naming_with(certificate("shop/tls").key(), backend("shop/a:80", 81, None).key());
    hub.commit(vec![backend("shop/a:80", 81, None), backend("shop/b:80", 80, None)], vec![gone.key()]);
    let mut states = hub.states();
    let state = wait_for_state(&mut states, "it goes on", |it| it.acked == Generation(2)).await;
    let named: Vec<_> = state.rejected.iter().map(|it| it.key.to_string()).collect();
    assert_eq!(
        named,
        ["Backend shop/a:80", "Backend shop/b:80", "Backend shop/gone:80", "Certificate shop/tls"]
    );
    assert_eq!((port_of(&proxy, "shop/a:80"), port_of(&proxy, "shop/b:80")), (Some(80), None));
    assert_eq!(port_of(&proxy, "shop/gone:80"), Some(80), "what stays may need it");

    // A change of something else is in force at once, and so is a new version of what was left out that is taken.
    hub.commit(vec![backend("blog/c:80", 80, None)], vec![]);
    proxy.generation(Generation(3)).await;
    assert_eq!(port_of(&proxy, "blog/c:80"), Some(80));
    proxy.refusals.clear();
    let history = proxy.until(|it| !it.now.backends.contains_key("shop/gone:80")).await;
    assert_eq!(history.now.backends.len(), 3);
    let state = wait_for_state(&mut states, "nothing is refused", |it| it.rejected.is_empty()).await;
    assert_eq!(state.acked, Generation(3));
}

/// A listener that is left out is as one that is refused: where its last good version is not where it is to be, it is closed.
#[tokio::test(start_paused = true)]
async fn a_listener_that_is_left_out_is_closed_where_it_is_to_be() {
    let at = |port: u16| {
        let Resource::Listener(it) = listener("shop/gw", "x", ListenerProtocol::Http) else { panic!() };
        Resource::Listener(std::sync::Arc::new(Listener { port, ..Listener::clone(&it) }))
    };
    for begins_again in [false, true] {
        let hub = Hub::new();
        let network = Network::default();
        let _controller = network.serve(&hub);
        hub.commit(vec![certificate("shop/tls"), at(80)], vec![]);
        let mut proxy = Watcher::over(&network, Proxy::Everything);
        proxy.generation(Generation(1)).await;
        proxy.refusals.naming_with(certificate("shop/tls").key(), at(81).key());
        if begins_again {
            // Then nobody has told the controller where the last good version is.
            network.cut();
        }
        hub.commit(vec![at(81)], vec![]);
        let history = proxy.generation(Generation(2)).await;
        let it = &history.now.listeners["shop/gw/x"];
        assert_eq!((it.port, it.closed.is_some()), (81, true), "{begins_again}");
    }
}

/// One that stayed where it was could be in the way of another one that is to be there.
#[tokio::test(start_paused = true)]
async fn a_listener_that_is_refused_closed_as_well_does_not_stay_where_it_is_not_to_be() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let at = |port: u16| {
        let Resource::Listener(it) = listener("shop/gw", "x", ListenerProtocol::Http) else { panic!() };
        Resource::Listener(std::sync::Arc::new(Listener { port, ..Listener::clone(&it) }))
    };
    hub.commit(vec![at(80)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;
    proxy.refusals.listener_with_port(at(81).key(), 81);
    hub.commit(vec![at(81)], vec![]);
    let history = proxy.generation(Generation(2)).await;
    assert_eq!(names(&history.now), Vec::<String>::new());
    let mut states = hub.states();
    let state = wait_for_state(&mut states, "all is acknowledged", |it| it.acked == Generation(2)).await;
    assert_eq!(
        state.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["Listener shop/gw/x: poison"]
    );
    proxy.refusals.clear();
    proxy.until(|it| it.now.listeners.len() == 1).await;
    wait_for_state(&mut states, "nothing is refused", |it| it.rejected.is_empty()).await;
}

/// Without a part of its first configuration a proxy must not serve.
#[tokio::test(start_paused = true)]
async fn a_proxy_that_has_nothing_is_ready_when_it_takes_all_of_it() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let refusals = Refusals::default();
    refusals.naming(certificate("shop/gone").key());
    hub.commit(vec![backend("shop/a:80", 80, None)], vec![]);
    let mut proxy = Watcher::with(&network, Proxy::Everything, None, refusals);
    let history = proxy.until(|it| it.refused == 3).await;
    assert_eq!((history.applied.len(), hub.states().get()[0].acked), (0, Generation(0)));
    assert_eq!(hub.states().get()[0].rejected[0].key, certificate("shop/gone").key());
    proxy.refusals.clear();
    let history = proxy.generation(Generation(1)).await;
    assert_eq!(names(&history.now), ["Backend shop/a:80"]);
}
