//! Snapshots of clusters, and what the checks find.

mod scene;
mod wrong;

pub(crate) use wrong::everything_wrong;

use super::report::ClusterReport;
use super::snapshot::Snapshot;
use super::{check_snapshot, compile_snapshot};
use crate::diagnostic::Severity;
use crate::resources::Kind;
use crate::source::cluster::Inventory;
use fairway_config::stream::Proxy;
use scene::*;
use serde_json::{Value, json};

/// The errors and warnings: `error Pod shop/a: its message | remedy`; equal ones in one line.
fn wrong(report: &ClusterReport) -> Vec<String> {
    let mut lines = std::collections::BTreeMap::<String, Vec<String>>::new();
    let all = report.categories.iter().flat_map(|category| &category.diagnostics);
    for it in all.filter(|it| it.severity != Severity::Note) {
        assert!(!it.remedy.is_empty(), "no remedy: {it}");
        let key = format!("{}\n{}: {} | {}", it.severity, it.field, it.message, it.remedy);
        lines.entry(key).or_default().extend(it.object.as_ref().map(ToString::to_string));
    }
    let line = |(key, objects): (String, Vec<String>)| {
        let (severity, text) = key.split_once('\n').unwrap();
        format!("{severity} {} {text}", objects.join(", "))
    };
    lines.into_iter().map(line).collect()
}

/// One thing is wrong with a cluster, and is reported with all of these words.
fn expect(snapshot: &Snapshot, grade: &str, words: &[&str]) {
    let report = check_snapshot(snapshot);
    let wrong = wrong(&report);
    let [line] = &wrong[..] else { panic!("one finding with {words:?} in\n{}\n{report}", wrong.join("\n")) };
    assert!(line.starts_with(grade) && words.iter().all(|it| line.contains(it)), "{words:?} in\n{line}");
    assert_eq!(report.has_errors(), grade == "error");
}

#[test]
fn a_cluster_that_can_have_it_is_in_order_and_told_how() {
    let report = check_snapshot(&bare());
    assert_eq!(wrong(&report), [""; 0]);
    assert!(!report.has_errors() && !report.installed);
    insta::assert_snapshot!("bare", report.to_string());
}

#[test]
fn a_cluster_is_compiled_as_its_controller_does_and_not_by_halves() {
    let mut snapshot = installed(vec![
        namespace("shop", json!({ "fairway.dev/mesh": "enabled" })),
        pod("shop", "web-1", json!({}), None),
    ]);
    let compiled = compile_snapshot(&snapshot).unwrap();
    let everything = compiled.configuration(&Proxy::Everything);
    let identity = everything.workloads.get("shop/web-1").unwrap().identity.to_string();
    assert!(identity.starts_with("spiffe://shop.example/ns/shop/") && compiled.has_secrets(), "{identity}");
    let mut forbid = |kind: Kind| {
        snapshot.inventory.listings.get_mut(&kind).unwrap().1 = Err("403 Forbidden".to_owned());
        compile_snapshot(&snapshot)
    };
    // Few may read Secrets, and the rest of the explanation does without.
    assert!(!forbid(Kind::Secret).unwrap().has_secrets());
    let error = forbid(Kind::Pod).unwrap_err().to_string();
    assert_eq!(error, "Pod objects cannot be read: 403 Forbidden");
}

#[test]
fn a_cluster_that_has_it_is_in_order() {
    let report = check_snapshot(&installed(vec![
        namespace("shop", json!({ "fairway.dev/mesh": "enabled", "fairway.dev/mtls": "strict" })),
        pod("shop", "web-1", json!({}), Some(("True", "Captured"))),
        pod("shop", "waypoint-1", json!({}), Some(("False", "Proxy"))),
        pod("elsewhere", "a", json!({}), None),
    ]));
    assert_eq!(wrong(&report), [""; 0]);
    insta::assert_snapshot!("installed", report.to_string());
}

#[test]
fn what_a_cluster_lacks_is_named_before_the_install() {
    let with = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = bare();
        change(&mut snapshot);
        snapshot
    };
    let bundle =
        |version: &str| Ok(vec![definition("gateways.gateway.networking.k8s.io", version, "standard")]);
    type Case<'a> = (&'a dyn Fn(&mut Snapshot), &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 11] = [
        (&|it| it.version = "v1.30.9-eks-1".into(), "error", &["v1.30.9-eks-1 is too old", "1.31"]),
        (
            &|it| it.rights = answered(None, |it| Ok(it != "create clusterroles.rbac.authorization.k8s.io")),
            "error",
            &["create clusterroles.rbac.authorization.k8s.io", "cluster-admin"],
        ),
        (&|it| it.definitions = bundle("v1.3.0"), "error", &["v1.3.0 is too old", "v1.4", "install v1.7.0"]),
        (&|it| it.definitions = bundle("v1.8.0-rc.1"), "warning", &["v1.8.0-rc.1 is newer"]),
        (
            &|it| {
                it.definitions.as_mut().unwrap().push(definition(
                    "x.gateway.networking.k8s.io",
                    "v1.6.0",
                    "standard",
                ))
            },
            "warning",
            &["x.gateway.networking.k8s.io v1.6.0", "mixed"],
        ),
        (
            &|it| {
                it.definitions.as_mut().unwrap().push(definition(
                    "x.gateway.networking.k8s.io",
                    "v1.7.0",
                    "experimental",
                ))
            },
            "warning",
            &["both channels"],
        ),
        (&|it| drop(it.inventory.listings.remove(&Kind::TcpRoute)), "warning", &["TCPRoute", "experimental"]),
        (
            &|it| it.nodes = Ok(vec![node("old", "4.19.0-26-amd64")]),
            "error",
            &["Node old", "4.19.0-26-amd64", "5.2"],
        ),
        (
            &|it| it.nodes.as_mut().unwrap()[0].status.as_mut().unwrap().conditions = None,
            "warning",
            &["Node n1", "not ready"],
        ),
        (
            &|it| {
                it.nodes.as_mut().unwrap()[0]
                    .status
                    .as_mut()
                    .unwrap()
                    .node_info
                    .as_mut()
                    .unwrap()
                    .architecture = "s390x".into()
            },
            "error",
            &["Node n1", "s390x"],
        ),
        (
            &|it| it.inventory.listings.get_mut(&Kind::Secret).unwrap().1 = Err("403 no".into()),
            "warning",
            &["Secret", "may not list", "administrator"],
        ),
    ];
    for (change, grade, words) in cases {
        expect(&with(change), grade, words);
    }
}

#[test]
fn what_is_wrong_with_the_programs_is_named() {
    let with = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = installed(vec![namespace("shop", json!({}))]);
        change(&mut snapshot);
        snapshot
    };
    let pods =
        |it: &mut Snapshot, pods: Vec<Value>| it.inventory.listings.get_mut(&Kind::Pod).unwrap().1 = Ok(pods);
    type Case<'a> = (&'a dyn Fn(&mut Snapshot), &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 11] = [
        (
            &|it| {
                let fairway = namespace(
                    "fairway-system",
                    json!({ "pod-security.kubernetes.io/enforce": "restricted" }),
                );
                it.inventory.listings.get_mut(&Kind::Namespace).unwrap().1 = Ok(vec![fairway]);
                it.daemon_sets.as_mut().unwrap()[0].status.as_mut().unwrap().number_ready = 0;
            },
            "error",
            &["0 of 2 nodes", "`restricted`", "enforce=privileged"],
        ),
        (
            &|it| it.rights = answered(it.installation().as_ref(), |it| Ok(it != "create deployments.apps")),
            "warning",
            &[
                "fairway-controller may not create deployments.apps in every namespace",
                "rbac.gatewayNamespaces",
            ],
        ),
        (
            &|it| it.deployments.as_mut().unwrap()[0].status = None,
            "error",
            &["Deployment fairway-system/fairway-controller", "0 of 1"],
        ),
        (&|it| it.lease = Ok(None), "error", &["Lease", "no controller leads"]),
        (
            &|it| it.lease = Ok(Some(lease("a", "2026-01-01T00:00:00.000000Z"))),
            "error",
            &["a, has not renewed its Lease for 60 s"],
        ),
        (
            &|it| it.daemon_sets = Ok(vec![]),
            "error",
            &["DaemonSet fairway-system/fairway-ztunnel", "no pod of the mesh starts"],
        ),
        (
            &|it| it.rights = answered(it.installation().as_ref(), |it| Ok(it != "get pods")),
            "error",
            &["ServiceAccount fairway-system/fairway-cni", "get pods", "helm upgrade"],
        ),
        (
            &|it| pods(it, vec![program("ztunnel", "n1", "0.1.0", true)]),
            "error",
            &["Node n2", "ztunnel does not run"],
        ),
        (
            &|it| {
                pods(
                    it,
                    vec![program("ztunnel", "n1", "0.1.0", true), program("ztunnel", "n2", "0.1.0", false)],
                )
            },
            "error",
            &["Node n2", "waiting for identity"],
        ),
        (
            &|it| {
                pods(
                    it,
                    vec![program("ztunnel", "n1", "0.1.0", true), program("ztunnel", "n2", "0.2.0", true)],
                )
            },
            "warning",
            &["0.1.0 (fairway-system/ztunnel-n1)", "0.2.0 (fairway-system/ztunnel-n2)"],
        ),
        (
            &|it| {
                drop(
                    it.inventory.listings.insert(
                        Kind::GatewayClass,
                        Inventory::with_objects([Kind::GatewayClass], vec![]).listings[&Kind::GatewayClass]
                            .clone(),
                    ),
                )
            },
            "error",
            &["GatewayClass `fairway`", "helm upgrade"],
        ),
    ];
    for (change, grade, words) in cases {
        expect(&with(change), grade, words);
    }
}

#[test]
fn pods_that_are_not_captured_are_named_with_the_reason() {
    let meshed = || namespace("shop", json!({ "fairway.dev/mesh": "enabled" }));
    for (captured, grade, words) in [
        (Some(("False", "OptedOut")), "warning", "opted out"),
        (Some(("False", "HostNetwork")), "warning", "its node's network"),
        (Some(("False", "Capturing")), "warning", "about to be"),
        (
            Some(("False", "NotCaptured")),
            "error",
            "can reach no other pod: the capture rules cannot be loaded",
        ),
        (None, "error", "no ztunnel has reported"),
    ] {
        let snapshot = installed(vec![meshed(), pod("shop", "a", json!({}), captured)]);
        expect(&snapshot, grade, &["Pod shop/a", words]);
    }
}

#[test]
fn labels_without_effect_are_reported() {
    let word = |key: &str, value: &str| json!({ key: value });
    for (object, grade, words) in [
        (
            namespace("a", word("fairway.dev/mesh", "enable")),
            "error",
            &["Namespace a", "fairway.dev/mesh", "`enable`", "`enabled`"][..],
        ),
        (
            namespace("a", word("fairway.dev/mtls", "strikt")),
            "error",
            &["Namespace a", "fairway.dev/mtls", "`strikt`", "`strict`"],
        ),
        (
            pod("b", "p", word("fairway.dev/mesh", "off"), None),
            "error",
            &["Pod b/p", "fairway.dev/mesh", "`off`", "`disabled`"],
        ),
        (
            pod("b", "p", word("fairway.dev/mtsl", "strict"), None),
            "warning",
            &["Pod b/p", "metadata.labels[fairway.dev/mtsl]", "no such label"],
        ),
    ] {
        expect(&installed(vec![object]), grade, words);
    }
    // Of a captured pod compiling has said it already: it is said once.
    let meshed = namespace("shop", json!({ "fairway.dev/mesh": "enabled" }));
    let strikt = pod("shop", "a", word("fairway.dev/mtls", "strikt"), Some(("True", "Captured")));
    expect(
        &installed(vec![meshed, strikt]),
        "error",
        &["Pod shop/a", "`strikt` is not a known value", "`strict`"],
    );
}

#[test]
fn routes_say_what_compiling_says_and_what_only_the_cluster_knows() {
    let good = json!([
        condition("Accepted", "True", "Accepted", ""),
        condition("ResolvedRefs", "True", "ResolvedRefs", "")
    ]);
    let unresolved = json!([
        condition("Accepted", "True", "Accepted", ""),
        condition("ResolvedRefs", "False", "BackendNotFound", "none")
    ]);
    let unenforced = json!([condition("fairway.dev/Enforced", "False", "Pending", "no waypoint is ready")]);
    let snapshot = |route| {
        let manifests =
            vec![namespace("shop", json!({ "fairway.dev/mesh": "enabled" })), service("web"), route];
        installed(manifests)
    };
    assert_eq!(wrong(&check_snapshot(&snapshot(route("r", "web", good)))), [""; 0]);
    expect(
        &snapshot(route("r", "wbe", unresolved)),
        "error",
        &["HTTPRoute shop/r", "spec.rules[0].backendRefs[0]", "shop/wbe does not exist", "create it"],
    );
    expect(
        &snapshot(route("r", "web", unenforced)),
        "warning",
        &["HTTPRoute shop/r", "no waypoint is ready", "docs/waypoints.md"],
    );
    expect(
        &snapshot(route("r", "web", json!([]))),
        "warning",
        &["HTTPRoute shop/r", "has not written its status"],
    );
}

fn namespace_in_mesh() -> Value {
    namespace("shop", json!({ "fairway.dev/mesh": "enabled" }))
}

/// A policy that lets the pods with these labels be reached, or reach others, by rules.
fn policy(pods: Value, way: &str, rules: Value) -> k8s_openapi::api::networking::v1::NetworkPolicy {
    from_json(json!({
        "metadata": { "name": "p", "namespace": "shop" },
        "spec": { "podSelector": { "matchLabels": pods }, "policyTypes": [way], way.to_lowercase(): rules },
    }))
}

#[test]
fn network_policies_that_shut_the_tunnels_port_are_named() {
    let tcp = |port: u16| json!({ "ports": [{ "protocol": "TCP", "port": port }] });
    let all = json!({});
    let cases = [
        (
            "web alone",
            vec![policy(all.clone(), "Ingress", json!([tcp(8080)]))],
            Some("allows ingress to port 8080"),
        ),
        (
            "by name",
            vec![policy(all.clone(), "Ingress", json!([{ "ports": [{ "port": "http" }] }]))],
            Some("allows ingress to port http"),
        ),
        ("both", vec![policy(all.clone(), "Ingress", json!([tcp(8080), tcp(15008)]))], None),
        (
            "a range",
            vec![policy(all.clone(), "Ingress", json!([{ "ports": [{ "port": 15000, "endPort": 15010 }] }]))],
            None,
        ),
        (
            "in another policy",
            vec![
                policy(all.clone(), "Ingress", json!([tcp(8080)])),
                policy(all.clone(), "Ingress", json!([tcp(15008)])),
            ],
            None,
        ),
        (
            "in a policy for others",
            vec![
                policy(all.clone(), "Ingress", json!([tcp(8080)])),
                policy(json!({ "app": "b" }), "Ingress", json!([tcp(15008)])),
            ],
            Some("8080"),
        ),
        (
            "by peers",
            vec![policy(all.clone(), "Ingress", json!([{ "from": [{ "podSelector": {} }] }]))],
            None,
        ),
        ("nobody", vec![policy(all.clone(), "Ingress", json!([]))], None),
        (
            "datagrams",
            vec![policy(all.clone(), "Ingress", json!([{ "ports": [{ "protocol": "UDP", "port": 53 }] }]))],
            None,
        ),
        ("out", vec![policy(all.clone(), "Egress", json!([tcp(5432)]))], Some("allows egress to port 5432")),
        ("out to DNS", vec![policy(all.clone(), "Egress", json!([tcp(53)]))], None),
        ("out to DNS of another port", vec![policy(all.clone(), "Egress", json!([tcp(5353)]))], None),
        (
            "elsewhere",
            vec![policy(
                all.clone(),
                "Egress",
                json!([{ "to": [{ "ipBlock": { "cidr": "203.0.113.5/32" } }], "ports": [{ "port": 5432 }] }]),
            )],
            None,
        ),
        (
            "peers outside",
            vec![policy(
                all.clone(),
                "Ingress",
                json!([{ "from": [{ "namespaceSelector": { "matchLabels": { "team": "metrics" } } }], "ports": [{ "port": 9090 }] }]),
            )],
            None,
        ),
        (
            "peers of the mesh",
            vec![policy(
                all.clone(),
                "Ingress",
                json!([{ "from": [{ "namespaceSelector": {} }], "ports": [{ "port": 9090 }] }]),
            )],
            Some("9090"),
        ),
        (
            "others by the tunnel's port",
            vec![policy(all.clone(), "Ingress", json!([{ "from": [{ "podSelector": {} }] }, tcp(8080)]))],
            Some("8080"),
        ),
        (
            "the same by the tunnel's port",
            vec![policy(
                all.clone(),
                "Ingress",
                json!([{ "from": [{ "podSelector": {} }], "ports": [{ "port": 8080 }] }, { "from": [{ "podSelector": {} }], "ports": [{ "port": 15008 }] }]),
            )],
            None,
        ),
        ("no pods", vec![policy(json!({ "app": "b" }), "Ingress", json!([tcp(8080)]))], None),
    ];
    for (name, policies, expected) in cases {
        let mut snapshot = installed(vec![
            namespace("shop", json!({ "fairway.dev/mesh": "enabled" })),
            pod("shop", "a", json!({ "app": "a" }), Some(("True", "Captured"))),
        ]);
        snapshot.network_policies = Ok(policies);
        match expected {
            Some(words) => {
                expect(&snapshot, "warning", &["NetworkPolicy shop/p", words, "15008", "docs/mesh.md"])
            }
            None => assert_eq!(wrong(&check_snapshot(&snapshot)), [""; 0], "{name}"),
        }
    }
    // A Gateway's proxy takes its clients as they are, and makes tunnels to pods of the mesh.
    for (way, expected) in [("Ingress", None), ("Egress", Some("allows egress to port 8080"))] {
        let mut snapshot =
            installed(vec![namespace("shop", json!({})), pod("shop", "gw-1", part("gateway"), None)]);
        snapshot.network_policies = Ok(vec![policy(all.clone(), way, json!([tcp(8080)]))]);
        match expected {
            Some(words) => expect(&snapshot, "warning", &["NetworkPolicy shop/p", words]),
            None => assert_eq!(wrong(&check_snapshot(&snapshot)), [""; 0]),
        }
    }
    // Of pods outside the mesh nothing is said.
    let mut snapshot = installed(vec![namespace("shop", json!({})), pod("shop", "a", json!({}), None)]);
    snapshot.network_policies = Ok(vec![policy(all, "Ingress", json!([tcp(8080)]))]);
    assert_eq!(wrong(&check_snapshot(&snapshot)), [""; 0]);
}

#[test]
fn pods_that_have_kubelet_ask_others_are_named() {
    let probing = |host: &str, host_network: bool| {
        let mut probing = pod("shop", "a", json!({}), None);
        probing["spec"] = json!({ "hostNetwork": host_network, "containers": [{
            "name": "a", "readinessProbe": { "httpGet": { "host": host, "port": 8080, "path": "/admin" } },
        }] });
        probing["status"]["podIPs"] = json!([{ "ip": "10.0.0.6" }]);
        installed(vec![namespace("shop", json!({})), probing])
    };
    let named = ["Pod shop/a", "another host than the pod: 10.0.0.7", "baseline", "docs/mesh.md#probes"];
    expect(&probing("10.0.0.7", false), "warning", &named);
    expect(&probing("127.0.0.1", false), "warning", &["Pod shop/a", "127.0.0.1"]);
    for (host, host_network) in [("", false), ("10.0.0.6", false), ("127.0.0.1", true)] {
        assert_eq!(wrong(&check_snapshot(&probing(host, host_network))), [""; 0], "{host:?}");
    }
}

#[test]
fn many_of_the_same_are_one_finding() {
    let pods = (0..12).map(|it| pod("shop", &format!("p{it:02}"), json!({}), Some(("False", "OptedOut"))));
    let meshed = namespace("shop", json!({ "fairway.dev/mesh": "enabled" }));
    let report = check_snapshot(&installed(pods.chain([meshed]).collect()));
    assert_eq!(report.counts.warnings, 1);
    assert!(report.to_string().contains("Pod shop/p04 and 7 more"), "{report}");
    let json = json!(report);
    let categories = json["categories"].as_array().unwrap().iter();
    let found = categories.flat_map(|it| it["diagnostics"].as_array().unwrap());
    assert_eq!(found.filter(|it| it["reason"] == "PodOptedOut").count(), 12, "each with its object");
}

#[test]
fn who_may_read_little_is_told_so_once() {
    let mut snapshot = bare();
    for (kind, (_, listed)) in &mut snapshot.inventory.listings {
        *listed = Err(format!("403 {kind} is forbidden to you"));
    }
    (snapshot.nodes, snapshot.definitions) = (Err("403 nodes".to_owned()), Err("403 definitions".to_owned()));
    (snapshot.deployments, snapshot.rights) = (Err("403 deployments".to_owned()), Vec::new());
    let report = check_snapshot(&snapshot);
    let wrong = wrong(&report);
    assert_eq!(wrong.len(), 3, "objects, nodes, whether it is installed: {}", wrong.join("\n"));
    assert!(!report.has_errors() && !report.to_string().contains("you have the rights"), "{report}");
}
