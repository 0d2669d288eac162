//! Which policies hold where several name one object.
//!
//! There are two ways, and a kind of policies has one of them. Policies about *security add up*: each holds, so that none takes
//! away what another asks for. (A pod is guarded for every Service that requires its waypoint; see `required_waypoint`.) Of all
//! other policies one holds for a target, the *oldest*, so that what somebody adds changes nothing for those who are there.

use super::attach::Attachment;
use crate::resources::ObjectRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which of the policies of one kind hold for an object and for its sections.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct Direct {
    holders: BTreeMap<Option<Arc<str>>, ObjectRef>,
    outcomes: BTreeMap<(ObjectRef, Option<Arc<str>>), MergeOutcome>,
}

/// What became of a policy at one of its targets.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum MergeOutcome {
    /// It holds. (For a whole object: in the sections that no policy names.)
    Holds,
    /// This other policy holds in its place.
    LosesTo(ObjectRef),
    /// The object has no such section.
    NoSuchSection,
}

/// Of policies for one target the oldest holds, then the first by name. One that names a section goes before one that names
/// the whole object, and takes nothing from it in other sections.
pub(in crate::compile) fn oldest_wins(
    attachments: &[Attachment],
    is_section: impl Fn(&Arc<str>) -> bool,
) -> Direct {
    let mut direct = Direct::default();
    let mut ordered: Vec<&Attachment> = attachments.iter().collect();
    ordered.sort();
    for Attachment { policy, section, .. } in ordered {
        let holder = direct.holders.entry(section.clone()).or_insert_with(|| policy.clone());
        let outcome = match section {
            Some(it) if !is_section(it) => MergeOutcome::NoSuchSection,
            _ if holder != policy => MergeOutcome::LosesTo(holder.clone()),
            _ => MergeOutcome::Holds,
        };
        direct.outcomes.insert((policy.clone(), section.clone()), outcome);
    }
    direct
}

// === impl Direct ===

impl Direct {
    /// The policy that holds for a section, or for the rest of the object.
    pub(in crate::compile) fn holder(&self, section: Option<&Arc<str>>) -> Option<&ObjectRef> {
        let named = section.and_then(|it| self.holders.get(&Some(it.clone())));
        named.or_else(|| self.holders.get(&None))
    }

    /// A policy that names a section which is not there, and that name. It may mean any section.
    pub(in crate::compile) fn astray(&self) -> Option<(&ObjectRef, &Arc<str>)> {
        let astray = self.outcomes.iter().find(|(_, it)| **it == MergeOutcome::NoSuchSection);
        astray.and_then(|((policy, section), _)| Some((policy, section.as_ref()?)))
    }

    /// What became of a policy at the object or at a section of it; none when it does not name that.
    pub(in crate::compile) fn outcome(
        &self,
        policy: &ObjectRef,
        section: Option<&Arc<str>>,
    ) -> Option<&MergeOutcome> {
        self.outcomes.get(&(policy.clone(), section.cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Kind;

    fn policy(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::BackendTlsPolicy, "shop", name)
    }

    fn attach(created: i64, name: &str, section: Option<&str>) -> Attachment {
        Attachment { created, policy: policy(name), section: section.map(Into::into) }
    }

    #[test]
    fn one_policy_holds_for_each_section() {
        let attachments = [
            attach(3, "young", None),
            attach(1, "old", None),
            attach(2, "b", Some("http")),
            attach(2, "a", Some("http")),
            attach(0, "lost", Some("nowhere")),
        ];
        let direct = oldest_wins(&attachments, |it| ["http", "admin"].contains(&&**it));
        let section = |it: &str| Some(Arc::<str>::from(it));
        for (at, expected) in [(None, "old"), (section("admin"), "old"), (section("http"), "a")] {
            assert_eq!(direct.holder(at.as_ref()), Some(&policy(expected)), "{at:?}");
        }
        for (name, at, expected) in [
            ("old", None, Some(MergeOutcome::Holds)),
            ("young", None, Some(MergeOutcome::LosesTo(policy("old")))),
            ("a", section("http"), Some(MergeOutcome::Holds)),
            ("b", section("http"), Some(MergeOutcome::LosesTo(policy("a")))),
            ("lost", section("nowhere"), Some(MergeOutcome::NoSuchSection)),
            ("lost", None, None),
        ] {
            assert_eq!(direct.outcome(&policy(name), at.as_ref()), expected.as_ref(), "{name} {at:?}");
        }
        assert_eq!(direct.astray().map(|(it, _)| it), Some(&policy("lost")));
    }

    #[test]
    fn nothing_holds_where_no_policy_is() {
        let direct = oldest_wins(&[attach(1, "it", Some("http"))], |_| true);
        assert_eq!(direct.holder(None), None);
        assert_eq!(direct.holder(Some(&"admin".into())), None);
        assert_eq!(direct.astray(), None);
    }
}
