//! A condition of a status, and when two of them say the same.

use std::borrow::Cow;
use std::fmt;

/// A condition as `metav1.Condition` has it, without the time of its last transition: time is not compile's to know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub status: ConditionStatus,
    /// Why, in one word of the API.
    pub reason: &'static str,
    /// Why, for a person: object, field, remedy.
    pub message: Cow<'static, str>,
    /// The generation of the object that was looked at.
    pub observed_generation: i64,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ConditionStatus {
    True,
    False,
    /// Nobody can say yet.
    Unknown,
}

// === impl Condition ===

impl Condition {
    /// A condition with status `True`.
    #[cfg_attr(test, track_caller)]
    pub fn holds(
        kind: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
        observed_generation: i64,
    ) -> Self {
        #[cfg(test)]
        recorder::record();
        Self { kind, status: ConditionStatus::True, reason, message: message.into(), observed_generation }
    }

    /// A condition that does not hold.
    #[cfg_attr(test, track_caller)]
    pub fn fails(
        kind: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
        observed_generation: i64,
    ) -> Self {
        #[cfg(test)]
        recorder::record();
        Self { kind, status: ConditionStatus::False, reason, message: message.into(), observed_generation }
    }

    /// A condition of which nobody can say yet whether it holds.
    pub fn unknown(
        kind: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
        observed_generation: i64,
    ) -> Self {
        Self { kind, status: ConditionStatus::Unknown, reason, message: message.into(), observed_generation }
    }

    /// Whether this is bad news: a condition of negative polarity that holds, or any other that does not.
    pub fn is_bad(&self) -> bool {
        let status = match self.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => return true,
        };
        !super::reason::is_good(self.kind, status)
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

/// Where in the source conditions are made, for the test that sees every message.
#[cfg(test)]
pub(crate) mod recorder {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::panic::Location;

    type Places = BTreeSet<(String, u32)>;

    thread_local! {
        static PLACES: RefCell<Option<Places>> = const { RefCell::new(None) };
    }

    /// Records on this thread from now on.
    pub(crate) fn start() {
        PLACES.set(Some(Places::new()));
    }

    /// The places since [`start`].
    pub(crate) fn stop() -> Places {
        PLACES.take().unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn record() {
        let place = Location::caller();
        PLACES.with_borrow_mut(|places| {
            places.iter_mut().for_each(|places| {
                places.insert((place.file().to_owned(), place.line()));
            });
        });
    }
}
