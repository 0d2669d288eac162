//! The stages that a request has come to: they see the request on its way in, and the response on its way out.

use super::Reason;
use super::request::Stop;
use crate::route::BadRequest;
use crate::stage::callout::Callout;
use crate::stage::{Failure, Kept, Mirrors, RequestAttributes, StageList, StageRequest, Verdict};
use http::request::Parts;
use http::{HeaderMap, Uri};
use rand::rngs::SmallRng;
use std::cell::RefCell;
use tokio::time::{Instant, timeout_at};

/// The stages that a request has come to, and what they keep of it.
#[derive(Debug, Default)]
pub(super) struct Passage<'t> {
    /// Who gets a copy of the request.
    pub(super) mirrors: Mirrors<'t>,
    rule: Option<(&'t StageList, Kept<'t>)>,
    backend: Option<(&'t StageList, Kept<'t>)>,
}

/// What stages have of a request beside its head.
pub(super) struct Surroundings<'r> {
    pub(super) attributes: &'r RequestAttributes<'r>,
    pub(super) rng: &'r RefCell<SmallRng>,
    pub(super) callout: &'r dyn Callout,
}

// === impl Surroundings ===

impl<'r> Surroundings<'r> {
    fn request<'p, 't>(
        &self,
        parts: &'p mut Parts,
        original: &'p Uri,
        mirrors: &'p mut Mirrors<'t>,
        kept: &'p mut Kept<'t>,
    ) -> StageRequest<'p, 't>
    where
        'r: 'p,
    {
        let Self { attributes, rng, callout } = *self;
        StageRequest { parts, attributes, original, rng, callout, mirrors, kept }
    }
}

// === impl Passage ===

impl<'t> Passage<'t> {
    /// Runs the stages of the rule.
    pub(super) async fn pass_rule(
        &mut self,
        stages: &'t StageList,
        parts: &mut Parts,
        original: &Uri,
        around: &Surroundings<'_>,
    ) -> Result<(), Stop> {
        let (_, kept) = self.rule.insert((stages, Kept::default()));
        run(stages, around.request(parts, original, &mut self.mirrors, kept), around.attributes.deadline)
            .await
    }

    /// Runs the stages of the backend.
    pub(super) async fn pass_backend(
        &mut self,
        stages: &'t StageList,
        parts: &mut Parts,
        original: &Uri,
        around: &Surroundings<'_>,
    ) -> Result<(), Stop> {
        let (_, kept) = self.backend.insert((stages, Kept::default()));
        run(stages, around.request(parts, original, &mut self.mirrors, kept), around.attributes.deadline)
            .await
    }

    /// Runs the head of a response through the stages, the backend's first.
    pub(super) fn on_response(&self, response: &mut HeaderMap) {
        for (stages, kept) in [&self.backend, &self.rule].into_iter().flatten() {
            stages.on_response(response, kept);
        }
    }
}

async fn run<'t>(
    stages: &'t StageList,
    mut request: StageRequest<'_, 't>,
    deadline: Option<Instant>,
) -> Result<(), Stop> {
    let verdict = if stages.may_wait() {
        // Boxed: only the requests that wait have room for its state.
        Box::pin(wait(stages, &mut request, deadline)).await?
    } else {
        stages.run(&mut request)
    };
    match verdict {
        Verdict::Continue => Ok(()),
        Verdict::Respond(response) => Err(Stop::Responded(response)),
        Verdict::Fail(Failure::Unresolved | Failure::NoUrl) => Err(Stop::Refused(Reason::UnresolvedFilter)),
        Verdict::Fail(Failure::NotAuthorized) => Err(Stop::Refused(Reason::NotAuthorized)),
        Verdict::Fail(Failure::NoHost) => Err(Stop::Refused(Reason::BadRequest(BadRequest::NoHost))),
        Verdict::Close => Err(Stop::Closed),
    }
}

/// Waits for the stages, and no longer than the rule allows for the whole request.
async fn wait<'t>(
    stages: &'t StageList,
    request: &mut StageRequest<'_, 't>,
    deadline: Option<Instant>,
) -> Result<Verdict, Reason> {
    let running = stages.run_waiting(request);
    match deadline {
        None => Ok(running.await),
        Some(at) => timeout_at(at, running).await.map_err(|_| Reason::RequestTimeout),
    }
}
