//! First sync and what follows.

use super::watcher::names;
use super::*;
use crate::serve::tests::universe::{at_listener, certificate, rule, service, workload};
use crate::serve::{Admission, Hub, Peer, Refused, StreamLifetime};
use fairway_config::model::{Generation, ListenerProtocol};
use fairway_config::proto::configuration_client::ConfigurationClient;
use fairway_config::proto::{self, from_controller, from_proxy};
use fairway_config::stream::{Proxy, Subscription};
use tokio_stream::StreamExt;

#[tokio::test(start_paused = true)]
async fn a_proxy_gets_what_it_needs_and_then_what_changes() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    hub.commit(
        vec![
            listener("shop/gw", "x", ListenerProtocol::Http),
            route("r", vec![at_listener("shop/gw/x")], vec![rule("/", &["shop/a:80"], None)]),
            backend("shop/a:80", 80, None),
            backend("shop/b:80", 80, None),
        ],
        vec![],
    );
    let mut proxy = Watcher::over(&network, gateway("shop/gw"));
    let first = proxy.generation(Generation(1)).await;
    assert_eq!(names(&first.now), ["Backend shop/a:80", "Listener shop/gw/x", "Route HTTPRoute/shop/r"]);

    let edited = route("r", vec![at_listener("shop/gw/x")], vec![rule("/", &["shop/b:80"], None)]);
    hub.commit(vec![edited.clone(), endpoints("shop/b:80", 1)], vec![]);
    let second = proxy.generation(Generation(2)).await;
    assert_eq!(
        names(&second.now),
        ["Backend shop/b:80", "Endpoints shop/b:80", "Listener shop/gw/x", "Route HTTPRoute/shop/r"]
    );
    let changes: Vec<_> = second.applied[1].1.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        ["Route HTTPRoute/shop/r", "Backend shop/a:80", "Backend shop/b:80", "Endpoints shop/b:80"],
        "one step, and nothing but what changed"
    );

    hub.commit(vec![], vec![edited.key()]);
    let third = proxy.generation(Generation(3)).await;
    assert_eq!(names(&third.now), ["Listener shop/gw/x"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_does_not_concern_a_proxy_is_not_sent_and_counts_as_in_force() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    hub.commit(vec![listener("shop/gw", "x", ListenerProtocol::Http)], vec![]);
    let mut proxy = Watcher::over(&network, gateway("shop/gw"));
    proxy.generation(Generation(1)).await;
    let mut states = hub.states();
    wait_for_states(&mut states, "generation 1 is acknowledged", |known| {
        known.iter().all(|it| it.acked == Generation(1))
    })
    .await;
    let before = network.bytes_to_proxies();
    hub.commit(vec![backend("blog/c:80", 80, None), certificate("shop/other")], vec![]);
    assert_eq!(states.get()[0].acked, Generation(2));
    hub.commit(vec![listener("shop/gw", "y", ListenerProtocol::Http)], vec![]);
    proxy.generation(Generation(3)).await;
    assert_eq!(proxy.now().applied.len(), 2);
    assert!(network.bytes_to_proxies() - before < 300, "one small difference");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_in_force_before_the_commit_even_if_the_connection_breaks_there() {
    let network = Network::default();
    let hub = Hub::new();
    let _controller = network.serve(&hub);
    hub.commit(vec![listener("shop/gw", "x", ListenerProtocol::Http)], vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;

    // More than the wire and the queues hold, so that the cut falls into the middle.
    let before = network.bytes_to_proxies();
    hub.commit((0..60_000).map(|i| backend(&format!("shop/s{i}:80"), 80, None)).collect(), vec![]);
    // Paused time stands still while bytes are on their way, so the limit is one of turns.
    let mut turns = 0;
    while network.bytes_to_proxies() - before < 1_000_000 {
        turns += 1;
        assert!(turns < 10_000_000, "not within {turns} turns: a million bytes on their way to the proxy");
        tokio::task::yield_now().await;
    }
    network.cut();
    assert_eq!(proxy.now().now.backends.len(), 0);
    let history = proxy.generation(Generation(2)).await;
    assert_eq!((history.now.backends.len(), history.applied.len()), (60_000, 2));
}

#[tokio::test(start_paused = true)]
async fn states_say_who_has_come_how_far() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let mut states = hub.states();
    hub.commit(vec![service("shop/a", None, &[], &[]), workload("shop/p1", "n1", &[])], vec![]);
    let mut node = Watcher::over(&network, Proxy::Node("n1".into()));
    node.generation(Generation(1)).await;
    let known = wait_for_states(&mut states, "generation 1 is acknowledged", |known| {
        known.iter().any(|it| it.acked == Generation(1))
    })
    .await;
    assert_eq!((known.len(), &known[0].proxy, &*known[0].version), (1, &Proxy::Node("n1".into()), "test"));
    assert!(node.progress.borrow().connected);
    drop(node);
    wait_for_states(&mut states, "the proxy that has gone is forgotten", <[_]>::is_empty).await;
}

struct OnlyNodes;

impl Admission for OnlyNodes {
    fn admit(&self, _: Peer<'_>, subscription: &Subscription) -> Result<StreamLifetime, Refused> {
        match subscription.proxy {
            Proxy::Node(_) => Ok(StreamLifetime::unlimited()),
            _ => Err(Refused::Forbidden(format!("this socket is for nodes, not for {}", subscription.proxy))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_is_told_why_and_gets_nothing() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve_with(&hub, OnlyNodes);
    hub.commit(vec![listener("shop/gw", "x", ListenerProtocol::Http)], vec![]);
    let mut proxy = Watcher::over(&network, gateway("shop/gw"));
    let progress = proxy.progress.wait_for(|it| it.last_error.is_some()).await.unwrap().clone();
    assert_eq!(progress.last_error.as_deref(), Some("this socket is for nodes, not for gateway shop/gw"));
    assert!(!progress.connected && proxy.now().applied.is_empty());
    Watcher::over(&network, Proxy::Node("n1".into())).generation(Generation(1)).await;
}

/// A subscriber that says what it is told to, and how the controller ends that.
async fn end_of(messages: Vec<from_proxy::Message>) -> String {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    hub.commit(vec![], vec![]);
    let messages = messages.into_iter().map(|it| proto::FromProxy { message: Some(it) });
    let messages = tokio_stream::iter(messages.collect::<Vec<_>>()).chain(tokio_stream::pending());
    let response = ConfigurationClient::new(network.channel()).subscribe(messages).await.unwrap();
    let mut heard = response.into_inner();
    loop {
        let message = timeout(LIMIT, heard.message()).await;
        match message.unwrap_or_else(|_| panic!("not within {LIMIT:?}: the controller ends the stream")) {
            Ok(Some(message)) => {
                assert!(matches!(message.message, Some(from_controller::Message::Commit(_))))
            }
            Ok(None) => return "ended".to_owned(),
            Err(status) => return status.message().to_owned(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_keep_to_the_protocol_is_told_so() {
    let hello = |proxy| from_proxy::Message::Hello(proto::Hello { proxy, ..Default::default() });
    let everything = || Some(proto::hello::Proxy::WholeSystem(proto::WholeSystem {}));
    let start = || from_proxy::Message::Start(proto::Start {});
    let ack = |generation| from_proxy::Message::Ack(proto::Ack { generation });
    for (messages, reason) in [
        (vec![start()], "says first who it is"),
        (vec![hello(None)], "does not say who it is"),
        (vec![hello(Some(proto::hello::Proxy::Node(String::new())))], "the node has no name"),
        (vec![hello(everything())], "does not say who it is"), // and then nothing, for too long
        (vec![hello(everything()), ack(1)], "says what it holds before"),
        (vec![hello(everything()), start(), ack(77)], "answers to generation 77"),
        (vec![hello(everything()), start(), ack(1), ack(1)], "answers to generation 1"),
        (vec![hello(everything()), start(), start()], "only answers"),
        (vec![hello(everything()), start()], "does not answer"), // for two minutes
    ] {
        let end = end_of(messages).await;
        assert!(end.contains(reason), "{reason}: {end}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_says_it_holds_has_a_bound_in_bytes() {
    let everything = Some(proto::hello::Proxy::WholeSystem(proto::WholeSystem {}));
    let hello = from_proxy::Message::Hello(proto::Hello { proxy: everything, ..Default::default() });
    let held = |part: usize| {
        let resource = |index: usize| {
            let name = format!("shop/{part}-{index}-{}", "x".repeat(2048));
            let key = Some(proto::ResourceKey { kind: proto::ResourceKind::Backend.into(), name });
            proto::HeldResource { key, hash: vec![0; 32].into() }
        };
        from_proxy::Message::Held(proto::Held { resources: (0..1000).map(resource).collect() })
    };
    let messages = std::iter::once(hello).chain((0..20).map(held));
    assert_eq!(end_of(messages.collect()).await, "the proxy holds too many resources");
}
