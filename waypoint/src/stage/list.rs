//! The filters of a rule or of one of its backends, and what running them leads to.

use super::cors::{CorsGrant, CorsHeaders, Decision};
use super::{header_modifier, redirect, rewrite};
use fairway_config::model::{BackendTarget, Filter, Match, Scheme};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};
use rand::Rng;
use smallvec::SmallVec;

/// Filters in the order they run. A view into the route; copying it copies two references.
#[derive(Clone, Copy, Debug)]
pub struct FilterChain<'t> {
    filters: &'t [Filter],
    cors: Option<&'t CorsHeaders>,
}

/// What filters have to know of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub struct FilterContext<'t> {
    /// How the request came in.
    pub scheme: Scheme,
    /// The listener's port; for a Service-bound route, the Service's port.
    pub port: u16,
    /// The alternative that matched: its prefix is what `ReplacePrefixMatch` replaces.
    pub matched: &'t Match,
    /// The target of the request as it came, before any chain ran. Prefixes are replaced in this one, so that a backend's
    /// rewrite stands instead of the rule's and not on top of it.
    pub original: &'t Uri,
}

/// What running a chain leads to.
#[derive(Debug)]
pub enum FilterOutcome<'t> {
    /// The request, changed in place, goes on.
    Continue(Forward<'t>),
    /// The client is answered with this, and no backend hears of the request.
    Answer(Box<Answer>),
    /// A filter cannot be carried out, so the request goes no further. What is done to the answer comes with it.
    Fail(Failure, ResponseFilters<'t>),
}

/// Why a filter cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is not known, or its rule does not hold.
    Unresolved,
    /// What it makes of the target is no URL.
    NoUrl,
    /// The request names no host to redirect it to.
    NoHost,
}

/// What follows from one filter.
enum Step {
    Next,
    Answer(Answer),
    Fail(Failure),
}

/// What is left to do for a request that goes on.
#[derive(Debug)]
pub struct Forward<'t> {
    /// Who gets a copy of the request as it is after the filters; answers are ignored. Allocates from the third on.
    pub mirrors: SmallVec<[&'t BackendTarget; 2]>,
    /// What is done to the response.
    pub response: ResponseFilters<'t>,
}

/// What a chain does to a response. Run a backend's before the rule's.
#[derive(Clone, Debug)]
pub struct ResponseFilters<'t> {
    filters: &'t [Filter],
    cors: Option<CorsGrant<'t>>,
}

/// A response without a body.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

// === impl FilterChain ===

impl<'t> FilterChain<'t> {
    /// A chain of these filters; `cors` was worked out of their CORS filter.
    pub(crate) fn new(filters: &'t [Filter], cors: Option<&'t CorsHeaders>) -> Self {
        Self { filters, cors }
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Runs the chain on a request, in order.
    pub fn run(
        &self,
        request: &mut Parts,
        context: &FilterContext<'_>,
        rng: &mut impl Rng,
    ) -> FilterOutcome<'t> {
        let mut forward = Forward::unchanged();
        forward.response.filters = self.filters;
        for filter in self.filters {
            let step = match filter {
                Filter::RequestHeaders(modifier) => {
                    header_modifier::modify(modifier, &mut request.headers);
                    Step::Next
                }
                Filter::ResponseHeaders(_) => Step::Next,
                Filter::Redirect(it) => {
                    redirect::answer(it, request, context).map_or_else(Step::Fail, Step::Answer)
                }
                Filter::Rewrite(it) => {
                    rewrite::rewrite(it, request, context).map_or_else(Step::Fail, |()| Step::Next)
                }
                Filter::Mirror(mirror) => {
                    let (share, whole) = (mirror.fraction.numerator(), mirror.fraction.denominator());
                    if share == whole || rng.random_range(0..whole) < share {
                        forward.mirrors.push(&mirror.target);
                    }
                    Step::Next
                }
                Filter::Cors(policy) => match self.cors.map(|it| it.decide(policy, request)) {
                    // A preflight's answer is complete; the policy has nothing to add to it.
                    Some(Decision::Answer(mut answer)) => {
                        forward.response.apply(&mut answer.headers);
                        return FilterOutcome::Answer(Box::new(answer));
                    }
                    Some(Decision::Forward(grant)) => {
                        forward.response.cors = Some(grant);
                        Step::Next
                    }
                    None => Step::Fail(Failure::Unresolved),
                },
                Filter::Unresolved(_) => Step::Fail(Failure::Unresolved),
            };
            let step = match step {
                Step::Next => continue,
                other => other,
            };
            // The policy may stand behind the filter that answers.
            if forward.response.cors.is_none() {
                forward.response.cors = self.grant(request);
            }
            return match step {
                Step::Answer(mut answer) => {
                    forward.response.apply(&mut answer.headers);
                    FilterOutcome::Answer(Box::new(answer))
                }
                Step::Next => FilterOutcome::Continue(forward),
                Step::Fail(failure) => FilterOutcome::Fail(failure, forward.response),
            };
        }
        FilterOutcome::Continue(forward)
    }

    /// What the CORS filter does to an answer, if there is one.
    fn grant(&self, request: &Parts) -> Option<CorsGrant<'t>> {
        let cors = self.cors?;
        self.filters.iter().find_map(|it| match it {
            Filter::Cors(policy) => Some(cors.grant(policy, request)),
            _ => None,
        })
    }
}

// === impl Forward ===

impl Forward<'_> {
    /// What is left to do when there are no filters: nothing.
    pub fn unchanged() -> Self {
        Self { mirrors: SmallVec::new(), response: ResponseFilters::NONE }
    }
}

// === impl ResponseFilters ===

impl ResponseFilters<'_> {
    /// Nothing.
    pub const NONE: Self = Self { filters: &[], cors: None };

    /// Changes a response's headers.
    pub fn apply(&self, response: &mut HeaderMap) {
        for filter in self.filters {
            match filter {
                Filter::ResponseHeaders(modifier) => header_modifier::modify(modifier, response),
                Filter::Cors(_) => {
                    if let Some(grant) = &self.cors {
                        grant.apply(response);
                    }
                }
                _ => {}
            }
        }
    }
}

// === impl Answer ===

impl Answer {
    /// A status and nothing else.
    pub fn of(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}
