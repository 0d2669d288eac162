//! Proxies of an older version than the controller.
//!
//! `fixtures/*-0.1.0.bin` are the gRPC messages that a Gateway's proxy and a node's tunnel of version 0.1.0 send: Hello, what
//! they hold, Start, and the Acks of three commits. They are never written anew.

use super::universe::{at_listener, authentication, l4_route, rate_limit, rule, workload};
use super::*;
use crate::serve::{Hub, ProxyState};
use fairway_config::model::{
    AddressSource, AuthProtocol, Authorization, BackendTarget, Capabilities, Capability, CertificateHeader,
    CipherSuite, ClientKeepalive, ClientLimits, ClientTimeouts, ClientTreatment, CorsPolicy, ExternalAuth,
    Filter, Generation, Listener, ListenerProtocol, OriginPattern, RequestIds, Requires, Resource,
    ResourceKind, Route, Rule, TlsAlgorithms, TlsTermination, TlsVersion, Underscores,
};
use fairway_config::proto::{self, FromProxy, from_controller, from_proxy};
use fairway_config::stream::{Link, Proxy, Subscription};
use fairway_config::wire;
use fairway_policy::{Action, CidrSet, Condition, Mode};
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const GATEWAY: &[u8] = include_bytes!("fixtures/gateway-0.1.0.bin");
const NODE: &[u8] = include_bytes!("fixtures/node-0.1.0.bin");

/// A proxy that says what was recorded, whatever it hears.
struct Recorded {
    link: Link,
    messages: VecDeque<FromProxy>,
}

impl Recorded {
    async fn connect(hub: &Arc<Hub>, mut recorded: &[u8]) -> Self {
        let mut messages = VecDeque::new();
        while let [_, a, b, c, d, rest @ ..] = recorded {
            let (message, after) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            messages.push_back(FromProxy::decode(message).unwrap());
            recorded = after;
        }
        let mut proxy = Self { link: hub.subscribe_channel(), messages };
        loop {
            let message = proxy.say().await;
            if matches!(message, Some(from_proxy::Message::Start(_))) {
                return proxy;
            }
        }
    }

    async fn say(&mut self) -> Option<from_proxy::Message> {
        let message = self.messages.pop_front().unwrap();
        self.link.to_controller.send(message.clone()).await.unwrap();
        message.message
    }

    /// What comes up to the next commit, and the answer to it.
    async fn hear(&mut self) -> Vec<Resource> {
        let resources = hear(&mut self.link).await;
        assert!(matches!(self.say().await, Some(from_proxy::Message::Ack(_))));
        resources
    }
}

async fn hear(link: &mut Link) -> Vec<Resource> {
    let mut resources = Vec::new();
    loop {
        match receive(link).await {
            from_controller::Message::Fragment(it) => {
                resources.extend(it.upserts.into_iter().map(|it| wire::decode(it.resource).unwrap()));
            }
            from_controller::Message::Commit(_) => return resources,
        }
    }
}

async fn state(hub: &Arc<Hub>, acked: u64) -> ProxyState {
    let awaited = format!("generation {acked} is acknowledged");
    wait_for_state(&mut hub.states(), &awaited, |it| it.acked == Generation(acked)).await
}

fn http() -> Resource {
    listener("shop/gw", "http", ListenerProtocol::Http)
}

fn with_filters(filters: Vec<Filter>) -> Resource {
    let open = rule("/open", &["shop/a:80"], None);
    let guarded = Rule { filters, ..rule("/guarded", &["shop/a:80"], None) };
    route("guarded", vec![at_listener("shop/gw/http")], vec![open, guarded])
}

fn cors() -> Filter {
    Filter::Cors(CorsPolicy {
        allow_origins: vec![OriginPattern::Any],
        allow_credentials: false,
        allow_methods: None,
        allow_headers: None,
        expose_headers: None,
        max_age: Duration::from_secs(5),
    })
}

fn find_route(resources: &[Resource]) -> &Route {
    let routes = resources.iter().find_map(|it| match it {
        Resource::Route(route) => Some(route),
        _ => None,
    });
    routes.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_proxy_of_the_last_edition_is_served() {
    let hub = Hub::new();
    hub.commit(vec![http(), with_filters(vec![cors()]), backend("shop/a:80", 80, None)], vec![]);
    let mut old = Recorded::connect(&hub, GATEWAY).await;
    let heard = old.hear().await;
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert_eq!(find_route(&heard).rules[1].filters, [cors()], "it knows every filter of its edition");
    assert_eq!(state(&hub, 1).await.closed.len(), 0);
    hub.commit(vec![backend("shop/a:80", 81, None)], vec![]);
    assert_eq!(old.hear().await.len(), 1);
    assert_eq!((&*state(&hub, 2).await.version, state(&hub, 2).await.rejected), ("0.1.0", vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_know_a_stage_gets_the_rule_closed_and_never_unprotected() {
    let hub = Hub::new();
    hub.commit(vec![http(), with_filters(vec![]), backend("shop/a:80", 80, None)], vec![]);
    let mut link = hub.subscribe_channel();
    let without = Capabilities::OF_THIS_VERSION.without(Capabilities::from_iter([Capability::Cors]));
    let old = Subscription { capabilities: without, ..Subscription::new(gateway("shop/gw"), "0.9.0") };
    let say = async |link: &Link, message| {
        link.to_controller.send(FromProxy { message: Some(message) }).await.unwrap();
    };
    say(&link, from_proxy::Message::Hello((&old).into())).await;
    say(&link, from_proxy::Message::Start(proto::Start {})).await;
    let heard = hear(&mut link).await;
    assert!(!find_route(&heard).rules[1].backends.is_empty(), "it knows all of it");
    say(&link, from_proxy::Message::Ack(proto::Ack { generation: 1 })).await;

    // Its last good version of the route is unprotected: that must not stay.
    hub.commit(vec![with_filters(vec![cors()])], vec![]);
    let heard = hear(&mut link).await;
    let [open, guarded] = &find_route(&heard).rules[..] else { panic!("{heard:?}") };
    assert_eq!(open.backends.len(), 1, "what needs nothing new goes on");
    assert!(matches!(&guarded.filters[..], [Filter::Unresolved(_)]) && guarded.backends.is_empty());
    assert_eq!(guarded.matches, rule("/guarded", &[], None).matches, "it keeps what it matches");
    say(&link, from_proxy::Message::Ack(proto::Ack { generation: 2 })).await;
    let closed = state(&hub, 2).await.closed;
    let said: Vec<_> = closed.values().map(String::as_str).collect();
    assert_eq!(
        said,
        [
            "Route HTTPRoute/shop/guarded needs filter.cors, which a proxy of version 0.9.0 does not know; what depends on it is \
          closed there. Upgrade the proxy to the version of the controller"
        ]
    );

    hub.commit(vec![with_filters(vec![])], vec![]);
    assert!(!find_route(&hear(&mut link).await).rules[1].backends.is_empty());
    say(&link, from_proxy::Message::Ack(proto::Ack { generation: 3 })).await;
    assert_eq!(state(&hub, 3).await.closed.len(), 0);
}

/// A listener that were left out would leave its requests to a wider listener of the port.
#[tokio::test(start_paused = true)]
async fn a_listener_that_a_proxy_cannot_serve_as_it_is_meant_is_closed_there_and_no_route_is_bound_to_it() {
    let guarded = |guards: &[&str], protocol| {
        let Resource::Listener(it) = listener("shop/gw", "guarded", protocol) else { panic!("a listener") };
        let authorizations = guards.iter().map(|it| (*it).into()).collect();
        Resource::Listener(Arc::new(Listener { authorizations, ..Arc::unwrap_or_clone(it) }))
    };
    let tls = || TlsTermination {
        certificates: vec!["shop/tls".into()],
        clients: None,
        min_version: TlsVersion::default(),
        algorithms: Default::default(),
    };
    for (protocol, closed_as) in [
        (ListenerProtocol::Http, ListenerProtocol::Http),
        (ListenerProtocol::Https(tls()), ListenerProtocol::TlsPassthrough),
        (ListenerProtocol::TlsTerminate(tls()), ListenerProtocol::TlsPassthrough),
        (ListenerProtocol::TlsPassthrough, ListenerProtocol::TlsPassthrough),
        (ListenerProtocol::Tcp, ListenerProtocol::Tcp),
        (ListenerProtocol::Udp, ListenerProtocol::Udp),
    ] {
        let hub = Hub::new();
        let at_both = vec![at_listener("shop/gw/http"), at_listener("shop/gw/guarded")];
        let routes = vec![
            route("both", at_both, vec![rule("/", &["shop/a:80"], None)]),
            route("one", vec![at_listener("shop/gw/guarded")], vec![rule("/", &["shop/a:80"], None)]),
            l4_route("bytes", vec![at_listener("shop/gw/guarded")], &["shop/a:80"]),
        ];
        let policy = Resource::Authorization(Arc::new(Authorization::new("p", Action::Allow, vec![])));
        hub.commit([routes, vec![http(), guarded(&["p"], protocol.clone()), policy]].concat(), vec![]);
        let mut old = Recorded::connect(&hub, GATEWAY).await;
        let heard = old.hear().await;
        let listeners: Vec<_> = heard.iter().filter_map(as_listener).collect();
        let [closed, open] = listeners[..] else { panic!("{protocol:?}: {heard:?}") };
        assert!(closed.closed.is_some() && open.closed.is_none(), "{heard:?}");
        assert_eq!((&closed.protocol, &closed.authorizations[..]), (&closed_as, &[][..]));
        assert_eq!(bindings(&heard), [("HTTPRoute/shop/both".to_owned(), 1)], "{protocol:?}");
        assert_eq!(state(&hub, 1).await.closed.len(), 1);

        // Without the policy the proxy can serve it, and has its routes again; with it, they go again.
        hub.commit(vec![guarded(&[], protocol.clone())], vec![]);
        let heard = old.hear().await;
        assert!(heard.iter().find_map(as_listener).is_some_and(|it| it.closed.is_none()));
        assert_eq!(bindings(&heard).iter().map(|(_, count)| count).sum::<usize>(), 4, "{heard:?}");
        assert_eq!(state(&hub, 2).await.closed.len(), 0);
        hub.commit(vec![guarded(&["p"], protocol)], vec![]);
        let heard = old.hear().await;
        assert_eq!(bindings(&heard), [("HTTPRoute/shop/both".to_owned(), 1)]);
    }
}

fn as_listener(resource: &Resource) -> Option<&Listener> {
    match resource {
        Resource::Listener(it) => Some(it),
        _ => None,
    }
}

/// The routes among these, with the number of listeners that each is bound to.
fn bindings(resources: &[Resource]) -> Vec<(String, usize)> {
    let bound = resources.iter().filter(|it| it.listeners().next().is_some());
    bound.map(|it| (it.key().name.to_string(), it.listeners().count())).collect()
}

/// Whatever the proxy lacks, and also where it says that it holds all of it as it is written.
#[tokio::test(start_paused = true)]
async fn a_listener_is_closed_for_whatever_a_proxy_does_not_know_of_it_and_opens_again() {
    let tls = |min_version, cipher_suites| {
        let certificates = vec!["shop/tls".into()];
        let algorithms = TlsAlgorithms { cipher_suites, groups: vec![] };
        ListenerProtocol::Https(TlsTermination { certificates, clients: None, min_version, algorithms })
    };
    let believing = |address_source| {
        let Resource::Listener(plain) = http() else { panic!("a listener") };
        Resource::Listener(Arc::new(Listener { address_source, ..Listener::clone(&plain) }))
    };
    let Resource::Listener(plain) = http() else { panic!("a listener") };
    let guarded = Listener { authorizations: vec!["shop/office".into()], ..Listener::clone(&plain) };
    let filtered = |filter| {
        let Resource::Listener(plain) = http() else { panic!("a listener") };
        Resource::Listener(Arc::new(Listener { filters: vec![filter], ..Listener::clone(&plain) }))
    };
    let asking = Filter::ExternalAuth(ExternalAuth {
        target: BackendTarget::Backend("shop/a:80".into()),
        protocol: AuthProtocol::Grpc { request_headers: vec![] },
    });
    let limited = Listener { limits: vec!["shop/few".into()], ..Listener::clone(&plain) };
    let treating = |treatment| {
        let Resource::Listener(plain) = http() else { panic!("a listener") };
        Resource::Listener(Arc::new(Listener {
            treatment: Some(Arc::new(treatment)),
            ..Listener::clone(&plain)
        }))
    };
    let second = Some(Duration::from_secs(1));
    let keepalive = ClientKeepalive { probes: Some(1), ..ClientKeepalive::default() };
    let limits = ClientLimits { body_bytes: Some(1), ..ClientLimits::default() };
    let timeouts = ClientTimeouts { idle: second, ..ClientTimeouts::default() };
    let keyed = Listener { authentications: vec!["shop/keys".into()], ..Listener::clone(&plain) };
    for (demanding, needs) in [
        (treating(ClientTreatment { timeouts, ..ClientTreatment::default() }), Capability::ClientTimeouts),
        (
            treating(ClientTreatment {
                certificate_header: CertificateHeader::Set,
                ..ClientTreatment::default()
            }),
            Capability::ClientCertificateHeader,
        ),
        (
            treating(ClientTreatment { request_ids: RequestIds::Keep, ..ClientTreatment::default() }),
            Capability::RequestIds,
        ),
        (
            treating(ClientTreatment { underscores: Underscores::Drop, ..ClientTreatment::default() }),
            Capability::Underscores,
        ),
        (treating(ClientTreatment { keepalive, ..ClientTreatment::default() }), Capability::ClientKeepalive),
        (treating(ClientTreatment { limits, ..ClientTreatment::default() }), Capability::ClientLimits),
        (believing(AddressSource::ProxyProtocol(CidrSet::default())), Capability::AddressSource),
        (believing(AddressSource::ForwardedFor(CidrSet::default())), Capability::AddressSource),
        (Resource::Listener(Arc::new(guarded)), Capability::Attached),
        (Resource::Listener(Arc::new(limited)), Capability::LocalLimits),
        (Resource::Listener(Arc::new(keyed)), Capability::Authentication),
        (listener("shop/gw", "http", tls(TlsVersion::V1_3, vec![])), Capability::TlsMinVersion),
        (
            listener("shop/gw", "http", tls(TlsVersion::V1_2, vec![CipherSuite::Aes256GcmSha384])),
            Capability::TlsAlgorithms,
        ),
        (filtered(Filter::Unresolved("x".into())), Capability::ListenerFilters),
        (filtered(asking.clone()), Capability::ListenerFilters),
        (filtered(asking), Capability::ExternalAuth),
    ] {
        let hub = Hub::new();
        let other = listener("shop/gw", "other", ListenerProtocol::Http);
        let rules = || vec![rule("/", &["shop/a:80"], None)];
        let own = route("own", vec![at_listener("shop/gw/http")], rules());
        let shared =
            route("shared", vec![at_listener("shop/gw/http"), at_listener("shop/gw/other")], rules());
        let elsewhere = route("elsewhere", vec![at_listener("shop/gw/other")], rules());
        let bytes = l4_route("bytes", vec![at_listener("shop/gw/http")], &["shop/a:80"]);
        hub.commit(vec![http(), other, own.clone(), shared.clone(), elsewhere, bytes.clone()], vec![]);
        let mut link = hub.subscribe_channel();
        let known = Capabilities::OF_THIS_VERSION.without(Capabilities::from_iter([needs]));
        let old = Subscription { capabilities: known, ..Subscription::new(gateway("shop/gw"), "0.9.0") };
        let say = async |link: &Link, message| {
            link.to_controller.send(FromProxy { message: Some(message) }).await.unwrap();
        };
        say(&link, from_proxy::Message::Hello((&old).into())).await;
        say(&link, from_proxy::Message::Start(proto::Start {})).await;
        assert_eq!(hear(&mut link).await.len(), 6, "it knows all of it");
        say(&link, from_proxy::Message::Ack(proto::Ack { generation: 1 })).await;

        hub.commit(vec![demanding.clone()], vec![]);
        let heard = hear(&mut link).await;
        let listener = heard.iter().find_map(as_listener);
        let closed = listener.unwrap_or_else(|| panic!("{heard:?}"));
        assert!(known.include(closed.requires()) && closed.closed.is_some(), "{closed:?}");
        assert_eq!((closed.port, &closed.hostname), (plain.port, &plain.hostname), "it takes what it took");
        assert_eq!(find_route(&heard).attachments, [at_listener("shop/gw/other")], "it goes on elsewhere");
        assert_eq!(bindings(&heard), [("HTTPRoute/shop/shared".to_owned(), 1)], "the others are gone");
        assert_eq!(heard.len(), 2, "nothing else has changed: {heard:?}");
        say(&link, from_proxy::Message::Ack(proto::Ack { generation: 2 })).await;
        let closed = state(&hub, 2).await.closed;
        assert_eq!(closed.len(), 1);
        assert!(closed.values().all(|it| it.contains(needs.name())), "{closed:?}");

        // One that subscribes now, and says that it has all of it as it is written, is told the same.
        let mut again = hub.subscribe_channel();
        say(&again, from_proxy::Message::Hello((&old).into())).await;
        let resources = [&demanding, &own, &shared, &bytes].map(|it| {
            let encoded = wire::encode(it);
            proto::HeldResource {
                key: Some(wire::encode_key(&encoded.key)),
                hash: encoded.hash.as_bytes().to_vec().into(),
            }
        });
        let held = proto::Held { resources: resources.to_vec() };
        say(&again, from_proxy::Message::Held(held)).await;
        say(&again, from_proxy::Message::Start(proto::Start {})).await;
        let told = hear(&mut again).await;
        assert!(heard.iter().all(|it| told.contains(it)), "{told:?}");

        hub.commit(vec![http()], vec![]);
        let heard = hear(&mut link).await;
        assert_eq!(heard.len(), 4, "{heard:?}");
        assert!([http(), own, shared, bytes].iter().all(|it| heard.contains(it)), "all of it is open again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_of_the_last_edition_does_not_understand_new_conditions_and_observes_nothing() {
    let hub = Hub::new();
    let new = fairway_policy::Rule::when(vec![Condition::ClientIn(CidrSet::default())]);
    let one = Authorization::new("one", Action::Allow, vec![new]);
    let two = Authorization { mode: Mode::Observe, ..Authorization { name: "two".into(), ..one.clone() } };
    let policies = [&one, &two].map(|it| Resource::Authorization(Arc::new(it.clone())));
    hub.commit([vec![workload("shop/pod", "n1", &["one", "two"])], policies.to_vec()].concat(), vec![]);
    let mut old = Recorded::connect(&hub, NODE).await;
    let heard = old.hear().await;
    let find = |name: &str| {
        let policies = heard.iter().filter_map(|it| match it {
            Resource::Authorization(it) => Some(it),
            _ => None,
        });
        policies.clone().find(|it| &*it.name == name).unwrap().clone()
    };
    let not_understood = Condition::NotUnderstood("condition.client-address".into());
    assert_eq!(find("one").rules, [fairway_policy::Rule::when(vec![not_understood])]);
    assert_eq!(*find("two"), Authorization::new("two", Action::Deny, vec![]));
    assert_eq!(state(&hub, 1).await.closed.len(), 2);
    assert_eq!(state(&hub, 1).await.proxy, Proxy::Node("n1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_cannot_count_serves_nothing_that_is_limited() {
    let hub = Hub::new();
    let limited = |it: Resource| match it {
        Resource::Listener(it) => {
            Resource::Listener(Arc::new(Listener { limits: vec!["few".into()], ..Arc::unwrap_or_clone(it) }))
        }
        other => other,
    };
    let open = rule("/open", &["shop/a:80"], None);
    let counted = Rule { limits: vec!["few".into()], ..rule("/counted", &["shop/a:80"], None) };
    let both = route("guarded", vec![at_listener("shop/gw/http")], vec![open, counted]);
    let private = limited(listener("shop/gw", "private", ListenerProtocol::Http));
    let resources = vec![http(), private, both, backend("shop/a:80", 80, None), rate_limit("few", false)];
    hub.commit(resources, vec![]);
    let mut old = Recorded::connect(&hub, GATEWAY).await;
    let heard = old.hear().await;
    let listeners: Vec<_> = heard.iter().filter_map(as_listener).collect();
    let closed: Vec<_> = listeners.iter().filter(|it| it.closed.is_some()).collect();
    assert_eq!(listeners.len(), 2, "{listeners:?}");
    assert_eq!(closed.len(), 1, "the one that is limited is closed: {listeners:?}");
    assert!(closed[0].limits.is_empty());
    assert!(heard.iter().all(|it| it.key().kind != ResourceKind::RateLimit));
    let [open, counted] = &find_route(&heard).rules[..] else { panic!("{heard:?}") };
    assert!(open.filters.is_empty() && !open.backends.is_empty());
    assert!(matches!(counted.filters[..], [Filter::Unresolved(_)]) && counted.backends.is_empty());
    assert!(counted.limits.is_empty());
    assert_eq!(state(&hub, 1).await.closed.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_cannot_authenticate_serves_nothing_that_asks_who_clients_are() {
    let hub = Hub::new();
    let keys = || vec!["keys".into()];
    let private = match listener("shop/gw", "private", ListenerProtocol::Http) {
        Resource::Listener(it) => {
            Resource::Listener(Arc::new(Listener { authentications: keys(), ..Arc::unwrap_or_clone(it) }))
        }
        other => other,
    };
    let open = rule("/open", &["shop/a:80"], None);
    let asking = Rule { authentications: keys(), ..rule("/asking", &["shop/a:80"], None) };
    let both = route("guarded", vec![at_listener("shop/gw/http")], vec![open, asking]);
    let resources = vec![http(), private, both, backend("shop/a:80", 80, None), authentication("keys")];
    hub.commit(resources, vec![]);
    let mut old = Recorded::connect(&hub, GATEWAY).await;
    let heard = old.hear().await;
    let listeners: Vec<_> = heard.iter().filter_map(as_listener).collect();
    let closed: Vec<_> = listeners.iter().filter(|it| it.closed.is_some()).collect();
    assert_eq!((listeners.len(), closed.len()), (2, 1), "the one that asks is closed: {listeners:?}");
    assert!(closed[0].authentications.is_empty());
    assert!(heard.iter().all(|it| it.key().kind != ResourceKind::Authentication));
    let [open, asking] = &find_route(&heard).rules[..] else { panic!("{heard:?}") };
    assert!(open.filters.is_empty() && !open.backends.is_empty());
    assert!(matches!(asking.filters[..], [Filter::Unresolved(_)]) && asking.backends.is_empty());
    assert!(asking.authentications.is_empty());
}
