//! Which certificates are valid now: the time at which compiling judges them.
//!
//! Compiling has no clock. So each Secret carries where the present stands to its certificate's validity, each Secret and ConfigMap
//! where it stands to that of its authorities, and they are handed on again when that changes.

use crate::resources::{ConfigMap, Edit, Object, ObjectRef, Secret};
use fairway_config::model::Certificate;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The longest time that is slept through: wall clocks are set, and machines are suspended.
const LONGEST: Duration = Duration::from_secs(600);

/// Remembers the objects whose certificates become valid or expire later, in the order in which they do.
#[derive(Debug, Default)]
pub struct CertificatePeriods {
    waiting: HashMap<ObjectRef, Waiting>,
    order: BTreeSet<(i64, ObjectRef)>,
}

#[derive(Debug)]
struct Waiting {
    object: Object,
    /// In seconds since the epoch.
    until: i64,
}

// === impl CertificatePeriods ===

impl CertificatePeriods {
    /// Tells each Secret and ConfigMap among these what `now` is to its certificates. Behind [`super::LastGood`], whose certificate
    /// may be the one in use.
    pub fn carry(&mut self, edits: &mut [Edit], now: SystemTime) {
        let now = seconds(now);
        for edit in edits {
            self.forget(&edit.object());
            if let Edit::Upsert(object) = edit {
                self.judge(object, now);
            }
        }
    }

    /// The objects of which a certificate became valid or expired since they were handed on.
    pub fn take_due(&mut self, now: SystemTime) -> Vec<Edit> {
        let now = seconds(now);
        let due: Vec<ObjectRef> = self
            .order
            .iter()
            .take_while(|(until, _)| *until <= now)
            .map(|(_, object)| object.clone())
            .collect();
        let mut edits = Vec::new();
        for object in due {
            let Some(Waiting { mut object, .. }) = self.forget(&object) else { continue };
            self.judge(&mut object, now);
            edits.push(Edit::Upsert(object));
        }
        edits
    }

    /// When [`Self::take_due`] may have something; none when nothing is waited for.
    pub fn deadline(&self, now: SystemTime) -> Option<Instant> {
        let (until, _) = self.order.first()?;
        let wait = u64::try_from(until.saturating_sub(seconds(now))).unwrap_or(0);
        Some(Instant::now() + Duration::from_secs(wait).min(LONGEST))
    }

    fn judge(&mut self, object: &mut Object, now: i64) {
        let until = match object {
            Object::Secret(it) => judge_secret(it, now),
            Object::ConfigMap(it) => judge_config_map(it, now),
            _ => None,
        };
        let Some(until) = until else { return };
        let name = object.reference();
        self.order.insert((until, name.clone()));
        self.waiting.insert(name, Waiting { object: object.clone(), until });
    }

    fn forget(&mut self, object: &ObjectRef) -> Option<Waiting> {
        let (object, waiting) = self.waiting.remove_entry(object)?;
        self.order.remove(&(waiting.until, object));
        Some(waiting)
    }
}

/// Notes what the present is to a Secret's certificates; returns when that changes.
fn judge_secret(secret: &mut Arc<Secret>, now: i64) -> Option<i64> {
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
    validity.and_then(|it| it.next_change(now)).into_iter().chain(authorities).min()
}

/// Notes what the present is to a ConfigMap's authorities; returns when that changes.
fn judge_config_map(config_map: &mut Arc<ConfigMap>, now: i64) -> Option<i64> {
    let mut authorities = config_map.authorities.clone()?;
    let until = authorities.judge(now);
    if config_map.authorities.as_ref() != Some(&authorities) {
        Arc::make_mut(config_map).authorities = Some(authorities);
    }
    until
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
        assert_eq!(it.deadline(midday(11)), None, "nothing is waited for");
        assert_eq!(it.take_due(midday(30)), []);
    }

    #[test]
    fn a_time_that_was_slept_through_is_made_up_for() {
        let mut it = CertificatePeriods::default();
        it.carry(&mut [secret("pair", 10)], midday(8));
        assert_eq!(period(&it.take_due(midday(20))), Some(Period::Expired));
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

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_the_next_change_and_never_far_off() {
        let mut it = CertificatePeriods::default();
        it.carry(&mut [secret("pair", 10)], midday(8));
        assert_eq!(it.deadline(midday(8)), Some(Instant::now() + LONGEST));
        let soon = midday(9) + Duration::from_secs(12 * 3600 - 5);
        assert_eq!(it.deadline(soon), Some(Instant::now() + Duration::from_secs(5)));
        assert_eq!(it.deadline(midday(20)), Some(Instant::now()), "it is due");
    }
}
