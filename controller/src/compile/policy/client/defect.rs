//! What is wrong with a policy itself, wherever it is to hold.

use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::ClientPolicy;
use crate::resources::client_policy::ClientField;

/// What is wrong with a part of a policy, and with which.
#[derive(Debug)]
pub(super) struct Defect {
    reason: Reason,
    /// The path of the field.
    field: String,
    /// What is wrong with it.
    why: String,
    remedy: &'static str,
}

/// Whether everything that a policy asks for is known, be it right or wrong. If not, its listeners are closed: with a part of it left
/// out a listener could do what it forbids.
pub(super) fn is_understood(policy: &ClientPolicy) -> bool {
    policy.meta.unreadable.is_none() && policy.spec.unknown.is_none()
}

// === impl Defect ===

impl Defect {
    /// Why nobody can say what a policy asks for; none where that is known.
    pub(super) fn of_whole(policy: &ClientPolicy) -> Option<Self> {
        if let Some(why) = &policy.meta.unreadable {
            let remedy = "correct it, or upgrade Fairway if it is from a newer version";
            return Some(Self::unreadable(String::new(), why.to_string(), remedy));
        }
        let unknown = policy.spec.unknown.as_ref()?;
        let (reason, why) = (Reason::ClientPolicyFieldUnknown, unknown.reason.clone());
        Some(Self::new(reason, format!("spec.{}", unknown.field), why, "remove it, or upgrade Fairway"))
    }

    /// What is wrong with a field that the policy has.
    pub(super) fn of_field(policy: &ClientPolicy, field: ClientField) -> Option<Self> {
        match field {
            ClientField::ClientAddress => match &policy.spec.client_address {
                Ok(None) => None,
                Ok(Some(written)) => {
                    let it = written.source().err()?;
                    Some(Self::invalid(it.field, it.reason, "correct the value"))
                }
                Err(it) => {
                    let (field, why) = (format!("spec.{}", it.field), it.reason.clone());
                    Some(Self::unreadable(field, why, "correct the field"))
                }
            },
            ClientField::Tls => {
                let it = policy.spec.tls.as_ref().err()?;
                let remedy = "write `minVersion: \"1.2\"` or `\"1.3\"`, in quotes, and algorithms by the names in the CRD, one of TLS 1.3 among the cipherSuites";
                let (field, why) = (format!("spec.{}", it.field), it.reason.clone());
                Some(Self::new(Reason::ClientPolicyTlsUnreadable, field, why, remedy))
            }
            ClientField::CertificateHeader => Self::of_value(policy, field, "write Drop or Set"),
            ClientField::RequestId => Self::of_value(policy, field, "write Keep or Generate"),
            ClientField::Underscores => Self::of_value(policy, field, "write Keep, Drop or Refuse"),
            ClientField::Keepalive => Self::of_value(
                policy,
                field,
                "write durations in whole seconds and a number within the bounds",
            ),
            ClientField::Limits => {
                Self::of_value(policy, field, "write a whole number within the bounds, without quotes")
            }
            ClientField::Timeouts => Self::of_value(
                policy,
                field,
                "write a duration in whole seconds within the bounds, such as 30s",
            ),
        }
    }

    /// What is wrong with a field whose values proxies are told as they are.
    fn of_value(policy: &ClientPolicy, field: ClientField, remedy: &'static str) -> Option<Self> {
        let it = policy.spec.unreadable(field)?;
        let (field, why) = (format!("spec.{}", it.field), it.reason.clone());
        Some(Self::invalid(field, why, remedy))
    }

    fn invalid(field: String, why: String, remedy: &'static str) -> Self {
        Self::new(Reason::ClientPolicyValueInvalid, field, why, remedy)
    }

    /// That a policy says nothing.
    pub(super) fn of_nothing(policy: &ClientPolicy) -> Option<Self> {
        let says_nothing = !ClientField::ALL.into_iter().any(|it| policy.spec.has(it));
        let why = "the policy says nothing of clients".to_owned();
        let remedy = "write one of its fields, such as clientAddress or limits";
        says_nothing.then(|| Self::new(Reason::ClientPolicyEmpty, "spec".to_owned(), why, remedy))
    }

    /// The first of all.
    pub(super) fn first(policy: &ClientPolicy) -> Option<Self> {
        let of_fields = ClientField::ALL.into_iter().find_map(|it| Self::of_field(policy, it));
        Self::of_whole(policy).or(of_fields).or_else(|| Self::of_nothing(policy))
    }

    fn unreadable(field: String, why: String, remedy: &'static str) -> Self {
        Self::new(Reason::ClientPolicyUnreadable, field, why, remedy)
    }

    fn new(reason: Reason, field: String, why: String, remedy: &'static str) -> Self {
        Self { reason, field, why, remedy }
    }

    /// As a policy is told, with what follows from it.
    pub(super) fn told(self, consequence: &str) -> Diagnostic {
        Diagnostic::error(self.reason, self.field, format!("{}{consequence}", self.why), self.remedy)
    }
}
