//! Where a request is looked up: the listener its host belongs to, or the Service it was sent to.

use super::{Origin, Reason};
use crate::route::{ListenerFilters, RouteTable};
use crate::table::BoundListener;
use crate::upstream::cluster::Cluster;
use crate::worker::Serving;
use fairway_config::model::{CertificateKey, Listener};
use std::sync::Arc;

/// Where a request is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RouteTarget<'t> {
    /// Among the rules of a listener or of a Service.
    Rules {
        table: &'t RouteTable,
        /// The listener; none where the rules are a Service's.
        listener: Option<&'t Listener>,
        /// What sees a request before it is looked up; none if nothing does.
        filters: Option<&'t ListenerFilters>,
        /// The listener's or the Service's port.
        port: u16,
        /// The certificate for backends that ask for one.
        shown: Option<&'t CertificateKey>,
    },
    /// No route is for it: straight to the Service's endpoints.
    Endpoints {
        cluster: &'t Cluster,
        port: u16,
        /// The certificate for backends that ask for one.
        shown: Option<&'t CertificateKey>,
        /// Whether the Service is not this waypoint's any more.
        is_departed: bool,
    },
}

/// Finds where a request for a host is looked up. `known` is the listener of that host, if it was looked up before.
pub(crate) fn find_target<'t>(
    serving: &'t Serving,
    origin: &'t Origin,
    host: &str,
    known: Option<&'t Arc<BoundListener>>,
) -> Result<RouteTarget<'t>, Reason> {
    match origin {
        Origin::Gateway { port, sni } => {
            let set = serving.ports.listeners(*port).ok_or(Reason::NoListener)?;
            let bound = known.or_else(|| set.for_host(host)).ok_or(Reason::NoListener)?;
            if let Some(sni) = sni {
                // The listener's certificate was not the one that was shown (GEP-3567).
                let shown = set.for_host(sni.as_deref().unwrap_or_default());
                if !shown.is_some_and(|shown| Arc::ptr_eq(shown, bound)) {
                    return Err(Reason::Misdirected);
                }
            }
            let listener = &*bound.listener;
            if listener.closed.is_some() {
                return Err(Reason::ListenerClosed);
            }
            let shown = listener.backend_certificate.as_ref();
            Ok(RouteTarget::Rules {
                table: &bound.routes,
                listener: Some(listener),
                filters: bound.filters.as_deref(),
                port: listener.port,
                shown,
            })
        }
        Origin::Service(origin) => {
            let (tables, shown) = (&serving.tables, origin.shown());
            let audience = origin.audience.as_ref();
            let table = audience.and_then(|it| tables.service_routes(&origin.service, origin.port, it));
            if let Some(table) = table {
                let (listener, filters) = (None, None);
                return Ok(RouteTarget::Rules { table, listener, filters, port: origin.port, shown });
            }
            let is_departed = tables.cluster(&origin.backend).is_none();
            let cluster = tables.service_cluster(&origin.backend).ok_or(Reason::UnresolvedBackend)?;
            Ok(RouteTarget::Endpoints { cluster, port: origin.port, shown, is_departed })
        }
    }
}
