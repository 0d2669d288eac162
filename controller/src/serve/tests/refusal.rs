//! What a proxy refuses.

use super::watcher::{Refusals, names};
use super::*;
use crate::serve::Hub;
use fairway_config::Snapshot;
use fairway_config::model::{Capabilities, Generation, Listener, ListenerProtocol, Resource};
use fairway_config::stream::{Proxy, Subscription};
use std::sync::Arc;

fn served() -> (Network, Arc<Hub>) {
    (Network::default(), Hub::new())
}

#[tokio::test(start_paused = true)]
async fn one_poison_object_does_not_hold_up_the_others_and_keeps_its_last_good_version() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    hub.commit(vec![backend("shop/a:80", 80, None), backend("shop/b:80", 80, None)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;

    let poison = backend("shop/a:80", 666, None);
    proxy.refusals.backend_with_port(poison.key(), 666);
    hub.commit(vec![poison.clone(), backend("shop/b:80", 81, None), backend("blog/c:80", 80, None)], vec![]);
    let history = proxy.generation(Generation(2)).await;
    let port = |name: &str| history.now.backends.get(name).map(|it| it.port);
    assert_eq!((port("shop/a:80"), port("shop/b:80"), port("blog/c:80")), (Some(80), Some(81), Some(80)));
    assert_eq!(history.refused, 1);

    let mut states = hub.states();
    let state =
        wait_for_state(&mut states, "generation 2 is acknowledged", |it| it.acked == Generation(2)).await;
    assert_eq!(
        state.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["Backend shop/a:80: poison"]
    );
    assert_eq!(proxy.progress.borrow().rejected[..], state.rejected[..]);

    // Other changes go their way; the poison is not sent with each of them.
    hub.commit(vec![backend("shop/b:80", 82, None)], vec![]);
    assert_eq!(proxy.generation(Generation(3)).await.refused, 1);

    // A new version of it is tried at once.
    hub.commit(vec![backend("shop/a:80", 83, None)], vec![]);
    let history = proxy.generation(Generation(4)).await;
    assert_eq!(history.now.backends.get("shop/a:80").map(|it| it.port), Some(83));
    let state =
        wait_for_state(&mut states, "generation 4 is acknowledged", |it| it.acked == Generation(4)).await;
    assert_eq!(state.rejected, vec![]);
    assert!(proxy.progress.borrow().rejected.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_can_be_taken_away() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    hub.commit(vec![backend("shop/a:80", 80, None)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;
    let poison = backend("shop/a:80", 666, None);
    proxy.refusals.always(poison.key());
    hub.commit(vec![poison.clone(), backend("shop/b:80", 80, None)], vec![]);
    proxy.generation(Generation(2)).await;
    proxy.refusals.clear();
    hub.commit(vec![], vec![poison.key()]);
    let history = proxy.generation(Generation(3)).await;
    assert_eq!(names(&history.now), ["Backend shop/b:80"]);
    assert_eq!(
        wait_for_state(&mut hub.states(), "generation 3 is acknowledged", |it| it.acked == Generation(3))
            .await
            .rejected,
        vec![]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_offered_again_after_a_while() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    let refusals = Refusals::default();
    let taken = listener("shop/gw", "x", ListenerProtocol::Http);
    refusals.always(taken.key());
    hub.commit(vec![taken.clone(), backend("shop/a:80", 80, None)], vec![]);
    let mut proxy = Watcher::with(&network, Proxy::Everything, None, refusals);
    let start = tokio::time::Instant::now();
    // It is offered closed at once each time, and that is refused, too.
    let history = proxy.until(|it| it.refused == 6).await;
    assert_eq!(names(&history.now), ["Backend shop/a:80"]);
    assert_eq!(start.elapsed().as_secs(), 5 + 10, "twice, less and less often");
    proxy.refusals.clear();
    let history = proxy.until(|it| it.now.listeners.len() == 1).await;
    assert_eq!(history.refused, 6);
    assert_eq!(start.elapsed().as_secs(), 5 + 10 + 20);
    assert_eq!(
        wait_for_state(&mut hub.states(), "generation 1 is acknowledged", |it| it.acked == Generation(1))
            .await
            .rejected,
        vec![]
    );
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_is_refused_holds_nothing_else_up() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    hub.commit(vec![backend("shop/a:80", 80, None)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;
    let key = backend("shop/a:80", 80, None).key();
    proxy.refusals.always(key.clone());
    hub.commit(vec![backend("shop/b:80", 80, None)], vec![key.clone()]);
    let history = proxy.generation(Generation(2)).await;
    assert_eq!(names(&history.now), ["Backend shop/a:80", "Backend shop/b:80"]);
    let mut states = hub.states();
    let state =
        wait_for_state(&mut states, "generation 2 is acknowledged", |it| it.acked == Generation(2)).await;
    assert_eq!(state.rejected.iter().map(|it| &it.key).collect::<Vec<_>>(), [&key]);
    // It is offered again.
    proxy.refusals.clear();
    let history = proxy.until(|it| it.now.backends.len() == 1).await;
    assert_eq!(names(&history.now), ["Backend shop/b:80"]);
    wait_for_state(&mut states, "nothing is refused", |it| it.rejected.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn one_proxys_refusal_is_no_other_proxys_concern() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    let poison = backend("shop/a:80", 666, None);
    let picky = Refusals::default();
    picky.always(poison.key());
    hub.commit(vec![poison], vec![]);
    let mut picky = Watcher::with(&network, Proxy::Everything, None, picky);
    let mut other = Watcher::over(&network, Proxy::Everything);
    let (picky, other) = tokio::join!(picky.generation(Generation(1)), other.generation(Generation(1)));
    assert_eq!((picky.now.backends.len(), other.now.backends.len()), (0, 1));
}

/// What is for a listener that a proxy refuses must not fall to a wider one of the port.
#[tokio::test(start_paused = true)]
async fn a_listener_that_is_refused_is_closed_unless_an_earlier_version_of_it_is_in_force() {
    let narrow = |port: u16| {
        let Resource::Listener(it) = listener("shop/gw", "narrow", ListenerProtocol::Http) else { panic!() };
        let hostname = Some("a.example".parse().unwrap());
        Resource::Listener(Arc::new(Listener { hostname, port, ..Listener::clone(&it) }))
    };
    let key = narrow(80).key();
    let wide = || listener("shop/gw", "wide", ListenerProtocol::Http);
    let has = |snapshot: &Snapshot| {
        snapshot.listeners.get(&*key.name).map(|it| (it.port, it.closed.as_ref().map(ToString::to_string)))
    };
    let closed = |port: u16| Some((port, Some("the proxy refuses the listener: poison".to_owned())));

    // It comes with the first configuration.
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    hub.commit(vec![wide(), narrow(80)], vec![]);
    let refusals = Refusals::default();
    refusals.open_listener(key.clone());
    let mut proxy = Watcher::with(&network, Proxy::Everything, None, refusals);
    let history = proxy.generation(Generation(1)).await;
    assert_eq!((has(&history.now), history.refused), (closed(80), 1), "never without it");
    let mut states = hub.states();
    let state =
        wait_for_state(&mut states, "generation 1 is acknowledged", |it| it.acked == Generation(1)).await;
    assert_eq!(
        state.rejected[0].reason,
        "poison; it has none for this port and hostname, so the listener is closed there"
    );
    // It is offered again, and stays closed meanwhile. Where it moves, it is closed there.
    let history = proxy.until(|it| it.refused == 2).await;
    assert_eq!(has(&history.now), closed(80));
    hub.commit(vec![narrow(81)], vec![]);
    let history = proxy.generation(Generation(2)).await;
    assert_eq!(has(&history.now), closed(81));
    // Once it is taken it is open.
    proxy.refusals.clear();
    let history = proxy.until(|it| has(&it.now) == Some((81, None))).await;
    assert!(history.now.listeners.contains_key("shop/gw/wide"));
    let state = wait_for_state(&mut states, "nothing is refused", |it| it.rejected.is_empty()).await;
    assert_eq!(state.acked, Generation(2));

    // A version that was taken stays as it is where the refused one would be, also when the stream begins again.
    let guarded = |port: u16| {
        let Resource::Listener(it) = narrow(port) else { panic!() };
        Resource::Listener(Arc::new(Listener { authorizations: vec!["a".into()], ..Listener::clone(&it) }))
    };
    proxy.refusals.guarded_listener(key.clone());
    hub.commit(vec![guarded(81)], vec![]);
    let state = wait_for_state(&mut states, "it is refused", |it| !it.rejected.is_empty()).await;
    assert_eq!(state.rejected[0].reason, "poison");
    let refused = proxy.now().refused;
    network.cut();
    let history = proxy.until(|it| it.refused > refused).await;
    assert_eq!(has(&history.now), Some((81, None)));
    let state = wait_for_state(&mut states, "all is acknowledged", |it| it.acked == Generation(3)).await;
    assert_eq!((&*state.rejected[0].reason, has(&proxy.now().now)), ("poison", Some((81, None))));
    // Elsewhere it does not stay: what is for the refused one would be another listener's. So it is after the stream has begun again.
    hub.commit(vec![guarded(82)], vec![]);
    let history = proxy.until(|it| has(&it.now) == closed(82)).await;
    let refused = history.refused;
    network.cut();
    let history = proxy.until(|it| it.refused > refused).await;
    assert_eq!(has(&history.now), closed(82));
    hub.commit(vec![guarded(83)], vec![]);
    proxy.until(|it| has(&it.now) == closed(83)).await;

    // It is taken away, and comes back: now there is no earlier version.
    hub.commit(vec![], vec![key.clone()]);
    let history = proxy.until(|it| has(&it.now).is_none()).await;
    assert!(history.now.listeners.contains_key("shop/gw/wide"));
    hub.commit(vec![guarded(82)], vec![]);
    proxy.until(|it| has(&it.now) == closed(82)).await;
}

/// One that does not know closed listeners would serve it.
#[tokio::test(start_paused = true)]
async fn a_proxy_of_an_older_version_is_sent_no_closed_listener_for_its_refusal() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    let refused = listener("shop/gw", "x", ListenerProtocol::Http);
    let refusals = Refusals::default();
    refusals.open_listener(refused.key());
    hub.commit(vec![refused, backend("shop/a:80", 80, None)], vec![]);
    let old = Subscription {
        capabilities: Capabilities::FIRST_EDITION,
        ..Subscription::new(Proxy::Everything, "0.9.0")
    };
    let mut proxy = Watcher::subscribed(&network, old, None, refusals);
    let history = proxy.generation(Generation(1)).await;
    assert_eq!(names(&history.now), ["Backend shop/a:80"]);
}
