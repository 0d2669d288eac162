use super::spec;
use crate::resources::Kind;
use serde_json::{Value, json};

fn http(matches: Value) -> Value {
    let parents = json!([{ "name": "g", "sectionName": "a" }]);
    let written = json!({ "parentRefs": parents, "hostnames": ["a.example"], "newer": 1,
                          "rules": [{ "matches": matches, "newer": 1, "backendRefs": [{ "name": "s", "port": 80 }] }] });
    let kept = spec(Kind::HttpRoute, &written).unwrap();
    assert_eq!((&kept["parentRefs"], &kept["hostnames"]), (&parents, &json!(["a.example"])));
    assert!(kept["rules"][0].get("backendRefs").is_none(), "nothing is sent anywhere");
    kept["rules"][0]["matches"].clone()
}

#[test]
fn a_match_keeps_the_predicates_that_can_be_read() {
    let path = json!({ "type": "PathPrefix", "value": "/login" });
    let (good, newer) =
        (json!({ "name": "x", "value": "1" }), json!({ "name": "y", "value": "1", "type": "Glob" }));
    for (written, kept) in [
        (json!({ "path": path, "method": "GET" }), json!({ "path": path, "method": "GET" })),
        (json!({ "path": path, "method": "QUERY" }), json!({ "path": path })),
        (json!({ "path": path, "newer": 1 }), json!({ "path": path })),
        (json!({ "path": { "type": "Glob", "value": "/*" }, "method": "GET" }), json!({ "method": "GET" })),
        (json!({ "path": path, "headers": [good, newer] }), json!({ "path": path, "headers": [good] })),
        (json!({ "path": path, "queryParams": [newer] }), json!({ "path": path })),
        (json!({ "newer": 1 }), json!({})),
        (json!(7), json!({})),
    ] {
        assert_eq!(http(json!([written])), json!([kept]), "{written}");
    }
}

#[test]
fn without_a_parent_or_a_host_that_can_be_read_nothing_stands_in() {
    let parent = json!({ "name": "g" });
    for (written, is_there) in [
        (json!({ "parentRefs": [parent], "newer": 1 }), true),
        (json!({ "parentRefs": [parent, { "name": "g", "port": "x" }] }), true),
        (json!({ "parentRefs": [{ "name": "g", "sectionName": 7 }] }), false),
        (json!({ "parentRefs": [], "newer": 1 }), false),
        (json!({ "newer": 1 }), false),
        (json!({ "parentRefs": [parent], "hostnames": ["a.example", 7] }), true),
        (json!({ "parentRefs": [parent], "hostnames": [7] }), false),
        (json!({ "parentRefs": [parent], "hostnames": 7 }), false),
        (json!({ "parentRefs": [parent], "rules": 7 }), false),
        (json!(7), false),
    ] {
        for kind in [Kind::HttpRoute, Kind::GrpcRoute] {
            assert_eq!(spec(kind, &written).is_some(), is_there, "{kind} {written}");
        }
    }
}

#[test]
fn routes_of_connections_keep_their_parents_and_names() {
    let written =
        json!({ "parentRefs": [{ "name": "g" }], "hostnames": ["a.example"], "rules": [{ "newer": 1 }] });
    for kind in [Kind::TlsRoute, Kind::TcpRoute, Kind::UdpRoute] {
        let kept = spec(kind, &written).unwrap();
        assert_eq!(kept["parentRefs"], json!([{ "name": "g" }]), "{kind}");
        assert_eq!(kept["rules"], json!([{ "backendRefs": [] }]), "{kind}");
    }
}
