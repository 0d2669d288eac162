//! Two tenants with arbitrary objects, each with a namespace: nothing that one of them writes changes what is made for the
//! other, unless an object of the other allows it.

mod tenants;

use super::settings;
use crate::compile::{Capture, CompileSettings, Compiler, Loopback, Mode};
use crate::resources::{Edit, Object, ObjectRef, ServiceKind};
use crate::source::objects;
use crate::status::{ObjectStatus, PolicyStatus};
use fairway_config::model::{Resource, ResourceKey, ResourceKind, Service};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::LazyLock;
use tenants::{A, ALL_LEAVE, B, CLUSTER, LEAVE};

/// Kinds of which resources of `b` may change by what `a` writes, if all leave of [`LEAVE`] is given.
const BY_LEAVE: &[ResourceKind] =
    &[ResourceKind::Listener, ResourceKind::Route, ResourceKind::L4Route, ResourceKind::Certificate];

/// What was made for `b`, but for kinds of which `b` has given leave; none where it has given no leave at all.
fn of_b(compiler: &Compiler, leave: Option<&[ResourceKind]>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut put = |key: String, it: &dyn Debug| drop(found.insert(key, format!("{it:#?}")));
    for (key, it) in compiler.resources().filter(|(key, it)| is_of_b(key, it)) {
        match it {
            // Who passes which waypoint on the way to it is for the clients to choose.
            Resource::Service(it) => {
                let own = Service { consumer_waypoints: vec![], routers: vec![], ..Service::clone(it) };
                put(key.to_string(), &own);
            }
            _ if leave.is_some_and(|it| it.contains(&key.kind)) => {}
            it => put(key.to_string(), it),
        }
    }
    if leave.is_none() {
        let is_of_b = |it: &ObjectRef| &*it.namespace == "b";
        compiler
            .proxies()
            .filter(|it| &*it.name.namespace == "b")
            .for_each(|it| put(it.name.to_string(), it));
        let judged = compiler.statuses().filter(|(it, _)| is_of_b(it) && it.kind.as_str() != "Service");
        let judged = judged.filter(|(_, it)| says_something(it));
        judged.for_each(|(object, it)| put(format!("status of {object}"), &without_held(it)));
        let problems =
            compiler.problems().filter(|it| it.object.as_ref().is_some_and(|it| &*it.namespace == "b"));
        problems.for_each(|it| put(it.to_string(), it));
    }
    found
}

/// A status without the ancestors of which what was written stays: where nothing was written of them, nothing is.
fn without_held(status: &ObjectStatus) -> ObjectStatus {
    match status {
        ObjectStatus::Policy(it) => ObjectStatus::Policy(PolicyStatus { held: Vec::new(), ..it.clone() }),
        it => it.clone(),
    }
}

/// Whether a status says more than that what was written stays.
fn says_something(status: &ObjectStatus) -> bool {
    !matches!(status, ObjectStatus::Policy(it) if it.ancestors.is_empty() && it.left_out == 0)
}

fn is_of_b(key: &ResourceKey, resource: &Resource) -> bool {
    match resource {
        Resource::Listener(it) => &*it.gateway.namespace == "b",
        Resource::Route(it) => &*it.object.namespace == "b",
        Resource::L4Route(it) => &*it.object.namespace == "b",
        _ => ["b/", "waypoint/b/", "waypoint-required/b/"].iter().any(|it| key.name.starts_with(it)),
    }
}

fn compile(settings: &CompileSettings, all: &[&[Object]]) -> Compiler {
    let mut compiler = Compiler::new(settings.clone());
    let cluster = objects(CLUSTER);
    let output =
        compiler.apply(cluster.iter().chain(all.iter().copied().flatten()).cloned().map(Edit::Upsert));
    assert_eq!(output.faults, Vec::<String>::new());
    compiler
}

fn some(pool: &'static LazyLock<Vec<Object>>) -> impl Strategy<Value = Vec<Object>> {
    prop::collection::vec(0..pool.len(), 1..pool.len()).prop_map(move |it| {
        let mut some: Vec<Object> = it.into_iter().map(|index| pool[index].clone()).collect();
        // Of two of one name the last counts, wherever they stand among others.
        let mut last: BTreeMap<ObjectRef, Object> = BTreeMap::new();
        some.drain(..).for_each(|it| drop(last.insert(it.reference(), it)));
        last.into_values().collect()
    })
}

fn cluster() -> CompileSettings {
    CompileSettings {
        capture: Capture::On,
        mode: Mode::Kubernetes,
        loopback: Loopback::Refused,
        ..settings()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_one_tenant_changes_what_is_made_for_another(a in some(&A), b in some(&B)) {
        let (alone, beside) = (compile(&cluster(), &[&b]), compile(&cluster(), &[&b, &a]));
        prop_assert_eq!(of_b(&alone, None), of_b(&beside, None));
    }

    #[test]
    fn leave_for_something_is_no_leave_for_anything_else(a in some(&A), b in some(&B), leave in some(&ALL_LEAVE)) {
        let (alone, beside) = (compile(&cluster(), &[&b, &leave]), compile(&cluster(), &[&b, &leave, &a]));
        prop_assert_eq!(of_b(&alone, Some(BY_LEAVE)), of_b(&beside, Some(BY_LEAVE)));
    }

    #[test]
    fn one_leave_is_no_other(a in some(&A), b in some(&B), index in 0..LEAVE.len()) {
        let (leave, may_change) = (std::slice::from_ref(&LEAVE[index].0), LEAVE[index].1);
        let (alone, beside) = (compile(&cluster(), &[&b, leave]), compile(&cluster(), &[&b, leave, &a]));
        prop_assert_eq!(of_b(&alone, Some(may_change)), of_b(&beside, Some(may_change)));
    }

    /// No proxy of another namespace goes to a pod that its namespace has not granted, whatever a slice says.
    #[test]
    fn a_service_has_the_pods_of_its_own_namespace(a in some(&A), b in some(&B)) {
        let compiler = compile(&cluster(), &[&b, &a]);
        for (key, it) in compiler.resources() {
            let Resource::Endpoints(it) = it else { continue };
            for endpoint in it.endpoints.iter().map(|it| it.address.ip().to_string()) {
                let own = if key.name.contains("b/") { ["10.2.2.", "fd00:2:2:"] } else { ["10.2.1.", "fd00:2:1:"] };
                let is_own = own.iter().any(|it| endpoint.starts_with(it));
                let is_api_server = &*key.name == "default/kubernetes:443";
                let is_outside = ["203.", "10.", "fd00:", "2001:db8:7:"].iter().any(|it| endpoint.starts_with(it));
                let is_outside = is_outside && !is_of_cluster(&compiler, &endpoint);
                prop_assert!(is_own || is_api_server || is_outside, "{key}: {endpoint}");
            }
        }
    }
}

/// Whether a pod or a Service has an address; what nobody has is outside the cluster, as far as is known.
fn is_of_cluster(compiler: &Compiler, address: &str) -> bool {
    compiler.resources().any(|(_, it)| match it {
        Resource::Workload(it) => it.addresses.iter().any(|it| it.to_string() == address),
        Resource::Service(it) => it.addresses.iter().any(|it| it.to_string() == address),
        _ => false,
    })
}

/// The pools are of use: what the property is about does come about.
#[test]
fn what_the_tenants_write_meets() {
    // The last of each name counts; what is headless takes no routes, and what cannot be read is in the way of what can.
    let is_headless = |it: &&Object| matches!(it, Object::Service(it) if it.kind == ServiceKind::Headless);
    let b: Vec<Object> = B.iter().filter(|it| !is_headless(it)).cloned().collect();
    assert!(b.iter().filter(|it| it.meta().unreadable.is_some()).count() >= 3, "objects that cannot be read");
    let compiler = compile(&cluster(), &[&b, &A]);
    let kinds: std::collections::BTreeSet<String> = compiler
        .resources()
        .filter(|(key, it)| is_of_b(key, it))
        .map(|(key, _)| format!("{:?}", key.kind))
        .collect();
    assert!(kinds.len() >= 7, "{kinds:?}");
    let refused =
        compiler.problems().filter(|it| it.object.as_ref().is_some_and(|it| &*it.namespace == "a")).count();
    assert!(refused >= 3, "{refused}");
    // All of them attach to the Gateway that both may attach to.
    for (key, name) in [
        (ResourceKind::Route, "HTTPRoute/b/shared"),
        (ResourceKind::Route, "GRPCRoute/b/shared"),
        (ResourceKind::L4Route, "TLSRoute/b/shared"),
        (ResourceKind::Route, "HTTPRoute/b/unread"),
        (ResourceKind::Route, "HTTPRoute/a/shared"),
        (ResourceKind::L4Route, "TLSRoute/a/shared"),
    ] {
        assert!(compiler.resources().any(|(it, _)| it.kind == key && &*it.name == name), "{name}");
    }
}
