//! What a proxy refuses.

use super::watcher::{Refusals, names};
use super::*;
use crate::serve::Hub;
use fairway_config::model::{Generation, ListenerProtocol};
use fairway_config::stream::Proxy;
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
    let history = proxy.until(|it| it.refused == 3).await;
    assert_eq!(names(&history.now), ["Backend shop/a:80"]);
    assert_eq!(start.elapsed().as_secs(), 5 + 10, "twice, less and less often");
    proxy.refusals.clear();
    let history = proxy.until(|it| it.now.listeners.len() == 1).await;
    assert_eq!(history.refused, 3);
    assert_eq!(start.elapsed().as_secs(), 5 + 10 + 20);
    assert_eq!(
        wait_for_state(&mut hub.states(), "generation 1 is acknowledged", |it| it.acked == Generation(1))
            .await
            .rejected,
        vec![]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_names_nothing_of_what_was_sent_waits_for_a_change() {
    let (network, hub) = served();
    let _controller = network.serve(&hub);
    hub.commit(vec![backend("shop/a:80", 80, None)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;
    // A removal is what is refused: it cannot be left out by its hash.
    let key = backend("shop/a:80", 80, None).key();
    proxy.refusals.always(key.clone());
    hub.commit(vec![backend("shop/b:80", 80, None)], vec![key.clone()]);
    proxy.until(|it| it.refused == 1).await;
    let mut states = hub.states();
    let state = wait_for_state(&mut states, "a resource is refused", |it| !it.rejected.is_empty()).await;
    assert_eq!((state.acked, &state.rejected[0].key), (Generation(1), &key));
    proxy.refusals.clear();
    hub.commit(vec![backend("blog/c:80", 80, None)], vec![]);
    let history = proxy.generation(Generation(3)).await;
    assert_eq!(names(&history.now), ["Backend blog/c:80", "Backend shop/b:80"]);
    assert_eq!(
        wait_for_state(&mut states, "generation 3 is acknowledged", |it| it.acked == Generation(3))
            .await
            .rejected,
        vec![]
    );
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
