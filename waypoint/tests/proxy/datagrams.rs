//! UDP listeners: a client's datagrams go to one endpoint and its answers come back, until one of them is silent or gone.

use crate::support;
use fairway_config::Delta;
use fairway_config::model::{AppProtocol, L4Kind, Listener, ListenerProtocol, Resource};
use fairway_runtime::drain::Deadlines;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use support::wire::LONG;
use support::*;
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn udp() -> Resource {
    Resource::Listener(Arc::new(listener(ListenerProtocol::Udp)))
}

fn to_backends(backends: &[(u32, &str)]) -> Resource {
    l4_route(L4Kind::Udp, LISTENER, &[], backends)
}

fn datagrams_to(key: &str, addresses: &[SocketAddr]) -> Vec<Resource> {
    backend(key, AppProtocol::Unspecified, addresses)
}

/// Answers each datagram with its name, and what it was.
struct Parrot {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Parrot {
    async fn named(name: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let answer = [name.as_bytes(), &buffer[..length]].concat();
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, task }
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client, by an address and port of its own.
struct Client(UdpSocket);

impl Client {
    async fn start(proxy: SocketAddr) -> Self {
        Self::at("127.0.0.1", proxy).await
    }

    async fn at(address: &str, proxy: SocketAddr) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        socket.connect(proxy).await.unwrap();
        Self(socket)
    }

    async fn say(&self, bytes: &[u8]) {
        self.0.send(bytes).await.unwrap();
    }

    async fn hear(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let length = timeout(LONG, self.0.recv(&mut buffer)).await.expect("an answer in time").unwrap();
        buffer.truncate(length);
        buffer
    }

    /// What is answered; asked again as a client of UDP does.
    async fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        for _ in 0..40 {
            self.say(bytes).await;
            if let Ok(Ok(length)) = timeout(Duration::from_millis(500), self.0.recv(&mut buffer)).await {
                buffer.truncate(length);
                return buffer;
            }
        }
        panic!("no answer");
    }
}

async fn simple_proxy(parrot: &Parrot) -> Proxy {
    let mut resources = datagrams_to("shop/dns:53", &[parrot.address]);
    resources.extend([udp(), to_backends(&[(1, "shop/dns:53")])]);
    Proxy::start_with(resources, |settings| settings.workers = NonZeroUsize::new(2).unwrap())
}

#[tokio::test]
async fn datagrams_of_any_size_go_and_their_answers_come_back_each_to_its_client() {
    let parrot = Parrot::named("a").await;
    let proxy = simple_proxy(&parrot).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::start(proxy.address()).await);
    }
    for (number, client) in clients.iter().enumerate() {
        client.say(format!("{number}").as_bytes()).await;
    }
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(client.hear().await, format!("a{number}").as_bytes());
    }
    for size in [0, 1, 1_500, 9_000, 65_000] {
        let bytes = vec![7; size];
        clients[0].say(&bytes).await;
        assert!(clients[0].hear().await == [b"a", &bytes[..]].concat(), "{size}");
    }
    let all_sent = "fairway_datagrams_sent_total 25";
    wait_for(|| proxy.scrape().contains(all_sent)).await;
    let scrape = proxy.scrape();
    for line in [
        "fairway_streams_total{protocol=\"udp\"} 20",
        "fairway_datagrams_received_total 25",
        "fairway_streams_active 20",
    ] {
        assert!(scrape.contains(line), "{line} in\n{scrape}");
    }
}

#[tokio::test]
async fn each_client_keeps_its_endpoint_and_clients_are_shared_out_by_weight() {
    let (a, b, c) = (Parrot::named("a").await, Parrot::named("b").await, Parrot::named("c").await);
    let mut resources = datagrams_to("shop/a:53", &[a.address]);
    resources.extend(datagrams_to("shop/b:53", &[b.address]));
    resources.extend(datagrams_to("shop/c:53", &[c.address]));
    resources.extend([udp(), to_backends(&[(70, "shop/a:53"), (30, "shop/b:53"), (0, "shop/c:53")])]);
    let proxy = Proxy::start(resources);
    let mut names: BTreeMap<u8, u32> = BTreeMap::new();
    for _ in 0..200 {
        let client = Client::start(proxy.address()).await;
        let name = client.ask(b"").await[0];
        assert_eq!(client.ask(b"").await[0], name);
        *names.entry(name).or_default() += 1;
    }
    assert!(!names.contains_key(&b'c'));
    // 140 of 200; five standard deviations are 32.
    assert!((108..=172).contains(&names[&b'a']), "{names:?}");
}

#[tokio::test]
async fn a_client_whose_endpoint_or_route_is_gone_goes_elsewhere_with_its_next_datagram() {
    let (a, b) = (Parrot::named("a").await, Parrot::named("b").await);
    let mut proxy = simple_proxy(&a).await;
    let client = Client::start(proxy.address()).await;
    assert_eq!(client.ask(b"1").await, b"a1");
    // Something else changes.
    proxy.apply(datagrams_to("shop/other:53", &[])).unwrap();
    assert_eq!(client.ask(b"2").await, b"a2");
    assert!(proxy.scrape().contains("fairway_streams_total{protocol=\"udp\"} 1"));
    // The endpoint is replaced.
    proxy.apply(datagrams_to("shop/dns:53", &[b.address])).unwrap();
    assert_eq!(client.ask(b"3").await, b"b3");
    // The route leads elsewhere.
    proxy.apply(datagrams_to("shop/other:53", &[a.address])).unwrap();
    proxy.apply(vec![to_backends(&[(1, "shop/other:53")])]).unwrap();
    assert_eq!(client.ask(b"4").await, b"a4");
    // The route is gone: nobody answers, and the session ends although the client says nothing.
    let removals = vec![to_backends(&[]).key()];
    proxy.apply_delta(Delta { removals, ..Delta::default() }).unwrap();
    wait_for(|| proxy.scrape().contains("fairway_streams_active 0")).await;
    client.say(b"5").await;
    wait_for(|| proxy.scrape().contains("fairway_streams_refused_total{reason=\"no_route\"} 1")).await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_ends_the_session_and_is_avoided() {
    let a = Parrot::named("a").await;
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut resources = datagrams_to("shop/dns:53", &[nobody, a.address]);
    resources.extend([udp(), to_backends(&[(1, "shop/dns:53")])]);
    let proxy = Proxy::start(resources);
    for number in 0..10 {
        let text = format!("{number}");
        let client = Client::start(proxy.address()).await;
        assert_eq!(client.ask(text.as_bytes()).await, format!("a{text}").as_bytes());
    }
}

#[tokio::test]
async fn a_silent_client_is_forgotten() {
    let a = Parrot::named("a").await;
    let mut resources = datagrams_to("shop/dns:53", &[a.address]);
    resources.extend([udp(), to_backends(&[(1, "shop/dns:53")])]);
    let proxy = Proxy::start_with(resources, |settings| settings.timeouts.session = Duration::from_secs(1));
    let client = Client::start(proxy.address()).await;
    assert_eq!(client.ask(b"1").await, b"a1");
    wait_for(|| proxy.scrape().contains("fairway_streams_active 0")).await;
    assert_eq!(client.ask(b"2").await, b"a2", "and may come back");
}

#[tokio::test]
async fn where_there_is_no_room_those_who_talk_stay_and_the_others_make_room() {
    let a = Parrot::named("a").await;
    let mut resources = datagrams_to("shop/dns:53", &[a.address]);
    resources.extend([udp(), to_backends(&[(1, "shop/dns:53")])]);
    let proxy = Proxy::start_with(resources, |settings| settings.limits.sessions = 2);
    let talker = Client::start(proxy.address()).await;
    for _ in 0..2 {
        assert_eq!(talker.ask(b"t").await, b"at");
    }
    for _ in 0..5 {
        let passer_by = Client::start(proxy.address()).await;
        assert_eq!(passer_by.ask(b"p").await, b"ap");
    }
    assert_eq!(talker.ask(b"t").await, b"at");
    let scrape = proxy.scrape();
    assert!(scrape.contains("fairway_streams_active 2"), "{scrape}");
    assert!(
        scrape.contains("fairway_streams_total{protocol=\"udp\"} 6"),
        "the talker has one session\n{scrape}"
    );
    // A second one who talks: now nobody makes room.
    let second = Client::start(proxy.address()).await;
    for _ in 0..2 {
        assert_eq!(second.ask(b"s").await, b"as");
    }
    Client::start(proxy.address()).await.say(b"x").await;
    wait_for(|| proxy.scrape().contains("fairway_streams_refused_total{reason=\"full\"} 1")).await;
}

#[tokio::test]
async fn one_address_that_goes_on_talking_leaves_others_their_room() {
    let a = Parrot::named("a").await;
    let mut resources = datagrams_to("shop/dns:53", &[a.address]);
    resources.extend([udp(), to_backends(&[(1, "shop/dns:53")])]);
    let proxy = Proxy::start_with(resources, |settings| settings.limits.sessions = 32);
    let mut talkers = Vec::new();
    for _ in 0..17 {
        let talker = Client::at("127.0.0.2", proxy.address()).await;
        for _ in 0..2 {
            assert_eq!(talker.ask(b"t").await, b"at");
        }
        talkers.push(talker);
    }
    // Half is in use, and more than a sixteenth by this address.
    Client::at("127.0.0.2", proxy.address()).await.say(b"x").await;
    wait_for(|| proxy.scrape().contains("fairway_streams_refused_total{reason=\"full\"} 1")).await;
    let mut others = Vec::new();
    for number in 3..10 {
        for _ in 0..2 {
            let other = Client::at(&format!("127.0.0.{number}"), proxy.address()).await;
            assert_eq!(other.ask(b"o").await, b"ao");
            others.push(other);
        }
    }
    assert!(proxy.scrape().contains("fairway_streams_active 31"), "{}", proxy.scrape());
    // Who has its share and asks once more makes room itself: of what was not taken up again.
    let more = Client::at("127.0.0.3", proxy.address()).await;
    assert_eq!(more.ask(b"m").await, b"am");
    assert!(proxy.scrape().contains("fairway_streams_active 31"), "{}", proxy.scrape());
    assert_eq!(talkers[0].ask(b"t").await, b"at");
}

#[tokio::test]
async fn an_answer_comes_from_the_address_that_was_asked_also_on_every_address() {
    let a = Parrot::named("a").await;
    let mut resources = datagrams_to("shop/dns:53", &[a.address]);
    let every = Listener { addresses: vec![], ..listener(ListenerProtocol::Udp) };
    resources.extend([Resource::Listener(Arc::new(every)), to_backends(&[(1, "shop/dns:53")])]);
    let proxy = Proxy::start(resources);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for address in ["127.0.0.1", "127.0.0.2", "127.0.0.1"] {
        let to: SocketAddr = (address.parse::<std::net::IpAddr>().unwrap(), proxy.address().port()).into();
        client.send_to(address.as_bytes(), to).await.unwrap();
        let mut buffer = vec![0; 100];
        let (length, from) = timeout(LONG, client.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!((&buffer[1..length], from), (address.as_bytes(), to));
    }
}

#[tokio::test]
async fn a_drain_takes_no_new_clients_and_ends_when_the_old_ones_are_silent() {
    let a = Parrot::named("a").await;
    let mut proxy = simple_proxy(&a).await;
    let client = Client::start(proxy.address()).await;
    assert_eq!(client.ask(b"1").await, b"a1");
    let deadlines = Deadlines { linger: Duration::from_millis(50), grace: Duration::from_secs(30) };
    let draining = tokio::spawn(proxy.drain.take().unwrap().drain(deadlines));
    let strangers = async {
        while !proxy.scrape().contains("fairway_streams_refused_total{reason=\"draining\"} 1") {
            Client::start(proxy.address()).await.say(b"x").await;
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, strangers).await.expect("strangers are refused");
    client.say(b"2").await;
    assert_eq!(client.hear().await, b"a2", "who talks goes on talking");
    assert!(timeout(LONG, draining).await.expect("an end in time").unwrap(), "nothing had to be cut off");
}
