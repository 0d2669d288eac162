//! What a stage may know of a request beside its head.

use fairway_config::model::{Match, Route, Scheme, ServiceKey, SpiffeId};
use std::net::IpAddr;
use tokio::time::Instant;

/// The rule that a request has come to.
#[derive(Clone, Copy, Debug)]
pub struct MatchedRule<'r> {
    /// The route that it is a rule of.
    pub route: &'r Route,
    /// Its place in the route, from 0.
    pub index: usize,
    /// The alternative that matched: its prefix is what `ReplacePrefixMatch` replaces.
    pub matched: &'r Match,
}

/// What is known of a request beside its head. Comments name the attribute of GEP-5253 where there is one.
#[derive(Clone, Copy, Debug)]
pub struct RequestAttributes<'r> {
    /// The client's address as far as it is known (`client.address`).
    pub client_address: Option<IpAddr>,
    /// The identity that the client has proved, through a tunnel of the mesh.
    pub peer: Option<&'r SpiffeId>,
    /// How the request came in (`url.scheme`).
    pub scheme: Scheme,
    /// The listener's port; for a route of a Service, the Service's port (`server.port`).
    pub port: u16,
    /// The Service that was dialled; none at a Gateway.
    pub service: Option<&'r ServiceKey>,
    /// The rule that matched; none before a route is matched, for the filters of a listener.
    pub rule: Option<MatchedRule<'r>>,
    /// When the request's head was there.
    pub started: Instant,
    /// When the whole request must be over; none if the rule has no limit.
    pub deadline: Option<Instant>,
}
