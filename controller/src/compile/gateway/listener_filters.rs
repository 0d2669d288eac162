//! The filters of a listener (GEP-5224): from what was written to what proxies do with requests before their route is matched.

use super::external_auth::{self, WrittenAuthProtocol, WrittenExternalAuth, WrittenHttpAuth, external_auth};
use super::listener::Asked;
use super::protocol::Protocol;
use crate::compile::names::backend::{self, Nowhere, Referrer, WrittenRef, reference};
use crate::compile::program::Reader;
use crate::diagnostic::rule::qualified;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::RouteKind;
use fairway_config::model::{BackendKey, BackendTarget, Filter, InvalidFilter, ObjectName};
use fairway_gateway_api::gateways::{
    GatewayListenersFiltersRequests, GatewayListenersFiltersRequestsExternalAuthProtocol as AuthProtocol,
    GatewayListenersFiltersRequestsType as FilterType,
};
use std::collections::BTreeSet;

/// The filters of a listener, and what became of what they refer to.
#[derive(Debug, Default)]
pub(super) struct ListenerFilters {
    /// In the order written.
    pub filters: Vec<Filter>,
    /// Why the listener is not accepted with them: there is no such filter.
    pub refusal: Option<Diagnostic>,
    /// References that are not resolved. Then the listener is closed: what they guard is not passed on unguarded.
    pub unresolved: Vec<Diagnostic>,
    /// The Services that they ask, or would ask.
    pub services: BTreeSet<ObjectName>,
}

/// From `filters` of a listener to those of the configuration, with the backends that they name.
pub(super) fn read(
    reader: &mut Reader<'_>,
    asked: &Asked<'_>,
    protocol: Option<Protocol>,
) -> ListenerFilters {
    let mut read = ListenerFilters::default();
    let written = asked.written.filters.as_ref().and_then(|it| it.requests.as_deref()).unwrap_or_default();
    let Some(protocol) = protocol.filter(|_| !written.is_empty()) else { return read };
    let field = format!("{}.filters", asked.field());
    if !matches!(protocol, Protocol::Http | Protocol::Https) {
        let message = format!("a listener with protocol {} has no filters", asked.written.protocol);
        read.refuse(Diagnostic::error(Reason::ListenerFiltersNeedRequests, field, message, "remove them"));
        return read;
    }
    for (index, it) in written.iter().enumerate() {
        match read.one(reader, asked, &format!("{field}.requests[{index}]"), it) {
            Ok(filter) => read.filters.push(filter),
            Err(error) => read.refuse(error),
        }
    }
    read
}

// === impl ListenerFilters ===

impl ListenerFilters {
    /// The first reason is told.
    fn refuse(&mut self, error: Diagnostic) {
        self.refusal.get_or_insert(error);
    }

    fn one(
        &mut self,
        reader: &mut Reader<'_>,
        asked: &Asked<'_>,
        field: &str,
        it: &GatewayListenersFiltersRequests,
    ) -> Result<Filter, Diagnostic> {
        match (&it.r#type, &it.external_auth, &it.extension_ref) {
            (FilterType::ExternalAuth, Some(it), _) => {
                let written = external_auth!(it, AuthProtocol);
                let resolve = |field: &str, it| self.resolve(reader, asked, field, it);
                let field = format!("{field}.externalAuth");
                let auth = external_auth::compile(&field, &written, resolve).map_err(of_listener)?;
                let filter = Filter::ExternalAuth(auth);
                filter.check().map_err(|error| invalid(&field, &error))?;
                Ok(filter)
            }
            (FilterType::ExtensionRef, _, Some(it)) => {
                let what = format!("{} {}", qualified(&it.group, &it.kind), it.name);
                let (field, remedy) = (format!("{field}.extensionRef"), "remove the filter");
                let message = format!("{what} is not a filter that Fairway knows");
                self.unresolved.push(Diagnostic::error(
                    Reason::ListenerFilterExtensionUnknown,
                    &field,
                    message,
                    remedy,
                ));
                let message =
                    format!("{what} is not a filter that Fairway knows, so the listener is not served");
                Err(Diagnostic::error(Reason::ListenerFilterUnsupported, field, message, remedy))
            }
            (FilterType::ExternalAuth | FilterType::ExtensionRef, _, _) => {
                let message = "the field that belongs to the filter's type is missing";
                let remedy = "add the field that the type names, such as externalAuth for ExternalAuth";
                Err(Diagnostic::error(Reason::ListenerFilterEmpty, field, message, remedy))
            }
        }
    }

    /// Follows a reference; one that leads nowhere is noted.
    fn resolve(
        &mut self,
        reader: &mut Reader<'_>,
        asked: &Asked<'_>,
        field: &str,
        written: WrittenRef<'_>,
    ) -> BackendTarget {
        match self.follow(reader, asked, field, written) {
            Ok(key) => BackendTarget::Backend(key),
            Err((why, error)) => {
                self.unresolved.push(error);
                BackendTarget::Unresolved(why)
            }
        }
    }

    fn follow(
        &mut self,
        reader: &mut Reader<'_>,
        asked: &Asked<'_>,
        field: &str,
        written: WrittenRef<'_>,
    ) -> Result<BackendKey, Nowhere> {
        let object = &asked.owner.object;
        let from = Referrer {
            kind: object.kind,
            namespace: &object.namespace,
            sends: RouteKind::Http,
            needs_grant: true,
        };
        let named = backend::name(reader, from, field, written)?;
        self.services.insert(named.service.clone());
        backend::find(reader, from, field, &named, written.port)
    }
}

/// What is wrong with a filter, in the words that the API has for one of a listener. What Fairway does not do stays that.
fn of_listener(error: Diagnostic) -> Diagnostic {
    let is_invalid = error.reason != Reason::ExternalAuthBodyUnsupported;
    let reason = if is_invalid { Reason::ListenerFilterHeaderName } else { error.reason };
    Diagnostic { reason, ..error }
}

/// What a proxy would refuse is refused here, by the same function.
fn invalid(field: &str, error: &InvalidFilter) -> Diagnostic {
    let (part, message, remedy) = match error {
        InvalidFilter::Path(_) => (".http.path", error.to_string(), "correct the path"),
        InvalidFilter::Host => {
            let message =
                "the Host cannot be changed by a filter of a listener, which is chosen by it".to_owned();
            (".http.allowedResponseHeaders", message, "remove Host from it")
        }
        _ => ("", error.to_string(), "remove the header from the allowed headers"),
    };
    Diagnostic::error(Reason::ListenerFilterInvalid, format!("{field}{part}"), message, remedy)
}
