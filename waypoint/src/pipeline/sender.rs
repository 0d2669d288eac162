//! Who has sent a request, as far as its listener is told to find out. Where no listener of the socket asks for anything, that is the
//! client of the connection, and nothing is looked at.

use super::decide::Stop;
use super::head::{self, ConnectionOptions};
use super::treatment::{self, Treating};
use super::{Client, Origin, Reason};
use crate::address::{self, AddressError, AddressHeaders, FarEnd};
use crate::connection::Order;
use crate::header_names::{Spellings, remove_spellings};
use crate::route::read_host;
use crate::settings::Limits;
use crate::table::{BoundListener, ListenerSet};
use crate::telemetry::Exchange;
use crate::upstream::caller::Caller;
use crate::wire::Version;
use crate::worker::Serving;
use fairway_config::model::{AddressSource, ClientTreatment};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::Rng;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Who has sent a request.
#[derive(Debug)]
pub(crate) struct Sender<'c> {
    /// By whose connection it came.
    pub client: &'c Rc<Client>,
    /// The listener that takes the request, if it was looked up to find the sender.
    pub(super) listener: Option<&'c Arc<BoundListener>>,
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
    /// The header that has the address. No trailer has it.
    pub header: Option<HeaderName>,
}

/// What a request says of its sender, kept while its head is read.
struct AddressLookup<'t> {
    set: &'t ListenerSet,
    headers: AddressHeaders<'t>,
}

/// The connection by which a request comes, as far as its head is read by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connected<'a> {
    /// What it was made to.
    pub origin: &'a Origin,
    /// The version of HTTP that is spoken on it.
    pub version: Version,
    /// Whether it began with a header of the PROXY protocol.
    pub is_proxied: bool,
    /// Who has made it.
    pub caller: &'a Caller,
    /// What a head may be.
    pub limits: &'a Limits,
}

/// A sender that was looked for.
#[derive(Debug, Default)]
pub(crate) struct Located<'t> {
    /// The listener that takes the request. Nobody has to look for it again.
    pub listener: Option<&'t Arc<BoundListener>>,
    /// None if the sender is where its connection says, and no header could say anything else.
    pub found: Option<Box<Found>>,
}

/// A head that was read.
#[derive(Debug)]
pub(crate) struct ReceivedHead<'t> {
    /// What of it is for this proxy only.
    pub options: ConnectionOptions,
    /// None where no listener of the socket looks for the sender.
    pub located: Option<Located<'t>>,
    /// None where no listener of the socket treats its clients in a way of its own.
    pub treating: Option<Treating<'t>>,
}

/// Reads the head of a request: what it may not be, what of it is for this proxy only, and who has sent it. What it says of its
/// sender is taken out of it. `nonce` is for the key of a WebSocket over HTTP/2.
pub(crate) fn receive<'t>(
    parts: &mut Parts,
    serving: &'t Serving,
    connected: Connected<'_>,
    far: impl FnOnce() -> Option<FarEnd>,
    nonce: impl FnOnce() -> [u8; 16],
) -> Result<ReceivedHead<'t>, Reason> {
    let Connected { origin, version, is_proxied, caller, limits } = connected;
    let at_edge = matches!(origin, Origin::Gateway { .. });
    let lookup = AddressLookup::of(serving, origin, is_proxied, &parts.headers);
    let treating = Treating::of(serving, origin, version, parts);
    let options = head::read(parts, version, at_edge, limits, nonce)?;
    let located = lookup.map(|it| it.find(caller, far(), parts)).transpose()?;
    Ok(ReceivedHead { options, located, treating })
}

// === impl AddressLookup ===

impl<'t> AddressLookup<'t> {
    /// What a head says of its sender; none where nobody asks.
    fn of(serving: &'t Serving, origin: &Origin, is_proxied: bool, headers: &HeaderMap) -> Option<Self> {
        let Origin::Gateway { port, .. } = origin else { return None };
        let set = serving.ports.listeners(*port)?;
        if !set.locates_clients() && !is_proxied {
            return None;
        }
        Some(Self { set, headers: set.address_headers().read(headers) })
    }

    /// Finds the sender by what the listener believes that takes the request, whose head has been read since.
    fn find(self, caller: &Caller, far: Option<FarEnd>, parts: &mut Parts) -> Result<Located<'t>, Reason> {
        let host = read_host(parts).map_err(Reason::BadRequest)?;
        // A host that no listener takes is refused where its route is looked for.
        let Some(listener) = self.set.for_host(&host) else { return Ok(Located::default()) };
        drop(host);
        let found = self.find_behind(listener, caller, far, parts)?;
        Ok(Located { listener: Some(listener), found })
    }

    fn find_behind(
        self,
        bound: &BoundListener,
        caller: &Caller,
        far: Option<FarEnd>,
        parts: &mut Parts,
    ) -> Result<Option<Box<Found>>, Reason> {
        // One that is closed is refused where the route is looked for.
        if bound.listener.closed.is_some() {
            return Ok(None);
        }
        let source = &bound.listener.address_source;
        let Some(far) = far else { return Ok(None) };
        let address = address::of_request(source, &far, &self.headers).map_err(|error| match error {
            // Another connection may begin with the header.
            AddressError::NoProxyHeader => Reason::Misdirected,
            AddressError::Malformed => Reason::BadField,
        })?;
        let header = match source {
            AddressSource::Header { name, trusted } => {
                // Who is behind this proxy may believe it: what others say, and what nobody has looked at in another spelling.
                let spellings = if trusted.contains(far.peer) { Spellings::Other } else { Spellings::All };
                remove_spellings(&mut parts.headers, name, spellings);
                Some(name.clone())
            }
            _ => None,
        };
        if header.is_none() && caller.address == Some(address) {
            return Ok(None);
        }
        Ok(Some(Box::new(Found {
            caller: Caller { address: Some(address), ..caller.clone() },
            forwarded_for: HeaderValue::try_from(address.to_string()).ok(),
            peer: (address != far.peer).then_some(far.peer),
            header,
        })))
    }
}

// === impl Sender ===

impl<'c> Sender<'c> {
    /// The client of a connection.
    pub(crate) fn of_connection(client: &'c Rc<Client>) -> Self {
        Self { client, listener: None, found: None }
    }

    /// Reads the head of a request, and finds out who has sent it. Where the header of the PROXY protocol is missing, another connection
    /// is asked for.
    pub(super) fn receive(
        client: &'c Rc<Client>,
        serving: &'c Serving,
        parts: &mut Parts,
        exchange: &mut Exchange,
    ) -> Result<(ConnectionOptions, Self), Stop> {
        let connected = Connected {
            origin: &client.origin,
            version: client.version,
            is_proxied: client.proxy.is_some(),
            caller: &client.caller,
            limits: &client.worker.settings.limits,
        };
        let nonce = || client.worker.rng.borrow_mut().random();
        let received = receive(parts, serving, connected, || client.far(), nonce);
        if let Err(Reason::Misdirected) = received {
            client.connection.tell(Order::Finish);
        }
        let ReceivedHead { options, located, treating } = received?;
        let mut sender = Self::of_connection(client);
        if let Some(Located { listener, found }) = located {
            (sender.listener, sender.found) = (listener, found);
            sender.note(exchange);
        }
        if let Some(treating) = treating
            && let Some(bound) = treating.find_listener(&mut sender.listener, parts)?
        {
            treatment::hold(client, bound, exchange)?;
            treating.treat(bound, client.connection.certificate(), parts)?;
        }
        Ok((options, sender))
    }

    /// For the choice of an endpoint, for policies, and for the log.
    pub(crate) fn caller(&self) -> &Caller {
        self.found.as_ref().map_or(&self.client.caller, |it| &it.caller)
    }

    /// How its listener treats it; none where nobody says so.
    pub(super) fn treatment(&self) -> Option<&'c ClientTreatment> {
        self.listener?.listener.treatment.as_deref()
    }

    /// The header that has the address, where that is a header of its own.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        self.found.as_ref()?.header.as_ref()
    }

    /// The address as a header.
    pub(super) fn forwarded_for(&self) -> Option<&HeaderValue> {
        match &self.found {
            Some(found) => found.forwarded_for.as_ref(),
            None => self.client.forwarded_for.as_ref(),
        }
    }

    /// Notes who it is for the log.
    pub(super) fn note(&self, exchange: &mut Exchange) {
        exchange.comes_from(self.caller().address, self.client.identity.as_ref(), self.peer());
    }

    /// The far end of the connection, where that is not the client.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        match &self.found {
            Some(found) => found.peer,
            None => self.client.proxy.as_deref().copied(),
        }
    }
}

#[cfg(test)]
mod tests;
