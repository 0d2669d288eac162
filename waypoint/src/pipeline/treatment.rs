//! How the listener that takes a request treats its client, where it does so in a way of its own.

use super::request::Stop;
use super::sender::Sender;
use super::{Client, Origin, Reason, head};
use crate::connection::Order;
use crate::header_names::{has_underscore, remove_underscored};
use crate::l4::L4Refusal;
use crate::route::read_host;
use crate::table::{BoundListener, ListenerSet};
use crate::telemetry::{Exchange, StreamKind, StreamRecord};
use crate::worker::Serving;
use fairway_config::model::{AddressSource, CertificateHeader, ClientTreatment, RequestIds, Underscores};
use fairway_telemetry::Trust;
use http::HeaderName;
use http::request::Parts;

const CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// The listeners of a request, one of which treats clients in a way of its own, and what its head is before anything is taken out of it.
pub(super) struct Treating<'t> {
    set: &'t ListenerSet,
    bytes: usize,
    fields: usize,
    has_underscores: bool,
}

// === impl Treating ===

impl<'t> Treating<'t> {
    /// None where no listener of the socket does: mostly, and then nothing is looked at.
    pub(super) fn of(serving: &'t Serving, client: &Client, parts: &Parts) -> Option<Self> {
        let Origin::Gateway { port, .. } = client.origin else { return None };
        let set = serving.ports.listeners(port).filter(|it| it.treatment().is_some())?;
        Some(Self {
            set,
            bytes: head::size(parts, client.version),
            fields: parts.headers.len(),
            has_underscores: parts.headers.keys().any(has_underscore),
        })
    }

    /// Treats a request as the listener does that takes it, whose head has been read.
    pub(super) fn treat(
        self,
        sender: &mut Sender<'t>,
        parts: &mut Parts,
        exchange: &mut Exchange,
    ) -> Result<(), Stop> {
        if sender.listener.is_none() {
            let host = read_host(parts).map_err(Reason::BadRequest)?;
            sender.listener = self.set.for_host(&host);
        }
        // A host that no listener takes, and one whose listener is closed, is refused where its route is looked for.
        let Some(bound) = sender.listener.filter(|it| it.listener.closed.is_none()) else { return Ok(()) };
        let treatment = bound.listener.treatment.as_ref();
        // In TLS the connection is of the listener whose name was asked for.
        if let Origin::Gateway { sni: None, .. } = sender.client.origin {
            sender.client.connection.treat_as(treatment);
        }
        let Some(treatment) = treatment else { return Ok(()) };
        exchange.treat_as(treatment);
        count(sender.client, bound, treatment, exchange)?;
        self.check_head(treatment)?;
        if treatment.underscores == Underscores::Drop && self.has_underscores {
            remove_underscored(&mut parts.headers);
        }
        // What the client says there is gone by now.
        if treatment.certificate_header == CertificateHeader::Set
            && let Some(certificate) = sender.client.connection.certificate()
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
