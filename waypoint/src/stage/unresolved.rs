//! A filter that the controller could not resolve, or that this version of the proxy does not know. Its requests go no
//! further: they are answered with 500 (decision 0010).

use super::{Failure, StageRequest, SyncStage, Verdict};

#[derive(Debug)]
pub(super) struct Unresolved;

impl SyncStage for Unresolved {
    fn name(&self) -> &'static str {
        "unresolved"
    }

    fn describe(&self) -> String {
        "answers 500: the filter is not known here, or its rule does not hold".to_owned()
    }

    fn on_request<'t>(&'t self, _request: &mut StageRequest<'_, 't>) -> Verdict {
        Verdict::Fail(Failure::Unresolved)
    }
}
