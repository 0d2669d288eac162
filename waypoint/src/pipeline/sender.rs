//! Who has sent a request, as far as its listener is told to find out. Where no listener of the socket asks for anything, that is the
//! client of the connection, and nothing is looked at.

use super::names::remove_spellings;
use super::{Client, Origin, Reason};
use crate::address::{self, Claims, FarEnd, Unlocated};
use crate::listen::connection::Order;
use crate::route::RequestHead;
use crate::table::ListenerSet;
use crate::upstream::caller::Caller;
use crate::worker::Serving;
use fairway_config::model::AddressSource;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;
use std::rc::Rc;

/// Who has sent a request.
#[derive(Debug)]
pub(crate) struct Sender<'c> {
    /// By whose connection it came.
    pub client: &'c Rc<Client>,
    /// Who it is, if that is somebody else. Boxed: mostly it is not, and each request that is under way has room for it.
    found: Option<Box<Found>>,
}

/// A sender elsewhere than its connection says.
#[derive(Debug)]
pub(crate) struct Found {
    /// For the choice of an endpoint, for policies, and for the log.
    pub caller: Caller,
    /// Its address as a header.
    pub forwarded_for: Option<HeaderValue>,
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
        is_introduced: bool,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let Origin::Gateway { port, .. } = origin else { return None };
        let set = serving.ports.listeners(*port)?;
        if !set.locates_clients() && !is_introduced {
            return None;
        }
        let sources = set.listeners().iter().map(|it| &it.listener.address_source);
        Some(Self { set, claims: Claims::read(sources, headers) })
    }

    /// Finds the sender by what the listener believes that takes the request, whose head has been read since. None if it is where
    /// its connection says.
    pub(crate) fn find(
        self,
        caller: &Caller,
        far: Option<FarEnd>,
        parts: &mut Parts,
    ) -> Result<Option<Box<Found>>, Reason> {
        let host = RequestHead::read(parts).map_err(Reason::BadRequest)?.host;
        // A host that no listener takes is refused where its route is looked for.
        let Some(bound) = self.set.for_host(&host) else { return Ok(None) };
        drop(host);
        let source = &bound.listener.address_source;
        if let AddressSource::Closed(_) = source {
            return Err(Reason::ListenerClosed);
        }
        let Some(far) = far else { return Ok(None) };
        let address =
            address::of_request(source, &far, &self.claims).map_err(|unlocated| match unlocated {
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
        let found = || Found {
            caller: Caller { address: Some(address), ..caller.clone() },
            forwarded_for: HeaderValue::try_from(address.to_string()).ok(),
            peer: (address != far.peer).then_some(far.peer),
        };
        Ok((caller.address != Some(address)).then(|| Box::new(found())))
    }
}

// === impl Sender ===

impl<'c> Sender<'c> {
    /// The client of a connection.
    pub(super) fn of_connection(client: &'c Rc<Client>) -> Self {
        Self { client, found: None }
    }

    /// Finds out who it is. Who is not introduced as the listener asks for is asked for another connection.
    pub(super) fn find(&mut self, statement: Statement<'_>, parts: &mut Parts) -> Result<(), Reason> {
        let client = self.client;
        let found = statement.find(&client.caller, client.far(), parts);
        if let Err(Reason::Misdirected) = found {
            client.connection.tell(Order::Finish);
        }
        self.found = found?;
        Ok(())
    }

    /// For the choice of an endpoint, for policies, and for the log.
    pub(crate) fn caller(&self) -> &Caller {
        self.found.as_ref().map_or(&self.client.caller, |it| &it.caller)
    }

    /// The address as a header.
    pub(super) fn forwarded_for(&self) -> Option<&HeaderValue> {
        match &self.found {
            Some(found) => found.forwarded_for.as_ref(),
            None => self.client.forwarded_for.as_ref(),
        }
    }

    /// The far end of the connection, where that is not the client.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        match &self.found {
            Some(found) => found.peer,
            None => self.client.introducer.as_deref().copied(),
        }
    }
}

#[cfg(test)]
mod tests;
