//! Which objects a proxy needs. Pure.

use super::manifest::{Manifest, ManifestKey, ManifestKind};
use super::metadata::{GATEWAY, GATEWAY_CLASS_NAME, GATEWAY_NAME, MANAGED_BY, MANAGER, owned};
use super::{Settings, autoscaler, budget, config, deployment, service};
use crate::name;
use crate::provision::{Proxy, ProxyClass, Want};
use fairway_identity::TrustBundle;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde::Serialize;
use std::collections::BTreeMap;

/// The objects a proxy needs, in the order in which they are applied; none for a proxy whose Gateway has to be mended
/// first.
pub fn plan(proxy: &Proxy, roots: &TrustBundle, settings: &Settings) -> Vec<Manifest> {
    if proxy.want != Want::Run {
        return Vec::new();
    }
    let planned = Planned { proxy, settings };
    let mut manifests = vec![config::service_account(planned), config::roots(planned, roots)];
    manifests.extend(service::all(planned));
    manifests.push(deployment::plan(planned));
    manifests.push(budget::plan(planned));
    manifests.extend(autoscaler::plan(planned));
    manifests
}

/// A proxy that is being planned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned<'a> {
    pub proxy: &'a Proxy,
    pub settings: &'a Settings,
}

// === impl Planned ===

impl<'a> Planned<'a> {
    /// The name of what is made for it; one of each kind, but for Services.
    pub fn name(self) -> &'a str {
        &self.proxy.service_account
    }

    /// The labels of everything that is made for it: what the user wants, and what we need.
    pub fn labels(self) -> BTreeMap<String, String> {
        let component = match self.proxy.class {
            ProxyClass::Gateway => "gateway",
            ProxyClass::Waypoint => "waypoint",
        };
        let mut labels = owned(&self.proxy.labels);
        labels.extend(self.selected_labels());
        let ours = [
            (GATEWAY_CLASS_NAME, name::as_label(&self.proxy.gateway_class)),
            ("app.kubernetes.io/name", "fairway-waypoint".to_owned()),
            ("app.kubernetes.io/component", component.to_owned()),
            ("app.kubernetes.io/part-of", "fairway".to_owned()),
        ];
        labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
        labels
    }

    /// The annotations of everything that is made for it.
    pub fn annotations(self) -> BTreeMap<String, String> {
        let mut annotations = owned(&self.proxy.annotations);
        annotations.insert(GATEWAY.to_owned(), self.proxy.name.name.to_string());
        annotations
    }

    /// The annotations of its pods and of their service account, to which others give rights by annotations.
    pub fn trusted_annotations(self) -> BTreeMap<String, String> {
        let rights = &self.settings.rights;
        let mut annotations = self.annotations();
        annotations.retain(|key, _| key == GATEWAY || rights.reaches_pods(key));
        annotations
    }

    /// The labels by which its pods are known; they must never change (a Deployment's selector cannot).
    pub fn selected_labels(self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (GATEWAY_NAME.to_owned(), name::as_label(&self.proxy.name.name)),
            (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ])
    }

    pub fn selector(self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selected_labels()), ..LabelSelector::default() }
    }

    /// The metadata of an object that is made for it.
    pub fn metadata(self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.proxy.name.namespace.to_string()),
            labels: Some(self.labels()),
            annotations: Some(self.annotations()),
            owner_references: self.owner().map(|it| vec![it]),
            ..ObjectMeta::default()
        }
    }

    /// An object that is made for it.
    pub fn manifest(self, kind: ManifestKind, name: &str, object: &impl Serialize) -> Manifest {
        let namespace = self.proxy.name.namespace.clone();
        Manifest {
            key: ManifestKey { kind, namespace, name: name.into() },
            gateway: self.proxy.name.clone(),
            owner: self.owner().map(|it| it.uid.into()),
            fields: Manifest::fields_of(object),
        }
    }

    fn owner(self) -> Option<OwnerReference> {
        let owner = self.proxy.owner.as_ref().filter(|it| !it.uid.is_empty())?;
        Some(OwnerReference {
            api_version: format!("{}/v1", fairway_gateway_api::GROUP),
            kind: "Gateway".to_owned(),
            name: self.proxy.name.name.to_string(),
            uid: owner.uid.to_string(),
            controller: Some(true),
            // That it goes first would need rights on the Gateway's finalizers.
            block_owner_deletion: None,
        })
    }
}
