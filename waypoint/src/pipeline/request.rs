//! The path of a request, from its head to the head of the response.

use super::ResponseBody;
use super::access::RequestSource;
use super::attempts::{Answered, Body, Try, version_for};
use super::decide::{Decision, Stop, decide};
use super::endpoint::Destination;
use super::head::ConnectionOptions;
use super::local_reply::{self, ErrorFormat};
use super::mirror::{self, Mirrored};
use super::response::Received;
use super::sender::Sender;
use super::stage_chain::StageChain;
use super::treatment;
use super::{Client, Origin, Reason};
use crate::body::{ClientBody, Interim, Recording, Stream};
use crate::route::is_grpc;
use crate::telemetry::Exchange;
use crate::upstream::cluster::Cluster;
use crate::upstream::tls::{Protocol, Unusable};
use crate::wire::Version;
use crate::worker::Serving;
use fairway_config::model::Underscores;
use http::{Request, Response};
use http_body::Body as _;
use std::rc::Rc;

/// The client gets no response: a stage closes its connection (HTTP/1) or stream (HTTP/2).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a stage closes the connection")]
pub struct Closed;

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
        let (mut options, sender) = Sender::receive(&client, &serving, &mut parts, &mut exchange)?;
        options.interim = interim;
        treatment::identify(&sender, &mut parts, &mut exchange);
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
    let most = sender.treatment().and_then(|it| it.limits.body_bytes);
    if most.is_some_and(|most| incoming.size_hint().lower() > most) {
        return Err(Reason::BodyTooLarge.into());
    }
    let (cluster, version) =
        (decision.cluster, version_for(decision.cluster.protocol(), kind, client.version));
    let body = if incoming.is_end_stream() {
        Body::Empty
    } else {
        let at_edge = matches!(client.origin, Origin::Gateway { .. });
        let no_underscores = sender.treatment().is_some_and(|it| it.underscores != Underscores::Keep);
        let owned = chain.owned(sender.header()).with_underscored(no_underscores);
        let stream = Stream::new(incoming, at_edge, owned).limited_to(most);
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
