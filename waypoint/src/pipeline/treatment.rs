//! How the listener that takes a request treats its client, where it does so in a way of its own.

use super::decide::Stop;
use super::sender::Sender;
use super::{Client, Origin, Reason, head};
use crate::connection::Order;
use crate::header_names::{has_underscore, remove_underscored};
use crate::l4::L4Refusal;
use crate::route::read_host;
use crate::table::{BoundListener, ListenerSet};
use crate::telemetry::{Exchange, StreamKind, StreamRecord};
use crate::wire::Version;
use crate::worker::Serving;
use fairway_config::model::{AddressSource, CertificateHeader, ClientTreatment, RequestIds, Underscores};
use fairway_telemetry::Trust;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

const CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// The listeners of a request, one of which treats clients in a way of its own, and what its head is before anything is taken out of it.
#[derive(Debug)]
pub(crate) struct Treating<'t> {
    set: &'t ListenerSet,
    bytes: usize,
    fields: usize,
    has_underscores: bool,
}

// === impl Treating ===

impl<'t> Treating<'t> {
    /// None where no listener of the socket does: mostly, and then nothing is looked at.
    pub(super) fn of(serving: &'t Serving, origin: &Origin, version: Version, parts: &Parts) -> Option<Self> {
        let Origin::Gateway { port, .. } = origin else { return None };
        let set = serving.ports.listeners(*port).filter(|it| it.treatment().is_some())?;
        Some(Self {
            set,
            bytes: head::size(parts, version),
            fields: parts.headers.len(),
            has_underscores: parts.headers.keys().any(has_underscore),
        })
    }

    /// The listener that takes the request, whose head has been read, if it was not found before. None where no listener takes its
    /// host, or one that is closed: that is refused where its route is looked for.
    pub(crate) fn find_listener(
        &self,
        found: &mut Option<&'t Arc<BoundListener>>,
        parts: &Parts,
    ) -> Result<Option<&'t BoundListener>, Reason> {
        if found.is_none() {
            let host = read_host(parts).map_err(Reason::BadRequest)?;
            *found = self.set.for_host(&host);
        }
        Ok(found.map(|it| &**it).filter(|it| it.listener.closed.is_none()))
    }

    /// Treats the head of a request as its listener does.
    pub(crate) fn treat(
        &self,
        bound: &BoundListener,
        certificate: Option<&HeaderValue>,
        parts: &mut Parts,
    ) -> Result<(), Reason> {
        let Some(treatment) = &bound.listener.treatment else { return Ok(()) };
        self.check_head(treatment)?;
        if treatment.underscores == Underscores::Drop && self.has_underscores {
            remove_underscored(&mut parts.headers);
        }
        // What the client says there is gone by now.
        if treatment.certificate_header == CertificateHeader::Set
            && let Some(certificate) = certificate
        {
            parts.headers.insert(CERTIFICATE, certificate.clone());
        }
        Ok(())
    }

    fn check_head(&self, treatment: &ClientTreatment) -> Result<(), Reason> {
        let exceeds = |is: usize, most: Option<u64>| most.is_some_and(|most| is as u64 > most);
        if exceeds(self.fields, treatment.limits.headers) {
            return Err(Reason::TooManyFields);
        }
        if exceeds(self.bytes, treatment.limits.header_bytes) {
            return Err(Reason::HeadTooLarge);
        }
        if treatment.underscores == Underscores::Refuse && self.has_underscores {
            return Err(Reason::BadField);
        }
        Ok(())
    }
}

/// Has a connection be one of the listener that takes its request.
pub(super) fn hold(client: &Client, bound: &BoundListener, exchange: &mut Exchange) -> Result<(), Stop> {
    let treatment = bound.listener.treatment.as_ref();
    // In TLS the connection is of the listener whose name was asked for.
    if let Origin::Gateway { sni: None, .. } = client.origin {
        client.connection.treat_as(treatment);
    }
    let Some(treatment) = treatment else { return Ok(()) };
    exchange.treat_as(treatment);
    count(client, bound, treatment, exchange)
}

/// Gives a request its id.
pub(super) fn identify(sender: &Sender<'_>, parts: &mut Parts, exchange: &mut Exchange) {
    // Who proved an identity of the mesh is believed what the request's id is.
    let is_of_mesh = sender.client.identity.is_some();
    let trust = |is_trusted| if is_trusted { Trust::Keep } else { Trust::Replace };
    let headers = &mut parts.headers;
    match sender.treatment().map(|it| it.request_ids) {
        None | Some(RequestIds::BuiltIn) => exchange.identify(headers, trust(is_of_mesh)),
        Some(RequestIds::Keep) => exchange.identify_in_time(headers, Trust::Keep),
        Some(RequestIds::Generate) => {
            exchange.identify_in_time(headers, trust(is_of_mesh || comes_of_trusted_proxy(sender)));
        }
    }
}

/// Whether a proxy has sent a request that is believed where clients are, and that has read it: not one that has said it before all bytes.
fn comes_of_trusted_proxy(sender: &Sender<'_>) -> bool {
    let source = sender.listener.map(|it| &it.listener.address_source);
    match (source, sender.client.far()) {
        (Some(AddressSource::ForwardedFor(trusted) | AddressSource::Header { trusted, .. }), Some(far)) => {
            trusted.contains(far.peer)
        }
        _ => false,
    }
}

/// Counts the connection for its listener, and its requests.
fn count(
    client: &Client,
    bound: &BoundListener,
    treatment: &ClientTreatment,
    exchange: &mut Exchange,
) -> Result<(), Stop> {
    let connection = &client.connection;
    if let Some((counted, most)) = bound.connection_limit()
        && !connection.counts_for(counted, most)
    {
        let telemetry = &client.worker.telemetry;
        telemetry.counters.connections_refused.increment();
        StreamRecord::begin(telemetry, StreamKind::Tcp, client.caller.address)
            .refuse(L4Refusal::ConnectionLimit);
        exchange
            .note(|it| it.detail = Some(format!("listener {} has {most} connections", bound.listener.key)));
        connection.tell(Order::Finish);
        return Err(Stop::Closed);
    }
    if treatment.limits.requests_per_connection.is_some_and(|most| connection.requests() >= most) {
        connection.tell(Order::Finish);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
