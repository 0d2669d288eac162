//! What policies say of a request or a connection, as the log has it.

use fairway_config::model::AuthorizationKey;
use fairway_policy::PolicyRefusal;

/// Why a connection or a request would be refused if what is only observed were enforced.
pub(crate) type Observed = Option<PolicyRefusal>;

/// A refusal in words for the log: the client is not told which policy it met.
pub(crate) fn describe_denial(refusal: &PolicyRefusal) -> String {
    let policy = AuthorizationKey::policy_of(refusal.policy());
    match refusal {
        PolicyRefusal::Denied { rule, .. } => format!("policy=\"{policy}\" rule=\"{rule}\""),
        PolicyRefusal::NotAllowed { .. } => {
            format!("policy=\"{policy}\" rule=\"\": none of its rules matches")
        }
        PolicyRefusal::Unknown { .. } => format!("policy=\"{policy}\": it is not known here"),
    }
}
