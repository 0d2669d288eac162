//! An endpoint for a request: the way to the backend, the choice, and the active health checks that the choice asks for.

use super::Reason;
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::upstream::connect::Route;
use crate::upstream::health_check;
use crate::upstream::tls::{Protocol, TlsClient};
use crate::worker::{Serving, Worker};
use fairway_balance::{EndpointRecord, Readmission};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// A backend, and how to connect to it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'t> {
    /// The backend as it is in the configuration that serves the request.
    pub cluster: &'t Cluster,
    /// [`Cluster::tls`], or none for bytes that go on as they are.
    pub tls: Option<&'t Arc<TlsClient>>,
    /// What will be spoken.
    pub protocol: Protocol,
    /// The client for which it is chosen: affinity and locality follow from it.
    pub caller: &'t Caller,
}

/// An endpoint of the destination, or of the waypoint before it; not one that was tried, if there is another.
pub fn choose<'t>(
    worker: &Rc<Worker>,
    serving: &'t Serving,
    destination: Destination<'t>,
    tried: &[Arc<EndpointRecord>],
) -> Result<Route<'t>, Reason> {
    let Destination { cluster, tls, protocol, caller } = destination;
    let (from, through) = serving.tables.way_to(cluster, &worker.waypoint_key).ok_or(Reason::NoEndpoint)?;
    let now = worker.moment(Instant::now());
    let rng = &mut *worker.rng.borrow_mut();
    let picked = from.pick(caller, now, Readmission::CheckFirst, tried, rng, |endpoint| {
        check(worker, endpoint.clone(), through, tls.cloned(), protocol);
    });
    Ok(Route::new(picked.ok_or(Reason::NoEndpoint)?, through, tls))
}

fn check(
    worker: &Rc<Worker>,
    endpoint: Arc<EndpointRecord>,
    through: Option<SocketAddr>,
    tls: Option<Arc<TlsClient>>,
    protocol: Protocol,
) {
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let route = Route::new(&endpoint, through, tls.as_ref());
        if health_check::succeeds(worker.pool.connector(), &route, protocol).await {
            endpoint.record_check_success(worker.moment(Instant::now()));
        }
    });
}
