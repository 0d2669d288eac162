//! What a request is explained by: the configurations that the tunnels and the proxies would be sent.

use fairway_config::model::{BackendKey, Resource, SpiffeId, Workload, WorkloadKey};
use fairway_config::stream::Proxy as Scope;
use fairway_controller::check::Compiled;
use fairway_controller::compile::{Proxy, ProxyClass};
use fairway_controller::diagnostic::{Diagnostic, Severity};
use fairway_waypoint::ProxySettings;
use fairway_waypoint::view::View;
use fairway_ztunnel::decide::Index;
use std::net::IpAddr;
use std::sync::Arc;

/// What a request is explained by.
#[derive(Debug)]
pub(super) struct Scene<'c> {
    compiled: &'c Compiled,
    proxies: Vec<Proxy>,
    /// What every tunnel knows; authorizations are of the pods of one node.
    everywhere: Index,
}

// === impl Scene ===

impl<'c> Scene<'c> {
    pub(super) fn new(compiled: &'c Compiled) -> Self {
        let everywhere = Index::of_node("", &compiled.configuration(&Scope::Everything));
        Self { compiled, proxies: compiled.proxies(), everywhere }
    }

    /// What every tunnel knows of pods and Services.
    pub(super) fn everywhere(&self) -> &Index {
        &self.everywhere
    }

    /// What the tunnel on the node of a pod has in force.
    pub(super) fn tunnel_of(&self, pod: &Workload) -> Index {
        Index::of_node(&pod.node, &self.compiled.configuration(&Scope::Node(pod.node.clone())))
    }

    /// A pod by its namespace and name.
    pub(super) fn pod(&self, key: &WorkloadKey) -> Option<&Arc<Workload>> {
        self.everywhere.workload(key)
    }

    /// The pod with this address.
    pub(super) fn pod_at(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        self.everywhere.workload_at(address)
    }

    /// The pods of a namespace, by name.
    pub(super) fn pods_in(&self, namespace: &str) -> Vec<String> {
        let resources = self.everywhere.snapshot().workloads.keys();
        let mut names: Vec<String> = resources
            .filter_map(|key| key.as_str().split_once('/'))
            .filter(|(it, _)| *it == namespace)
            .map(|(_, name)| name.to_owned())
            .collect();
        names.sort();
        names
    }

    /// The proxies of Gateways.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.iter().filter(|it| it.class == ProxyClass::Gateway)
    }

    /// The waypoint whose endpoints these are.
    pub(super) fn waypoint(&self, key: &BackendKey) -> Option<&Proxy> {
        self.proxies.iter().find(|it| BackendKey::of_waypoint(&it.name) == *key)
    }

    /// The Gateway or the waypoint that runs with this identity.
    pub(super) fn proxy_of(&self, identity: &SpiffeId) -> Option<&Proxy> {
        self.proxies.iter().find(|it| it.identity == *identity)
    }

    /// What a proxy has in force.
    pub(super) fn view(&self, proxy: &Proxy) -> anyhow::Result<View> {
        let identity = Some(proxy.identity.clone());
        let settings = ProxySettings { identity, ..ProxySettings::new(proxy.name.clone()) };
        let snapshot = self.compiled.configuration(&Scope::Gateway(proxy.name.clone()));
        Ok(View::of_snapshot(settings, &snapshot)?)
    }

    /// The resources of a proxy.
    pub(super) fn resources(&self, proxy: &Proxy) -> Vec<Resource> {
        self.compiled.configuration(&Scope::Gateway(proxy.name.clone())).resources().collect()
    }

    /// The errors of files, and those of the objects for which `concerns` holds.
    pub(super) fn errors(&self, concerns: impl Fn(&str) -> bool) -> Vec<&Diagnostic> {
        let errors = self.compiled.problems().filter(|it| it.severity == Severity::Error);
        errors.filter(|it| it.object.as_ref().is_none_or(|object| concerns(&object.to_string()))).collect()
    }

    /// Whether Secrets could be read.
    pub(super) fn has_secrets(&self) -> bool {
        self.compiled.has_secrets()
    }
}
