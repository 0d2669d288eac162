//! One condition.

use std::borrow::Cow;
use std::fmt;

/// A condition as `metav1.Condition` has it, without the time of its last transition: time is not compile's to know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Truth,
    /// Why, in one word of the API.
    pub reason: &'static str,
    /// Why, for a person: object, field, remedy.
    pub message: Cow<'static, str>,
    /// The generation of the object that was looked at.
    pub observed_generation: i64,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say yet.
    Unknown,
}

// === impl Condition ===

impl Condition {
    /// A condition that holds.
    pub fn holds(
        kind: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
        observed_generation: i64,
    ) -> Self {
        Self { kind, status: Truth::True, reason, message: message.into(), observed_generation }
    }

    /// A condition that does not hold.
    pub fn fails(
        kind: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
        observed_generation: i64,
    ) -> Self {
        Self { kind, status: Truth::False, reason, message: message.into(), observed_generation }
    }

    /// Whether this is bad news: a condition of negative polarity that holds, or any other that does not.
    pub fn is_bad(&self) -> bool {
        let status = match self.status {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => return true,
        };
        !super::reason::is_good(self.kind, status)
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}
