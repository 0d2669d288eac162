//! References of routes to backends: the port of a Service that one leads to, or why it leads nowhere.

use super::draft::{Draft, Scope};
use super::written::WrittenRef;
use crate::compile::names::backend::{self, Nowhere, Referrer};
use crate::compile::policy::required_waypoint;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, RouteKind, Service};
use fairway_config::model::{BackendKey, BackendTarget, ObjectName, Unresolved};

/// Follows a reference; one that leads nowhere is noted, and answered with 500 for its share (never given to others).
pub(super) fn resolve(draft: &mut Draft<'_, '_>, field: &str, written: WrittenRef<'_>) -> BackendTarget {
    if draft.scope == Scope::Unread {
        return BackendTarget::Unresolved(Unresolved::NotFound);
    }
    match follow(draft, field, written) {
        Ok(key) => BackendTarget::Backend(key),
        Err((why, error)) => {
            draft.unresolved(error);
            BackendTarget::Unresolved(why)
        }
    }
}

fn follow(draft: &mut Draft<'_, '_>, field: &str, it: WrittenRef<'_>) -> Result<BackendKey, Nowhere> {
    let from = Referrer {
        kind: Kind::of_route(draft.kind),
        namespace: &draft.route.namespace,
        sends: draft.kind,
        needs_grant: draft.scope == Scope::Gateway,
    };
    let named = backend::name(draft.reader, from, field, it)?;
    draft.uses(&named.service);
    let key = backend::find(draft.reader, from, field, &named, it.port)?;
    if draft.kind == RouteKind::Udp && is_behind_waypoint(draft, &named.service) {
        let message = format!(
            "Service {} is reached through its waypoint only, and waypoints do not carry UDP",
            named.service
        );
        let remedy = "remove the label or the AccessPolicy that keeps the Service behind its waypoint, or use another Service";
        let error = Diagnostic::error(Reason::BackendUdpThroughWaypoint, field, message, remedy);
        return Err(named.told(from, field, (Unresolved::UnsupportedProtocol, error)));
    }
    Ok(key)
}

fn is_behind_waypoint(draft: &mut Draft<'_, '_>, service: &ObjectName) -> bool {
    let object = draft.reader.input::<Service>(service);
    object.is_some_and(|it| required_waypoint::is_required(draft.reader, service, &it))
}
