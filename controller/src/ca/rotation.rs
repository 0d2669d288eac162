//! Which root signs and which are trusted, at any time. Pure: every step makes a new state.
//!
//! A new root is first only trusted, until every proxy has surely heard of it; then it signs; the old one stays trusted
//! until the last certificate that it signed has ended. So at no time does anybody meet a certificate from a root that
//! they do not know.

use super::root::{Root, SKEW};
use fairway_identity::{TrustBundle, TrustDomain};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The roots of a mesh in one state of their rotation.
#[derive(Clone, Debug)]
pub struct Roots {
    pub(super) revision: u64,
    pub(super) signing: Arc<Root>,
    pub(super) signed: Signed,
    pub(super) next: Option<Next>,
    pub(super) retired: Vec<Retired>,
}

/// How long what the signing root has signed lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// What it signs now.
    pub lifetime: Duration,
    /// What it signed when certificates lived longer: the last of that ends then.
    pub longer_until: Option<SystemTime>,
}

/// A root that is trusted but does not sign yet.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) root: Arc<Root>,
    pub(super) signs_from: SystemTime,
}

/// A root that no longer signs. Its key is gone.
#[derive(Clone, Debug)]
pub(super) struct Retired {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) trusted_until: SystemTime,
}

/// Why a rotation does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// One at a time.
    #[error("a rotation is under way: its new root signs from {signs_from:?}")]
    UnderWay {
        /// When the new root of that rotation takes over.
        signs_from: SystemTime,
    },
}

impl Roots {
    /// One root, which signs certificates that live this long.
    pub fn new(signing: Root, lifetime: Duration, now: SystemTime) -> Self {
        Self {
            revision: revision_after(0, now),
            signing: Arc::new(signing),
            signed: Signed { lifetime, longer_until: None },
            next: None,
            retired: Vec::new(),
        }
    }

    /// The root that signs at this time.
    pub fn signer(&self, now: SystemTime) -> &Arc<Root> {
        match &self.next {
            Some(next) if next.signs_from <= now => &next.root,
            _ => &self.signing,
        }
    }

    /// What peers must trust in this state.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> TrustBundle {
        let signing = std::iter::once(self.signing.certificate());
        let next = self.next.iter().map(|it| it.root.certificate());
        let retired = self.retired.iter().map(|it| &it.certificate);
        TrustBundle {
            trust_domain: trust_domain.clone(),
            roots: signing.chain(next).chain(retired).cloned().collect(),
            revision: self.revision,
        }
    }

    /// Begins a rotation: `new` is trusted from now and signs after `overlap`.
    pub fn rotated(&self, new: Root, now: SystemTime, overlap: Duration) -> Result<Self, RotateError> {
        if let Some(next) = &self.next {
            return Err(RotateError::UnderWay { signs_from: next.signs_from });
        }
        let next = Some(Next { root: Arc::new(new), signs_from: now + overlap });
        Ok(Self { revision: revision_after(self.revision, now), next, ..self.clone() })
    }

    /// The state in which certificates live this long from now on, if it is another one.
    pub fn signing_for(&self, lifetime: Duration, now: SystemTime) -> Option<Self> {
        let before = self.signed.lifetime;
        if before == lifetime {
            return None;
        }
        // A root that signs by now has signed for as long as was set.
        let state = self.advanced(now).unwrap_or_else(|| self.clone());
        let shortened = (before > lifetime).then(|| now + before);
        let signed = Signed { lifetime, longer_until: shortened.max(state.signed.longer_until) };
        Some(Self { signed, ..state })
    }

    /// The state at a later time, if it is another one.
    pub fn advanced(&self, now: SystemTime) -> Option<Self> {
        let mut later = self.clone();
        later.retired.retain(|it| now < it.trusted_until);
        let mut changed = later.retired.len() != self.retired.len();
        if let Some(next) = later.next.take_if(|next| next.signs_from <= now) {
            let old = std::mem::replace(&mut later.signing, next.root);
            // Counted from now, not from `signs_from`: whoever comes late to this step errs on the trusting side.
            let Signed { lifetime, longer_until } = self.signed;
            let trusted_until = longer_until.unwrap_or(now).max(now + lifetime) + SKEW;
            // The new one has signed nothing that lives longer.
            later.signed.longer_until = None;
            later.retired.push(Retired { certificate: old.certificate().clone(), trusted_until });
            changed = true;
        }
        later.revision = revision_after(self.revision, now);
        changed.then_some(later)
    }

    /// Whether the signing root is one of ours and so near its end that a rotation should begin.
    pub fn wants_rotation(&self, now: SystemTime) -> bool {
        self.next.is_none() && self.signing.replace_at().is_some_and(|at| at <= now)
    }

    /// When [`Roots::advanced`] or [`Roots::wants_rotation`] will next say something else.
    pub fn next_event(&self) -> Option<SystemTime> {
        let take_over = match &self.next {
            Some(next) => Some(next.signs_from),
            None => self.signing.replace_at(),
        };
        take_over.into_iter().chain(self.retired.iter().map(|it| it.trusted_until)).min()
    }
}

/// The time in milliseconds, so that an authority that lost its state and starts anew is still taken for the newer one;
/// and always more than before, also when the clock was set back.
fn revision_after(before: u64, now: SystemTime) -> u64 {
    let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX).max(before.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: Duration = Duration::from_secs(100);
    const LIFETIME: Duration = Duration::from_secs(1000);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn root(seconds: u64) -> Root {
        Root::make(&"cluster.local".parse().unwrap(), at(seconds), Duration::from_secs(1_000_000)).unwrap()
    }

    fn trusted(roots: &Roots) -> Vec<CertificateDer<'static>> {
        roots.bundle(&"cluster.local".parse().unwrap()).roots
    }

    #[test]
    fn a_rotation_goes_through_trust_signing_and_forgetting() {
        let start = Roots::new(root(0), LIFETIME, at(0));
        let old = start.signing.certificate().clone();
        let begun = start.rotated(root(10), at(10), OVERLAP).unwrap();
        let new = begun.next.as_ref().unwrap().root.certificate().clone();
        let taken_over = begun.advanced(at(110)).unwrap();
        let done = taken_over.advanced(at(1170)).unwrap();

        for (state, now, signer, trusts) in [
            (&start, 0, &old, vec![&old]),
            (&begun, 10, &old, vec![&old, &new]),
            (&begun, 109, &old, vec![&old, &new]),
            (&begun, 110, &new, vec![&old, &new]), // also before anyone has called `advanced`
            (&taken_over, 110, &new, vec![&new, &old]),
            (&taken_over, 1169, &new, vec![&new, &old]),
            (&done, 1170, &new, vec![&new]),
        ] {
            assert_eq!(state.signer(at(now)).certificate(), signer, "signer at {now}");
            assert_eq!(trusted(state).iter().collect::<Vec<_>>(), trusts, "trusted at {now}");
        }
    }

    #[test]
    fn nothing_changes_between_the_events() {
        let begun = Roots::new(root(0), LIFETIME, at(0)).rotated(root(10), at(10), OVERLAP).unwrap();
        assert!(begun.advanced(at(109)).is_none());
        let taken_over = begun.advanced(at(110)).unwrap();
        assert!(taken_over.advanced(at(1169)).is_none());
        assert_eq!((begun.next_event(), taken_over.next_event()), (Some(at(110)), Some(at(1170))));
    }

    #[test]
    fn a_late_step_trusts_the_old_root_longer_not_shorter() {
        let begun = Roots::new(root(0), LIFETIME, at(0)).rotated(root(10), at(10), OVERLAP).unwrap();
        let late = begun.advanced(at(500)).unwrap();
        assert_eq!(late.next_event(), Some(at(1560)));
    }

    #[test]
    fn what_was_signed_for_longer_is_trusted_for_longer() {
        let longer = Roots::new(root(0), LIFETIME, at(0)).signing_for(10 * LIFETIME, at(0)).unwrap();
        assert!(longer.signing_for(10 * LIFETIME, at(5)).is_none());
        let shorter = longer.signing_for(LIFETIME, at(5)).unwrap();
        // Shorter still, and longer again: the first of them is what ends last.
        let shortest =
            shorter.signing_for(LIFETIME / 2, at(6)).unwrap().signing_for(LIFETIME, at(7)).unwrap();
        for state in [shorter, shortest] {
            assert_eq!(trusted(&state), trusted(&longer), "nobody has to hear of it");
            let begun = state.rotated(root(10), at(10), OVERLAP).unwrap();
            let taken_over = begun.advanced(at(110)).unwrap();
            assert_eq!(taken_over.next_event(), Some(at(5 + 10_000) + SKEW));
            // What the new root signs does not live longer.
            let again = taken_over.rotated(root(20_000), at(20_000), OVERLAP).unwrap();
            let again = again.advanced(at(20_100)).unwrap();
            assert_eq!(again.next_event(), Some(at(20_100) + LIFETIME + SKEW));
        }
    }

    #[test]
    fn a_root_that_signs_when_the_lifetime_is_made_shorter_is_remembered_too() {
        let begun = Roots::new(root(0), 10 * LIFETIME, at(0)).rotated(root(10), at(10), OVERLAP).unwrap();
        // Nobody was there at 110, when the second root began to sign.
        let shorter = begun.signing_for(LIFETIME, at(300)).unwrap();
        assert_eq!(shorter.next_event(), Some(at(300 + 10_000) + SKEW), "of the first");
        let again = shorter.rotated(root(400), at(400), OVERLAP).unwrap().advanced(at(500)).unwrap();
        assert!(again.retired.iter().all(|it| it.trusted_until == at(300 + 10_000) + SKEW), "of both");
    }

    #[test]
    fn one_rotation_at_a_time() {
        let begun = Roots::new(root(0), LIFETIME, at(0)).rotated(root(10), at(10), OVERLAP).unwrap();
        let again = begun.rotated(root(20), at(20), OVERLAP);
        assert_eq!(again.unwrap_err(), RotateError::UnderWay { signs_from: at(110) });
        // While an old root is still trusted, the next rotation may begin.
        let taken_over = begun.advanced(at(110)).unwrap();
        assert_eq!(trusted(&taken_over.rotated(root(120), at(120), OVERLAP).unwrap()).len(), 3);
    }

    #[test]
    fn revisions_grow_even_when_the_clock_is_set_back() {
        let start = Roots::new(root(500), LIFETIME, at(500));
        let begun = start.rotated(root(10), at(10), OVERLAP).unwrap();
        assert!(begun.revision > start.revision);
        assert!(begun.advanced(at(110)).unwrap().revision > begun.revision);
    }

    #[test]
    fn a_root_of_ours_wants_to_be_replaced_before_its_end() {
        let roots = Roots::new(root(0), LIFETIME, at(0));
        assert_eq!((roots.wants_rotation(at(799_000)), roots.wants_rotation(at(801_000))), (false, true));
        assert!(!roots.rotated(root(1), at(1), OVERLAP).unwrap().wants_rotation(at(801_000)));
    }
}
