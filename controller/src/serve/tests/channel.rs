//! One process: the same messages through a channel.

use super::watcher::names;
use super::*;
use crate::serve::Hub;
use fairway_config::model::Generation;
use fairway_config::proto::{self, from_controller, from_proxy};
use fairway_config::stream::{Link, Proxy};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_proxy_in_the_same_process_follows_as_any_other() {
    let hub = Hub::new();
    let mut proxy = Watcher::in_process(&hub, Proxy::Everything);
    hub.commit(vec![backend("shop/a:80", 80, None)], vec![]);
    assert_eq!(names(&proxy.generation(Generation(1)).await.now), ["Backend shop/a:80"]);
    hub.commit(vec![endpoints("shop/a:80", 1)], vec![backend("shop/a:80", 80, None).key()]);
    assert_eq!(names(&proxy.generation(Generation(2)).await.now), ["Endpoints shop/a:80"]);
    hub.close();
    proxy.progress.wait_for(|it| !it.connected).await.unwrap();
    assert_eq!(names(&proxy.now().now), ["Endpoints shop/a:80"]);
}

async fn say(link: &Link, message: from_proxy::Message) {
    link.to_controller.send(proto::FromProxy { message: Some(message) }).await.unwrap();
}

async fn begin(hub: &std::sync::Arc<Hub>) -> Link {
    let link = hub.subscribe_channel();
    let proxy = Some(proto::hello::Proxy::WholeSystem(proto::WholeSystem {}));
    say(&link, from_proxy::Message::Hello(proto::Hello { proxy, ..Default::default() })).await;
    say(&link, from_proxy::Message::Start(proto::Start {})).await;
    link
}

/// All upserted backends with their ports up to the next commit, and its generation.
async fn difference(link: &mut Link) -> (Vec<String>, u64) {
    let mut names = Vec::new();
    loop {
        match receive(link).await {
            from_controller::Message::Fragment(it) => {
                names.extend(it.upserts.into_iter().map(|it| it.key.unwrap().name));
            }
            from_controller::Message::Commit(commit) => return (names, commit.generation),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_slow_to_answer_gets_the_newest_difference_only_and_holds_nobody_up() {
    let hub = Hub::new();
    hub.commit(vec![], vec![]);
    let mut slow = begin(&hub).await;
    assert_eq!(difference(&mut slow).await, (vec![], 1));

    let mut quick = Watcher::in_process(&hub, Proxy::Everything);
    for port in 1..=1000 {
        hub.commit(vec![backend("shop/a:80", port, None)], vec![]);
    }
    quick.generation(Generation(1001)).await;
    // Nothing more comes before the answer, however long that takes, within the time that it may take.
    tokio::time::sleep(Duration::from_secs(110)).await;
    assert!(slow.from_controller.try_recv().is_err());

    say(&slow, from_proxy::Message::Ack(proto::Ack { generation: 1 })).await;
    assert_eq!(difference(&mut slow).await, (vec!["shop/a:80".to_owned()], 1001), "one for a thousand");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_read_at_all_holds_nobody_up() {
    let hub = Hub::new();
    let many = |port| (0..40_000).map(|i| backend(&format!("shop/s{i}:80"), port, None)).collect::<Vec<_>>();
    hub.commit(many(80), vec![]);
    let stuck = begin(&hub).await;
    let mut quick = Watcher::in_process(&hub, Proxy::Everything);
    quick.generation(Generation(1)).await;
    hub.commit(many(81), vec![]);
    quick.generation(Generation(2)).await;
    assert!(stuck.from_controller.len() <= 2, "only so much waits for it");
}
