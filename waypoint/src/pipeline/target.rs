//! Where a request is looked up: the listener its host belongs to, or the Service it was sent to.

use super::{Client, Origin, Reason};
use crate::listen::connection::Order;
use crate::route::{RequestHead, RouteTable};
use crate::upstream::cluster::Cluster;
use crate::worker::Serving;
use fairway_config::model::CertificateKey;
use std::sync::Arc;

/// Where a request is looked up.
#[derive(Clone, Copy, Debug)]
pub enum RouteTarget<'t> {
    /// Among these rules.
    Rules {
        /// The rules.
        table: &'t RouteTable,
        /// The listener's or the Service's port.
        port: u16,
        /// What is shown to backends that ask for a certificate.
        shown: Option<&'t CertificateKey>,
    },
    /// No rules hold: straight to these endpoints.
    Endpoints(&'t Cluster, Option<&'t CertificateKey>),
}

/// Finds the place of a request.
pub fn find<'t>(
    serving: &'t Serving,
    client: &'t Client,
    head: &RequestHead<'_>,
) -> Result<RouteTarget<'t>, Reason> {
    match &client.origin {
        Origin::Gateway { port, sni } => {
            let set = serving.ports.listeners(*port).ok_or(Reason::NoListener)?;
            let bound = set.for_host(&head.host).ok_or(Reason::NoListener)?;
            if let Some(sni) = sni {
                // The listener's certificate was not the one that was shown (GEP-3567).
                let shown = set.for_host(sni.as_deref().unwrap_or_default());
                if !shown.is_some_and(|shown| Arc::ptr_eq(shown, bound)) {
                    return Err(Reason::Misdirected);
                }
            }
            let shown = bound.listener.backend_certificate.as_ref();
            Ok(RouteTarget::Rules { table: &bound.routes, port: bound.listener.port, shown })
        }
        Origin::Service(origin) => {
            let audience = origin.audience.as_ref();
            let table =
                audience.and_then(|it| serving.tables.service_routes(&origin.service, origin.port, it));
            match table {
                Some(table) => {
                    Ok(RouteTarget::Rules { table, port: origin.port, shown: origin.shown.as_ref() })
                }
                None => {
                    let tables = &serving.tables;
                    if tables.cluster(&origin.backend).is_none() {
                        // Nobody is sent here for it any more: this client shall find the other way.
                        client.connection.tell(Order::Finish);
                    }
                    let cluster = tables.service_cluster(&origin.backend).ok_or(Reason::UnresolvedBackend)?;
                    Ok(RouteTarget::Endpoints(cluster, origin.shown.as_ref()))
                }
            }
        }
    }
}
