//! The cases of the Gateway API's conformance suite (v1.7.0), and those it leaves out.

use super::{RequestHead, select};
use crate::fixtures::{
    MatchExt, attachment, exact, expression, filters, grpc, grpc_route, listener, prefix, request, resource,
    route, rule, snapshot, value,
};
use crate::table::{Socket, SocketKind, Tables};
use crate::upstream::cluster::Registry;
use fairway_config::model::{BackendTarget, Resource, Route};
use http::request::Parts;
use std::sync::Arc;

/// One socket with these listeners and routes.
fn tables(listeners: &[(&str, Option<&str>)], routes: Vec<Route>) -> Tables {
    let listeners = listeners.iter().map(|(key, host)| Resource::Listener(Arc::new(listener(key, *host))));
    let all = listeners.chain(routes.into_iter().map(resource)).collect();
    Tables::build(&snapshot(all), &mut Registry::default()).unwrap()
}

/// The backend a request is sent to, or `404`.
fn backend(tables: &Tables, parts: &Parts) -> String {
    let head = RequestHead::read(parts).unwrap();
    let socket = tables.socket(&Socket { address: None, port: 80, kind: SocketKind::Stream }).unwrap();
    let entry = socket.for_host(&head.host).and_then(|it| select(&it.routes, &head).unwrap());
    match entry.map(|it| &it.rule().backends[0].target) {
        Some(BackendTarget::Backend(key)) => key.to_string(),
        _ => "404".to_owned(),
    }
}

type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

fn expect(tables: &Tables, cases: &[Case<'_>]) {
    for (line, headers, expected) in cases {
        assert_eq!(backend(tables, &request(line, headers)), *expected, "{line} {headers:?}");
    }
}

fn one_listener(routes: Vec<Route>) -> Tables {
    tables(&[("listener", None)], routes)
}

fn with(route: Route, hostnames: &[(&str, &str)], rules: Vec<fairway_config::model::Rule>) -> Route {
    Route { attachments: vec![attachment("listener", hostnames)], rules, ..route }
}

#[test]
fn http_route_matching() {
    let rules = vec![
        rule(vec![prefix("/"), prefix("/").header("version", "one")], "v1"),
        rule(vec![prefix("/v2"), prefix("/").header("version", "two")], "v2"),
    ];
    let tables = one_listener(vec![with(route("matching"), &[], rules)]);
    expect(
        &tables,
        &[
            ("GET a/", &[], "v1"),
            ("GET a/example", &[], "v1"),
            ("GET a/", &[("Version", "one")], "v1"),
            ("GET a/v2", &[], "v2"),
            ("GET a/v2/example", &[], "v2"),
            ("GET a/", &[("Version", "two")], "v2"),
            ("GET a/v2/", &[], "v2"),
            ("GET a/v2example", &[], "v1"),
            ("GET a/foo/v2/example", &[], "v1"),
        ],
    );
}

#[test]
fn http_route_matching_across_routes() {
    let hosts: [&[(&str, &str)]; 2] = [
        &[("example.com", "example.com"), ("example.net", "example.net")],
        &[("example.com", "example.com")],
    ];
    let one = vec![rule(vec![prefix("/"), prefix("/").header("version", "one")], "v1")];
    let two = vec![rule(vec![prefix("/v2"), prefix("/").header("version", "two")], "v2")];
    let tables = one_listener(vec![with(route("part1"), hosts[0], one), with(route("part2"), hosts[1], two)]);
    expect(
        &tables,
        &[
            ("GET example.com/", &[], "v1"),
            ("GET example.com/example", &[], "v1"),
            ("GET example.net/example", &[], "v1"),
            ("GET example.com/example", &[("Version", "one")], "v1"),
            ("GET example.com/v2", &[], "v2"),
            ("GET example.net/v2", &[], "v1"),
            ("GET example.com/v2/example", &[], "v2"),
            ("GET example.com/", &[("Version", "two")], "v2"),
        ],
    );
}

#[test]
fn http_route_path_match_order() {
    let rules = vec![
        rule(vec![exact("/match")], "v1"),
        rule(vec![exact("/match/exact")], "v2"),
        rule(vec![exact("/match/exact/one")], "v3"),
        rule(vec![prefix("/match/")], "v3"),
        rule(vec![prefix("/match/prefix/")], "v1"),
        rule(vec![prefix("/match/prefix/one")], "v2"),
    ];
    expect(
        &one_listener(vec![with(route("order"), &[], rules)]),
        &[
            ("GET a/match/exact/one", &[], "v3"),
            ("GET a/match/exact", &[], "v2"),
            ("GET a/match", &[], "v1"),
            ("GET a/match/prefix/one/any", &[], "v2"),
            ("GET a/match/prefix/any", &[], "v1"),
            ("GET a/match/any", &[], "v3"),
            ("GET a/other", &[], "404"),
        ],
    );
}

#[test]
fn expressions_stand_between_exact_paths_and_prefixes_the_longest_first() {
    let rules = vec![
        rule(vec![prefix("/")], "prefix"),
        rule(vec![expression("/a.*")], "short"),
        rule(vec![expression("/a[b-c].*")], "long"),
        rule(vec![exact("/abc")], "exact"),
        rule(vec![prefix("/abd/e")], "longer prefix"),
    ];
    expect(
        &one_listener(vec![with(route("expressions"), &[], rules)]),
        &[
            ("GET a/abc", &[], "exact"),
            ("GET a/abd/e", &[], "long"),
            ("GET a/add", &[], "short"),
            ("GET a/xa", &[], "prefix"),
        ],
    );
}

#[test]
fn http_route_header_matching() {
    let any = || prefix("/");
    let rules = vec![
        rule(vec![any().header("version", "one")], "v1"),
        rule(vec![any().header("version", "two")], "v2"),
        rule(vec![any().header("version", "two").header("color", "orange")], "v1"),
        rule(vec![any().header("color", "blue"), any().header("color", "green")], "v1"),
        rule(vec![any().header("color", "red"), any().header("color", "yellow")], "v2"),
    ];
    expect(
        &one_listener(vec![with(route("headers"), &[], rules)]),
        &[
            ("GET a/", &[("Version", "one")], "v1"),
            ("GET a/", &[("Version", "two")], "v2"),
            ("GET a/", &[("Version", "two"), ("Color", "orange")], "v1"),
            ("GET a/", &[("Version", "two"), ("Color", "blue")], "v2"),
            ("GET a/", &[("Color", "orange")], "404"),
            ("GET a/", &[("Some-Other-Header", "one")], "404"),
            ("GET a/", &[("Color", "blue")], "v1"),
            ("GET a/", &[("Color", "green")], "v1"),
            ("GET a/", &[("Color", "red")], "v2"),
            ("GET a/", &[("Color", "yellow")], "v2"),
            ("GET a/", &[("Color", "purple")], "404"),
        ],
    );
}

#[test]
fn repeated_headers_are_joined_and_of_repeated_matches_the_first_counts() {
    let twice = prefix("/").header("X-A", "1").header("x-a", "2");
    let rules = vec![
        rule(vec![prefix("/joined").header("x-a", "1,2")], "joined"),
        rule(vec![prefix("/expression").header("x-a", "~.*,2,.*")], "expression"),
        rule(vec![twice], "first"),
        rule(vec![prefix("/").header("x-b", "1")], "older with as many"),
    ];
    expect(
        &one_listener(vec![with(route("headers"), &[], rules)]),
        &[
            ("GET a/joined", &[("x-a", "1"), ("x-a", "2")], "joined"),
            ("GET a/joined", &[("x-a", "1,2")], "joined"),
            ("GET a/joined", &[("x-a", "2"), ("x-a", "1")], "404"),
            ("GET a/expression", &[("x-a", "1"), ("x-a", "2"), ("x-a", "3")], "expression"),
            ("GET a/", &[("x-a", "1")], "first"),
            ("GET a/", &[("x-a", "2")], "404"),
            ("GET a/", &[("x-a", "1"), ("x-b", "1")], "first"),
        ],
    );
}

#[test]
fn http_route_query_param_matching() {
    let any = || prefix("/");
    let rules = vec![
        rule(vec![any().query("animal", "whale")], "v1"),
        rule(vec![any().query("animal", "dolphin")], "v2"),
        rule(
            vec![any().query("animal", "dolphin").query("color", "blue"), any().query("ANIMAL", "Whale")],
            "v3",
        ),
        rule(vec![prefix("/path1").query("animal", "whale")], "v1"),
        rule(vec![any().header("version", "one").query("animal", "whale")], "v2"),
        rule(vec![prefix("/path2").header("version", "two").query("animal", "whale")], "v3"),
        rule(
            vec![
                prefix("/path3").query("animal", "shark"),
                prefix("/path4").header("version", "three").query("animal", "kraken"),
            ],
            "v1",
        ),
        rule(vec![prefix("/path5")], "v1"),
        rule(vec![any().query("animal", "hydra")], "v2"),
        rule(vec![any().header("version", "four")], "v3"),
        rule(vec![any().query("a b", "ä&+")], "decoded"),
        rule(vec![any().query("flag", "")], "flag"),
        rule(vec![any().query("n", "~[0-9]+")], "expression"),
    ];
    expect(
        &one_listener(vec![with(route("query"), &[], rules)]),
        &[
            ("GET a/?animal=whale", &[], "v1"),
            ("GET a/?animal=dolphin", &[], "v2"),
            ("GET a/?animal=dolphin&color=blue", &[], "v3"),
            ("GET a/?ANIMAL=Whale", &[], "v3"),
            ("GET a/?animal=whale&otherparam=irrelevant", &[], "v1"),
            ("GET a/?animal=dolphin&color=yellow", &[], "v2"),
            ("GET a/?color=blue", &[], "404"),
            ("GET a/?animal=dog", &[], "404"),
            ("GET a/?animal=whaledolphin", &[], "404"),
            ("GET a/", &[], "404"),
            ("GET a/path1?animal=whale", &[], "v1"),
            ("GET a/?animal=whale", &[("version", "one")], "v2"),
            ("GET a/path2?animal=whale", &[("version", "two")], "v3"),
            ("GET a/path3?animal=shark", &[], "v1"),
            ("GET a/path4?animal=kraken", &[("version", "three")], "v1"),
            ("GET a/?animal=shark", &[], "404"),
            ("GET a/path4?animal=kraken", &[], "404"),
            ("GET a/path5?animal=hydra", &[], "v1"),
            ("GET a/?animal=hydra", &[("version", "four")], "v3"),
            // Ours: the first value counts; names and values are decoded; a flag has an empty value.
            ("GET a/?animal=whale&animal=dolphin", &[], "v1"),
            ("GET a/?a+b=%C3%A4%26%2B", &[], "decoded"),
            ("GET a/?a%20b=%C3%A4%26%2b", &[], "decoded"),
            ("GET a/?a+b=%FF", &[], "404"),
            ("GET a/?flag", &[], "flag"),
            ("GET a/?x=1&n=42", &[], "expression"),
            ("GET a/?n=4x2", &[], "404"),
        ],
    );
}

#[test]
fn http_route_method_matching() {
    let any = || prefix("/");
    let rules = vec![
        rule(vec![any().method("POST")], "v1"),
        rule(vec![any().method("GET")], "v2"),
        rule(vec![prefix("/path1").method("GET")], "v1"),
        rule(vec![any().header("version", "one").method("PUT")], "v2"),
        rule(vec![prefix("/path2").header("version", "two").method("POST")], "v3"),
        rule(
            vec![
                prefix("/path3").method("PATCH"),
                prefix("/path4").header("version", "three").method("DELETE"),
            ],
            "v1",
        ),
        rule(vec![prefix("/path5")], "v1"),
        rule(vec![any().method("PATCH")], "v2"),
        rule(vec![any().header("version", "four")], "v3"),
    ];
    expect(
        &one_listener(vec![with(route("methods"), &[], rules)]),
        &[
            ("POST a/", &[], "v1"),
            ("GET a/", &[], "v2"),
            ("HEAD a/", &[], "404"),
            ("GET a/path1", &[], "v1"),
            ("PUT a/", &[("version", "one")], "v2"),
            ("POST a/path2", &[("version", "two")], "v3"),
            ("PATCH a/path3", &[], "v1"),
            ("DELETE a/path4", &[("version", "three")], "v1"),
            ("PUT a/", &[], "404"),
            ("DELETE a/path4", &[], "404"),
            ("PATCH a/path5", &[], "v1"),
            ("PATCH a/", &[("version", "four")], "v2"),
        ],
    );
}

#[test]
fn http_route_listener_hostname_matching() {
    let of = |name: &str, listeners: &[&str]| Route {
        attachments: listeners.iter().map(|it| attachment(it, &[])).collect(),
        rules: vec![rule(vec![prefix("/")], name)],
        ..route(name)
    };
    let listeners = [
        ("1", Some("bar.com")),
        ("2", Some("foo.bar.com")),
        ("3", Some("*.bar.com")),
        ("4", Some("*.foo.com")),
    ];
    let tables = tables(&listeners, vec![of("v1", &["1"]), of("v2", &["2"]), of("v3", &["3", "4"])]);
    expect(
        &tables,
        &[
            ("GET bar.com/", &[], "v1"),
            ("GET foo.bar.com/", &[], "v2"),
            ("GET baz.bar.com/", &[], "v3"),
            ("GET boo.bar.com/", &[], "v3"),
            ("GET multiple.prefixes.bar.com/", &[], "v3"),
            ("GET multiple.prefixes.foo.com/", &[], "v3"),
            ("GET foo.com/", &[], "404"),
            ("GET no.matching.host/", &[], "404"),
        ],
    );
}

#[test]
fn http_listener_isolation() {
    let of = |name: &str| Route {
        attachments: vec![attachment(name, &[])],
        rules: vec![rule(vec![prefix(&format!("/{name}"))], "v1")],
        ..route(name)
    };
    let names = ["empty", "wildcard-example", "wildcard-foo", "abc-foo"];
    let hosts = [None, Some("*.example.com"), Some("*.foo.example.com"), Some("abc.foo.example.com")];
    let listeners: Vec<_> = names.into_iter().zip(hosts).collect();
    let tables = tables(&listeners, names.iter().map(|it| of(it)).collect());
    let requests = ["bar.com", "bar.example.com", "bar.foo.example.com", "abc.foo.example.com"];
    for (index, host) in requests.iter().enumerate() {
        for (other, name) in names.iter().enumerate() {
            let expected = if index == other { "v1" } else { "404" };
            expect(&tables, &[(&format!("GET {host}/{name}"), &[], expected)]);
        }
    }
}

#[test]
fn http_route_hostname_intersection() {
    let of = |name: &str, listener: &str, hosts: &[(&str, &str)], path: &str| Route {
        attachments: vec![attachment(listener, hosts)],
        rules: vec![rule(vec![prefix(path)], name)],
        ..route(name)
    };
    let same = |host| (host, host);
    let tables = tables(
        &[
            ("1", Some("very.specific.com")),
            ("2", Some("*.wildcard.io")),
            ("3", Some("*.anotherwildcard.io")),
        ],
        vec![
            of("v1", "1", &[same("very.specific.com")], "/s1"),
            of(
                "v2",
                "2",
                &[same("foo.wildcard.io"), same("bar.wildcard.io"), same("foo.bar.wildcard.io")],
                "/s2",
            ),
            of("v3", "1", &[("very.specific.com", "*.specific.com")], "/s3"),
            of("v4", "3", &[same("*.anotherwildcard.io")], "/s4"),
        ],
    );
    expect(
        &tables,
        &[
            ("GET very.specific.com/s1", &[], "v1"),
            ("GET very.specific.com:1234/s1", &[], "v1"),
            ("GET VERY.Specific.com./s1", &[], "v1"),
            ("GET non.matching.com/s1", &[], "404"),
            ("GET foo.wildcard.io/s1", &[], "404"),
            ("GET very.specific.com/non-matching-prefix", &[], "404"),
            ("GET foo.wildcard.io/s2", &[], "v2"),
            ("GET bar.wildcard.io/s2", &[], "v2"),
            ("GET foo.bar.wildcard.io/s2", &[], "v2"),
            ("GET wildcard.io/s2", &[], "404"),
            ("GET very.specific.com/s2", &[], "404"),
            ("GET very.specific.com/s3", &[], "v3"),
            ("GET foo.specific.com/s3", &[], "404"),
            ("GET foo.anotherwildcard.io/s4", &[], "v4"),
            ("GET foo.bar.anotherwildcard.io/s4", &[], "v4"),
            ("GET anotherwildcard.io/s4", &[], "404"),
        ],
    );
}

#[test]
fn of_equal_hostnames_the_more_specific_in_the_route_goes_first_and_the_rest_falls_through() {
    for (effective, newer, older) in
        [("abc.example.com", "abc.example.com", "*.example.com"), ("*.example.com", "*.example.com", "*.com")]
    {
        let older_rules = vec![rule(vec![prefix("/path/prefix").header("b", "B"), prefix("/old")], "older")];
        let newer_rules = vec![rule(vec![prefix("/path").header("a", "A"), prefix("/old/new")], "newer")];
        let rules_of_all = vec![rule(vec![exact("/old/new/all"), exact("/path/all")], "all hosts")];
        let tables = one_listener(vec![
            with(route("older"), &[(effective, older)], older_rules),
            with(Route { created: 9, ..route("newer") }, &[(effective, newer)], newer_rules),
            with(route("a-first-by-name"), &[], rules_of_all),
        ]);
        let (a, b) = (("a", "A"), ("b", "B"));
        expect(
            &tables,
            &[
                ("GET abc.example.com/path/prefix/longer", &[a, b], "newer"),
                ("GET abc.example.com/path/prefix/longer", &[b], "older"),
                ("GET abc.example.com/old/new/all", &[], "newer"),
                ("GET abc.example.com/old/x", &[], "older"),
                ("GET abc.example.com/path/all", &[], "all hosts"),
                ("GET abc.example.com/none", &[], "404"),
            ],
        );
    }
}

#[test]
fn ties_go_to_the_oldest_route_then_by_name_then_to_the_first_rule() {
    let at = |namespace: &str, name: &str, created, backend: &str| {
        let object = fairway_config::model::ObjectName::new(namespace, name);
        let key = format!("HTTPRoute/{namespace}/{name}").into();
        let rules = vec![rule(vec![prefix("/")], backend), rule(vec![prefix("/")], "second rule")];
        with(Route { key, object, created, ..route("x") }, &[], rules)
    };
    for (routes, expected) in [
        (vec![at("b", "b", 1, "old"), at("a", "a", 2, "new")], "old"),
        (vec![at("b", "a", 1, "b/a"), at("a", "b", 1, "a/b")], "a/b"),
        (vec![at("a", "x", 1, "a/x"), at("a-b", "x", 1, "a-b/x")], "a-b/x"),
    ] {
        expect(&one_listener(routes), &[("GET a/", &[], expected)]);
    }
}

#[test]
fn grpc_route_matching() {
    let of = |service: &str, method: &str| {
        let part = |text: &str| (!text.is_empty()).then(|| value(text));
        grpc(part(service), part(method))
    };
    let rules = vec![
        rule(vec![of("", "")], "all"),
        rule(vec![of("", "Echo")], "method"),
        rule(vec![of("~p\\..*", "")], "expression"),
        rule(vec![of("p.Service", "")], "service"),
        rule(vec![of("p.Service", "~E.*")], "service and expression"),
        rule(vec![of("p.Service", "Echo")], "both"),
        rule(vec![of("p.Service", "").header("x", "1").header("y", "1")], "service and headers"),
    ];
    let http = vec![rule(vec![prefix("/")], "http"), rule(vec![exact("/p.Service/Echo")], "http exact")];
    let grpc_type = ("content-type", "application/grpc+proto");
    let table =
        one_listener(vec![with(grpc_route("grpc"), &[], rules), with(route("http"), &[], http.clone())]);
    expect(
        &table,
        &[
            ("POST a/p.Service/Echo", &[grpc_type], "both"),
            ("POST a/p.Service/Each", &[grpc_type], "service and expression"),
            ("POST a/p.Service/Other", &[grpc_type], "service"),
            ("POST a/p.Service/Other", &[grpc_type, ("x", "1"), ("y", "1")], "service and headers"),
            ("POST a/p.Service/Echo", &[grpc_type, ("x", "1"), ("y", "1")], "both"),
            ("POST a/p.Other/Echo", &[grpc_type], "expression"),
            ("POST a/q.Other/Echo", &[grpc_type], "method"),
            ("POST a/q.Other/Each", &[grpc_type], "all"),
            ("POST a/no-method", &[grpc_type], "http"),
            ("POST a/too/many/elements", &[grpc_type], "http"),
            ("POST a/p.Service/Echo", &[], "http exact"),
            ("POST a/p.Service/Echo", &[("content-type", "application/json")], "http exact"),
        ],
    );
    let narrow = vec![rule(vec![of("p.Service", "Echo")], "both")];
    let table = one_listener(vec![
        with(grpc_route("grpc"), &[], narrow),
        with(route("http"), &[("a.com", "a.com")], http),
    ]);
    expect(
        &table,
        &[
            ("POST a.com/p.Service/Echo", &[grpc_type], "http exact"),
            ("POST b.com/p.Service/Echo", &[grpc_type], "both"),
            ("POST b.com/p.Service/Other", &[grpc_type], "404"),
        ],
    );
}

#[test]
fn a_path_spelled_with_percent_encodings_is_the_path_it_means() {
    let rules = vec![
        rule(vec![prefix("/")], "all"),
        rule(vec![prefix("/admin")], "admin"),
        rule(vec![exact("/%61b/caf%c3%a9")], "encoded in the rule"),
        rule(vec![expression("/~joe/.*")], "expression"),
    ];
    let table = one_listener(vec![with(route("paths"), &[], rules)]);
    expect(
        &table,
        &[
            ("GET a/admin", &[], "admin"),
            ("GET a/%61dmin", &[], "admin"),
            ("GET a/%61%64%6d%69%6E/x", &[], "admin"),
            ("GET a/admin%2Fx", &[], "all"),
            ("GET a/x%2Fadmin", &[], "all"),
            ("GET a/ab/caf%C3%A9", &[], "encoded in the rule"),
            ("GET a/%7ejoe/x", &[], "expression"),
        ],
    );
    assert_eq!(
        backend(&one_listener(vec![with(route("x"), &[], vec![filters(vec![])])]), &request("GET a/", &[])),
        "backend"
    );
}
