//! Who has sent a request, as far as its listener is told to find out. Where no listener of the socket asks for anything, that is the
//! client of the connection, and nothing is looked at.

use super::names::remove_spellings;
use super::{Origin, Reason};
use crate::address::{self, Claims, FarEnd, Unlocated};
use crate::route::RequestHead;
use crate::table::ListenerSet;
use crate::upstream::caller::Caller;
use crate::worker::Serving;
use fairway_config::model::AddressSource;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;
use std::net::IpAddr;

/// Who has sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Sender<'c> {
    /// For the choice of an endpoint, for policies, and for the log.
    pub caller: Cow<'c, Caller>,
    /// The address as a header.
    pub forwarded_for: Option<Cow<'c, HeaderValue>>,
    /// The far end of the connection, where that is not the client.
    pub peer: Option<IpAddr>,
}

/// What a request says of its sender, kept while its head is read.
pub(crate) struct Statement<'t> {
    set: &'t ListenerSet,
    claims: Claims,
}

// === impl Statement ===

impl<'t> Statement<'t> {
    /// What a head says of its sender; none where nobody asks.
    pub(crate) fn of(
        serving: &'t Serving,
        origin: &Origin,
        far: Option<&FarEnd>,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let Origin::Gateway { port, .. } = origin else { return None };
        let set = serving.ports.listeners(*port)?;
        if !set.locates_clients() && far.is_none_or(|it| it.introduced.is_none()) {
            return None;
        }
        let sources = set.listeners().iter().map(|it| &it.listener.address_source);
        Some(Self { set, claims: Claims::read(sources, headers) })
    }

    /// Finds the sender by what the listener believes that takes the request, whose head has been read since.
    pub(crate) fn sender<'c>(
        self,
        known: Sender<'c>,
        far: Option<&FarEnd>,
        parts: &mut Parts,
    ) -> Result<Sender<'c>, Reason> {
        let host = RequestHead::read(parts).map_err(Reason::BadRequest)?.host;
        // A host that no listener takes is refused where its route is looked for.
        let Some(bound) = self.set.for_host(&host) else { return Ok(known) };
        drop(host);
        let source = &bound.listener.address_source;
        if let AddressSource::Closed(_) = source {
            return Err(Reason::ListenerClosed);
        }
        let Some(far) = far else { return Ok(known) };
        let address =
            address::of_request(source, far, &self.claims).map_err(|unlocated| match unlocated {
                Unlocated::Closed => Reason::ListenerClosed,
                // Another connection may be introduced.
                Unlocated::NotIntroduced => Reason::Misdirected,
                Unlocated::Malformed => Reason::BadField,
            })?;
        if let AddressSource::Header { name, trusted } = source
            && !trusted.contains(far.peer)
        {
            // Who is behind this proxy may believe it.
            remove_spellings(&mut parts.headers, name);
        }
        Ok(known.at(address, far.peer))
    }
}

// === impl Sender ===

impl<'c> Sender<'c> {
    /// The client of a connection.
    pub(crate) fn of_connection(
        caller: &'c Caller,
        forwarded_for: Option<&'c HeaderValue>,
        far: Option<&FarEnd>,
    ) -> Self {
        let peer = far.map(|it| it.peer).filter(|it| caller.address != Some(*it));
        Self { caller: Cow::Borrowed(caller), forwarded_for: forwarded_for.map(Cow::Borrowed), peer }
    }

    /// The same, found at an address behind a peer.
    fn at(mut self, address: IpAddr, peer: IpAddr) -> Self {
        self.peer = (address != peer).then_some(peer);
        if self.caller.address != Some(address) {
            self.caller.to_mut().address = Some(address);
            self.forwarded_for = HeaderValue::try_from(address.to_string()).ok().map(Cow::Owned);
        }
        self
    }
}

#[cfg(test)]
mod tests;
