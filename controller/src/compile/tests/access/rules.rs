//! Generated policies, through the compiler and the proxies' own evaluator, against the naive reading of the documentation.

use super::naive::{self, Asked, NAMESPACE, Place, Sample};
use super::{AT_GATEWAY, AT_PODS, AT_SERVICE, World, world};
use crate::resources::access_policy::AccessPolicySpec;
use crate::resources::{Edit, Kind, Object};
use fairway_config::model::{AuthorizationKey, normalised_path};
use fairway_policy::{Attached, Attributes, Level, Path, Request, evaluate};
use http::{HeaderMap, HeaderValue, Method};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

fn some(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    vec(select(values), 0..3).prop_map(|it| json!(it))
}

/// An object of those of these fields that are there.
fn object(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    fields
        .into_iter()
        .filter_map(|(name, it)| Some((name.to_owned(), it?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn source() -> impl Strategy<Value = Value> {
    let account =
        (of(select(&["shop", "other"][..])), select(&["web", "admin"][..])).prop_map(|(namespace, name)| {
            object(vec![("namespace", namespace.map(|it| json!(it))), ("name", Some(json!(name)))])
        });
    let ids = some(&[
        "spiffe://cluster.local/ns/shop/sa/web",
        "spiffe://elsewhere.example/ns/shop/sa/web",
        "spiffe://cluster.local/ns/other/sa/admin",
        "spiffe://nonsense",
    ]);
    let cidrs = some(&[
        "10.0.0.0/8",
        "10.0.0.1",
        "::/0",
        "0.0.0.0/0",
        "2001:db8::/32",
        "::ffff:10.0.0.0/104",
        "10.0.0.1/8",
    ]);
    let except = some(&["10.0.0.0/24", "2001:db8::1"]);
    let accounts = vec(account, 0..3).prop_map(|it| json!(it));
    (of(accounts), of(some(&["shop", "other"])), of(ids), of(cidrs), of(except)).prop_map(
        |(accounts, namespaces, ids, cidrs, except)| {
            object(vec![
                ("serviceAccounts", accounts),
                ("namespaces", namespaces),
                ("spiffeIDs", ids),
                ("cidrs", cidrs),
                ("exceptCIDRs", except),
            ])
        },
    )
}

fn operation() -> impl Strategy<Value = Value> {
    let ports = vec(select(&[80_u16, 443, 8080, 0][..]), 0..3).prop_map(|it| json!(it));
    let path = (
        of(select(&["Exact", "PathPrefix"][..])),
        select(&["/", "/admin", "/admin/", "/a%2Fb", "/a;v=1", "/shop.Cart/Get", "/x/../admin"][..]),
    );
    let path = path.prop_map(|(kind, value)| {
        object(vec![("type", kind.map(|it| json!(it))), ("value", Some(json!(value)))])
    });
    let grpc = (of(Just("shop.Cart")), select(&["Get", "Set"][..])).prop_map(|(service, method)| {
        object(vec![("service", service.map(|it| json!(it))), ("method", Some(json!(method)))])
    });
    let header = (select(&["x-role", "X-Role", "x-other"][..]), select(&["admin", "user", "admin,user"][..]))
        .prop_map(|(name, value)| json!({ "name": name, "value": value }));
    let list = |it: Vec<Value>| json!(it);
    (
        of(ports),
        of(some(&["example.com", "*.example.com", "a.example.com"])),
        of(some(&["GET", "POST", "get"])),
        of(vec(path, 0..3).prop_map(list)),
        of(vec(grpc, 0..2).prop_map(list)),
        of(vec(header, 0..2).prop_map(list)),
    )
        .prop_map(|(ports, hosts, methods, paths, grpc, headers)| {
            object(vec![
                ("ports", ports),
                ("hosts", hosts),
                ("methods", methods),
                ("paths", paths),
                ("grpc", grpc),
                ("headers", headers),
            ])
        })
}

/// Fields are few, so that rules match now and then.
fn spec() -> impl Strategy<Value = Value> {
    let list = |it: Vec<Value>| json!(it);
    let sources = vec(thinned(source()), 0..3).prop_map(list);
    let operations = vec(thinned(operation()), 0..3).prop_map(list);
    let rule = (of(sources), of(operations)).prop_map(|(from, to)| object(vec![("from", from), ("to", to)]));
    let action = prop_oneof![2 => Just("Allow"), 1 => Just("Deny")];
    (action, of(vec(rule, 0..3).prop_map(list)))
        .prop_map(|(action, rules)| object(vec![("action", Some(json!(action))), ("rules", rules)]))
}

/// Mostly one field of an entry, sometimes two or none.
fn thinned(entry: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (entry, any::<u64>(), 0..8_u8).prop_map(|(entry, pick, how)| {
        let Value::Object(fields) = entry else { return entry };
        let keep = match how {
            0 => 0,
            1 | 2 => 2,
            _ => 1,
        };
        let count = fields.len().max(1);
        let start = usize::try_from(pick % 1024).unwrap() % count;
        let fields: Vec<_> = fields.into_iter().collect();
        let kept = fields.into_iter().cycle().skip(start).take(keep.min(count));
        kept.collect::<serde_json::Map<_, _>>().into()
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let peer = select(
        &[
            "spiffe://cluster.local/ns/shop/sa/web",
            "spiffe://cluster.local/ns/other/sa/web",
            "spiffe://cluster.local/ns/other/sa/admin",
            "spiffe://elsewhere.example/ns/shop/sa/web",
            "spiffe://cluster.local/ns/shop/sa/waypoint-fairway-waypoint",
            "spiffe://cluster.local/ns/other/sa/waypoint-fairway-waypoint",
        ][..],
    );
    let client =
        select(&["10.0.0.1", "10.9.9.9", "::ffff:10.0.0.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"][..]);
    let path = select(
        &[
            "/",
            "/admin",
            "/admin/",
            "/admin/x",
            "//admin",
            "/admin;x",
            "/%61dmin",
            "/%2Fadmin",
            "/;%2Fx/admin",
            "/admin;%2F",
            "/%252Fadmin",
            "/%2561dmin",
            "/ADMIN",
            "/a%2Fb",
            "/a%2fb",
            "/a/b",
            "/a;v=1",
            "/shop.Cart/Get",
            "//shop.Cart/Get",
            "/shop.Cart;v/Set",
            "/administrator",
        ][..],
    );
    let host = select(&["example.com", "EXAMPLE.com.", "a.example.com:8080", ""][..]);
    let roles = vec(select(&["admin", "user", "admin,user"][..]), 0..3);
    let request = (select(&["GET", "POST", "get", "PURGE"][..]), host, path, roles);
    let request = request.prop_map(|(method, host, path, roles)| {
        let mut headers = HeaderMap::new();
        for role in roles {
            headers.append("x-role", HeaderValue::from_static(role));
        }
        let path = normalised_path(path).unwrap().into_owned();
        Asked { method: method.to_owned(), host: host.to_owned(), path, headers }
    });
    (of(peer), of(client), select(&[80_u16, 443, 8080][..]), of(request)).prop_map(
        |(peer, client, port, request)| Sample {
            peer: peer.map(str::to_owned),
            client: client.map(|it| it.parse().unwrap()),
            port,
            request,
        },
    )
}

/// What the proxies' evaluator says of a sample, by the names that the configuration has.
fn lets_pass(world: &World, level: Level, names: &[&str], sample: &Sample) -> bool {
    let keys: Vec<AuthorizationKey> = names.iter().map(|it| AuthorizationKey::from(*it)).collect();
    let attached = keys.iter().map(|key| Attached {
        level,
        name: key.shared(),
        authorization: Some(world.authorization(key.as_str())),
    });
    let peer = sample.peer.as_ref().map(|it| it.parse().unwrap());
    let method = sample.request.as_ref().map(|it| it.method.parse::<Method>().unwrap());
    let path = sample.request.as_ref().map(|it| Path::new(&it.path));
    let request = sample.request.as_ref().zip(method.as_ref()).zip(path.as_ref());
    let request =
        request.map(|((it, method), path)| Request { method, host: &it.host, path, headers: &it.headers });
    let attributes = Attributes { peer: peer.as_ref(), client: sample.client, port: sample.port, request };
    evaluate(attached, &attributes).verdict.is_allowed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_policy_means_what_the_documentation_says(
        specs in vec(spec(), 1..4),
        samples in vec(sample(), 24),
    ) {
        for (place, namespace, target) in
            [(Place::Gateway, "edge", AT_GATEWAY), (Place::Service, NAMESPACE, AT_SERVICE), (Place::Pods, NAMESPACE, AT_PODS)]
        {
            let mut world = world("");
            let target: Value = serde_saphyr::from_str(target).unwrap();
            let mut read = Vec::new();
            for (number, spec) in specs.iter().enumerate() {
                let mut spec = spec.clone();
                // A Gateway's policies are in its namespace; what they leave out means that one.
                let text = spec.to_string();
                if namespace != NAMESPACE && text.contains("serviceAccounts") {
                    continue;
                }
                spec["targetRefs"] = json!([target]);
                read.push(serde_json::from_value::<AccessPolicySpec>(spec.clone()).unwrap());
                let policy = json!({ "metadata": { "name": format!("p{number}"), "namespace": namespace }, "spec": spec });
                world.apply(vec![Edit::Upsert(Object::parse(Kind::AccessPolicy, policy).unwrap())]);
            }
            let (level, names) = match place {
                Place::Gateway => (Level::Gateway, world.judges_of_listener("edge/public/http")),
                Place::Service => (Level::Service, world.judges_of_backend("shop/web:80")),
                Place::Pods => (Level::Pod, world.judges_of_pod("shop/web-1")),
            };
            prop_assert_eq!(names.len(), read.len());
            for sample in &samples {
                // A tunnel sees no requests.
                let mut sample = sample.clone();
                if place == Place::Pods {
                    sample.request = None;
                }
                let expected = naive::lets_pass(&read, place, &sample);
                prop_assert_eq!(lets_pass(&world, level, &names, &sample), expected, "{:?} {:?} {:?}", place, sample, read);
            }
        }
    }
}
