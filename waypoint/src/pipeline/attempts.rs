//! From a chosen backend to the head of a response: endpoint, connection, sending, and trying again.

use super::endpoint::{Destination, choose};
use super::head::{self, ConnectionOptions};
use super::{Reason, outgoing};
use crate::body::{Gate, Interim, Progress, Recording, RequestBody, Stream};
use crate::telemetry::Exchange;
use crate::upstream::connect::Route;
use crate::upstream::{Lease, Taken, Unsent};
use crate::wire::Version;
use crate::worker::{Serving, Worker};
use fairway_balance::{EndpointRecord, InFlight};
use fairway_config::model::{AppProtocol, Retry, RouteKind};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rand::Rng;
use smallvec::SmallVec;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// What is to be tried.
pub struct Try<'a> {
    /// The worker that serves the client; tries run on its thread.
    pub worker: &'a Rc<Worker>,
    /// The configuration that the request was decided by, whatever is committed meanwhile.
    pub serving: &'a Serving,
    /// The backend that was drawn from the rule's weights.
    pub destination: Destination<'a>,
    /// What is spoken to it.
    pub version: Version,
    /// What the client asked for.
    pub options: &'a ConnectionOptions,
    /// When the whole request must be over.
    pub deadline: Option<Instant>,
    /// How long one try may take.
    pub each: Option<Duration>,
    /// When to try again; none if the route does not say.
    pub retry: Option<&'a Retry>,
}

/// The client's body, as often as it can be had.
pub enum Body {
    /// None: as often as wanted.
    Empty,
    /// Only once: none after the try that took it.
    Once(Option<Stream>),
    /// As long as it is remembered.
    Recorded(Recording),
}

/// An endpoint's response, and what it keeps busy until its body ends.
pub struct Answered {
    pub response: Response<Incoming>,
    /// Its connection, which may serve another request once the body was read.
    pub lease: Lease,
    /// Load on the endpoint.
    pub in_flight: InFlight,
    /// The stream behind it, if it switched protocols.
    pub taken: Option<oneshot::Receiver<Taken>>,
    /// When the body must be over.
    pub deadline: Option<Instant>,
}

/// What came of sending a request to an endpoint.
#[expect(
    clippy::large_enum_variant,
    reason = "almost every outcome is the largest; a box would cost an allocation each"
)]
enum Sent {
    Answered {
        response: Response<Incoming>,
        lease: Lease,
        taken: Option<oneshot::Receiver<Taken>>,
    },
    /// The endpoint has not looked at it and is gone: somebody else may have it.
    Left(Box<Parts>),
}

/// Endpoints that are tried beyond the first when they cannot be connected to and the route does not speak of retries.
const ELSEWHERE: u32 = 2;
/// How often a request goes out again that an HTTP/2 endpoint says it has not looked at, unless the route wants no retries
/// (RFC 9113 §8.7).
const REFUSALS: u32 = 3;
/// The shortest pause before a retry, and the one of a route that names none: a backend in trouble is not asked as fast as it fails.
const BACKOFF: Duration = Duration::from_millis(25);
/// The longest pause, unless the route names a longer one.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// No retry begins later than this after the request, if the route has no limit for the whole request.
const RETRYING: Duration = Duration::from_secs(60);

/// What is spoken to a backend (KEP-3726, and for what is not said the kind of the route).
pub fn version_for(protocol: AppProtocol, kind: Option<RouteKind>, client: Version) -> Version {
    match (protocol, kind) {
        // What the application secures itself is bytes to all but the routes, whose kind says what is inside.
        (AppProtocol::Http2, _) | (AppProtocol::Unspecified | AppProtocol::Tcp, Some(RouteKind::Grpc)) => {
            Version::Http2
        }
        (AppProtocol::Unspecified, None) => client,
        _ => Version::Http1,
    }
}

impl Try<'_> {
    /// Tries until there is an answer worth giving, or no more tries.
    pub async fn run(
        self,
        parts: Parts,
        mut body: Body,
        exchange: &mut Exchange,
    ) -> Result<Answered, Reason> {
        let mut left = self.retry.map_or(0, |it| it.attempts.min(Retry::MOST_ATTEMPTS));
        let idempotent = parts.method.is_idempotent();
        let mut tried: SmallVec<[Arc<EndpointRecord>; 4]> = SmallVec::new();
        let mut next = Some(parts);
        let mut number = 0;
        loop {
            let Some(parts) = next.take() else { return Err(Reason::Broken) };
            if left > 0 {
                next = Some(parts.clone());
            }
            let outcome = self.once(parts, &mut body, &mut tried, exchange).await;
            let again = left > 0 && self.is_retried(&outcome, idempotent) && body.can_be_read();
            let pause = again.then(|| self.pause(number));
            let in_time = |pause: &Duration| {
                self.deadline.is_some() || exchange.started().elapsed().saturating_add(*pause) <= RETRYING
            };
            let Some(pause) = pause.filter(in_time) else {
                body.stop_remembering();
                return outcome;
            };
            let left_for_all = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left_for_all.is_some_and(|it| it <= pause) {
                return Err(Reason::RequestTimeout);
            }
            left -= 1;
            number += 1;
            self.worker.telemetry.counters.retries.increment();
            exchange.note(|entry| entry.retries += 1);
            drop(outcome);
            sleep(pause).await;
        }
    }

    /// Whether the route says `attempts: 0`: then nothing that was sent is sent once more, for whatever reason.
    fn forbids_retries(&self) -> bool {
        self.retry.is_some_and(|it| it.attempts == 0)
    }

    /// What the endpoint has certainly not processed may always be tried again. What was sent and not answered, only if
    /// doing it twice is doing it once (RFC 9110 §9.2.2): GEP-1731 leaves that to us. A try that has timed out was sent and not
    /// answered, and is the 504 too that it would be answered with.
    fn is_retried(&self, outcome: &Result<Answered, Reason>, idempotent: bool) -> bool {
        let Some(retry) = self.retry else { return false };
        match outcome {
            Ok(answered) => retry.codes.contains(&answered.response.status()),
            Err(Reason::Unreachable | Reason::Tls | Reason::Refused) => retry.connection_errors,
            Err(Reason::Broken) => retry.connection_errors && idempotent,
            Err(Reason::TryTimeout) => idempotent || retry.codes.contains(&StatusCode::GATEWAY_TIMEOUT),
            Err(_) => false,
        }
    }

    fn has_another(&self, tried: &[Arc<EndpointRecord>]) -> bool {
        let way = self.serving.tables.way_to(self.destination.cluster, &self.worker.waypoint_key);
        way.is_some_and(|(from, _)| {
            from.candidates(self.destination.caller)
                .iter()
                .any(|it| !tried.iter().any(|tried| Arc::ptr_eq(it, tried)))
        })
    }

    /// The pause before the retry with this number, from 0. Grows with each and is never shorter than the route says; the jitter keeps
    /// clients from coming back together.
    fn pause(&self, number: u32) -> Duration {
        let base = self.retry.and_then(|it| it.backoff).unwrap_or(BACKOFF).max(BACKOFF);
        let grown = base.saturating_mul(1 << number.min(16)).min(LONGEST_BACKOFF.max(base));
        grown.saturating_add(grown.mul_f64(self.worker.rng.borrow_mut().random_range(0.0..0.5)))
    }

    /// One try, within its time limits.
    async fn once(
        &self,
        parts: Parts,
        body: &mut Body,
        tried: &mut SmallVec<[Arc<EndpointRecord>; 4]>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Reason> {
        let of_try = self.each.map(|each| Instant::now() + each);
        let deadline = [self.deadline, of_try].into_iter().flatten().min();
        let trying = pin!(self.send(parts, body, tried, exchange));
        let mut outcome = match deadline {
            None => trying.await,
            Some(at) => timeout_at(at, trying).await.unwrap_or(Err(if self.deadline == Some(at) {
                Reason::RequestTimeout
            } else {
                Reason::TryTimeout
            })),
        };
        if let Ok(answered) = &mut outcome {
            answered.deadline = deadline;
        }
        outcome
    }

    async fn send(
        &self,
        mut parts: Parts,
        body: &mut Body,
        tried: &mut SmallVec<[Arc<EndpointRecord>; 4]>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Reason> {
        // A route that says nothing of retries leaves it to us: a request of which nothing was sent goes elsewhere.
        let mut elsewhere = if self.retry.is_none() { ELSEWHERE } else { 0 };
        let mut refusals = if self.forbids_retries() { 0 } else { REFUSALS };
        loop {
            let (route, in_flight, lease) = loop {
                let route = choose(self.worker, self.serving, self.destination, tried)?;
                let endpoint = route.endpoint;
                tried.push(endpoint.clone());
                exchange.note(|it| {
                    it.endpoint = Some(endpoint.address());
                    it.endpoint_identity = endpoint.identity().cloned();
                });
                let in_flight = endpoint.begin();
                if let Some(open) = self.worker.pool.open_lease(&route, self.version) {
                    break (route, in_flight, open);
                }
                match self.connect(&route).await {
                    Ok(made) => break (route, in_flight, made),
                    Err(Reason::Unreachable) if elsewhere > 0 && self.has_another(tried) => elsewhere -= 1,
                    Err(reason) => return Err(reason),
                }
            };
            match self.exchange_with(&route, lease, parts, body, &mut refusals).await? {
                Sent::Answered { response, lease, taken } => {
                    return Ok(Answered { response, lease, in_flight, taken, deadline: None });
                }
                // It has not looked at the request, and takes no connection any more.
                Sent::Left(same) if self.has_another(tried) => parts = *same,
                Sent::Left(_) => return Err(Reason::Unreachable),
            }
        }
    }

    /// Sends the request to an endpoint, over a connection that is there or over new ones, until it was looked at.
    async fn exchange_with(
        &self,
        route: &Route<'_>,
        lease: Lease,
        mut parts: Parts,
        body: &mut Body,
        refusals: &mut u32,
    ) -> Result<Sent, Reason> {
        let endpoint = route.endpoint;
        let announce = self.options.continue_ && self.version == Version::Http1 && !body.is_empty();
        outgoing::prepare(
            &mut parts,
            self.version,
            self.options,
            announce,
            endpoint.address(),
            route.scheme(),
        )?;
        let mut lease = Some(lease);
        let mut was_refused = false;
        loop {
            let mut held = match lease.take() {
                Some(held) => held,
                None => match self.connect(route).await {
                    Ok(made) => made,
                    Err(Reason::Unreachable) if was_refused => return Ok(Sent::Left(Box::new(parts))),
                    Err(reason) => return Err(reason),
                },
            };
            // The endpoint may have closed a connection that was idle without our knowing, or be about to (GOAWAY), or allow
            // fewer streams than we know of. What it has not acted upon, or cannot have acted upon twice, is then sent once
            // more (RFC 9110 §9.2.2, RFC 9113 §8.7).
            let (idempotent, reused) = (parts.method.is_idempotent(), held.is_reused());
            let may_resend = reused && body.is_empty() && idempotent && !self.forbids_retries();
            let may_spare = match self.version {
                Version::Http1 => may_resend,
                Version::Http2 => *refusals > 0 && body.can_be_read() || may_resend,
            };
            let spare = may_spare.then(|| parts.clone());
            let mut request = Request::from_parts(parts, RequestBody::Empty);
            let progress = {
                let (interim, timeout) =
                    (self.options.interim.as_ref(), self.worker.settings.timeouts.continue_);
                body.put_into(
                    &mut request,
                    announce,
                    timeout,
                    interim.filter(|_| self.version == Version::Http1),
                )?
            };
            outgoing::frame(&mut request, self.version, self.options.will_trail);
            let taken = self.options.upgrade.and_then(|_| held.ask_for_stream());
            let sent = Instant::now();
            let mut unsent = match held.send(request).await {
                Ok(response) => {
                    let now = Instant::now();
                    // The first answer on a connection is slow for reasons that have passed.
                    let tells = reused && !response.status().is_server_error();
                    let latency = tells.then(|| now.duration_since(sent));
                    endpoint.record_response(self.worker.moment(now), latency);
                    return Ok(Sent::Answered { response, lease: held, taken });
                }
                Err(unsent) => unsent,
            };
            let is_unsent = match unsent.take_message() {
                Some(request) => {
                    let (same, unread) = request.into_parts();
                    body.take_back(unread);
                    if reused {
                        parts = same;
                        continue;
                    }
                    true
                }
                None => false,
            };
            let mut reason = blame(&unsent, progress.as_deref());
            if is_unsent && reason == Reason::Broken {
                // A new connection that ended before anything was sent is no better than none, for every method.
                endpoint.record_reset(self.worker.moment(Instant::now()));
                reason = Reason::Unreachable;
            }
            match spare {
                Some(same) if reason == Reason::Refused && *refusals > 0 && body.can_be_read() => {
                    *refusals -= 1;
                    self.worker.telemetry.counters.retries.increment();
                    drop(held);
                    if was_refused {
                        sleep(BACKOFF).await;
                    }
                    was_refused = true;
                    lease = self.worker.pool.open_lease(route, self.version);
                    parts = same;
                }
                Some(same) if may_resend && is_closed(&unsent) => parts = same,
                _ => {
                    if reason == Reason::Broken {
                        endpoint.record_reset(self.worker.moment(Instant::now()));
                    }
                    return Err(reason);
                }
            }
        }
    }

    async fn connect(&self, route: &Route<'_>) -> Result<Lease, Reason> {
        let counters = &self.worker.telemetry.counters;
        counters.upstream_connects.increment();
        // Boxed: rare, and its state would be in every request.
        let connected = Box::pin(self.worker.pool.new_lease(route, self.version)).await;
        connected.map_err(|error| {
            counters.upstream_connect_failures.increment();
            tracing::debug!(endpoint = %route.endpoint.address(), %error, "no connection");
            let reason = Reason::from(&error);
            if reason == Reason::Unreachable {
                route.endpoint.record_connect_failure(self.worker.moment(Instant::now()));
            }
            reason
        })
    }
}

// === impl Body ===

impl Body {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether it can be sent (once more).
    fn can_be_read(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(stream) => stream.is_some(),
            Self::Recorded(recording) => recording.is_readable(),
        }
    }

    /// It is not sent again.
    fn stop_remembering(&self) {
        if let Self::Recorded(recording) = self {
            recording.stop_remembering();
        }
    }

    /// Makes it the request's.
    fn put_into(
        &mut self,
        request: &mut Request<RequestBody>,
        announced: bool,
        timeout: Duration,
        interim: Option<&Interim>,
    ) -> Result<Option<Rc<Progress>>, Reason> {
        let (gate, opening) = announced.then(|| Gate::new(timeout)).unzip();
        if opening.is_some() || interim.is_some() {
            let interim = interim.cloned();
            hyper::ext::on_informational(request, move |response| {
                match (response.status(), &opening, &interim) {
                    (StatusCode::CONTINUE, Some(opening), _) => opening.open(),
                    // What HTTP/1 clients are not told, whose stack has no room for it.
                    (StatusCode::EARLY_HINTS, _, Some(interim)) => {
                        let mut headers = response.headers().clone();
                        head::strip_connection(&mut headers);
                        interim.say(StatusCode::EARLY_HINTS, headers);
                    }
                    _ => {}
                }
            });
        }
        match self {
            Self::Empty => Ok(None),
            Self::Once(stream) => {
                let mut stream = stream.take().ok_or(Reason::Broken)?;
                stream.close_behind(gate);
                let progress = stream.progress();
                *request.body_mut() = RequestBody::Stream(stream);
                Ok(Some(progress))
            }
            Self::Recorded(recording) => {
                recording.close_behind(gate);
                *request.body_mut() = RequestBody::Recorded(recording.read().ok_or(Reason::Broken)?);
                Ok(Some(recording.progress()))
            }
        }
    }

    /// Takes back what was not sent.
    fn take_back(&mut self, unread: RequestBody) {
        if let (Self::Once(place), RequestBody::Stream(stream)) = (self, unread) {
            *place = Some(stream);
        }
    }
}

/// Whether the endpoint closed the connection without an answer.
fn is_closed(unsent: &Unsent) -> bool {
    let error = unsent.error();
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || io_error(error).is_some()
}

/// Whose fault it is.
fn blame(unsent: &Unsent, progress: Option<&Progress>) -> Reason {
    let error = unsent.error();
    tracing::debug!(error = %error, "no answer");
    if progress.is_some_and(Progress::is_given_up) {
        Reason::SlowBody
    } else if progress.is_some_and(Progress::is_too_large) {
        Reason::BodyTooLarge
    } else if progress.is_some_and(Progress::broken) {
        Reason::BadBody
    } else if io_error(error).and_then(|it| it.get_ref()).is_some_and(|it| it.is::<rustls::Error>()) {
        // In TLS 1.3 an endpoint refuses a client's certificate only when the session is there.
        Reason::Tls
    } else if h2_error(error).is_some_and(is_refused) {
        Reason::Refused
    } else if error.is_parse() || h2_error(error).is_some_and(|it| it.is_library()) {
        Reason::Protocol
    } else {
        Reason::Broken
    }
}

/// Whether the endpoint says that it has not looked at the request (RFC 9113 §8.7): a stream it refused, or one above the
/// last that a GOAWAY leaves open.
fn is_refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn io_error(error: &hyper::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_says_what_is_spoken_and_else_the_route_and_else_the_client() {
        use AppProtocol::{Http1, Http2, Tcp, Unspecified};
        for (protocol, kind, client, expected) in [
            (Http2, Some(RouteKind::Http), Version::Http1, Version::Http2),
            (Http1, Some(RouteKind::Grpc), Version::Http2, Version::Http1),
            (Unspecified, Some(RouteKind::Http), Version::Http2, Version::Http1),
            (Unspecified, Some(RouteKind::Grpc), Version::Http1, Version::Http2),
            (Tcp, Some(RouteKind::Grpc), Version::Http2, Version::Http2),
            (Tcp, Some(RouteKind::Http), Version::Http2, Version::Http1),
            (Unspecified, None, Version::Http2, Version::Http2),
            (Unspecified, None, Version::Http1, Version::Http1),
        ] {
            assert_eq!(version_for(protocol, kind, client), expected, "{protocol:?} {kind:?} {client:?}");
        }
    }
}
