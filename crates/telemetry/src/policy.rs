//! Where what policies decide is counted, and how the log says it.

use crate::labels::{PolicyLabels, RuleName};
use crate::series::Series;
use crate::telemetry::Telemetry;
use ahash::RandomState;
use fairway_config::model::{Authorization, AuthorizationKey, ResourceKind};
use fairway_config::{Changes, Snapshot};
use fairway_policy::PolicyRefusal;
use std::collections::HashMap;
use std::sync::Arc;

/// The series of each rule of each authorization of a configuration. They are resolved at the commit, so that counting a
/// refusal takes no lock. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PolicySeries {
    by_authorization: Arc<HashMap<AuthorizationKey, Arc<[RuleSeries]>, RandomState>>,
}

/// The series of a rule, or that of the refusals of an Allow of which no rule matched.
type RuleSeries = (Option<RuleName>, Series<PolicyLabels>);

// === impl PolicySeries ===

impl PolicySeries {
    /// Those of a whole configuration.
    pub fn new(snapshot: &Snapshot, telemetry: &Telemetry) -> Self {
        let all = snapshot.authorizations.iter();
        let all = all.map(|(key, it)| (key.clone(), resolve(it, telemetry))).collect();
        Self { by_authorization: Arc::new(all) }
    }

    /// Those after a commit. `changes` must name every authorization that differs. Nothing is done if it names none.
    #[must_use]
    pub fn update(&self, next: &Snapshot, changes: &Changes, telemetry: &Telemetry) -> Self {
        let mut updated = self.clone();
        for key in changes.iter().filter(|it| it.kind == ResourceKind::Authorization) {
            let all = Arc::make_mut(&mut updated.by_authorization);
            match next.authorizations.get(&*key.name) {
                Some(it) => drop(all.insert(key.name.clone().into(), resolve(it, telemetry))),
                None => drop(all.remove(&*key.name)),
            }
        }
        updated
    }

    /// Where a refusal counts; none for an authorization that is not known.
    pub fn find(&self, refusal: &PolicyRefusal) -> Option<&Series<PolicyLabels>> {
        let rule = refusal.rule().map(rule_name);
        let rules = self.by_authorization.get(&**refusal.policy())?;
        rules.iter().find(|(of, _)| *of == rule).map(|(_, series)| series)
    }
}

fn resolve(authorization: &Authorization, telemetry: &Telemetry) -> Arc<[RuleSeries]> {
    let policy: Arc<str> = AuthorizationKey::policy_of(&authorization.name).into();
    let rules = authorization.rules.iter().enumerate();
    let rules = rules.map(|(index, rule)| Some(RuleName::new(rule.name.as_ref(), index)));
    let resolved = |rule: Option<RuleName>| {
        let labels = PolicyLabels { policy: policy.clone(), rule: rule.clone() };
        (rule, telemetry.policies().series(labels))
    };
    rules.chain([None]).map(resolved).collect()
}

fn rule_name(rule: &fairway_policy::RuleName) -> RuleName {
    match rule {
        fairway_policy::RuleName::Given(name) => RuleName::Named(name.clone()),
        fairway_policy::RuleName::Number(number) => RuleName::Number(*number),
    }
}

/// A refusal in words for the log: the policy and its rule, named as in the metrics. The client is not told.
pub fn describe_denial(refusal: &PolicyRefusal) -> String {
    let policy = AuthorizationKey::policy_of(refusal.policy());
    match refusal {
        PolicyRefusal::Denied { rule, .. } => format!("policy=\"{policy}\" rule=\"{rule}\""),
        PolicyRefusal::NotAllowed { .. } => {
            format!("policy=\"{policy}\" rule=\"\": none of its rules matches")
        }
        PolicyRefusal::Unknown { .. } => format!("policy=\"{policy}\": it is not known here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Exposition;
    use fairway_config::Delta;
    use fairway_config::model::Resource;
    use fairway_policy::{Action, Rule};
    use prometheus_client::registry::Registry;

    fn shown(telemetry: &Telemetry) -> f64 {
        let mut registry = Registry::with_prefix("fairway");
        registry.register_collector(Box::new(telemetry.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        Exposition::parse(&text)
            .sum("fairway_policy_decisions_total", &[("policy", "shop/no"), ("rule", "0")])
    }

    /// As two proxies reach one configuration: at once, and in two commits.
    #[test]
    fn a_rule_counts_in_one_series_however_the_configuration_was_reached() {
        let rules = vec![Rule::when(vec![])];
        let policy =
            Resource::Authorization(Arc::new(Authorization::new("shop/no@pods", Action::Deny, rules)));
        let delta = Delta { upserts: vec![policy], ..Delta::default() };
        let (snapshot, changes) = Snapshot::default().apply(delta);

        let telemetry = Telemetry::default();
        let recorder =
            telemetry.recorder(fairway_runtime::workers::WorkerId(0), crate::AccessLog::Off, None).unwrap();
        let refusal = PolicyRefusal::Denied {
            policy: "shop/no@pods".into(),
            rule: fairway_policy::RuleName::Number(0),
        };
        let updated = PolicySeries::default().update(&snapshot, &changes, &telemetry);
        for series in [&PolicySeries::new(&snapshot, &telemetry), &updated] {
            recorder.count_policy(series.find(&refusal).unwrap(), crate::PolicyDecision::Denied);
        }
        assert_eq!(shown(&telemetry), 2.0);
        let unknown = PolicyRefusal::Unknown { policy: "shop/else".into() };
        assert!(updated.find(&unknown).is_none());

        let removed = updated.update(&Snapshot::default(), &changes, &telemetry);
        assert!(removed.find(&refusal).is_none());
    }
}
