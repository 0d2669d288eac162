//! External authorization (GEP-1494): another service says whether a request may pass.
//!
//! The service is asked with the head of the request as it came, before any filter of the route has changed it. Whatever goes
//! wrong on the way to a decision refuses the request: no service, no response, a response that is not understood. A
//! service decides about the request that was routed: it changes neither the route nor the Host.

mod grpc;
mod http;
mod message;

use super::callout::CalloutError;
use super::{
    AsyncStage, Failure, Kept, Position, StageRequest, StageResponse, Verdict, Waiting, is_spelling,
};
use ::http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE,
};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName};
use fairway_config::model::{
    AuthProtocol, BackendKey, BackendTarget, ExternalAuth, InvalidFilter, check_header,
};
use grpc::GrpcService;
use http::HttpService;

#[derive(Debug)]
pub(super) struct ExternalAuthStage {
    target: BackendTarget,
    service: Service,
}

#[derive(Debug)]
enum Service {
    Http(HttpService),
    Grpc(GrpcService),
}

/// What a service has decided.
#[derive(Debug)]
enum Decision {
    /// The request passes, with these changes.
    Allow(Box<Changes>),
    /// The client gets this response.
    Deny(Box<StageResponse>),
}

/// What an authorization service changes of a request that it allows.
#[derive(Debug, Default)]
struct Changes {
    /// Headers that only the service may set: what the client says in them is taken out.
    own: Vec<HeaderName>,
    /// Headers that are taken out.
    remove: Vec<HeaderName>,
    /// Headers that take the place of those of their name.
    set: HeaderMap,
    /// Headers that stand beside those of their name.
    append: HeaderMap,
    /// Headers that the response gets.
    response: HeaderMap,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
enum NoDecision {
    #[error(transparent)]
    Callout(#[from] CalloutError),
    #[error("the service answers with status {0}")]
    Status(::http::StatusCode),
    #[error("the service answers with gRPC status {0}")]
    GrpcStatus(String),
    #[error("the response of the service is not understood: {0}")]
    NotUnderstood(&'static str),
}

/// Headers that describe the service's own response, or that are for the client alone. The backend does not get them.
const OF_RESPONSE: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE];

// === impl ExternalAuthStage ===

impl ExternalAuthStage {
    pub(super) fn new(auth: &ExternalAuth) -> Self {
        let service = match &auth.protocol {
            AuthProtocol::Http { path_prefix, request_headers, response_headers } => Service::Http(
                HttpService::new(path_prefix.as_deref(), request_headers.clone(), response_headers.clone()),
            ),
            AuthProtocol::Grpc { request_headers } => {
                Service::Grpc(GrpcService::new(request_headers.clone()))
            }
        };
        Self { target: auth.target.clone(), service }
    }

    async fn authorize(&self, request: &mut StageRequest<'_, '_>) -> Verdict {
        let BackendTarget::Backend(backend) = &self.target else { return Verdict::Fail(Failure::Unresolved) };
        match self.ask(backend, request).await {
            Ok(Decision::Allow(changes)) => {
                (*changes).apply(request.parts, request.kept);
                Verdict::Continue
            }
            Ok(Decision::Deny(response)) => Verdict::Respond(response),
            Err(error) => {
                tracing::debug!(%backend, %error, "no decision of the authorization service, the request is refused");
                Verdict::Fail(Failure::NotAuthorized)
            }
        }
    }

    async fn ask(
        &self,
        backend: &BackendKey,
        request: &mut StageRequest<'_, '_>,
    ) -> Result<Decision, NoDecision> {
        match &self.service {
            Service::Http(service) => service.ask(backend, request).await,
            Service::Grpc(service) => service.ask(backend, request).await,
        }
    }
}

impl AsyncStage for ExternalAuthStage {
    fn name(&self) -> &'static str {
        "external-auth"
    }

    fn describe(&self) -> String {
        let protocol = match &self.service {
            Service::Http(_) => "HTTP",
            Service::Grpc(_) => "gRPC",
        };
        match &self.target {
            BackendTarget::Backend(key) => format!("asks {key} by {protocol}"),
            BackendTarget::Unresolved(_) => "answers 500: its backend is not resolved".to_owned(),
        }
    }

    fn position(&self) -> Position {
        Position::Authorization
    }

    fn on_request<'a, 't>(&'t self, request: &'a mut StageRequest<'_, 't>) -> Waiting<'a> {
        Box::pin(self.authorize(request))
    }

    fn on_response(&self, response: &mut HeaderMap, kept: &Kept<'_>) {
        // Taken: another stage of this kind in the same list has nothing to add.
        let added = kept.authorized.take();
        for (name, value) in added.iter().flat_map(|headers| headers.iter()) {
            response.append(name, value.clone());
        }
    }
}

// === impl Changes ===

impl Changes {
    fn apply(self, parts: &mut Parts, kept: &mut Kept<'_>) {
        // A route decides the Host, and a connection its own headers: no service changes them.
        let may_change = |name: &&HeaderName| check_header(name).is_ok();
        let owned = self.own.iter().chain(&self.remove).chain(self.set.keys()).filter(may_change);
        let owned: Vec<HeaderName> = owned.cloned().collect();
        owned.iter().for_each(|name| remove_spellings(&mut parts.headers, name));
        // Another service of the same list may have decided of others.
        kept.owned = Some(kept.owned.iter().flat_map(|it| it.iter()).cloned().chain(owned).collect());
        for (name, value) in self.set.iter().chain(&self.append).filter(|(name, _)| may_change(name)) {
            parts.headers.append(name, value.clone());
        }
        if !self.response.is_empty() {
            let added = kept.authorized.get_mut().get_or_insert_default();
            // `extend` would take the place of what another service has said.
            for (name, value) in &self.response {
                added.append(name, value.clone());
            }
        }
    }
}

/// Removes a header in each spelling: to some servers `x_user` is `x-user`.
fn remove_spellings(headers: &mut HeaderMap, name: &HeaderName) {
    headers.remove(name);
    let of = name.as_str().replace('_', "-");
    let others = headers.keys().filter(|other| is_spelling(other.as_str().as_bytes(), of.as_bytes()));
    for other in others.cloned().collect::<Vec<_>>() {
        headers.remove(other);
    }
}

/// The headers of a response for the client, as a service has written them: without those of a connection.
fn for_client(headers: HeaderMap) -> HeaderMap {
    let is_of_connection =
        |name: &HeaderName| matches!(check_header(name), Err(InvalidFilter::ConnectionHeader(_)));
    let mut headers = headers;
    for name in headers.keys().filter(|name| is_of_connection(name)).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers
}
