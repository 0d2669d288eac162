//! What an authorization, which is a type of `fairway_policy`, is as a resource.

use super::capability::of_condition;
use super::{Authorization, Capabilities, Capability, References, Requires};
use fairway_policy::{Action, Condition, Mode, Rule};

impl References for Authorization {}

impl Requires for Authorization {
    fn requires(&self) -> Capabilities {
        let mut required = Capabilities::NONE;
        required.extend((self.mode == Mode::Observe).then_some(Capability::Observe));
        for rule in &self.rules {
            required.extend(rule.name.as_ref().map(|_| Capability::RuleName));
            rule.conditions.iter().for_each(|it| require(it, &mut required));
        }
        required
    }

    /// Conditions that are not known become conditions that are not understood: nothing in an Allow, everything in a Deny.
    fn closed_for(&self, known: Capabilities) -> Option<Self> {
        if self.mode == Mode::Observe && !known.contains(Capability::Observe) {
            // It must not count, and it must be there: a name that is not known refuses.
            return Some(Self { action: Action::Deny, mode: Mode::Enforce, rules: vec![], ..self.clone() });
        }
        let rules = self.rules.iter().map(|rule| Rule {
            name: rule.name.clone().filter(|_| known.contains(Capability::RuleName)),
            conditions: rule.conditions.iter().map(|it| close(it, known)).collect(),
        });
        Some(Self { rules: rules.collect(), ..self.clone() })
    }
}

pub(super) fn require(condition: &Condition, required: &mut Capabilities) {
    required.extend(of_condition(condition));
    if let Condition::AnyOf(lists) = condition {
        lists.iter().flatten().for_each(|it| require(it, required));
    }
}

pub(super) fn close(condition: &Condition, known: Capabilities) -> Condition {
    match (of_condition(condition), condition) {
        (Some(capability), _) if !known.contains(capability) => {
            Condition::NotUnderstood(capability.name().into())
        }
        (_, Condition::AnyOf(lists)) => {
            let list = |list: &Vec<Condition>| list.iter().map(|it| close(it, known)).collect();
            Condition::AnyOf(lists.iter().map(list).collect())
        }
        _ => condition.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_policy::CidrSet;

    #[test]
    fn a_condition_that_a_proxy_does_not_know_is_sent_as_one_that_is_not_understood() {
        let port = || Condition::PortIs(vec![80]);
        let inner = Condition::AnyOf(vec![vec![Condition::ClientIn(CidrSet::default()), port()]]);
        let rule = Rule { name: Some("one".into()), conditions: vec![inner, port()] };
        let written = Authorization::new("it", Action::Allow, vec![rule]);
        let needs = [Capability::RuleName, Capability::AnyOf, Capability::ClientAddress, Capability::Port];
        assert_eq!(written.requires(), Capabilities::from_iter(needs));

        let first = written.closed_for(Capabilities::FIRST_EDITION).unwrap();
        let not_understood = Condition::NotUnderstood("condition.any-of".into());
        assert_eq!(first.rules, vec![Rule::when(vec![not_understood, port()])]);
        assert!(Capabilities::FIRST_EDITION.include(first.requires()));

        let some = Capabilities::from_iter([Capability::AnyOf, Capability::Port]);
        let closed = written.closed_for(some).unwrap();
        let inner = vec![Condition::NotUnderstood("condition.client-address".into()), port()];
        assert_eq!(closed.rules, vec![Rule::when(vec![Condition::AnyOf(vec![inner]), port()])]);
    }

    #[test]
    fn what_is_observed_stays_without_effect_where_observing_is_not_known() {
        let rules = vec![Rule::default()];
        let written = Authorization { mode: Mode::Observe, ..Authorization::new("it", Action::Deny, rules) };
        let closed = written.closed_for(Capabilities::FIRST_EDITION).unwrap();
        assert_eq!(closed, Authorization::new("it", Action::Deny, vec![]));
    }
}
