//! What a waypoint stood before and does no more. Tunnels hear of that a moment later, and open connections may have a
//! request on their way: both are served once more.

use crate::upstream::cluster::Cluster;
use fairway_config::model::{BackendKey, RateLimitKey, Service};
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// As many of each are remembered, the newest.
const MOST: usize = 64;

/// Services and backends as they were when they went. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Departed {
    services: Arc<VecDeque<Arc<Service>>>,
    clusters: Arc<VecDeque<Arc<Cluster>>>,
}

// === impl Departed ===

impl Departed {
    /// A Service has gone.
    pub(super) fn add_service(&mut self, service: Arc<Service>) {
        add(&mut self.services, service);
    }

    /// A backend has gone.
    pub(super) fn add_cluster(&mut self, cluster: Arc<Cluster>) {
        add(&mut self.clusters, cluster);
    }

    /// Whether nothing has gone.
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.clusters.is_empty()
    }

    /// Forgets the backends with an endpoint that somebody guards by now: they do not know of it.
    pub(super) fn forget_guarded(&mut self, guarded: &HashSet<SocketAddr>) {
        if self.clusters.iter().any(|it| it.reaches(guarded)) {
            Arc::make_mut(&mut self.clusters).retain(|it| !it.reaches(guarded));
        }
    }

    /// The names of the limits that count what goes to those backends.
    pub(super) fn limits(&self) -> impl Iterator<Item = &RateLimitKey> {
        self.clusters.iter().flat_map(|it| it.limits())
    }

    /// The Service that had this address last.
    pub(super) fn service_at(&self, address: IpAddr) -> Option<&Arc<Service>> {
        self.services.iter().rev().find(|it| it.addresses.contains(&address))
    }

    /// A backend as it was last.
    pub(super) fn cluster(&self, key: &BackendKey) -> Option<&Arc<Cluster>> {
        self.clusters.iter().rev().find(|it| it.key() == key)
    }
}

fn add<T>(list: &mut Arc<VecDeque<Arc<T>>>, gone: Arc<T>) {
    let list = Arc::make_mut(list);
    list.push_back(gone);
    if list.len() > MOST {
        list.pop_front();
    }
}
