//! What the proxies run on: for each Gateway (and each waypoint) a Deployment, Services, a ServiceAccount, a ConfigMap
//! with the mesh's roots, a PodDisruptionBudget, and an autoscaler if one is asked for (GEP-1762, GEP-1867).
//!
//! [`plan`] says which objects a proxy needs, and `reconcile` what has to be done so that the cluster has these and no
//! others of ours; both are pure. [`Provisioner`] does it, and watches what it made, so that it is repaired when somebody
//! edits it. It runs at the leader, and nowhere else.

mod act;
mod autoscaler;
mod budget;
mod config;
mod deployment;
mod image;
mod live;
mod manifest;
pub mod metadata;
mod parameters;
mod plan;
mod provisioner;
mod proxy;
mod reconcile;
mod rights;
mod service;
mod settings;
mod watching;
mod waypoint;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use image::is_of_proxy;
use live::Live;
#[cfg(test)]
use manifest::{Manifest, ManifestKind};
pub use parameters::{Disruption, Drain, InvalidParameters, Parameters, Scale};
pub use plan::plan;
pub use provisioner::{ProvisionEvent, Provisioner, Troubles, What};
pub use proxy::{Owner, Proxy, ProxyClass, ProxyService, Transport, Want, Wanted};
pub use rights::{Author, NotARight, Right, Rights};
pub use settings::Settings;
