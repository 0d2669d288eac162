//! A request that is explained: its decisions are the pipeline's, and nothing else is.

use super::notes::Written;
use crate::authentication::{Verdict, Verifier};
use crate::pipeline::authentication;
use crate::pipeline::execution::{CalloutPlace, Execution};
use crate::pipeline::limits::Asked;
use crate::pipeline::{Origin, Reason};
use crate::route::{ChosenBackend, RuleEntry};
use crate::settings::ProxySettings;
use crate::stage::callout::{Assumed, Callout};
use crate::table::BoundListener;
use crate::upstream::caller::Caller;
use fairway_config::model::{BackendKey, Scheme, SpiffeId};
use http::HeaderValue;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A request that is explained. It goes to one of the backends that it could draw.
#[derive(Debug)]
pub(super) struct Explanation<'t> {
    pub origin: &'t Origin,
    pub caller: Caller,
    pub identity: Option<&'t SpiffeId>,
    pub forwarded_for: Option<HeaderValue>,
    pub scheme: Scheme,
    pub listener: Option<&'t Arc<BoundListener>>,
    pub settings: &'t ProxySettings,
    pub waypoint_key: BackendKey,
    pub rng: RefCell<SmallRng>,
    /// Stages that are taken to let it pass.
    pub assumed: Assumed,
    /// To which of the backends that can be drawn it goes.
    pub nth: usize,
}

// === impl Explanation ===

impl Explanation<'_> {
    /// Randomness that is the same each time: an explanation does not change from one to the next.
    pub(super) fn rng() -> RefCell<SmallRng> {
        RefCell::new(SmallRng::seed_from_u64(0))
    }
}

impl<'t> Execution<'t> for Explanation<'t> {
    type Notes = Written<'t>;

    fn origin(&self) -> &'t Origin {
        self.origin
    }

    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn identity(&self) -> Option<&SpiffeId> {
        self.identity
    }

    fn forwarded_for(&self) -> Option<&HeaderValue> {
        self.forwarded_for.as_ref()
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn listener(&self) -> Option<&'t Arc<BoundListener>> {
        self.listener
    }

    fn settings(&self) -> &ProxySettings {
        self.settings
    }

    fn waypoint_key(&self) -> &BackendKey {
        &self.waypoint_key
    }

    fn rng(&self) -> &RefCell<SmallRng> {
        &self.rng
    }

    fn callouts<'a>(&'a self, _: CalloutPlace<'a>) -> impl Callout + 'a {
        &self.assumed
    }

    /// Nothing is waited for, so no time passes.
    fn deadline(&self, _: Instant, _: Option<Duration>) -> Option<Instant> {
        None
    }

    fn choose(&self, rule: &RuleEntry<'t>) -> Option<ChosenBackend<'t>> {
        let (index, _) = rule.drawable().nth(self.nth)?;
        rule.backend(index)
    }

    fn count(&self, asked: &[Asked<'t>], notes: &mut Written<'t>) -> Result<(), Reason> {
        notes.count(asked);
        Ok(())
    }

    /// Nobody is asked: it goes on as if its client had said who it is.
    fn verify(
        &self,
        asked: authentication::Asked<'t>,
        notes: &mut Written<'t>,
        _: impl FnOnce(&'t Verifier) -> Verdict<'t>,
    ) -> Verdict<'t> {
        notes.ask(asked);
        Verdict::Anonymous
    }

    fn let_go(&self) {}
}
