//! Which certificates are valid now: the time at which compiling judges them.
//!
//! Compiling has no clock. So each Secret carries where the present stands to its certificate's validity, each Secret, ConfigMap and
//! ClusterTrustBundle where it stands to that of its authorities, and they are handed on again when that changes: when the time comes, and when a clock
//! that was ahead is set back.

use crate::resources::{ClusterTrustBundle, ConfigMap, Edit, Object, ObjectRef, Secret};
use fairway_config::model::Certificate;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The longest time that is slept through: wall clocks are set, and machines are suspended.
const LONGEST: Duration = Duration::from_secs(600);

/// Remembers the objects with certificates, and in which order these become valid or expire.
#[derive(Debug, Default)]
pub struct CertificatePeriods {
    judged: HashMap<ObjectRef, Judged>,
    order: BTreeSet<(i64, ObjectRef)>,
    /// The latest time at which one was judged, in seconds since the epoch.
    latest: Option<i64>,
}

#[derive(Debug)]
struct Judged {
    object: Object,
    /// When something of it changes next, in seconds since the epoch; none where everything has expired.
    until: Option<i64>,
}

// === impl CertificatePeriods ===

impl CertificatePeriods {
    /// Tells each Secret, ConfigMap and ClusterTrustBundle among these what `now` is to its certificates. Behind [`super::LastGood`], whose certificate
    /// may be the one in use.
    pub fn carry(&mut self, edits: &mut [Edit], now: SystemTime) {
        let now = seconds(now);
        self.latest = self.latest.max(Some(now));
        for edit in edits {
            self.forget(&edit.object());
            if let Edit::Upsert(object) = edit {
                self.judge(object, now);
            }
        }
    }

    /// The objects of which a certificate became valid or expired since they were handed on, or never did by a clock that was set
    /// back.
    pub fn take_due(&mut self, now: SystemTime) -> Vec<Edit> {
        let now = seconds(now);
        let is_set_back = self.latest.replace(now).is_some_and(|latest| now < latest);
        let due: Vec<ObjectRef> = match is_set_back {
            true => self.judged.keys().cloned().collect(),
            false => {
                let passed = self.order.iter().take_while(|(until, _)| *until <= now);
                passed.map(|(_, object)| object.clone()).collect()
            }
        };
        let mut edits = Vec::new();
        for object in due {
            let Some(Judged { object: before, .. }) = self.forget(&object) else { continue };
            let mut object = before.clone();
            self.judge(&mut object, now);
            if object != before {
                edits.push(Edit::Upsert(object));
            }
        }
        edits
    }

    /// When [`Self::take_due`] may have something; none when there are no certificates.
    pub fn deadline(&self, now: SystemTime) -> Option<Instant> {
        if self.judged.is_empty() {
            return None;
        }
        // Where everything has expired the clock may be wrong.
        let until = self.order.first().map_or(i64::MAX, |(until, _)| *until);
        let wait = u64::try_from(until.saturating_sub(seconds(now))).unwrap_or(0);
        Some(Instant::now() + Duration::from_secs(wait).min(LONGEST))
    }

    fn judge(&mut self, object: &mut Object, now: i64) {
        let until = match object {
            Object::Secret(it) => judge_secret(it, now),
            Object::ConfigMap(it) => judge_config_map(it, now),
            Object::ClusterTrustBundle(it) => judge_bundle(it, now),
            _ => return,
        };
        let Some(until) = until else { return };
        let name = object.reference();
        self.order.extend(until.at.map(|until| (until, name.clone())));
        self.judged.insert(name, Judged { object: object.clone(), until: until.at });
    }

    fn forget(&mut self, object: &ObjectRef) -> Option<Judged> {
        let (object, judged) = self.judged.remove_entry(object)?;
        if let Some(until) = judged.until {
            self.order.remove(&(until, object));
        }
        Some(judged)
    }
}

/// The next change of what has certificates; none at all where everything has expired.
struct NextChange {
    at: Option<i64>,
}

/// Notes what the present is to a Secret's certificates; returns when that changes. None where it has none.
fn judge_secret(secret: &mut Arc<Secret>, now: i64) -> Option<NextChange> {
    let validity = in_use(secret).map(|it| it.validity());
    let period = validity.map(|it| it.period_at(now));
    if period.is_some_and(|it| it != secret.period) {
        Arc::make_mut(secret).period = period?;
    }
    let authorities = secret.authorities.clone().and_then(|mut it| {
        let until = it.judge(now);
        if secret.authorities.as_ref() != Some(&it) {
            Arc::make_mut(secret).authorities = Some(it);
        }
        until
    });
    let has_certificates = validity.is_some() || secret.authorities.is_some();
    let at = validity.and_then(|it| it.next_change(now)).into_iter().chain(authorities).min();
    has_certificates.then_some(NextChange { at })
}

/// Notes what the present is to a ConfigMap's authorities; returns when that changes. None where it has none.
fn judge_config_map(config_map: &mut Arc<ConfigMap>, now: i64) -> Option<NextChange> {
    let mut authorities = config_map.authorities.clone()?;
    let at = authorities.judge(now);
    if config_map.authorities.as_ref() != Some(&authorities) {
        Arc::make_mut(config_map).authorities = Some(authorities);
    }
    Some(NextChange { at })
}

/// The same for a ClusterTrustBundle.
fn judge_bundle(bundle: &mut Arc<ClusterTrustBundle>, now: i64) -> Option<NextChange> {
    let mut authorities = bundle.authorities.clone();
    let at = authorities.judge(now);
    if authorities.periods.certificates == 0 {
        return None;
    }
    if bundle.authorities != authorities {
        Arc::make_mut(bundle).authorities = authorities;
    }
    Some(NextChange { at })
}

/// The certificate of a Secret that proxies are given.
fn in_use(secret: &Secret) -> Option<Certificate> {
    if !secret.is_tls() {
        return None;
    }
    secret.key_pair().ok().or_else(|| secret.last_good_pair())
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::objects;
    use fairway_config::model::Period;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// What the one Secret among these edits is told of its certificate.
    fn period(edits: &[Edit]) -> Option<Period> {
        match edits {
            [Edit::Upsert(Object::Secret(it))] => Some(it.period),
            _ => None,
        }
    }

    /// A Secret whose certificate is valid through one day of 2020.
    fn secret(name: &str, day: u8) -> Edit {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 5, day);
        params.not_after = date_time_ymd(2020, 5, day + 1);
        let made = params.self_signed(&key).unwrap();
        let [certificate, key] = [made.pem(), key.serialize_pem()].map(serde_json::Value::String);
        let yaml = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: {name}, namespace: edge }}\ntype: kubernetes.io/tls\n\
             stringData: {{ tls.crt: {certificate}, tls.key: {key} }}\n"
        );
        Edit::Upsert(objects(&yaml).remove(0))
    }

    /// Midday of a day of May 2020.
    fn midday(day: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_588_334_400 + (day - 1) * 86_400)
    }

    #[test]
    fn a_secret_is_handed_on_again_when_its_certificate_becomes_valid_and_when_it_expires() {
        let mut it = CertificatePeriods::default();
        let mut edits = [secret("pair", 10)];
        it.carry(&mut edits, midday(8));
        assert_eq!(period(&edits), Some(Period::NotYetValid));
        assert_eq!(it.take_due(midday(9)), [], "nothing has changed");
        assert_eq!(period(&it.take_due(midday(10))), Some(Period::Valid));
        assert_eq!(it.take_due(midday(10)), [], "once");
        assert_eq!(period(&it.take_due(midday(11))), Some(Period::Expired));
        assert_eq!(it.take_due(midday(30)), [], "nothing is waited for");
    }

    #[test]
    fn a_time_that_was_slept_through_is_made_up_for() {
        let mut it = CertificatePeriods::default();
        it.carry(&mut [secret("pair", 10)], midday(8));
        assert_eq!(period(&it.take_due(midday(20))), Some(Period::Expired));
    }

    #[test]
    fn a_clock_that_is_set_back_and_forth_is_followed() {
        let authorities = |edits: &[Edit]| match edits {
            [Edit::Upsert(Object::ConfigMap(it))] => it.authorities.clone(),
            _ => None,
        };
        let mut it = CertificatePeriods::default();
        let mut edits = [secret("pair", 10)];
        it.carry(&mut edits, midday(10));
        assert_eq!(period(&edits), Some(Period::Valid));
        for (day, expected) in [
            (20, Some(Period::Expired)),
            // It was ahead by ten days.
            (10, Some(Period::Valid)),
            (10, None),
            (8, Some(Period::NotYetValid)),
            (7, None),
            (12, Some(Period::Expired)),
            (9, Some(Period::NotYetValid)),
            (10, Some(Period::Valid)),
            (11, Some(Period::Expired)),
        ] {
            assert_eq!(period(&it.take_due(midday(day))), expected, "May {day}");
        }
        // The authorities of a bundle likewise.
        let mut bundle = [config_map(10)];
        it.carry(&mut bundle, midday(20));
        let expired = authorities(&bundle);
        it.take_due(midday(20));
        let edits: Vec<Edit> = it
            .take_due(midday(10))
            .into_iter()
            .filter(|it| matches!(it, Edit::Upsert(Object::ConfigMap(_))))
            .collect();
        assert!(expired.is_some() && authorities(&edits).is_some_and(|it| Some(it) != expired), "{edits:?}");
    }

    /// An edit that comes just when the clock was set back hides nothing.
    #[test]
    fn what_is_judged_meanwhile_does_not_hide_that_the_clock_was_set_back() {
        let mut it = CertificatePeriods::default();
        it.carry(&mut [secret("pair", 10)], midday(20));
        it.take_due(midday(20));
        it.carry(&mut [secret("other", 1)], midday(10));
        assert_eq!(period(&it.take_due(midday(10))), Some(Period::Valid));
    }

    #[test]
    fn an_edited_or_deleted_secret_is_no_longer_waited_for_as_it_was() {
        let mut it = CertificatePeriods::default();
        let first = secret("pair", 10);
        it.carry(&mut [first.clone(), secret("other", 12)], midday(8));
        it.carry(&mut [secret("pair", 14)], midday(8));
        assert_eq!(it.take_due(midday(10)), [], "it has another certificate");
        it.carry(&mut [Edit::Remove(first.object())], midday(10));
        assert_eq!(it.take_due(midday(14)).len(), 1, "only the other one");
    }

    /// A ConfigMap with an authority whose certificate is valid through one day of 2020.
    fn config_map(day: u8) -> Edit {
        let mut params = CertificateParams::new(vec!["authority".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 5, day);
        params.not_after = date_time_ymd(2020, 5, day + 1);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let pem = serde_json::Value::String(made.pem());
        let yaml = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: authority, namespace: edge }}\ndata: {{ ca.crt: {pem} }}\n"
        );
        Edit::Upsert(objects(&yaml).remove(0))
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_the_next_change_and_never_far_off() {
        let mut it = CertificatePeriods::default();
        it.carry(&mut [secret("pair", 10)], midday(8));
        assert_eq!(it.deadline(midday(8)), Some(Instant::now() + LONGEST));
        let soon = midday(9) + Duration::from_secs(12 * 3600 - 5);
        assert_eq!(it.deadline(soon), Some(Instant::now() + Duration::from_secs(5)));
        assert_eq!(it.deadline(midday(20)), Some(Instant::now()), "it is due");
        it.take_due(midday(20));
        assert_eq!(it.deadline(midday(20)), Some(Instant::now() + LONGEST), "the clock may be set back");
        assert_eq!(CertificatePeriods::default().deadline(midday(20)), None);
    }
}
