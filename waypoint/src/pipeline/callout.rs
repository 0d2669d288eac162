//! Callouts of stages: requests to other services, sent as any request is, with the endpoints, pools and TLS of their backend.

use super::access::{self, RequestSource};
use super::attempts::version_for;
use super::endpoint::{Destination, choose};
use super::head::{ConnectionOptions, strip_response};
use super::{Client, Reason, outgoing};
use crate::body::RequestBody;
use crate::route::hop::{Hop, Hops};
use crate::stage::callout::{Calling, Callout, CalloutError, CalloutResponse};
use crate::upstream::caller::Caller;
use crate::upstream::tls::Protocol;
use crate::wire::Version;
use crate::worker::Serving;
use bytes::Bytes;
use fairway_config::model::{BackendKey, CertificateKey, RouteKind};
use http::header::TE;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use smallvec::SmallVec;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a callout may take, from the choice of an endpoint to the end of the response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are read of a response's body.
const MOST: usize = 64 * 1024;
/// Endpoints that are tried before a callout fails.
const TRIES: usize = 3;

/// Callouts for one request.
pub(super) struct Callouts<'a> {
    /// By whose connection the request came.
    pub(super) client: &'a Rc<Client>,
    /// Who has sent it.
    pub(super) caller: &'a Caller,
    /// The port that was asked: of the listener or of the Service.
    pub(super) port: u16,
    /// The configuration that the request is served by.
    pub(super) serving: &'a Serving,
    /// The certificate for backends that ask for one.
    pub(super) shown: Option<&'a CertificateKey>,
    /// The rules that the request has passed.
    pub(super) passed: &'a Hops,
    /// The rule that it is at.
    pub(super) hop: &'a Hop,
}

impl Callout for Callouts<'_> {
    fn call<'a>(&'a self, backend: &'a BackendKey, kind: RouteKind, request: Request<Bytes>) -> Calling<'a> {
        Box::pin(async move {
            timeout(TIMEOUT, self.exchange(backend, kind, request))
                .await
                .unwrap_or(Err(CalloutError::TimedOut))
        })
    }
}

impl Callouts<'_> {
    async fn exchange(
        &self,
        backend: &BackendKey,
        kind: RouteKind,
        request: Request<Bytes>,
    ) -> Result<CalloutResponse, CalloutError> {
        // The service may be behind this proxy, and its route ask it in turn.
        self.passed.check(self.hop).map_err(|_| CalloutError::Looped)?;
        let (mut head, body) = request.into_parts();
        self.passed.clone().put(&mut head.headers, self.hop);
        let (worker, caller) = (&self.client.worker, self.caller);
        let tables = &self.serving.tables;
        let cluster = tables.cluster(backend).ok_or(CalloutError::Unusable)?;
        let version = version_for(cluster.protocol(), Some(kind), Version::Http1);
        if version == Version::Http2 {
            // Without a Host it is one all the same.
            head.version = http::Version::HTTP_2;
        }
        let source = RequestSource::from_client(self.client, caller, self.port);
        if !access::admits_copy(worker, tables, cluster, source, &head) {
            return Err(CalloutError::Unusable);
        }
        let tls = cluster.tls(self.shown).map_err(|_| CalloutError::Unusable)?;
        let destination = Destination { cluster, tls, protocol: Protocol::Http(version), caller };
        let options = ConnectionOptions { trailers: head.headers.remove(TE).is_some(), ..Default::default() };
        let mut tried = SmallVec::<[_; TRIES]>::new();
        let mut failure = CalloutError::Unreachable;
        for _ in 0..TRIES {
            let Ok(route) = choose(worker, self.serving, destination, &tried) else { return Err(failure) };
            let endpoint = route.endpoint;
            tried.push(endpoint.clone());
            let _in_flight = endpoint.begin();
            let mut lease = match worker.pool.open_lease(&route, version) {
                Some(lease) => lease,
                None => match worker.pool.new_lease(&route, version).await {
                    Ok(lease) => lease,
                    Err(error) => {
                        tracing::debug!(%backend, endpoint = %endpoint.address(), %error, "no connection");
                        if Reason::from(&error) == Reason::Unreachable {
                            endpoint.record_connect_failure(worker.moment(Instant::now()));
                        }
                        continue;
                    }
                },
            };
            let mut parts = head.clone();
            outgoing::prepare(&mut parts, version, &options, false, endpoint.address(), route.scheme())
                .map_err(|_| CalloutError::Unusable)?;
            let body = match body.is_empty() {
                true => RequestBody::Empty,
                false => RequestBody::Held { chunks: vec![body.clone()], trailers: None },
            };
            let mut sent = Request::from_parts(parts, body);
            outgoing::frame(&mut sent, version, false);
            match lease.send(sent).await {
                Ok(response) => {
                    endpoint.record_response(worker.moment(Instant::now()), None);
                    let read = read(response, version).await?;
                    lease.give_back();
                    return Ok(read);
                }
                // A question may be asked twice. A connection that was idle may have been closed.
                Err(unsent) => {
                    tracing::debug!(%backend, endpoint = %endpoint.address(), error = %unsent.error(), "no answer");
                    if lease.is_reused() {
                        tried.pop();
                    } else {
                        endpoint.record_reset(worker.moment(Instant::now()));
                    }
                    failure = CalloutError::Broken;
                }
            }
        }
        Err(failure)
    }
}

/// Reads a response to its end. What is for its connection only stays here.
async fn read(response: Response<Incoming>, version: Version) -> Result<CalloutResponse, CalloutError> {
    let (mut head, body) = response.into_parts();
    strip_response(&mut head.headers, head.status, version).map_err(|_| CalloutError::Broken)?;
    let whole = Limited::new(body, MOST).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { CalloutError::TooLarge } else { CalloutError::Broken }
    })?;
    let trailers = whole.trailers().cloned().unwrap_or_default();
    Ok(CalloutResponse { status: head.status, headers: head.headers, body: whole.to_bytes(), trailers })
}

impl fmt::Debug for Callouts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callouts").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
