//! What to do next about a pod, from what it should be and what it is. Pure.

use super::Claim;
use fairway_config::model::{Mesh, Workload};

/// What the configuration wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It says nothing.
    Unknown,
    Outside,
    Captured,
}

/// What is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing of ours is in the pod.
    Free,
    Captured(Rules),
    /// Still captured, but on its way out.
    Releasing(Rest),
}

/// Whether the rules are as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Right,
    Wrong,
}

/// How far a pod's way out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Not everybody may have heard yet; new connections still come through the tunnel, and go on in plain.
    Lingering,
    /// Now everybody has.
    Heard,
    /// Nothing new comes; some connections are open.
    Connections,
    /// None, or they had their time.
    Over,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Capture,
    /// Put the rules back.
    Repair,
    /// From now on new connections pass through in plain.
    StartRelease,
    /// From now on they do not come here any more.
    LetGo,
    /// It is wanted again.
    StopRelease,
    /// Take the rules away and stop.
    Free,
}

pub(super) fn next(wanted: Wanted, held: Held) -> Step {
    match (wanted, held) {
        (Wanted::Captured, Held::Free) => Step::Capture,
        // A pod that the configuration has forgotten stays captured: it may still run, and must not speak in plain.
        (Wanted::Captured | Wanted::Unknown, Held::Captured(Rules::Wrong)) => Step::Repair,
        (Wanted::Captured | Wanted::Unknown, Held::Captured(Rules::Right)) => Step::Nothing,
        (Wanted::Captured | Wanted::Unknown, Held::Releasing(_)) => Step::StopRelease,
        (Wanted::Outside, Held::Captured(_)) => Step::StartRelease,
        (Wanted::Outside, Held::Releasing(Rest::Over)) => Step::Free,
        (Wanted::Outside, Held::Releasing(Rest::Heard)) => Step::LetGo,
        (Wanted::Outside, Held::Releasing(Rest::Lingering | Rest::Connections)) => Step::Nothing,
        (Wanted::Outside | Wanted::Unknown, Held::Free) => Step::Nothing,
    }
}

impl Wanted {
    /// From what the configuration says and what whoever registered the pod has said, if that still counts.
    pub(super) fn of(workload: Option<&Workload>, claim: Claim) -> Self {
        match (workload.map(|it| it.mesh), claim) {
            (Some(Mesh::Captured(_)), _) => Self::Captured,
            // Either the configuration is not there yet, or it is older than what the API server was seen to say.
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
        use Held::{Captured, Free, Releasing};
        for (wanted, held, step) in [
            (Wanted::Unknown, Free, Step::Nothing),
            (Wanted::Outside, Free, Step::Nothing),
            (Wanted::Captured, Free, Step::Capture),
            (Wanted::Captured, Captured(Rules::Right), Step::Nothing),
            (Wanted::Captured, Captured(Rules::Wrong), Step::Repair),
            (Wanted::Unknown, Captured(Rules::Wrong), Step::Repair),
            (Wanted::Outside, Captured(Rules::Wrong), Step::StartRelease),
            (Wanted::Outside, Releasing(Rest::Lingering), Step::Nothing),
            (Wanted::Outside, Releasing(Rest::Heard), Step::LetGo),
            (Wanted::Outside, Releasing(Rest::Connections), Step::Nothing),
            (Wanted::Outside, Releasing(Rest::Over), Step::Free),
            (Wanted::Captured, Releasing(Rest::Over), Step::StopRelease),
            (Wanted::Unknown, Releasing(Rest::Connections), Step::StopRelease),
        ] {
            assert_eq!(next(wanted, held), step, "{wanted:?} {held:?}");
        }
    }
}
