//! Label selectors of the API, as one list of requirements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Selects objects by their labels; an empty selector selects all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// The requirements, all of which must hold; none select everything.
    pub requirements: Vec<Requirement>,
}

/// An entry of `matchExpressions`; all of them have to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Requirement {
    /// The label is there and has one of these values.
    In(Arc<str>, BTreeSet<Arc<str>>),
    /// The label is not there, or has none of these values.
    NotIn(Arc<str>, BTreeSet<Arc<str>>),
    /// The label is there.
    Exists(Arc<str>),
    /// The label is not there.
    DoesNotExist(Arc<str>),
}

/// A selector that cannot be understood; it selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// An operator that does not exist.
    #[error("`{0}` is not an operator: it takes In, NotIn, Exists or DoesNotExist")]
    Operator(String),
    /// Values where there must be none, or none where there must be some.
    #[error("operator {operator} of label `{key}` takes {expected}")]
    Values {
        /// The operator as written.
        operator: String,
        /// The key of the label that the requirement is about.
        key: String,
        /// How many values the operator takes, in words.
        expected: &'static str,
    },
}

// === impl Selector ===

impl Selector {
    /// A selector of exact values.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let exact = |(key, value): (&str, &str)| Requirement::In(key.into(), BTreeSet::from([value.into()]));
        Self { requirements: labels.into_iter().map(exact).collect() }
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        self.requirements.iter().all(|it| it.holds(labels))
    }
}

// === impl Requirement ===

impl Requirement {
    /// Understands one `matchExpressions` entry.
    pub fn parse(key: &str, operator: &str, values: &[String]) -> Result<Self, InvalidSelector> {
        let set = || values.iter().map(|it| Arc::from(it.as_str())).collect::<BTreeSet<Arc<str>>>();
        let wrong =
            |expected| InvalidSelector::Values { operator: operator.into(), key: key.into(), expected };
        match (operator, values.is_empty()) {
            ("In", false) => Ok(Self::In(key.into(), set())),
            ("NotIn", false) => Ok(Self::NotIn(key.into(), set())),
            ("Exists", true) => Ok(Self::Exists(key.into())),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist(key.into())),
            ("In" | "NotIn", true) => Err(wrong("at least one value")),
            ("Exists" | "DoesNotExist", false) => Err(wrong("no values")),
            _ => Err(InvalidSelector::Operator(operator.into())),
        }
    }

    fn holds(&self, labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|it| values.contains(it)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|it| !values.contains(it)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_hold_as_in_kubernetes() {
        let labels = BTreeMap::from([("team".into(), "shop".into())]);
        for (key, operator, values, expected) in [
            ("team", "In", vec!["shop", "ops"], true),
            ("team", "In", vec!["ops"], false),
            ("tier", "In", vec!["gold"], false),
            ("team", "NotIn", vec!["ops"], true),
            ("team", "NotIn", vec!["shop"], false),
            ("tier", "NotIn", vec!["gold"], true),
            ("team", "Exists", vec![], true),
            ("tier", "Exists", vec![], false),
            ("team", "DoesNotExist", vec![], false),
            ("tier", "DoesNotExist", vec![], true),
        ] {
            let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
            let requirement = Requirement::parse(key, operator, &values).unwrap();
            assert_eq!(requirement.holds(&labels), expected, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(Requirement::parse("a", "Like", &[]).is_err());
        assert!(Requirement::parse("a", "In", &[]).is_err());
        assert!(Requirement::parse("a", "Exists", &["x".to_owned()]).is_err());
    }
}
