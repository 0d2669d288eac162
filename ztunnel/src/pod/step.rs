//! The next step for a pod, from its desired and its observed state. Pure.

use super::Claim;
use fairway_config::model::{Mesh, Workload};

/// What the configuration wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Desired {
    /// The configuration does not know the pod.
    Unknown,
    Outside,
    Captured,
}

/// What is in place for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// The pod's network namespace has no rules of ours.
    NotCaptured,
    Captured(Rules),
    /// Still captured, and leaving the mesh.
    Releasing(ReleasePhase),
}

/// Whether the capture rules in the pod are the ones that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Intact,
    Modified,
}

/// Progress of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleasePhase {
    /// Peers may not know yet that the pod leaves. New connections still come through the tunnel, and go on in plaintext.
    Lingering,
    /// Every peer has had the time to learn it.
    Propagated,
    /// Nothing new is captured; connections through the tunnel are still open.
    Draining,
    /// No connection is left, or the time for them is over.
    Drained,
}

/// What the reconciler does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Capture,
    /// Write the rules again.
    Repair,
    /// New connections pass through the tunnel in plaintext from now on.
    StartRelease,
    /// The rules capture no new connections from now on.
    StopCapture,
    /// The pod is in the mesh again.
    CancelRelease,
    /// Remove the rules and stop serving the pod.
    RemoveRules,
}

pub(super) fn next(desired: Desired, observed: Observed) -> Step {
    match (desired, observed) {
        (Desired::Captured, Observed::NotCaptured) => Step::Capture,
        // A pod that the configuration no longer knows stays captured: it may still run, and must not send plaintext.
        (Desired::Captured | Desired::Unknown, Observed::Captured(Rules::Modified)) => Step::Repair,
        (Desired::Captured | Desired::Unknown, Observed::Captured(Rules::Intact)) => Step::Nothing,
        (Desired::Captured | Desired::Unknown, Observed::Releasing(_)) => Step::CancelRelease,
        (Desired::Outside, Observed::Captured(_)) => Step::StartRelease,
        (Desired::Outside, Observed::Releasing(ReleasePhase::Drained)) => Step::RemoveRules,
        (Desired::Outside, Observed::Releasing(ReleasePhase::Propagated)) => Step::StopCapture,
        (Desired::Outside, Observed::Releasing(ReleasePhase::Lingering | ReleasePhase::Draining)) => {
            Step::Nothing
        }
        (Desired::Outside | Desired::Unknown, Observed::NotCaptured) => Step::Nothing,
    }
}

impl Desired {
    /// From the configuration, and from the claim of whoever registered the pod while that is valid.
    pub(super) fn from_configuration(workload: Option<&Workload>, claim: Claim) -> Self {
        match (workload.map(|workload| workload.mesh), claim) {
            (Some(Mesh::Captured(_)), _) => Self::Captured,
            // The configuration is missing, or older than what the API server has said.
            (None | Some(Mesh::Outside), Claim::Meshed) => Self::Captured,
            (Some(Mesh::Outside), Claim::Unknown) => Self::Outside,
            (None, Claim::Unknown) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_follows_what_the_configuration_wants() {
        use Observed::{Captured, NotCaptured, Releasing};
        for (desired, observed, step) in [
            (Desired::Unknown, NotCaptured, Step::Nothing),
            (Desired::Outside, NotCaptured, Step::Nothing),
            (Desired::Captured, NotCaptured, Step::Capture),
            (Desired::Captured, Captured(Rules::Intact), Step::Nothing),
            (Desired::Captured, Captured(Rules::Modified), Step::Repair),
            (Desired::Unknown, Captured(Rules::Modified), Step::Repair),
            (Desired::Outside, Captured(Rules::Modified), Step::StartRelease),
            (Desired::Outside, Releasing(ReleasePhase::Lingering), Step::Nothing),
            (Desired::Outside, Releasing(ReleasePhase::Propagated), Step::StopCapture),
            (Desired::Outside, Releasing(ReleasePhase::Draining), Step::Nothing),
            (Desired::Outside, Releasing(ReleasePhase::Drained), Step::RemoveRules),
            (Desired::Captured, Releasing(ReleasePhase::Drained), Step::CancelRelease),
            (Desired::Unknown, Releasing(ReleasePhase::Draining), Step::CancelRelease),
        ] {
            assert_eq!(next(desired, observed), step, "{desired:?} {observed:?}");
        }
    }
}
