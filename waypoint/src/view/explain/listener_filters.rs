//! What the filters of a listener make of a request, before its route is matched.

use super::{Explained, closed_by, describe_refusal, run};
use crate::pipeline::access::{PolicySet, RequestSource};
use crate::pipeline::keep_host;
use crate::reason::Reason;
use crate::route::hop::Passed;
use crate::route::{ListenerFilters, RequestHead};
use crate::stage::RequestAttributes;
use crate::view::rules::describe_stages;
use crate::worker::Serving;
use http::header::HOST;
use http::request::Parts;

/// Runs a request through the filters of its listener as the pipeline does. `false`: it goes no further, and the outcome says why.
pub(super) fn pass(
    explained: &mut Explained,
    serving: &Serving,
    filters: &ListenerFilters,
    (entry, source): (PolicySet<'_>, RequestSource<'_>),
    attributes: &RequestAttributes<'_>,
    parts: &mut Parts,
) -> bool {
    explained.filters = describe_stages(filters.stages());
    let head = match RequestHead::read(parts) {
        Ok(head) => head,
        Err(bad) => return explained.refuse(Reason::BadRequest(bad)),
    };
    if let Some(reason) = closed_by(&serving.tables, entry) {
        return explained.refuse(reason);
    }
    if let Err(refusal) = entry.judge_request(&serving.tables, source, &head).verdict.into_result() {
        explained.deny(&refusal);
        return false;
    }
    drop(head);
    let passed = Passed::take(&mut parts.headers);
    let (original, host) = (parts.uri.clone(), parts.headers.get(HOST).cloned());
    let stages = filters.stages();
    if let Some(ended) = run(stages, stages.all(), parts, attributes, &original, &mut explained.assumed) {
        explained.outcome = ended;
        return false;
    }
    keep_host(parts, host);
    if passed.restore(&mut parts.headers).is_err() {
        return explained.refuse(Reason::Loop);
    }
    true
}

impl Explained {
    fn refuse(&mut self, reason: Reason) -> bool {
        self.outcome = describe_refusal(reason);
        false
    }
}
