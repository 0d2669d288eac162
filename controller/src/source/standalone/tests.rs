use super::{Completion, Standalone};
use crate::compile::{AddressPool, CompileSettings};
use crate::resources::{Edit, Object, ObjectRef};
use crate::source::objects;
use std::collections::BTreeMap;

/// What is there after everything so far.
struct Filled {
    standalone: Standalone,
    objects: BTreeMap<ObjectRef, Object>,
}

impl Filled {
    fn new(pool: &str, yaml: &str) -> Self {
        let settings = CompileSettings::standalone("cluster.local".parse().unwrap());
        let services = pool.parse::<AddressPool>().unwrap();
        let standalone = Standalone::new(Completion { services, ..Completion::for_settings(&settings) });
        let mut filled = Self { standalone, objects: BTreeMap::new() };
        filled.add(yaml);
        filled
    }

    fn add(&mut self, yaml: &str) {
        self.take(objects(yaml).into_iter().map(Edit::Upsert).collect());
    }

    fn remove(&mut self, yaml: &str) {
        self.take(objects(yaml).into_iter().map(|it| Edit::Remove(it.reference())).collect());
    }

    fn take(&mut self, edits: Vec<Edit>) {
        for edit in self.standalone.complete(edits) {
            match edit {
                Edit::Upsert(it) => drop(self.objects.insert(it.reference(), it)),
                Edit::Remove(it) => drop(self.objects.remove(&it)),
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.objects.keys().map(ToString::to_string).collect()
    }

    fn address(&self, name: &str) -> String {
        let mut found = self.objects.values().filter_map(|it| match it {
            Object::Service(it) if *it.meta.name == *name => it.cluster_ips.first(),
            _ => None,
        });
        found.next().map(ToString::to_string).unwrap_or_default()
    }
}

fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ ports: [{{ port: 80 }}] }}\n"
    )
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: shop, labels: { app: web } }\nspec: { containers: [] }\nstatus: { podIP: 10.0.0.1 }\n";
const WEB: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop }\nspec: { clusterIP: 10.9.9.9, selector: { app: web }, ports: [{ port: 80 }] }\n";

#[test]
fn what_is_used_is_implied_until_nobody_uses_it() {
    let mut filled = Filled::new("127.96.0.0/16", "");
    let always = ["ClusterTrustBundle ", "GatewayClass fairway", "GatewayClass fairway-waypoint"];
    assert_eq!(filled.names(), always);
    filled.add(POD);
    assert!(filled.names().contains(&"Namespace shop".to_owned()));
    filled.remove(POD);
    assert!(!filled.names().contains(&"Namespace shop".to_owned()));
}

#[test]
fn what_is_written_replaces_what_is_implied_and_back() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { a: b } }\n";
    let mut filled = Filled::new("127.96.0.0/16", POD);
    let labels = |filled: &Filled| {
        let found = filled.objects.values().find(|it| it.reference().to_string() == "Namespace shop");
        found.map(|it| it.meta().labels.len())
    };
    assert_eq!(labels(&filled), Some(1));
    filled.add(namespace);
    assert_eq!(labels(&filled), Some(2));
    filled.remove(namespace);
    assert_eq!(labels(&filled), Some(1));
}

#[test]
fn a_service_keeps_its_address_whatever_others_do() {
    let mut filled = Filled::new("127.96.0.0/16", &service("reviews"));
    let before = filled.address("reviews");
    assert!(before.starts_with("127.96."), "{before}");
    for name in ["a", "b", "zz"] {
        filled.add(&service(name));
    }
    assert_eq!(filled.address("reviews"), before);
    assert_eq!(
        Filled::new("127.96.0.0/16", &(service("a") + &service("reviews"))).address("reviews"),
        before,
        "restart"
    );
}

#[test]
fn no_two_services_share_an_address() {
    // Two addresses for three: the third goes without.
    let mut filled = Filled::new("10.0.0.0/30", &(service("a") + &service("b") + &service("c")));
    let addresses = ["a", "b", "c"].map(|it| filled.address(it));
    assert_eq!(addresses.iter().filter(|it| it.is_empty()).count(), 1, "{addresses:?}");
    assert_ne!(addresses[0], addresses[1]);
    let kept = filled.address("b");
    filled.remove(&service("a"));
    assert_eq!(filled.address("b"), kept);
    assert_ne!(filled.address("c"), "", "it gets the one that is free now");
}

#[test]
fn an_address_a_user_wrote_stays_and_is_given_to_nobody_else() {
    let mut filled = Filled::new("10.0.0.0/30", "");
    filled.add(&service("a").replace("spec: {", "spec: { clusterIP: 10.0.0.1,"));
    filled.add(&service("b"));
    assert_eq!((filled.address("a").as_str(), filled.address("b").as_str()), ("10.0.0.1", "10.0.0.2"));
    filled.add(&service("c").replace("spec: {", "spec: { clusterIP: None,"));
    assert_eq!(filled.address("c"), "", "a headless Service has none");
}

#[test]
fn a_selector_makes_slices_until_somebody_writes_one() {
    let slices = |filled: &Filled| -> Vec<String> {
        filled.objects.keys().map(ToString::to_string).filter(|it| it.starts_with("EndpointSlice")).collect()
    };
    let written = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: mine, namespace: shop, labels: { kubernetes.io/service-name: web } }\naddressType: IPv4\nendpoints: []\n";
    let mut filled = Filled::new("127.96.0.0/16", &format!("{POD}---\n{WEB}"));
    assert_eq!(slices(&filled), ["EndpointSlice shop/web-standalone-0"]);
    filled.add(written);
    assert_eq!(slices(&filled), ["EndpointSlice shop/mine"]);
    filled.remove(written);
    assert_eq!(slices(&filled), ["EndpointSlice shop/web-standalone-0"]);
    filled.remove(POD);
    assert!(slices(&filled).is_empty());
}

#[test]
fn a_pod_nobody_probes_is_ready_and_one_that_says_otherwise_is_not() {
    for (status, ready) in [
        ("{ podIP: 10.0.0.1 }", Some(true)),
        ("{}", None),
        ("{ podIP: 10.0.0.1, conditions: [{ type: Ready, status: 'False' }] }", Some(false)),
    ] {
        let filled = Filled::new("127.96.0.0/16", &POD.replace("{ podIP: 10.0.0.1 }", status));
        let pod = filled.objects.values().find_map(|it| match it {
            Object::Pod(it) => Some(it.ready),
            _ => None,
        });
        assert_eq!(pod, Some(ready), "{status}");
    }
}
