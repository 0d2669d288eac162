//! The stages that a request has come to: they see the request on its way in, and the response on its way out.

use super::Reason;
use super::access::Gate;
use super::request::Stop;
use crate::route::BadRequest;
use crate::stage::{Failure, Kept, Mirrors, RequestAttributes, StageList, StageRequest, Verdict};
use http::request::Parts;
use http::{HeaderMap, Uri};
use rand::rngs::SmallRng;
use std::cell::RefCell;
use std::ops::Range;
use tokio::time::{Instant, timeout_at};

/// The stages that a request has come to, and what they keep of it.
#[derive(Debug, Default)]
pub(super) struct Passage<'t> {
    /// Who gets a copy of the request.
    pub(super) mirrors: Mirrors<'t>,
    rule: Option<(&'t StageList, Kept<'t>)>,
    backend: Option<(&'t StageList, Kept<'t>)>,
}

// === impl Passage ===

impl<'t> Passage<'t> {
    /// Runs the stages of the rule; where policies judge the request, at the gate among the stages.
    #[allow(clippy::too_many_arguments, reason = "a request has that many sides")]
    pub(super) async fn pass_rule(
        &mut self,
        stages: &'t StageList,
        parts: &mut Parts,
        attributes: &RequestAttributes<'_>,
        original: &Uri,
        rng: &RefCell<SmallRng>,
        deadline: Option<Instant>,
        gate: Option<Gate<'_, 't>>,
    ) -> Result<(), Stop> {
        let (_, kept) = self.rule.insert((stages, Kept::default()));
        let mirrors = &mut self.mirrors;
        let mut request = StageRequest { parts, attributes, original, rng, mirrors, kept };
        let Some(mut gate) = gate else {
            return run(stages, stages.all(), &mut request, deadline).await;
        };
        run(stages, stages.before_policies(), &mut request, deadline).await?;
        gate.pass(request.parts)?;
        run(stages, stages.behind_policies(), &mut request, deadline).await
    }

    /// Runs the stages of the backend.
    pub(super) async fn pass_backend(
        &mut self,
        stages: &'t StageList,
        parts: &mut Parts,
        attributes: &RequestAttributes<'_>,
        original: &Uri,
        rng: &RefCell<SmallRng>,
        deadline: Option<Instant>,
    ) -> Result<(), Stop> {
        let (_, kept) = self.backend.insert((stages, Kept::default()));
        let mirrors = &mut self.mirrors;
        let mut request = StageRequest { parts, attributes, original, rng, mirrors, kept };
        run(stages, stages.all(), &mut request, deadline).await
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
    these: Range<usize>,
    request: &mut StageRequest<'_, 't>,
    deadline: Option<Instant>,
) -> Result<(), Stop> {
    let verdict = if stages.may_wait() {
        // Boxed: only the requests that wait have room for its state.
        Box::pin(wait(stages, these, request, deadline)).await?
    } else {
        stages.run(these, request)
    };
    match verdict {
        Verdict::Continue => Ok(()),
        Verdict::Respond(response) => Err(Stop::Responded(response)),
        Verdict::Fail(Failure::Unresolved | Failure::NoUrl) => Err(Stop::Refused(Reason::UnresolvedFilter)),
        Verdict::Fail(Failure::NoHost) => Err(Stop::Refused(Reason::BadRequest(BadRequest::NoHost))),
        Verdict::Close => Err(Stop::Closed),
    }
}

/// Waits for the stages, and no longer than the rule allows for the whole request.
async fn wait<'t>(
    stages: &'t StageList,
    these: Range<usize>,
    request: &mut StageRequest<'_, 't>,
    deadline: Option<Instant>,
) -> Result<Verdict, Reason> {
    let running = stages.run_waiting(these, request);
    match deadline {
        None => Ok(running.await),
        Some(at) => timeout_at(at, running).await.map_err(|_| Reason::RequestTimeout),
    }
}
