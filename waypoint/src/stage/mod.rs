//! What is done to the requests and responses of a rule: one file for each filter or policy.
//!
//! A filter of the configuration becomes a stage when it is committed ([`StageList::new`]): what can be worked out is worked out
//! then. A stage sees a request's head and its [`RequestAttributes`], and says whether the request goes on ([`Verdict`]).
//! It sees the head of the response, whoever made it: an endpoint, another stage, or the proxy itself.
//!
//! The order of a list is fixed by [`Position`], and within a position as written. A request passes the stages of its rule,
//! then those of the chosen backend. The response passes the same stages backwards: the first stage is the outermost.
//! The filters of a listener are a list, too, in the order written; a request passes it before its rule is known.
//!
//! A stage decides at once ([`Stage::Sync`]) or may wait ([`Stage::Async`]). A list without asynchronous stages is run without
//! an `await`. `docs/stages.md` has a row for each stage.

mod attributes;
pub(crate) mod callout;
mod cors;
mod external_auth;
mod header_modifier;
mod list;
mod mirror;
mod path;
mod redirect;
mod rewrite;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod unresolved;
mod verdict;

pub use attributes::{MatchedRule, RequestAttributes};
pub(crate) use fairway_policy::matching::is_spelling;
pub use list::{Mirrors, StageList};
pub use verdict::{Failure, StageResponse, Verdict};

use callout::Callout;
use cors::{Cors, CorsGrant};
use external_auth::ExternalAuthStage;
use fairway_config::model::Filter;
use header_modifier::{RequestHeaders, ResponseHeaders};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Uri};
use mirror::MirrorStage;
use rand::rngs::SmallRng;
use redirect::RedirectStage;
use rewrite::RewriteStage;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use unresolved::Unresolved;

/// One stage of a list.
#[derive(Debug)]
pub enum Stage {
    /// It decides at once.
    Sync(Box<dyn SyncStage>),
    /// It may wait, for example for an answer of an authorization service.
    Async(Box<dyn AsyncStage>),
}

/// A stage that decides at once. It neither waits nor allocates, unless it changes something.
pub trait SyncStage: fmt::Debug + Send + Sync {
    /// Its name in `docs/stages.md`, `/config` and `/explain`.
    fn name(&self) -> &'static str;

    /// What it does, in a few words for `/config` and `/explain`. Names of headers, never their values: those may be secrets.
    fn describe(&self) -> String;

    /// Where it stands among the stages of its list.
    fn position(&self) -> Position {
        Position::Filter
    }

    /// Headers of requests of which it decides what they say. What a client says in trailers of these names is taken out.
    fn owned(&self) -> &[HeaderName] {
        &[]
    }

    /// Changes the request, or ends it.
    fn on_request<'t>(&'t self, _request: &mut StageRequest<'_, 't>) -> Verdict {
        Verdict::Continue
    }

    /// Changes the head of the response. It runs on every response to a request of its list, whether or not
    /// [`Self::on_request`] ran before.
    fn on_response(&self, _response: &mut HeaderMap, _kept: &Kept<'_>) {}
}

/// A stage that may wait. Its future is dropped when the client leaves, and when the rule's time limit for the request passes.
pub trait AsyncStage: fmt::Debug + Send + Sync {
    /// Its name in `docs/stages.md`, `/config` and `/explain`.
    fn name(&self) -> &'static str;

    /// What it does, in a few words for `/config` and `/explain`, without secrets.
    fn describe(&self) -> String;

    /// Where it stands among the stages of its list.
    fn position(&self) -> Position;

    /// Changes the request, or ends it.
    fn on_request<'a, 't>(&'t self, request: &'a mut StageRequest<'_, 't>) -> Waiting<'a>;

    /// Changes the head of the response, at once.
    fn on_response(&self, _response: &mut HeaderMap, _kept: &Kept<'_>) {}
}

/// What an asynchronous stage waits for.
pub type Waiting<'a> = Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// Where a stage stands in its list, first to last. Stages of one position run as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// Answers preflights, and tells browsers of every other response: also of those that the stages behind it make.
    Cors,
    /// Says who asks: tokens, keys.
    Authentication,
    /// Says whether they may.
    Authorization,
    /// Says how often they may.
    Limit,
    /// The filters of the route.
    Filter,
}

// === impl Position ===

impl Position {
    /// Every position, in order.
    pub const ALL: [Self; 5] =
        [Self::Cors, Self::Authentication, Self::Authorization, Self::Limit, Self::Filter];
}

/// A request on its way through a list.
#[derive(Debug)]
pub struct StageRequest<'r, 't> {
    /// Its head, which a stage may change. The route is not matched again.
    pub parts: &'r mut Parts,
    /// What else is known of it.
    pub attributes: &'r RequestAttributes<'r>,
    /// Its target as it came, before any stage ran. Prefixes are replaced in this one, so that a backend's rewrite stands instead
    /// of the rule's and not on top of it.
    pub original: &'r Uri,
    /// Randomness. Borrow it for one draw.
    pub rng: &'r RefCell<SmallRng>,
    /// Sends requests to other services, for stages that wait.
    pub callout: &'r dyn Callout,
    /// Who gets a copy.
    pub mirrors: &'r mut Mirrors<'t>,
    /// What stages have to know of the request when the response comes.
    pub kept: &'r mut Kept<'t>,
}

/// What the stages of a list keep of a request for its response. A stage that keeps something has a field here: nothing is
/// allocated for it.
#[derive(Default)]
pub struct Kept<'t> {
    cors: Option<CorsGrant<'t>>,
    /// Headers that authorization services give the response.
    authorized: Cell<Option<Box<HeaderMap>>>,
    /// Headers of the request of which authorization services have decided what they say.
    owned: Option<Arc<[HeaderName]>>,
}

// === impl Kept ===

impl Kept<'_> {
    /// Headers of the request of which stages have decided what they say, as far as that was not known before the request.
    pub fn owned(&self) -> Option<&Arc<[HeaderName]>> {
        self.owned.as_ref()
    }
}

impl fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("cors", &self.cors).finish_non_exhaustive()
    }
}

// === impl Stage ===

impl Stage {
    /// The stage that carries out a filter.
    fn for_filter(filter: &Filter) -> Self {
        let stage: Box<dyn SyncStage> = match filter {
            Filter::RequestHeaders(modifier) => Box::new(RequestHeaders::new(modifier)),
            Filter::ResponseHeaders(modifier) => Box::new(ResponseHeaders::new(modifier)),
            Filter::Redirect(redirect) => Box::new(RedirectStage::new(redirect)),
            Filter::Rewrite(rewrite) => Box::new(RewriteStage::new(rewrite)),
            Filter::Mirror(mirror) => Box::new(MirrorStage::new(mirror)),
            Filter::Cors(policy) => Box::new(Cors::new(policy)),
            Filter::ExternalAuth(auth) => return Self::Async(Box::new(ExternalAuthStage::new(auth))),
            #[cfg(test)]
            Filter::Unresolved(name) if name.starts_with("test/") => return testing::stage_named(name),
            Filter::Unresolved(_) | Filter::Unknown(_) => Box::new(Unresolved),
        };
        Self::Sync(stage)
    }

    /// The name of its kind, such as `cors`, for operators.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sync(stage) => stage.name(),
            Self::Async(stage) => stage.name(),
        }
    }

    /// What it does, in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Sync(stage) => stage.describe(),
            Self::Async(stage) => stage.describe(),
        }
    }

    fn position(&self) -> Position {
        match self {
            Self::Sync(stage) => stage.position(),
            Self::Async(stage) => stage.position(),
        }
    }

    fn on_response(&self, response: &mut HeaderMap, kept: &Kept<'_>) {
        match self {
            Self::Sync(stage) => stage.on_response(response, kept),
            Self::Async(stage) => stage.on_response(response, kept),
        }
    }
}
