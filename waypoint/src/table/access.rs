//! The authorizations of a configuration, and where what they refuse counts.

use fairway_config::model::{Authorization, AuthorizationKey};
use fairway_config::{Snapshot, Table};
use fairway_policy::PolicyRefusal;
use fairway_telemetry::{PolicyLabels, PolicySeries, Series, Telemetry};

/// The authorizations of a configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AccessTable {
    authorizations: Table<AuthorizationKey, Authorization>,
    series: PolicySeries,
}

// === impl AccessTable ===

impl AccessTable {
    pub(super) fn new(snapshot: &Snapshot, telemetry: &Telemetry) -> Self {
        Self {
            authorizations: snapshot.authorizations.clone(),
            series: PolicySeries::new(snapshot, telemetry),
        }
    }

    /// The authorization of this name; none if it is not known, and then it refuses.
    pub fn authorization(&self, key: &AuthorizationKey) -> Option<&Authorization> {
        self.authorizations.get(key).map(|it| &**it)
    }

    /// Where a refusal counts; none for an authorization that is not known.
    pub fn series(&self, refusal: &PolicyRefusal) -> Option<&Series<PolicyLabels>> {
        self.series.find(refusal)
    }
}
