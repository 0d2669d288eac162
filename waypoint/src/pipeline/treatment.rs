//! How the listener that takes a request treats its client, where it does so in a way of its own.

use super::sender::Sender;
use super::{Origin, Reason};
use crate::route::read_host;
use crate::table::ListenerSet;
use crate::telemetry::Exchange;
use crate::worker::Serving;
use http::request::Parts;

/// The listeners of a request, one of which treats clients in a way of its own.
pub(super) struct Treating<'t> {
    set: &'t ListenerSet,
}

// === impl Treating ===

impl<'t> Treating<'t> {
    /// None where no listener of the socket does: mostly, and then nothing is looked at.
    pub(super) fn of(serving: &'t Serving, origin: &Origin) -> Option<Self> {
        let Origin::Gateway { port, .. } = origin else { return None };
        let set = serving.ports.listeners(*port).filter(|it| it.treatment().is_some())?;
        Some(Self { set })
    }

    /// Treats a request as the listener does that takes it, whose head has been read.
    pub(super) fn treat(
        self,
        sender: &mut Sender<'t>,
        parts: &mut Parts,
        exchange: &mut Exchange,
    ) -> Result<(), Reason> {
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
        if let Some(treatment) = treatment {
            exchange.treat_as(treatment);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
