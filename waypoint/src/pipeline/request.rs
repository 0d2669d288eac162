//! A request's way, from its head to the head of the response.

use super::attempts::{Answered, Body, Try, version_for};
use super::endpoint::Destination;
use super::head::{self, ConnectionOptions};
use super::local_reply::{self, ErrorFormat};
use super::mirror::{self, Mirrored};
use super::response::Received;
use super::target::{self, RouteTarget};
use super::{Client, Origin, Reason, forwarding};
use crate::body::{ClientBody, Recording, ResponseBody, Stream};
use crate::listen::detect::Version;
use crate::route::hop::Passed;
use crate::route::{BadRequest, RequestHead, RuleEntry, is_grpc, select};
use crate::stage::{Answer, Failure, FilterContext, FilterOutcome, Forward, ResponseFilters};
use crate::telemetry::Exchange;
use crate::upstream::cluster::Cluster;
use crate::upstream::tls::{Protocol, Unusable};
use crate::worker::Serving;
use fairway_config::model::{BackendTarget, CertificateKey};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use rand::Rng;
use smallvec::SmallVec;
use std::convert::Infallible;
use std::rc::Rc;

/// How a request ends that does not go on to the client as it came from an endpoint.
enum Stop {
    /// The proxy refuses it.
    Refused(Reason),
    /// A filter answers it.
    Filtered(Box<Answer>),
}

/// What was decided of a request.
struct Decision<'t> {
    cluster: &'t Cluster,
    /// What is shown to backends that ask for a certificate.
    shown: Option<&'t CertificateKey>,
    rule: Option<RuleEntry<'t>>,
    mirrors: SmallVec<[&'t BackendTarget; 2]>,
}

/// Serves one request.
pub async fn serve(
    client: Rc<Client>,
    request: Request<ClientBody>,
) -> Result<Response<ResponseBody>, Infallible> {
    let number = client.connection.begin();
    let (mut parts, incoming) = request.into_parts();
    client.is_http10.set(parts.version == http::Version::HTTP_10);
    let mut exchange = Exchange::begin(&client.worker.telemetry, &client.connection, &parts);
    exchange.note(|entry| entry.client = (client.caller.address, client.identity.clone()));
    let serving = client.worker.serving();
    exchange.note(|entry| entry.generation = serving.tables.generation());
    let format = if is_grpc(&parts.headers) { ErrorFormat::Grpc } else { ErrorFormat::Plain };
    // What is done to the response, whoever makes it; in the order they run.
    let mut filters = [ResponseFilters::NONE, ResponseFilters::NONE];
    let answered = async {
        if let Some(refused) = client.connection.sight.refusal(number) {
            return Err(Stop::Refused(Reason::Ambiguous(refused.reason)));
        }
        let at_edge = matches!(client.origin, Origin::Gateway { .. });
        let (limits, nonce) = (&client.worker.settings.limits, || client.worker.rng.borrow_mut().random());
        let options = head::read(&mut parts, client.version, at_edge, limits, nonce)?;
        forwarding::tell(&mut parts.headers, &client);
        let decision = decide(&client, &serving, &mut parts, &mut filters, &mut exchange)?;
        let answered =
            forward(&client, &serving, &decision, &options, parts, incoming, &mut exchange).await?;
        Ok(Received::check(answered, &options).await?)
    };
    match answered.await {
        Ok(received) => Ok(received.pass_on(&client, &filters, exchange)),
        Err(Stop::Refused(reason)) => Ok(local_reply::refuse(&client, reason, format, &filters, exchange)),
        Err(Stop::Filtered(answer)) => Ok(local_reply::filtered(&client, *answer, exchange)),
    }
}

/// Finds the rule and the backend, and runs the filters. Nothing here waits. What is found out of `response` is good for a
/// refusal too.
fn decide<'t>(
    client: &'t Client,
    serving: &'t Serving,
    parts: &mut Parts,
    response: &mut [ResponseFilters<'t>; 2],
    exchange: &mut Exchange,
) -> Result<Decision<'t>, Stop> {
    let head = RequestHead::read(parts).map_err(Reason::BadRequest)?;
    let (table, port, shown) = match target::find(serving, client, &head)? {
        RouteTarget::Rules { table, port, shown } => (table, port, shown),
        RouteTarget::Endpoints(cluster, shown) => {
            return Ok(Decision { cluster, shown, rule: None, mirrors: SmallVec::new() });
        }
    };
    let rule = select(table, &head).ok_or(Reason::NoRoute)?;
    drop(head);
    exchange.note(|entry| entry.route = Some((rule.route().key.clone(), rule.index())));
    let passed = Passed::take(&mut parts.headers, rule.hop())?;

    let rng = &mut *client.worker.rng.borrow_mut();
    let of_rule = rule.filters();
    let [on_backend, on_rule] = response;
    let mut mirrors = SmallVec::new();
    // The chains see the target as it came; without filters nobody looks at it.
    let original = if of_rule.is_empty() { None } else { Some(parts.uri.clone()) };
    if let Some(original) = &original {
        let context = FilterContext { scheme: client.scheme, port, matched: rule.matched(), original };
        mirrors = run(of_rule.run(parts, &context, rng), on_rule)?;
    }
    let backend = rule.choose(rng).ok_or(Reason::NoBackend)?;
    let BackendTarget::Backend(key) = backend.target else {
        return Err(Stop::Refused(Reason::UnresolvedBackend));
    };
    let cluster = serving.tables.cluster(key).ok_or(Reason::UnresolvedBackend)?;
    if !backend.filters.is_empty() {
        let original = original.unwrap_or_else(|| parts.uri.clone());
        let context =
            FilterContext { scheme: client.scheme, port, matched: rule.matched(), original: &original };
        match run(backend.filters.run(parts, &context, rng), on_backend) {
            Ok(more) => mirrors.extend(more),
            // The rule's filters see every response to the client.
            Err(Stop::Filtered(mut answer)) => {
                on_rule.apply(&mut answer.headers);
                return Err(Stop::Filtered(answer));
            }
            Err(stop) => return Err(stop),
        }
    }
    passed.put(&mut parts.headers, rule.hop());
    Ok(Decision { cluster, shown, rule: Some(rule), mirrors })
}

/// What a chain leads to: who gets copies, or the end. What it does to the response is put into `response`.
fn run<'t>(
    outcome: FilterOutcome<'t>,
    response: &mut ResponseFilters<'t>,
) -> Result<SmallVec<[&'t BackendTarget; 2]>, Stop> {
    match outcome {
        FilterOutcome::Continue(Forward { mirrors, response: filters }) => {
            *response = filters;
            Ok(mirrors)
        }
        FilterOutcome::Answer(answer) => Err(Stop::Filtered(answer)),
        FilterOutcome::Fail(failure, filters) => {
            *response = filters;
            Err(Stop::Refused(match failure {
                Failure::Unresolved | Failure::NoUrl => Reason::UnresolvedFilter,
                Failure::NoHost => Reason::BadRequest(BadRequest::NoHost),
            }))
        }
    }
}

/// Carries the decision out.
async fn forward(
    client: &Rc<Client>,
    serving: &Rc<Serving>,
    decision: &Decision<'_>,
    options: &ConnectionOptions,
    parts: Parts,
    incoming: ClientBody,
    exchange: &mut Exchange,
) -> Result<Answered, Stop> {
    let worker = &client.worker;
    let rule = decision.rule.map(|it| it.rule());
    let kind = decision.rule.map(|it| it.route().kind);
    let retry = rule.and_then(|it| it.retry.as_ref());
    let (cluster, version) =
        (decision.cluster, version_for(decision.cluster.protocol(), kind, client.version));
    let body = if incoming.is_end_stream() {
        Body::Empty
    } else {
        let stream = Stream::new(incoming);
        // Both sides of a gRPC stream may be silent: who watches something waits for it.
        let patient =
            (client.version, version) == (Version::Http2, Version::Http2) && head::is_grpc(&parts.headers);
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
        let mirrored =
            Mirrored { worker, serving, caller: &client.caller, parts: &parts, shown, kind, version };
        let recording = if let Body::Recorded(recording) = &body { Some(recording) } else { None };
        mirror::send(&mirrored, &decision.mirrors, recording);
    }
    let timeouts = rule.map(|it| it.timeouts).unwrap_or_default();
    let tls = cluster.tls(decision.shown).map_err(|error| unusable(cluster, &error))?;
    let tries = Try {
        worker,
        serving,
        destination: Destination { cluster, tls, protocol: Protocol::Http(version), caller: &client.caller },
        version,
        options,
        deadline: timeouts.request.map(|limit| exchange.started() + limit),
        each: timeouts.backend_request,
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

    fn size_of_future<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request that is under way holds one, and an open HTTP/1 connection room for one.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let size = size_of_future(serve);
        assert!((1024..=6912).contains(&size), "{size} bytes");
    }
}
