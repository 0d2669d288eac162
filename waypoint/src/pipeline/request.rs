//! The path of a request, from its head to the head of the response.

use super::ResponseBody;
use super::access::{PolicyCheck, PolicySet, RequestSource};
use super::attempts::{Answered, Body, Try, version_for};
use super::callout::Callouts;
use super::endpoint::Destination;
use super::guards::Guards;
use super::head::{self, ConnectionOptions};
use super::listener_filters::{self, Entrance};
use super::local_reply::{self, ErrorFormat};
use super::mirror::{self, Mirrored};
use super::response::Received;
use super::sender::{AddressLookup, Sender};
use super::stage_chain::{StageChain, StageContext};
use super::target::{RouteTarget, find_target};
use super::{Client, Origin, Reason, forwarding};
use crate::body::{ClientBody, Interim, Recording, Stream};
use crate::connection::Order;
use crate::route::hop::Passed;
use crate::route::{RequestHead, RuleEntry, is_grpc, select};
use crate::stage::{MatchedRule, Mirrors, RequestAttributes, StageResponse};
use crate::telemetry::Exchange;
use crate::upstream::cluster::Cluster;
use crate::upstream::tls::{Protocol, Unusable};
use crate::wire::Version;
use crate::worker::Serving;
use fairway_config::model::{BackendTarget, CertificateKey};
use fairway_telemetry::Trust;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use rand::Rng;
use std::rc::Rc;
use tokio::time::Instant;

/// The client gets no response: a stage closes its connection (HTTP/1) or stream (HTTP/2).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a stage closes the connection")]
pub struct Closed;

/// How a request ends that gets no response of an endpoint.
#[derive(Debug)]
pub(super) enum Stop {
    /// The proxy refuses it.
    Refused(Reason),
    /// A stage responds, so that no endpoint is asked.
    Responded(Box<StageResponse>),
    /// A stage closes the connection.
    Closed,
}

/// Where a request goes.
struct Decision<'t> {
    cluster: &'t Cluster,
    /// The port that was asked: of the listener or of the Service.
    port: u16,
    /// The certificate for backends that ask for one.
    shown: Option<&'t CertificateKey>,
    /// The rule that matched; none where no route is for the Service that was dialled.
    rule: Option<RuleEntry<'t>>,
    /// When the whole request must be over.
    deadline: Option<Instant>,
    mirrors: Mirrors<'t>,
}

/// Serves one request up to the head of its response. It fails only if a stage closes the connection. `interim` is where responses
/// before that go, if the client can be told of them.
pub async fn serve(
    client: Rc<Client>,
    request: Request<ClientBody>,
    interim: Option<Interim>,
) -> Result<Response<ResponseBody>, Closed> {
    let number = client.connection.begin();
    let (mut parts, incoming) = request.into_parts();
    client.is_http10.set(parts.version == http::Version::HTTP_10);
    let mut exchange = Exchange::begin(&client.worker.telemetry, &client.connection, &parts);
    let serving = client.worker.serving();
    Sender::of_connection(&client).note(&mut exchange);
    exchange.note(|it| it.generation = serving.tables.generation());
    let format = if is_grpc(&parts.headers) { ErrorFormat::Grpc } else { ErrorFormat::Plain };
    if format == ErrorFormat::Grpc {
        exchange.speaks_grpc();
    }
    let mut chain = StageChain::default();

    let outcome = async {
        // The head: what it may not be, and what of it is for this proxy only.
        if let Some(refused) = client.connection.wire_state.refusal(number) {
            return Err(Stop::Refused(Reason::Ambiguous(refused.reason)));
        }
        let (options, sender) = read_head(&client, &serving, &mut parts, interim, &mut exchange)?;
        forwarding::tell(&mut parts.headers, &client.origin, client.scheme, sender.forwarded_for());
        // Who proved an identity of the mesh is believed what the request's id is.
        let trust = if client.identity.is_some() { Trust::Keep } else { Trust::Replace };
        exchange.identify(&mut parts.headers, trust);
        // Listener or Service, route, stages, backend, stages of the backend.
        let decision = decide(&sender, &serving, &mut parts, &mut chain, &mut exchange).await?;
        // Endpoint, and its response.
        let answered = forward(
            &sender,
            &serving,
            &decision,
            &chain,
            &options,
            Request::from_parts(parts, incoming),
            &mut exchange,
        )
        .await?;
        Ok(Received::check(answered, &options).await?)
    };
    let (mut response, refused) = match outcome.await {
        Ok(received) => (received.pass_on(&client, exchange), None),
        Err(Stop::Responded(response)) => (local_reply::respond(&client, *response, exchange), None),
        Err(Stop::Refused(reason)) => (local_reply::refuse(&client, reason, format, exchange), Some(reason)),
        Err(Stop::Closed) => {
            exchange.closed();
            return Err(Closed);
        }
    };
    // Every response passes the stages that its request has come to, whoever made it: a browser that is not told of CORS
    // beside an error would show a CORS failure in place of the error.
    chain.on_response(response.headers_mut());
    if let Some(Reason::Unauthenticated) = refused {
        chain.authenticated.challenge(response.headers_mut());
    }
    if let (Some(reason), ErrorFormat::Grpc) = (refused, format) {
        local_reply::seal_grpc(response.headers_mut(), reason);
    }
    Ok(response)
}

/// What the head asks of this proxy, and who has sent it. What it says of its sender is taken out of it.
fn read_head<'c>(
    client: &'c Rc<Client>,
    serving: &'c Serving,
    parts: &mut Parts,
    interim: Option<Interim>,
    exchange: &mut Exchange,
) -> Result<(ConnectionOptions, Sender<'c>), Reason> {
    let at_edge = matches!(client.origin, Origin::Gateway { .. });
    let (limits, nonce) = (&client.worker.settings.limits, || client.worker.rng.borrow_mut().random());
    let is_proxied = client.proxy.is_some();
    let lookup = AddressLookup::of(serving, &client.origin, is_proxied, &parts.headers);
    let mut options = head::read(parts, client.version, at_edge, limits, nonce)?;
    options.interim = interim;
    let mut sender = Sender::of_connection(client);
    if let Some(lookup) = lookup {
        sender.find(lookup, parts)?;
        sender.note(exchange);
    }
    Ok((options, sender))
}

/// Finds the rule, runs the stages and chooses the backend. The stages that have seen the request are in `chain`, also
/// when it is refused. Waits for asynchronous stages and for nothing else.
async fn decide<'t>(
    sender: &Sender<'t>,
    serving: &'t Serving,
    parts: &mut Parts,
    chain: &mut StageChain<'t>,
    exchange: &mut Exchange,
) -> Result<Decision<'t>, Stop> {
    let (client, caller) = (sender.client, sender.caller());
    let mut head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
    let (tables, own) = (&serving.tables, &client.worker.waypoint_key);
    let entry = |listener| PolicySet::at_entry(tables, &client.origin, listener, own);
    if let Origin::Service(origin) = &client.origin {
        exchange.note(|it| it.backend = Some(origin.backend.clone()));
    }
    let (table, listener, port, shown, has_filters) =
        match find_target(serving, &client.origin, &head.host, sender.listener)? {
            RouteTarget::Rules { table, listener, filters, port, shown } => {
                exchange.note(|it| it.listener = listener.map(|it| it.key.clone()));
                if let Some(filters) = filters {
                    drop(head);
                    let policies = entry(listener);
                    let entrance = Entrance { client, caller, serving, port, shown, policies };
                    // Boxed: only the requests that meet filters have room for their state.
                    Box::pin(listener_filters::pass(filters, entrance, parts, chain, exchange)).await?;
                    // A target that cannot be read any more is their fault, and not the client's.
                    head = RequestHead::read(parts).map_err(|_| Reason::UnresolvedFilter)?;
                }
                (table, listener, port, shown, filters.is_some())
            }
            RouteTarget::Endpoints { cluster, port, shown, is_departed } => {
                let (policies, source) = (entry(None), RequestSource::from_client(client, caller, port));
                if !policies.is_open() {
                    PolicyCheck::new(&client.worker, tables, policies, source, exchange)
                        .pass(parts, &mut chain.authenticated)
                        .await?;
                }
                if is_departed {
                    // Nobody is sent here for it any more: this client shall find the other way.
                    client.connection.tell(Order::Finish);
                }
                if let Some(series) = cluster.series() {
                    exchange.matched(series);
                }
                let mirrors = Mirrors::new();
                return Ok(Decision { cluster, port, shown, rule: None, deadline: None, mirrors });
            }
        };
    // The one place where a route is matched: nothing that a stage of a rule changes leads to another.
    let selected = select(table, &head).map_err(Reason::from).and_then(|it| it.ok_or(Reason::NoRoute));
    let rule = match selected {
        Ok(rule) => rule,
        Err(reason) => {
            drop(head);
            // Who may not ask for anything here is not told which paths there are, nor what was wrong with the request.
            let (policies, source) = (entry(listener), RequestSource::from_client(client, caller, port));
            if !policies.is_open() {
                PolicyCheck::new(&client.worker, tables, policies, source, exchange)
                    .behind_filters(has_filters)
                    .pass(parts, &mut chain.authenticated)
                    .await?;
            }
            return Err(reason.into());
        }
    };
    drop(head);
    let deadline = rule.rule().timeouts.request.map(|limit| exchange.started() + limit);

    // Taken before the stages, so that none of them can take out or forge a mark.
    let passed = Passed::take(&mut parts.headers);
    let (stages, rng) = (rule.stages(), &client.worker.rng);
    let policies = PolicySet { rule: Guards::Rule(rule.rule()), ..entry(listener) };
    let attributes = RequestAttributes {
        client_address: caller.address,
        peer: client.identity.as_ref(),
        scheme: client.scheme,
        port,
        service: caller.service.as_ref(),
        rule: Some(MatchedRule { route: rule.route(), index: rule.index(), matched: rule.matched() }),
        started: exchange.started(),
        deadline,
    };
    // Where there are no stages nobody looks at the target as it came.
    let original = if stages.is_empty() { None } else { Some(parts.uri.clone()) };
    let callouts = Callouts { client, caller, port, serving, shown, passed: &passed, hop: rule.hop() };
    let context = StageContext { attributes: &attributes, rng, callout: &callouts };
    if original.is_some() && stages.may_wait() {
        // The client may leave meanwhile.
        exchange.matched(rule.series());
    }
    let check = if policies.is_open() {
        None
    } else {
        let source = RequestSource::from_client(client, caller, port);
        let check = PolicyCheck::new(&client.worker, tables, policies, source, exchange);
        Some(check.behind_filters(has_filters))
    };
    let passing = match (&original, check) {
        (Some(original), check) => chain.pass(stages, parts, original, &context, check).await,
        (None, Some(mut check)) => check.pass(parts, &mut chain.authenticated).await.map_err(Stop::from),
        (None, None) => Ok(()),
    };
    let chosen = passing.and_then(|()| {
        passed.check(rule.hop()).map_err(|_| Reason::Loop)?;
        Ok(rule.choose(&mut *rng.borrow_mut()).ok_or(Reason::NoBackend)?)
    });
    // Without a backend the request counts as the rule's own. A series that is not needed is not used: there is a limit.
    let backend = chosen.inspect_err(|_| exchange.matched(rule.series()))?;
    exchange.matched(backend.series);
    if let Some(stages) = backend.stages {
        let original = original.unwrap_or_else(|| parts.uri.clone());
        chain.pass(stages, parts, &original, &context, None).await?;
    }
    let BackendTarget::Backend(key) = backend.target else {
        return Err(Stop::Refused(Reason::UnresolvedBackend));
    };
    let cluster = serving.tables.cluster(key).ok_or(Reason::UnresolvedBackend)?;
    // What is routed to another backend than the one that was asked is judged by that one's policies as well.
    let policies = PolicySet::of_backend(cluster, own);
    if !policies.is_open() && client.origin.asked() != Some(cluster.key()) {
        let source =
            RequestSource::from_client(client, caller, port).routed_to(cluster, &client.worker.settings);
        PolicyCheck::new(&client.worker, tables, policies, source, exchange)
            .pass(parts, &mut chain.authenticated)
            .await?;
    }
    passed.put(&mut parts.headers, rule.hop());
    let mirrors = std::mem::take(&mut chain.mirrors);
    Ok(Decision { cluster, port, shown, rule: Some(rule), deadline: attributes.deadline, mirrors })
}

/// Sends the request to an endpoint of the backend, and its copies to the mirrors.
async fn forward(
    sender: &Sender<'_>,
    serving: &Rc<Serving>,
    decision: &Decision<'_>,
    chain: &StageChain<'_>,
    options: &ConnectionOptions,
    request: Request<ClientBody>,
    exchange: &mut Exchange,
) -> Result<Answered, Stop> {
    let (client, caller) = (sender.client, sender.caller());
    let (parts, incoming) = request.into_parts();
    let worker = &client.worker;
    let rule = decision.rule.map(|it| it.rule());
    let kind = decision.rule.map(|it| it.route().kind);
    let retry = rule.and_then(|it| it.retry.as_ref());
    let (cluster, version) =
        (decision.cluster, version_for(decision.cluster.protocol(), kind, client.version));
    let body = if incoming.is_end_stream() {
        Body::Empty
    } else {
        let at_edge = matches!(client.origin, Origin::Gateway { .. });
        let stream = Stream::new(incoming, at_edge, chain.owned(sender.header()));
        // Both sides of a gRPC stream may be silent: who watches something waits for it.
        let patient =
            (client.version, version) == (Version::Http2, Version::Http2) && is_grpc(&parts.headers);
        exchange.receives(stream.progress(), patient);
        let may_be_tried_again = retry.is_some_and(|it| it.attempts > 0) || version == Version::Http2;
        if may_be_tried_again || !decision.mirrors.is_empty() {
            Body::Recorded(Recording::new(stream, worker.settings.limits.replay_bytes))
        } else {
            Body::Once(Some(stream))
        }
    };
    if let (Some(kind), false) = (kind, decision.mirrors.is_empty()) {
        let (shown, version) = (decision.shown, client.version);
        let source = RequestSource::from_client(client, caller, decision.port);
        let mirrored =
            Mirrored { worker, serving, caller, source, parts: &parts, shown, kind, version, options };
        let recording = if let Body::Recorded(recording) = &body { Some(recording) } else { None };
        mirror::send(&mirrored, &decision.mirrors, recording);
    }
    let backend_request = rule.and_then(|it| it.timeouts.backend_request);
    let tls = cluster.tls(decision.shown).map_err(|error| unusable(cluster, &error))?;
    let tries = Try {
        worker,
        serving,
        destination: Destination { cluster, tls, protocol: Protocol::Http(version), caller },
        version,
        options,
        deadline: decision.deadline,
        each: backend_request,
        retry,
    };
    Ok(tries.run(parts, body, exchange).await?)
}

fn unusable(cluster: &Cluster, error: &Unusable) -> Reason {
    tracing::debug!(backend = %cluster.key(), %error, "nothing is sent");
    Reason::TlsPolicy
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request that is under way holds one, and an open HTTP/1 connection room for one.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let size = size_of_future(serve);
        assert!((1024..=7128).contains(&size), "{size} bytes");
    }
}
