use super::restricted::violations;
use super::{parameters, proxy, roots, settings, waypoint};
use crate::provision::{Manifest, ManifestKind, Settings, plan};
use crate::provision::{Proxy, ProxyService, Transport, Want};
use crate::resources::{Provenance, Routability};
use serde_json::{Value, json};
use std::sync::Arc;

fn planned(proxy: &Proxy) -> Vec<Manifest> {
    plan(proxy, &roots("root"), &settings())
}

fn fields(proxy: &Proxy, kind: ManifestKind) -> Value {
    planned(proxy).into_iter().find(|it| it.key.kind == kind).unwrap().fields
}

fn pod(proxy: &Proxy) -> Value {
    fields(proxy, ManifestKind::Deployment)["spec"]["template"]["spec"].clone()
}

fn asking(name: &str, address: &str) -> ProxyService {
    ProxyService { address: Some(address.parse().unwrap()), ..ProxyService::usual(&name.into()) }
}

#[test]
fn a_gateway_without_parameters() {
    let manifests: Vec<Value> = planned(&proxy("public")).into_iter().map(|it| it.fields).collect();
    insta::assert_yaml_snapshot!(manifests);
}

#[test]
fn a_waypoint_that_routes_ask_for() {
    let manifests: Vec<Value> = planned(&waypoint()).into_iter().map(|it| it.fields).collect();
    insta::assert_yaml_snapshot!(manifests);
}

#[test]
fn a_gateway_with_every_parameter() {
    let written = json!({
        "autoscaling": {"minReplicas": 2, "maxReplicas": 9, "targetCPUUtilization": 60},
        "disruptionBudget": {"minAvailable": "50%"},
        "pod": {
            "labels": {"team": "edge", "gateway.networking.k8s.io/gateway-name": "mine"},
            "annotations": {"sidecar": "no", "prometheus.io/scrape": "false"},
            "image": "mirror/waypoint:2",
            "imagePullSecrets": [{"name": "mirror"}],
            "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1", "memory": "128Mi"}},
            "nodeSelector": {"pool": "edge"},
            "tolerations": [{"key": "edge", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [],
            "priorityClassName": "high",
        },
        "service": {
            "annotations": {"lb/internal": "true"},
            "loadBalancerClass": "example.com/lb",
            "externalTrafficPolicy": "Local",
        },
        "accessLog": {"requests": "All", "oneIn": 100},
        "metrics": {"seriesLimit": 500},
        "drain": {"linger": "1500ms", "grace": "1m"},
    });
    let pair = |key: &str, value: &str| (Arc::from(key), Arc::from(value));
    let wanting = Proxy {
        parameters: parameters(written),
        labels: vec![pair("cost", "7"), pair("app.kubernetes.io/managed-by", "me")],
        annotations: vec![pair("owner", "shop")],
        ports: vec![(53, Transport::Udp), (443, Transport::Tcp)],
        services: vec![asking("public-fairway", "172.18.255.250"), asking("public-fairway-2", "2001:db8::1")],
        ..proxy("public")
    };
    let manifests: Vec<Value> = planned(&wanting).into_iter().map(|it| it.fields).collect();
    insta::assert_yaml_snapshot!(manifests);
}

#[test]
fn every_pod_is_one_that_admission_takes_for_a_proxy() {
    let everything = json!({
        "pod": {"imagePullSecrets": [{"name": "x"}], "nodeSelector": {"a": "b"}, "tolerations": [{"key": "a"}],
                "affinity": {"nodeAffinity": {}}, "topologySpreadConstraints": [], "priorityClassName": "high",
                "resources": {"limits": {"cpu": "2"}}, "annotations": {"a": "b"}, "labels": {"a": "b"}},
        "accessLog": {"requests": "All", "oneIn": 100},
        "metrics": {"seriesLimit": 500},
        "drain": {"linger": "1500ms", "grace": "1h"},
    });
    let told = Settings { log: Some("info".into()), log_format: Some("json".into()), ..settings() };
    for proxy in
        [proxy("public"), waypoint(), Proxy { parameters: parameters(everything), ..proxy("public") }]
    {
        for settings in [settings(), told.clone()] {
            let manifests = plan(&proxy, &roots("root"), &settings);
            let deployment = manifests.iter().find(|it| it.key.kind == ManifestKind::Deployment).unwrap();
            let pod = Provenance::read(&deployment.fields["spec"]["template"]).unwrap();
            assert_eq!(pod.foreign, None, "{}", proxy.name);
            assert_eq!(pod.told.as_deref(), Some(&*settings.controller), "{}", proxy.name);
        }
    }
}

#[test]
fn every_pod_meets_podsecurity_restricted_and_drains_in_time() {
    let slow = json!({"drain": {"linger": "30s", "grace": "10m"}});
    for proxy in [proxy("public"), waypoint(), Proxy { parameters: parameters(slow), ..proxy("public") }] {
        let pod = pod(&proxy);
        assert_eq!(violations(&pod), Vec::<String>::new(), "{}", proxy.name);
        let drain = proxy.parameters.drain;
        let seconds = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(seconds > (drain.linger + drain.grace).as_secs(), "{}", proxy.name);
        assert_eq!(pod["automountServiceAccountToken"], false);
    }
}

#[test]
fn what_a_listener_says_does_not_change_the_pods() {
    let more = Proxy {
        ports: vec![(80, Transport::Tcp), (8443, Transport::Tcp)],
        listeners: vec![("http".into(), 80), ("https".into(), 8443)],
        services: vec![asking("public-fairway", "172.18.255.250")],
        ..proxy("public")
    };
    assert_eq!(fields(&proxy("public"), ManifestKind::Deployment), fields(&more, ManifestKind::Deployment));
}

#[test]
fn names_and_labels_fit_however_long_the_gateways_name_is() {
    let long = "a".repeat(253);
    for name in [&*long, "eu.public", "1st"] {
        for it in planned(&proxy(name)) {
            assert!(it.key.name.len() <= 63 && !it.key.name.contains('.'), "{}", it.key);
            assert_eq!(it.fields["metadata"]["annotations"]["fairway.dev/gateway"], *name);
            let labels = it.fields["metadata"]["labels"].as_object().unwrap();
            assert!(labels.values().all(|it| it.as_str().unwrap().len() <= 63), "{labels:?}");
        }
    }
}

#[test]
fn a_gateway_that_has_to_be_mended_gets_nothing_new() {
    assert_eq!(planned(&Proxy { want: Want::Leave, ..proxy("public") }), []);
}

#[test]
fn a_gateway_that_listens_nowhere_has_no_service() {
    let kinds: Vec<_> =
        planned(&Proxy { ports: Vec::new(), ..proxy("public") }).into_iter().map(|it| it.key.kind).collect();
    assert!(
        kinds.contains(&ManifestKind::Deployment) && !kinds.contains(&ManifestKind::Service),
        "{kinds:?}"
    );
}

#[test]
fn an_address_is_asked_for_by_load_balancers_only() {
    let asking = |parameters| {
        let services = vec![asking("public-fairway", "10.1.2.3")];
        let proxy = Proxy { services, parameters, ..proxy("public") };
        fields(&proxy, ManifestKind::Service)["spec"]["loadBalancerIP"].clone()
    };
    assert_eq!(asking(Arc::default()), "10.1.2.3");
    assert_eq!(asking(parameters(json!({"service": {"type": "ClusterIP"}}))), Value::Null);
    assert_eq!(asking(parameters(json!({"service": {"type": "NodePort"}}))), Value::Null);
}

#[test]
fn an_address_of_one_scope_has_a_cluster_ip_and_never_a_load_balancer() {
    let service = |routability, address: Option<&str>| ProxyService {
        name: format!("public-{address:?}-{}", routability as u8).into(),
        routability,
        address: address.map(|it| it.parse().unwrap()),
    };
    let parameters = || {
        parameters(
            json!({"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "example.com/lb"}}),
        )
    };
    for scope in [Routability::Cluster, Routability::Sentinel] {
        for (address, family) in
            [(None, Value::Null), (Some("10.96.0.50"), json!(["IPv4"])), (Some("fd00::5"), json!(["IPv6"]))]
        {
            let services = vec![service(scope, address)];
            let wanting = Proxy { services, parameters: parameters(), ..proxy("public") };
            let found: Vec<Manifest> =
                planned(&wanting).into_iter().filter(|it| it.key.kind == ManifestKind::Service).collect();
            let [only] = &found[..] else { panic!("{found:?}") };
            let spec = &only.fields["spec"];
            assert_eq!(spec["type"], "ClusterIP");
            assert_eq!((spec["clusterIP"].as_str(), &spec["ipFamilies"]), (address, &family));
            assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
            for field in ["loadBalancerIP", "loadBalancerClass", "externalTrafficPolicy"] {
                assert_eq!(spec[field], Value::Null, "{field}");
            }
        }
    }
    // Nobody can give what is asked for: nothing is made in its place.
    let none = Proxy { services: Vec::new(), ..proxy("public") };
    assert!(planned(&none).iter().all(|it| it.key.kind != ManifestKind::Service));
}
