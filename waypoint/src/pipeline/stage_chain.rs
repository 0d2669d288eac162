//! The stages that a request has come to: they see the request on its way in, and the response on its way out.

use super::Reason;
use super::access::{PolicyCheck, Step};
use super::authentication::Authenticated;
use super::decide::Stop;
use super::execution::Execution;
use crate::header_names::OwnedHeaders;
use crate::stage::callout::Callout;
use crate::stage::{Kept, Mirrors, RequestAttributes, StageList, StageRequest, Verdict};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Uri};
use rand::rngs::SmallRng;
use std::cell::RefCell;
use std::ops::Range;
use tokio::time::{Instant, timeout_at};

/// The stages that a request has come to, and what they keep of it.
#[derive(Debug, Default)]
pub(crate) struct StageChain<'t> {
    /// Who gets a copy of the request.
    pub(super) mirrors: Mirrors<'t>,
    /// What authentication leaves behind.
    pub(super) authenticated: Authenticated,
    /// The filters of its listener. Boxed: mostly there are none, and each request that is under way has room for them.
    listener: Option<Box<(&'t StageList, Kept<'t>)>>,
    /// The lists of stages that it has come to: the rule's, then the backend's.
    lists: [Option<(&'t StageList, Kept<'t>)>; 2],
}

/// What stages have of a request beside its head.
pub(super) struct StageContext<'r> {
    pub(super) attributes: &'r RequestAttributes<'r>,
    pub(super) rng: &'r RefCell<SmallRng>,
    pub(super) callout: &'r dyn Callout,
}

// === impl StageContext ===

impl<'r> StageContext<'r> {
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

// === impl StageChain ===

impl<'t> StageChain<'t> {
    /// Runs the filters of the listener, before a rule is known.
    pub(super) async fn pass_listener(
        &mut self,
        stages: &'t StageList,
        parts: &mut Parts,
        original: &Uri,
        context: &StageContext<'_>,
    ) -> Result<(), Stop> {
        let (_, kept) = &mut **self.listener.insert(Box::new((stages, Kept::default())));
        let mut request = context.request(parts, original, &mut self.mirrors, kept);
        run(stages, stages.all(), &mut request, context.attributes.deadline).await
    }

    /// Runs the stages of the rule, and policies where they stand among these; when it is called again, the stages of the
    /// backend.
    pub(super) async fn pass<E: Execution<'t>>(
        &mut self,
        stages: &'t StageList,
        parts: &mut Parts,
        original: &Uri,
        context: &StageContext<'_>,
        check: Option<PolicyCheck<'_, 't, E>>,
    ) -> Result<(), Stop> {
        let Self { mirrors, authenticated, lists: [rule, backend], .. } = self;
        let list = if rule.is_none() { rule } else { backend };
        let (_, kept) = list.insert((stages, Kept::default()));
        let mut request = context.request(parts, original, mirrors, kept);
        let deadline = context.attributes.deadline;
        let Some(mut check) = check else { return run(stages, stages.all(), &mut request, deadline).await };
        let (mut from, mut next) = (0, Step::FIRST);
        while let Some(step) = next {
            next = step.next();
            if check.takes(step) {
                let to = stages.before(step.position());
                run(stages, from..to, &mut request, deadline).await?;
                check.take(step, request.parts, authenticated).await?;
                from = to;
            }
        }
        run(stages, from..usize::MAX, &mut request, deadline).await
    }

    /// Headers of the request of which authentication and the stages have decided what they say, and the one that has the client's
    /// address.
    pub(super) fn owned(&self, address: Option<&HeaderName>) -> OwnedHeaders {
        let mut owned = OwnedHeaders::with_address(address);
        self.authenticated.owned().into_iter().for_each(|it| owned.add(&it));
        for (stages, kept) in self.listener.as_deref().into_iter().chain(self.lists.iter().flatten()) {
            owned.add(stages.owned());
            kept.owned().into_iter().for_each(|it| owned.add(it));
        }
        owned
    }

    /// Runs the head of a response through the stages, the backend's first and the listener's last.
    pub(super) fn on_response(&self, response: &mut HeaderMap) {
        for (stages, kept) in self.lists.iter().rev().flatten().chain(self.listener.as_deref()) {
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
        Verdict::Fail(failure) => Err(Stop::Refused(failure.into())),
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
