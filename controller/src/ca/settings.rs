//! How long things live.

use super::root::SKEW;
use fairway_identity::{SharedClock, SystemClock};
use std::sync::Arc;
use std::time::Duration;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How the authority signs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which certificates begin and end.
    pub clock: SharedClock,
    /// How long a workload's certificate is valid. At least a minute.
    pub lifetime: Duration,
    /// How long a new root is trusted before it signs: longer than any proxy goes without hearing of it.
    pub overlap: Duration,
    /// How long a root that is made here is valid.
    pub root_lifetime: Duration,
}

/// Settings under which identities would fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Renewal would not keep up.
    #[error("certificates of {0:?} are too short-lived; a minute is the least")]
    TooShort(Duration),
    /// A rotation would not be over before the old root ends.
    #[error(
        "roots of {root:?} are too short-lived; with these certificates and this overlap {least:?} is the least"
    )]
    RootTooShort {
        /// The lifetime of roots that is configured.
        root: Duration,
        /// The shortest lifetime that leaves time for a rotation.
        least: Duration,
    },
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            lifetime: DAY,
            overlap: Duration::from_secs(60 * 60),
            root_lifetime: 3650 * DAY,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.lifetime < Duration::from_secs(60) {
            return Err(SettingsError::TooShort(self.lifetime));
        }
        // A root is replaced with a fifth of its life left, and must outlive the certificates that it signed till then.
        let least = (self.overlap + self.lifetime + SKEW) * 5;
        if self.root_lifetime < least {
            return Err(SettingsError::RootTooShort { root: self.root_lifetime, least });
        }
        Ok(())
    }
}
