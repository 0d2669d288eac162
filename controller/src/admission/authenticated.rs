//! A gRPC service whose callers have shown whose they are.

use super::authorization_index::AuthorizationIndex;
use super::reviewer::{ReviewError, Reviewer};
use super::token;
use crate::resources::proxy_pod::AUDIENCE;
use fairway_runtime::transport::TlsPeer;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tracing::{debug, warn};

/// A service that is reached with a token only. Who it is stands in the request's extensions, as
/// [`Reviewed`](super::Reviewed); the token itself goes no further than here.
#[derive(Clone)]
pub struct Authenticated<S> {
    service: S,
    reviewer: Arc<dyn Reviewer>,
    authorization_index: Arc<AuthorizationIndex>,
}

// === impl Authenticated ===

impl<S> Authenticated<S> {
    /// Puts a service behind the review of tokens. What it decides by the authorization index waits until there is one.
    pub fn new(
        service: S,
        reviewer: Arc<dyn Reviewer>,
        authorization_index: Arc<AuthorizationIndex>,
    ) -> Self {
        Self { service, reviewer, authorization_index }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that said it is ready.
        let next = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, next);
        let (reviewer, authorization_index) = (self.reviewer.clone(), self.authorization_index.clone());
        Box::pin(async move {
            let peer = request.extensions().get::<TlsPeer>().cloned();
            let token = bearer(request.headers_mut());
            let reviewed = match token {
                Ok(token) => review(&*reviewer, peer.as_ref().map(TlsPeer::address), &token).await,
                Err(status) => Err(status),
            };
            match reviewed {
                Ok(reviewed) => {
                    if let Some(peer) = peer {
                        peer.has_proven_itself();
                    }
                    authorization_index.filled().await;
                    authorization_index.wait_for_pod(&reviewed.pod.uid).await;
                    request.extensions_mut().insert(Arc::new(reviewed));
                    service.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for Authenticated<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authenticated").field(&self.service).finish()
    }
}

/// Takes the token out of the headers.
fn bearer(headers: &mut HeaderMap) -> Result<String, Status> {
    let missing = || {
        Status::unauthenticated("no token: start the proxy with --token and the file of a projected token")
    };
    let value = headers.remove(AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|it| it.split_once(' ')).ok_or_else(missing)?;
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(token.trim().to_owned()),
        false => Err(missing()),
    }
}

async fn review(
    reviewer: &dyn Reviewer,
    source: Option<IpAddr>,
    token: &str,
) -> Result<super::Reviewed, Status> {
    if let Err(why) = token::check(token, AUDIENCE, SystemTime::now()) {
        debug!(?source, "a caller is rejected: the token cannot be a proxy's: {why}");
        return Err(Status::unauthenticated(format!("the API server would not take the token: {why}")));
    }
    match reviewer.review_from(source, token).await {
        Ok(reviewed) => {
            debug!(?reviewed, "a token was reviewed");
            Ok(reviewed)
        }
        Err(error @ ReviewError::NotReviewed(_)) => {
            warn!("a caller is rejected: {error}");
            Err(Status::unauthenticated(error.to_string()))
        }
        Err(error @ ReviewError::Unavailable(_)) => {
            warn!("{error}");
            Err(Status::unavailable(error.to_string()))
        }
    }
}
