use super::*;
use crate::arbitrary;
use crate::model::{BackendKey, Endpoints, Filter, Listener, ListenerProtocol, Resource};
use crate::proto::{self, resource::Kind};
use bytes::Bytes;
use fairway_policy::{Action, Attached, Attributes, Level, PolicyRefusal, RuleName, evaluate};
use proptest::prelude::*;
use prost::Message;
use std::sync::Arc;

fn message(resource: &Resource) -> Kind {
    proto::Resource::decode(encode(resource).bytes).unwrap().kind.unwrap()
}

fn refusal(kind: Kind) -> String {
    decode(proto::Resource { kind: Some(kind) }.encode_to_vec().into()).unwrap_err().to_string()
}

/// Some resource of the strategy, the same in every run.
fn one<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> T {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    proptest::strategy::ValueTree::current(&strategy.new_tree(&mut runner).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_encoded_decodes_to_the_same(resource in arbitrary::resource()) {
        let encoded = encode(&resource);
        let decoded = decode(encoded.bytes.clone());
        prop_assert_eq!(decoded.as_ref(), Ok(&resource));
        prop_assert_eq!(encode(&decoded.unwrap()), encoded);
    }

    #[test]
    fn mangled_bytes_never_panic_and_never_decode_to_the_same_hash(
        resource in arbitrary::resource(),
        mangling in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let encoded = encode(&resource);
        let mut bytes = encoded.bytes.to_vec();
        for (at, value) in mangling {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let cut = bytes[..cut.index(bytes.len())].to_vec();
        for bytes in [bytes, cut] {
            if let Ok(decoded) = decode(bytes.into()) {
                // Other bytes may say the same: the case of a trust domain does not matter.
                prop_assert_eq!(encode(&decoded).hash == encoded.hash, decoded == resource);
            }
        }
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode(bytes.into());
    }
}

#[test]
fn a_refusal_names_the_field() {
    let Kind::Route(mut route) = message(&Resource::Route(Arc::new(one(
        arbitrary::route().prop_filter("rules", |it| !it.rules.is_empty())
    )))) else {
        unreachable!("a route")
    };
    route.rules[0].matches[0].path =
        Some(proto::PathMatch { kind: Some(proto::path_match::Kind::Regex("(".to_owned())) });
    let reason = refusal(Kind::Route(route));
    assert!(
        reason.starts_with("rules[0].matches[0].path.regex: `(` is not a usable regular expression"),
        "{reason}"
    );
}

#[test]
fn what_is_not_set_is_refused_and_never_read_as_everything() {
    let key = || "a/b".to_owned();
    let address = || Some(proto::SocketAddress { ip: Bytes::from_static(&[10, 0, 0, 1]), port: 80 });
    let endpoint = proto::Endpoint { address: address(), ..Default::default() };
    let consumer = proto::ServiceAttachment {
        service: key(),
        port: None,
        audience: Some(proto::Audience { kind: None }),
    };
    let probed = |action| proto::Workload {
        key: key(),
        identity: "spiffe://cluster.local/ns/a/sa/b".to_owned(),
        mesh: proto::Mesh::Strict.into(),
        probes: vec![proto::Probe { port: 80, action }],
        ..Default::default()
    };
    let get = |target: &str| {
        let http = proto::HttpProbe { target: target.to_owned(), ..Default::default() };
        Some(proto::probe::Action::Http(http))
    };
    let object = || Some(proto::ObjectName { namespace: "a".to_owned(), name: "b".to_owned() });
    let limited = |break_it: fn(&mut proto::Limit)| {
        let per = Some(proto::Duration { seconds: 1, nanos: 0 });
        let mut limit = proto::Limit { requests: 1, per, burst: 1, ..Default::default() };
        break_it(&mut limit);
        Kind::RateLimit(proto::RateLimit { name: key(), limits: vec![limit], ..Default::default() })
    };
    fn client_key(client: &str, bytes: usize) -> proto::ClientKey {
        proto::ClientKey { client: client.to_owned(), digest: vec![1; bytes].into() }
    }
    let whole: fn(&mut proto::ApiKeys) = |_| ();
    let keyed = |break_it: fn(&mut proto::Authentication), break_keys: fn(&mut proto::ApiKeys)| {
        let kind = Some(proto::credential_place::Kind::Cookie("key".to_owned()));
        let mut keys = proto::ApiKeys {
            keys: vec![client_key("ada", 32)],
            places: vec![proto::CredentialPlace { kind }],
            ..Default::default()
        };
        break_keys(&mut keys);
        let mut it = proto::Authentication { name: key(), api_keys: Some(keys), ..Default::default() };
        break_it(&mut it);
        Kind::Authentication(it)
    };
    assert_eq!(refusal(keyed(|it| it.api_keys = None, whole)), "no method is set");
    for (kind, field) in [
        (Kind::Listener(proto::Listener::default()), "key"),
        (
            Kind::Listener(proto::Listener {
                key: key(),
                gateway: object(),
                section: key(),
                port: 80,
                ..Default::default()
            }),
            "protocol",
        ),
        (
            Kind::Backend(proto::Backend { key: key(), service: key(), port: 80, ..Default::default() }),
            "protocol",
        ),
        (
            Kind::Backend(proto::Backend { key: key(), service: key(), port: 65536, ..Default::default() }),
            "port",
        ),
        (
            Kind::Endpoints(proto::Endpoints {
                backend: key(),
                endpoints: vec![endpoint],
                ..Default::default()
            }),
            "endpoints[0].state",
        ),
        (Kind::Authorization(proto::Authorization { name: key(), ..Default::default() }), "action"),
        (keyed(|_| (), |it| it.keys = vec![client_key("ada", 31)]), "api_keys.keys[0].digest"),
        (keyed(|it| it.closed = true, whole), "closed"),
        (keyed(|it| it.mode = 7, whole), "mode"),
        (keyed(|_| (), |it| it.places.clear()), "api_keys.places"),
        (keyed(|_| (), |it| it.places = vec![proto::CredentialPlace::default()]), "api_keys.places[0]"),
        (keyed(|_| (), |it| it.keys = vec![client_key("a", 32), client_key("b", 32)]), "api_keys.keys"),
        (limited(|it| it.requests = 0), "limits[0].requests"),
        (limited(|it| it.burst = 0), "limits[0].burst"),
        (Kind::RateLimit(proto::RateLimit { name: key(), mode: 7, ..Default::default() }), "mode"),
        (limited(|it| it.per = None), "limits[0].per"),
        (limited(|it| it.per = Some(proto::Duration::default())), "limits[0].per"),
        (limited(|it| it.key = vec![proto::LimitKeyPart::default()]), "limits[0].key[0]"),
        (Kind::Workload(probed(None)), "probes[0].action"),
        (Kind::Workload(probed(get(""))), "probes[0].action.http.target"),
        (Kind::Workload(probed(get("/a b"))), "probes[0].action.http.target"),
        (Kind::Workload(probed(get("/\r\nX: y"))), "probes[0].action.http.target"),
        (Kind::Route(proto::Route::default()), "attachments"),
        (
            Kind::Route(proto::Route {
                key: key(),
                kind: proto::RouteKind::Http.into(),
                object: object(),
                attachments: vec![proto::Attachment {
                    parent: Some(proto::attachment::Parent::Service(consumer)),
                }],
                ..Default::default()
            }),
            "attachments[0].service.audience",
        ),
    ] {
        let reason = refusal(kind);
        assert!(reason.starts_with(&format!("{field}: ")), "{field}: {reason}");
    }
}

#[test]
fn a_field_of_a_newer_controller_refuses_the_resource() {
    let endpoints = Resource::Endpoints(Arc::new(Endpoints::of_anybody(BackendKey::from("a/b:80"), vec![])));
    let mut inner = match message(&endpoints) {
        Kind::Endpoints(it) => it.encode_to_vec(),
        other => panic!("{other:?}"),
    };
    inner.extend([0xF8, 0x01, 0x01]); // field 31, varint 1
    let mut outer = vec![0x22, u8::try_from(inner.len()).unwrap()]; // Resource.endpoints
    outer.extend(inner);
    let reason = decode(outer.into()).unwrap_err().to_string();
    assert!(reason.contains("does not know"), "{reason}");
}

/// Nobody can say where its clients are. It stays, so that no wider listener takes what is for it.
#[test]
fn a_listener_that_learns_where_clients_are_as_only_a_newer_controller_knows_is_closed() {
    for listener in one(proptest::collection::vec(arbitrary::listener(), 64)) {
        let Kind::Listener(mut written) = message(&Resource::Listener(Arc::new(listener.clone()))) else {
            unreachable!("a listener")
        };
        written.address_source = Some(proto::AddressSource { source: None });
        let decoded = decode(proto::Resource { kind: Some(Kind::Listener(written)) }.encode_to_vec().into());
        match (listener.close("x"), decoded) {
            (Some(_), Ok(Resource::Listener(it))) => {
                assert!(it.closed.is_some() && it.authorizations.is_empty(), "{it:?}");
                assert_eq!((it.port, &it.hostname), (listener.port, &listener.hostname));
            }
            // No listener is wider than one for tunnels, or of a Service's address.
            (None, Err(error)) => assert!(error.to_string().starts_with("address_source: "), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_listener_that_treats_clients_as_only_a_newer_controller_knows_is_closed() {
    let listener =
        one(arbitrary::listener().prop_filter("one that can be closed", |it| it.close("x").is_some()));
    let said: [fn(&mut proto::Listener); 7] = [
        |it| it.request_ids = 9,
        |it| it.underscores = 9,
        |it| it.client_keepalive = Some(proto::ClientKeepalive { probes: Some(0), ..Default::default() }),
        |it| it.client_timeouts = Some(proto::ClientTimeouts { idle: Some(0), ..Default::default() }),
        |it| it.client_timeouts = Some(proto::ClientTimeouts { handshake: Some(61), ..Default::default() }),
        |it| it.client_limits = Some(proto::ClientLimits { headers: Some(0), ..Default::default() }),
        |it| {
            it.client_limits = Some(proto::ClientLimits { header_bytes: Some(1 << 20), ..Default::default() })
        },
    ];
    for (index, says) in said.into_iter().enumerate() {
        let Kind::Listener(mut written) = message(&Resource::Listener(Arc::new(listener.clone()))) else {
            unreachable!("a listener")
        };
        says(&mut written);
        let decoded = decode(proto::Resource { kind: Some(Kind::Listener(written)) }.encode_to_vec().into());
        let Ok(Resource::Listener(it)) = decoded else { panic!("{index}: {decoded:?}") };
        assert!(it.closed.is_some() && it.treatment.is_none(), "{index}: {it:?}");
    }
}

#[test]
fn a_listener_that_speaks_tls_as_only_a_newer_controller_knows_is_closed() {
    let ends_tls = |it: &Listener| matches!(it.protocol, ListenerProtocol::Https(_));
    let listener = one(arbitrary::listener().prop_filter("one that ends TLS", ends_tls));
    let said: [fn(&mut proto::TlsTermination); 2] =
        [|it| it.cipher_suites.push(0x00FF), |it| it.groups.push(0x1_0017)];
    for (index, says) in said.into_iter().enumerate() {
        let Kind::Listener(mut written) = message(&Resource::Listener(Arc::new(listener.clone()))) else {
            unreachable!("a listener")
        };
        if let Some(proto::listener::Protocol::Https(tls)) = &mut written.protocol {
            says(tls);
        }
        let decoded = decode(proto::Resource { kind: Some(Kind::Listener(written)) }.encode_to_vec().into());
        let Ok(Resource::Listener(it)) = decoded else { panic!("{index}: {decoded:?}") };
        assert!(it.closed.is_some(), "{index}: {it:?}");
    }
}

#[test]
fn a_filter_of_a_newer_controller_is_kept_as_it_came_and_stands_in_its_place() {
    let Kind::Route(mut route) = message(&Resource::Route(Arc::new(one(
        arbitrary::route().prop_filter("rules", |it| !it.rules.is_empty())
    )))) else {
        unreachable!("a route")
    };
    // A kind of filter that this program does not know; nothing at all; a redirect with a further field.
    for octets in [&[0xF2, 0x01, 0x01, 0x41][..], &[], &[0x1A, 0x06, 0x28, 0xAE, 0x02, 0xF8, 0x01, 0x01]] {
        route.rules[0].filters.insert(0, Bytes::copy_from_slice(octets));
        let bytes: Bytes = proto::Resource { kind: Some(Kind::Route(route.clone())) }.encode_to_vec().into();
        let decoded = decode(bytes.clone());
        let Ok(Resource::Route(decoded_route)) = &decoded else { panic!("{decoded:?}") };
        assert_eq!(decoded_route.rules[0].filters[0], Filter::Unknown(Bytes::copy_from_slice(octets)));
        assert_eq!(encode(&decoded.unwrap()).bytes, bytes, "what is kept on disk is read by a newer program");
    }
}

/// The listener is not served without it: what is not known answers each request.
#[test]
fn a_filter_of_a_listener_that_only_a_newer_controller_knows_is_kept() {
    let listener = one(arbitrary::listener().prop_filter("open", |it| it.closed.is_none()));
    let Kind::Listener(mut written) = message(&Resource::Listener(Arc::new(listener))) else {
        unreachable!("a listener")
    };
    let unknown = &[0xF2, 0x01, 0x01, 0x41][..];
    written.filters.insert(0, Bytes::copy_from_slice(unknown));
    let bytes: Bytes = proto::Resource { kind: Some(Kind::Listener(written)) }.encode_to_vec().into();
    let decoded = decode(bytes.clone());
    let Ok(Resource::Listener(it)) = &decoded else { panic!("{decoded:?}") };
    assert_eq!(it.filters[0], Filter::Unknown(Bytes::copy_from_slice(unknown)));
    assert_eq!(encode(&decoded.unwrap()).bytes, bytes);
}

#[test]
fn a_condition_that_is_not_understood_matches_nothing_in_an_allow_and_everything_in_a_deny() {
    // `port_is` with a further field 9; and a kind of condition this program has never heard of.
    for condition in [&[0x1A, 0x05, 0x0A, 0x01, 0x50, 0x48, 0x01][..], &[0xF2, 0x01, 0x01, 0x41]] {
        for (action, refusal) in [
            (proto::Action::Allow, PolicyRefusal::NotAllowed { level: Level::Pod, policy: "it".into() }),
            (proto::Action::Deny, PolicyRefusal::Denied { policy: "it".into(), rule: RuleName::Number(0) }),
        ] {
            let rule =
                proto::AuthorizationRule { conditions: vec![Bytes::copy_from_slice(condition)], name: None };
            let message = proto::Authorization {
                name: "it".to_owned(),
                action: action.into(),
                rules: vec![rule],
                ..Default::default()
            };
            let bytes = proto::Resource { kind: Some(Kind::Authorization(message)) }.encode_to_vec();
            let decoded = match decode(bytes.into()) {
                Ok(Resource::Authorization(decoded)) => decoded,
                other => panic!("{condition:?}: {other:?}"),
            };
            let expected = if action == proto::Action::Allow { Action::Allow } else { Action::Deny };
            assert_eq!(decoded.action, expected);
            let connection = Attributes { peer: None, client: None, port: 80, request: None };
            let attached =
                Attached { level: Level::Pod, name: &decoded.name, authorization: Some(&*decoded) };
            assert_eq!(evaluate([attached], &connection).verdict.into_result(), Err(refusal));
        }
    }
}
