//! Certificates of authorities, as ConfigMaps and Secrets hold them.

use fairway_config::model::{Period, Validity};
use std::sync::Arc;

/// The certificates of authorities in one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorities {
    /// The PEM text, as it is under `ca.crt`.
    pub pem: Arc<str>,
    /// Where the present stands to their validity (see `source::CertificatePeriods`).
    pub periods: BundlePeriods,
}

/// How many certificates of a bundle are not valid at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundlePeriods {
    /// How many there are.
    pub certificates: usize,
    /// Those that have expired, with the last second in which one of them was valid.
    pub expired: Option<OutOfPeriod>,
    /// Those that are not yet valid, with the first second in which one of them is.
    pub not_yet_valid: Option<OutOfPeriod>,
}

/// Certificates that are not valid at present, for one of the two reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfPeriod {
    /// How many certificates these are.
    pub count: usize,
    /// When it began or ends, for the nearest of them; in seconds since the epoch.
    pub at: i64,
}

// === impl Authorities ===

impl Authorities {
    /// Authorities that are valid, until somebody says otherwise.
    pub fn new(pem: impl Into<Arc<str>>) -> Self {
        Self { pem: pem.into(), periods: BundlePeriods::default() }
    }

    /// Takes note of what `now` (seconds since the epoch) is to their validity; returns when that changes next.
    pub fn judge(&mut self, now: i64) -> Option<i64> {
        let validities = Validity::of_each(&self.pem);
        self.periods = BundlePeriods::at(&validities, now);
        validities.iter().filter_map(|it| it.next_change(now)).min()
    }
}

// === impl BundlePeriods ===

impl BundlePeriods {
    fn at(validities: &[Validity], now: i64) -> Self {
        let among = |period: Period| validities.iter().filter(move |it| it.period_at(now) == period);
        let expired = among(Period::Expired).map(|it| it.not_after);
        let early = among(Period::NotYetValid).map(|it| it.not_before);
        Self {
            certificates: validities.len(),
            expired: expired.clone().max().map(|at| OutOfPeriod { count: expired.count(), at }),
            not_yet_valid: early.clone().min().map(|at| OutOfPeriod { count: early.count(), at }),
        }
    }
}
