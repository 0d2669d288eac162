//! The stages of a rule or of one of its backends, in the order they run.

use super::{Failure, Kept, Position, Stage, StageRequest, SyncStage, Verdict};
use fairway_config::model::{BackendTarget, Filter, InvalidFilter, check_together};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// Backends that get a copy of a request. Allocates from the third on.
pub type Mirrors<'t> = SmallVec<[&'t BackendTarget; 2]>;

/// The stages of a rule or of one of its backends, in the order they run.
#[derive(Debug, Default)]
pub struct StageList {
    kind: Kind,
    /// How many stand before those of each position.
    before: [usize; Position::ALL.len()],
    /// Headers of requests of which its stages decide what they say, whatever the request is.
    owned: Arc<[HeaderName]>,
}

#[derive(Debug)]
enum Kind {
    /// All decide at once.
    Sync(Box<[Box<dyn SyncStage>]>),
    /// At least one of them may wait.
    Mixed(Box<[Stage]>),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Sync(Box::default())
    }
}

// === impl StageList ===

impl StageList {
    /// The stages that carry out these filters.
    pub fn new(filters: &[Filter]) -> Result<Self, InvalidFilter> {
        check_together(filters)?;
        Ok(Self::from_stages(filters.iter().map(Stage::for_filter).collect()))
    }

    /// The stages that carry out the filters of a listener. Their order is the one written, whatever they do (GEP-5224).
    pub fn as_written(filters: &[Filter]) -> Self {
        Self::in_order(filters.iter().map(Stage::for_filter).collect())
    }

    /// These stages, put in order.
    pub fn from_stages(mut stages: Vec<Stage>) -> Self {
        stages.sort_by_key(Stage::position);
        Self::in_order(stages)
    }

    fn in_order(stages: Vec<Stage>) -> Self {
        let before = Position::ALL.map(|position| stages.partition_point(|it| it.position() < position));
        let owned = stages.iter().filter_map(|it| match it {
            Stage::Sync(stage) => Some(stage.owned()),
            Stage::Async(_) => None,
        });
        let owned = owned.flatten().cloned().collect();
        let may_wait = stages.iter().any(|stage| matches!(stage, Stage::Async(_)));
        if may_wait {
            return Self { kind: Kind::Mixed(stages.into()), before, owned };
        }
        let sync = stages.into_iter().filter_map(|stage| match stage {
            Stage::Sync(stage) => Some(stage),
            Stage::Async(_) => None,
        });
        Self { kind: Kind::Sync(sync.collect()), before, owned }
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Sync(stages) => stages.is_empty(),
            Kind::Mixed(stages) => stages.is_empty(),
        }
    }

    /// Headers of requests of which its stages decide what they say, as far as that is known before a request comes.
    pub fn owned(&self) -> &Arc<[HeaderName]> {
        &self.owned
    }

    /// All of its stages.
    pub fn all(&self) -> Range<usize> {
        0..usize::MAX
    }

    /// How many stages stand before those of a position.
    pub fn before(&self, position: Position) -> usize {
        self.before.get(position as usize).copied().unwrap_or_default()
    }

    /// The name of each stage and what it does, in the order they run.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        match &self.kind {
            Kind::Sync(stages) => stages.iter().map(|stage| (stage.name(), stage.describe())).collect(),
            Kind::Mixed(stages) => stages.iter().map(|stage| (stage.name(), stage.describe())).collect(),
        }
    }

    /// Whether one of the stages may wait.
    pub fn may_wait(&self) -> bool {
        matches!(self.kind, Kind::Mixed(_))
    }

    /// Runs a request through these stages, up to the one that ends it. For a list that [may wait](Self::may_wait) use
    /// [`Self::run_waiting`]: here its first asynchronous stage fails.
    pub fn run<'t>(&'t self, these: Range<usize>, request: &mut StageRequest<'_, 't>) -> Verdict {
        let Kind::Sync(stages) = &self.kind else {
            return Verdict::Fail(Failure::Unresolved);
        };
        for stage in part(stages, these) {
            match stage.on_request(request) {
                Verdict::Continue => {}
                verdict => return verdict,
            }
        }
        Verdict::Continue
    }

    /// Runs a request through these stages, up to the one that ends it, and waits for those that wait.
    pub async fn run_waiting<'t>(
        &'t self,
        these: Range<usize>,
        request: &mut StageRequest<'_, 't>,
    ) -> Verdict {
        let Kind::Mixed(stages) = &self.kind else { return self.run(these, request) };
        for stage in part(stages, these) {
            let verdict = match stage {
                Stage::Sync(stage) => stage.on_request(request),
                Stage::Async(stage) if request.callout.assumes(stage.name()) => Verdict::Continue,
                Stage::Async(stage) => stage.on_request(request).await,
            };
            match verdict {
                Verdict::Continue => {}
                verdict => return verdict,
            }
        }
        Verdict::Continue
    }

    /// Runs the head of a response through the stages, backwards.
    pub fn on_response(&self, response: &mut HeaderMap, kept: &Kept<'_>) {
        match &self.kind {
            Kind::Sync(stages) => stages.iter().rev().for_each(|stage| stage.on_response(response, kept)),
            Kind::Mixed(stages) => stages.iter().rev().for_each(|stage| stage.on_response(response, kept)),
        }
    }
}

/// The stages of a range, as far as there are any.
fn part<T>(stages: &[T], these: Range<usize>) -> &[T] {
    stages.get(these.start..these.end.min(stages.len())).unwrap_or_default()
}
