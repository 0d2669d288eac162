//! The authorizations of a configuration, and where what they refuse counts.

use super::Shared;
use fairway_config::model::{Authorization, AuthorizationKey};
use fairway_config::{Snapshot, Table};
use fairway_policy::PolicyRefusal;
use fairway_telemetry::{PolicyLabels, RuleName, Series, Telemetry};
use std::sync::Arc;

/// The authorizations of a configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AccessTable {
    authorizations: Table<AuthorizationKey, Authorization>,
    series: Shared<AuthorizationKey, Box<[PolicySeries]>>,
}

/// Where the decisions of a rule count, or those of a policy of which no rule matched.
type PolicySeries = (Option<RuleName>, Series<PolicyLabels>);

// === impl AccessTable ===

impl AccessTable {
    pub(super) fn new(snapshot: &Snapshot, telemetry: &Telemetry) -> Self {
        let authorizations = snapshot.authorizations.clone();
        let series = authorizations.iter().map(|(key, it)| (key.clone(), series(it, telemetry))).collect();
        Self { authorizations, series: Arc::new(series) }
    }

    /// The authorization of this name; none if it is not known, and then it refuses.
    pub fn authorization(&self, key: &AuthorizationKey) -> Option<&Authorization> {
        self.authorizations.get(key).map(|it| &**it)
    }

    /// Where a refusal counts; none for an authorization that is not known.
    pub fn series(&self, refusal: &PolicyRefusal) -> Option<&Series<PolicyLabels>> {
        let rule = refusal.rule().map(rule_name);
        let all = self.series.get(&**refusal.policy())?;
        all.iter().find(|(of, _)| *of == rule).map(|(_, series)| series)
    }
}

fn series(authorization: &Authorization, telemetry: &Telemetry) -> Box<[PolicySeries]> {
    let policy: Arc<str> = AuthorizationKey::policy_of(&authorization.name).into();
    let rules = authorization.rules.iter().enumerate();
    let rules = rules.map(|(index, rule)| Some(RuleName::new(rule.name.as_ref(), index)));
    let counted = |rule: Option<RuleName>| {
        let labels = PolicyLabels { policy: policy.clone(), rule: rule.clone() };
        (rule, telemetry.policies().series(labels))
    };
    rules.chain([None]).map(counted).collect()
}

/// How metrics and logs name a rule.
fn rule_name(rule: &fairway_policy::RuleName) -> RuleName {
    match rule {
        fairway_policy::RuleName::Given(name) => RuleName::Named(name.clone()),
        fairway_policy::RuleName::Number(number) => RuleName::Number(*number),
    }
}
