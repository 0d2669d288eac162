//! What is said of the certificates of authorities.

use crate::compile::gateway::certificate::date;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::BundlePeriods;

/// That authorities in an object are not valid at present. The time of a trust anchor is not part of the validation of a path (RFC 5280
/// §6.1.1): they are believed all the same, and what they have signed is judged by its own time.
pub(super) fn period_warning(periods: &BundlePeriods, holder: &str) -> Option<Diagnostic> {
    let of = |count: usize| match (count, periods.certificates) {
        (1, 1) => format!("the certificate of the authority in {holder}"),
        (count, all) => format!("{count} of {all} certificates of authorities in {holder}"),
    };
    let expired = periods.expired.map(|it| match it.count {
        1 => format!("{} expired at {}", of(1), date(it.at)),
        many => format!("{} expired, the last one at {}", of(many), date(it.at)),
    });
    let early = periods.not_yet_valid.map(|it| match it.count {
        1 => format!("{} is not valid before {}", of(1), date(it.at)),
        many => format!("{} are not valid yet, the first one is from {}", of(many), date(it.at)),
    });
    let remedy = match (&expired, &early) {
        (None, None) => return None,
        (Some(_), _) => "renew it, or remove it once nothing that it has signed is in use",
        (None, Some(_)) => "use one that is valid now, or correct the clock of whoever signs it",
    };
    let whys: Vec<String> = expired.into_iter().chain(early).collect();
    let message = format!(
        "{}; proxies still trust {}: validity is checked only on the certificates that an authority signed",
        whys.join(", and "),
        if periods.certificates == 1 { "it" } else { "them" }
    );
    Some(Diagnostic::warning(Reason::AuthorityOutOfPeriod, "", message, remedy))
}
