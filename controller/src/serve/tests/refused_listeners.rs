//! What is for a listener that a proxy refuses falls to no other listener, whatever was there before and whatever is refused.

use super::listener;
use crate::serve::hub_state::{Held, HubState, SubscriberId};
use crate::serve::session::refused;
use fairway_config::model::{Listener, ListenerKey, ListenerProtocol, Resource, ResourceKey, ResourceKind};
use fairway_config::stream::{CommitResponse, Proxy, Replica, Subscription, fragments};
use fairway_config::{Apply, Changes, Rejected, Snapshot, proto, wire};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

const LISTENERS: [&str; 4] = ["a", "b", "c", "d"];
const PORTS: [u16; 2] = [80, 81];
const HOSTNAMES: [Option<&str>; 4] = [None, Some("*.ex"), Some("x.ex"), Some("y.ex")];
/// One for each hostname, and only the most specific of those that cover it is right.
const HOSTS: [&str; 4] = ["other", "z.ex", "x.ex", "y.ex"];

/// Where a listener is to be, and whether the proxy refuses that version.
#[derive(Clone, Copy, Debug)]
struct Version {
    port: u16,
    hostname: Option<&'static str>,
    is_refused: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// All listeners anew, and which ports speak TCP instead of HTTP.
    Commit([Option<Version>; 4], bool),
    /// The stream begins again, with the same controller or a new one.
    Reconnect { to_another: bool },
    /// What was refused is offered again; some of it is taken now.
    Offer { is_taken: bool },
}

fn key(name: &str) -> ResourceKey {
    listener("shop/gw", name, ListenerProtocol::Http).key()
}

fn version(name: &str, version: Version, number: usize, is_bytes: bool) -> Resource {
    let protocol = if is_bytes { ListenerProtocol::Tcp } else { ListenerProtocol::Http };
    let Resource::Listener(it) = listener("shop/gw", name, protocol) else { unreachable!() };
    Resource::Listener(Arc::new(Listener {
        port: version.port,
        // Listeners of bytes have none.
        hostname: version.hostname.filter(|_| !is_bytes).map(|it| it.parse().unwrap()),
        authorizations: vec![format!("version-{number}").into()],
        ..Listener::clone(&it)
    }))
}

/// A proxy that refuses what it is told to, and listeners that cannot share their port.
#[derive(Default)]
struct Picky {
    refused: BTreeSet<(ListenerKey, String)>,
    /// What is to be where, while it is checked.
    wanted: BTreeMap<ListenerKey, Arc<Listener>>,
}

impl Picky {
    fn refuses(&self, it: &Listener) -> bool {
        it.authorizations
            .first()
            .is_some_and(|name| self.refused.contains(&(it.key.clone(), name.to_string())))
    }

    /// Who takes what is for a host at a port.
    fn taker<'a>(
        listeners: impl IntoIterator<Item = &'a Arc<Listener>>,
        port: u16,
        host: &str,
    ) -> Option<&'a Arc<Listener>> {
        let covers = |it: &&Arc<Listener>| {
            it.port == port && it.hostname.as_ref().is_none_or(|pattern| pattern.matches(host))
        };
        let specific = |it: &&Arc<Listener>| it.hostname.as_ref().map(|it| it.specificity());
        listeners.into_iter().filter(covers).max_by_key(specific)
    }

    fn check(&self, now: &Snapshot) {
        for port in PORTS {
            for host in HOSTS {
                let right = Self::taker(self.wanted.values(), port, host).map(|it| &it.key);
                let actual = Self::taker(now.listeners.values(), port, host).map(|it| &it.key);
                assert!(
                    actual.is_none() || actual == right,
                    "{host}:{port} is for {right:?}, and {actual:?} takes it: {:?}",
                    now.listeners
                );
                assert!(
                    right.is_none() || actual.is_some(),
                    "{host}:{port} is for {right:?}, and nobody takes it"
                );
            }
        }
    }
}

impl Apply for Picky {
    fn apply(&mut self, next: &Snapshot, changes: &Changes) -> Result<(), Vec<Rejected>> {
        let mut listeners: Vec<_> = next.listeners.values().collect();
        listeners.sort_by(|a, b| a.key.cmp(&b.key));
        let key = |it: &Listener| ResourceKey::new(ResourceKind::Listener, it.key.as_arc());
        let mut rejected = Vec::new();
        for (i, it) in listeners.iter().enumerate() {
            let same_port = listeners[..i].iter().find(|other| {
                let shares = it.protocol == other.protocol && it.protocol == ListenerProtocol::Http;
                it.port == other.port && (!shares || it.hostname == other.hostname)
            });
            if self.refuses(it) {
                rejected.push(Rejected { key: key(it), reason: "poison".to_owned() });
            } else if let Some(other) = same_port {
                let of_two = if changes.contains(&key(it)) { it } else { other };
                rejected.push(Rejected { key: key(of_two), reason: "taken".to_owned() });
            }
        }
        if rejected.is_empty() {
            self.check(next);
            return Ok(());
        }
        // A proxy does not name all at once.
        rejected.truncate(2);
        Err(rejected)
    }
}

/// A controller, a proxy, and the conversation between them.
struct World {
    hub: HubState,
    id: SubscriberId,
    replica: Replica,
    proxy: Picky,
    commits: usize,
}

impl World {
    fn new() -> Self {
        let mut hub = HubState::default();
        let replica = Replica::default();
        let id = subscribe(&mut hub, &replica);
        Self { hub, id, replica, proxy: Picky::default(), commits: 0 }
    }

    /// Says and hears everything that there is to say.
    fn converse(&mut self) {
        for _ in 0..20 {
            let Some(difference) = self.hub.difference(self.id) else { return };
            let generation = difference.generation;
            for fragment in fragments(difference.upserts, difference.removals) {
                self.replica.receive(fragment, &mut self.proxy).unwrap();
            }
            let commit = proto::from_controller::Message::Commit(proto::Commit { generation: generation.0 });
            let commit = proto::FromController { message: Some(commit) };
            match self.replica.receive(commit, &mut self.proxy).unwrap().unwrap() {
                CommitResponse::Ack(generation) => self.hub.acked(self.id, generation).unwrap(),
                CommitResponse::Nack { generation, rejected } => {
                    let left_out = self.hub.nacked(self.id, generation, refused(rejected)).unwrap();
                    assert_eq!(left_out, [], "the proxy names what it was sent");
                }
                CommitResponse::Forgotten(reasons) => panic!("{reasons:?}"),
            }
        }
        panic!("it does not end");
    }

    fn wanted(&self) -> Vec<Resource> {
        self.proxy.wanted.values().cloned().map(Resource::Listener).collect()
    }

    fn commit(&mut self, versions: &[Option<Version>; 4], is_bytes: bool) {
        self.commits += 1;
        self.proxy.wanted.clear();
        for (name, it) in LISTENERS.iter().zip(versions) {
            let Some(it) = it else { continue };
            let is_bytes = is_bytes && it.port == PORTS[0];
            let Resource::Listener(listener) = version(name, *it, self.commits, is_bytes) else {
                unreachable!()
            };
            let stands =
                |other: &Arc<Listener>| (other.port, &other.hostname) == (listener.port, &listener.hostname);
            if self.proxy.wanted.values().any(stands) {
                continue;
            }
            if it.is_refused {
                self.proxy.refused.insert((listener.key.clone(), format!("version-{}", self.commits)));
            }
            self.proxy.wanted.insert(listener.key.clone(), listener);
        }
        let gone = LISTENERS.iter().map(|it| key(it));
        let gone = gone.filter(|it| !self.proxy.wanted.contains_key(&*it.name)).collect();
        let wanted = self.wanted();
        put(&mut self.hub, wanted, gone);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Commit(versions, is_bytes) => self.commit(versions, *is_bytes),
            Step::Reconnect { to_another } => {
                self.hub.unsubscribe(self.id);
                if *to_another {
                    self.hub = HubState::default();
                    let wanted = self.wanted();
                    put(&mut self.hub, wanted, vec![]);
                }
                self.replica.disconnected();
                self.id = subscribe(&mut self.hub, &self.replica);
            }
            Step::Offer { is_taken } => {
                if *is_taken {
                    self.proxy.refused.clear();
                }
                self.hub.offer_again(self.id);
            }
        }
    }

    /// The listeners that are open and where they are to be.
    fn served(&self) -> BTreeSet<ListenerKey> {
        let now = self.replica.snapshot().listeners.values();
        let at_home = |it: &&Arc<Listener>| {
            let wanted = self.proxy.wanted.get(&it.key).and_then(|it| it.place());
            it.closed.is_none() && it.place() == wanted
        };
        now.filter(at_home).map(|it| it.key.clone()).collect()
    }
}

fn subscribe(hub: &mut HubState, replica: &Replica) -> SubscriberId {
    let held: Held = replica.held().map(|(key, hash)| (key.clone(), *hash)).collect();
    hub.subscribe(Subscription::new(Proxy::Everything, "test"), &held, Arc::new(Notify::new()))
}

fn put(hub: &mut HubState, resources: Vec<Resource>, removals: Vec<ResourceKey>) {
    let encoded = |it: Resource| {
        let encoded = Arc::new(wire::encode(&it));
        (it, encoded)
    };
    hub.commit(resources.into_iter().map(encoded).collect(), removals);
}

fn versions() -> impl Strategy<Value = [Option<Version>; 4]> {
    let version = (select(&PORTS[..]), select(&HOSTNAMES[..]), prop::bool::weighted(0.4))
        .prop_map(|(port, hostname, is_refused)| Version { port, hostname, is_refused });
    prop::array::uniform4(prop::option::weighted(0.8, version))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (versions(), prop::bool::weighted(0.2)).prop_map(|(it, bytes)| Step::Commit(it, bytes)),
        2 => any::<bool>().prop_map(|to_another| Step::Reconnect { to_another }),
        1 => any::<bool>().prop_map(|is_taken| Step::Offer { is_taken }),
    ]
}

proptest! {
    #[test]
    fn nobody_is_served_by_another_listener_than_the_one_that_is_meant(steps in vec(step(), 1..12)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            let before = world.served();
            world.converse();
            // What is refused where the last good version is costs nobody that.
            prop_assert!(before.is_subset(&world.served()), "{before:?}, then {:?}", world.served());
            let now = &world.replica.snapshot().listeners;
            for wanted in world.proxy.wanted.values().filter(|it| !world.proxy.refuses(it)) {
                prop_assert_eq!(now.get(&wanted.key), Some(wanted), "it is not refused");
            }
        }
    }
}
