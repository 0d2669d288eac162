//! Copies of requests for other backends. Which requests are copied is decided here; [`crate::pipeline`] sends the copies, as the
//! requests are after the last stage.

use super::{StageRequest, SyncStage, Verdict};
use fairway_config::model::{BackendTarget, Fraction, Mirror};
use rand::Rng;

#[derive(Debug)]
pub(super) struct MirrorStage {
    target: BackendTarget,
    fraction: Fraction,
}

impl MirrorStage {
    pub(super) fn new(mirror: &Mirror) -> Self {
        Self { target: mirror.target.clone(), fraction: mirror.fraction }
    }
}

impl SyncStage for MirrorStage {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn describe(&self) -> String {
        let (share, whole) = (self.fraction.numerator(), self.fraction.denominator());
        let target = match &self.target {
            BackendTarget::Backend(key) => key.as_str(),
            BackendTarget::Unresolved(_) => "nowhere: its backend is not resolved",
        };
        format!("copies {share} of {whole} requests to {target}")
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        let (share, whole) = (self.fraction.numerator(), self.fraction.denominator());
        if share == whole || request.rng.borrow_mut().random_range(0..whole) < share {
            request.mirrors.push(&self.target);
        }
        Verdict::Continue
    }
}
