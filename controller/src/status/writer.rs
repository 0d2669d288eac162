//! Writes the statuses into the cluster, for the replica that leads.

use super::delivery::{self, Delivery, Programming, Refusals};
use super::enforcement::{self, Enforcer};
use super::merge::{Author, fit, merge};
use super::pace::Pace;
use super::render::{self, render};
use super::status_cache::{CachedStatus, StatusCache};
use super::transitions::events_of_change;
use super::{ObjectStatus, Record, reason};
use crate::apiserver::describe;
use crate::events::{Event, Recorder};
use crate::provision::Troubles;
use crate::resources::{Kind, ObjectRef};
use crate::serve::States;
use fairway_config::model::{Generation, ObjectName};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, debug, info_span, warn};

/// Writes that may be under way at once.
const IN_FLIGHT: usize = 32;

/// How long a write may take to be answered.
const ANSWER: Duration = Duration::from_secs(10);

/// How long after a write that failed to try again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a Gateway that was programmed stays so without a connected proxy.
const RECONNECT: Duration = Duration::from_secs(15);

/// From a change of what proxies have to enforce to the first look at it: they have it by then, mostly.
const FOR_ACK: Duration = Duration::from_millis(50);

/// From the proxies' acknowledgement to the write: the others' are on their way.
const AFTER_ACK: Duration = Duration::from_millis(20);

/// How often the proxies' states are looked at, at most.
const LOOK: Duration = Duration::from_millis(30);

/// Writes the statuses into the cluster.
pub struct Writer {
    client: Client,
    controller: Arc<str>,
    status_cache: Arc<StatusCache>,
    states: States,
    /// What cannot be provisioned, by Gateway.
    troubles: watch::Receiver<Troubles>,
    events: Recorder,
    pace: Pace,
    deliveries: BTreeMap<Enforcer, Delivery>,
    refusals: Refusals,
    /// What proxies have to enforce and do not have yet.
    awaited: BTreeMap<Enforcer, BTreeSet<ObjectRef>>,
    /// Since when an enforcer has no proxy; those that never had one since we lead are missing.
    alone_since: HashMap<Enforcer, Instant>,
    began: Instant,
    /// The version on which an object was last written: until the cluster shows a newer one, there is nothing to do.
    written_on: HashMap<ObjectRef, Arc<str>, ahash::RandomState>,
    /// What was written on a version and changed nothing: the kind that is installed does not have the field. It is not
    /// written again on that version.
    untaken: HashMap<ObjectRef, (Arc<str>, Value), ahash::RandomState>,
}

/// A write that has to be made.
struct Write {
    object: ObjectRef,
    record: Arc<Record>,
    status: Value,
    current: Value,
}

/// How a write went.
enum Outcome {
    /// It is done; the version it made.
    Written(Option<String>),
    /// The object has changed, or is gone; the watch will say.
    Overtaken,
    /// It did not work.
    Failed(String),
}

// === impl Writer ===

impl Writer {
    /// Puts a writer together.
    pub fn new(
        client: Client,
        controller: Arc<str>,
        status_cache: Arc<StatusCache>,
        states: States,
        troubles: watch::Receiver<Troubles>,
        events: Recorder,
    ) -> Self {
        Self {
            client,
            controller,
            status_cache,
            states,
            troubles,
            events,
            pace: Pace::default(),
            deliveries: BTreeMap::new(),
            refusals: Refusals::default(),
            awaited: BTreeMap::new(),
            alone_since: HashMap::new(),
            began: Instant::now(),
            written_on: HashMap::default(),
            untaken: HashMap::default(),
        }
    }

    /// Runs for as long as this replica leads.
    pub async fn run(mut self) {
        let mut flights = JoinSet::new();
        let mut look_again = Instant::now();
        let mut sweep = tokio::time::interval(RECONNECT);
        self.look_at_proxies(Instant::now());
        for object in self.status_cache.objects() {
            self.pace.touch(&object, Instant::now());
        }
        loop {
            let now = Instant::now();
            while flights.len() < IN_FLIGHT
                && let Some(object) = self.pace.next(now)
            {
                match self.plan(&object, now) {
                    Some(write) => {
                        let (object, version) = (&write.object, &write.record.version);
                        let span = info_span!("status_write", %object, resource_version = &**version);
                        flights.spawn(carry_out(self.client.clone(), write).instrument(span));
                    }
                    None => self.pace.done(&object, false, now),
                }
            }
            let due = self.pace.next_due().filter(|_| flights.len() < IN_FLIGHT);
            tokio::select! {
                () = self.status_cache.touched() => {
                    let now = Instant::now();
                    for object in self.status_cache.take_touched() {
                        let waits = self.status_cache.is_enforced(&object);
                        self.pace.touch_at(&object, if waits { now + FOR_ACK } else { now });
                    }
                }
                () = wait(due) => {}
                Some(Ok((write, outcome))) = flights.join_next() => self.landed(write, outcome),
                () = async { sleep_until(look_again).await; self.states.changed().await } => {
                    look_again = Instant::now() + LOOK;
                    self.look_at_proxies(Instant::now());
                }
                Ok(()) = self.troubles.changed() => self.look_at_troubles(Instant::now()),
                _ = sweep.tick() => {
                    self.pace.sweep(now);
                    self.look_at_proxies(now);
                    self.written_on.retain(|it, _| self.status_cache.cached(it).record.is_some());
                    self.untaken.retain(|it, _| self.status_cache.cached(it).record.is_some());
                }
            }
        }
    }

    /// Notes how far the proxies are, and has the objects looked at for which that changed something.
    fn look_at_proxies(&mut self, now: Instant) {
        let after = delivery::deliveries(&self.states.get());
        let before = std::mem::replace(&mut self.deliveries, after.clone());
        for enforcer in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (before.get(enforcer), after.get(enforcer));
            let ready = |it: Option<&Delivery>| it.map_or(0, |it| it.ready);
            if ready(new) > 0 {
                self.alone_since.remove(enforcer);
            } else if ready(old) > 0 {
                self.alone_since.insert(enforcer.clone(), now);
                self.touch_served(enforcer, now + RECONNECT);
            }
            let required = enforcer.gateway().map(|it| self.status_cache.changed_in(it)).unwrap_or_default();
            let in_force = |it: Option<&Delivery>| it.is_some_and(|it| it.ready > 0 && it.acked >= required);
            if in_force(old) != in_force(new) || (ready(old) == 0) != (ready(new) == 0) {
                self.touch_served(enforcer, now + AFTER_ACK);
            }
            if old.map(|it| it.acked) != new.map(|it| it.acked) {
                for object in self.awaited.remove(enforcer).into_iter().flatten() {
                    self.pace.touch_at(&object, now + AFTER_ACK);
                }
            }
            for resource in Delivery::differing(old, new) {
                for object in self.status_cache.carried_by(&resource) {
                    self.pace.touch(&object, now);
                }
            }
        }
        let refusals = Refusals::from_deliveries(&after);
        for object in self.refusals.differing(&refusals) {
            self.pace.touch(&object, now);
        }
        self.refusals = refusals;
    }

    /// The provisioner has trouble with other Gateways than before.
    fn look_at_troubles(&mut self, now: Instant) {
        let troubled: Vec<ObjectName> = self.troubles.borrow_and_update().keys().cloned().collect();
        troubled.into_iter().for_each(|it| self.touch_served(&Enforcer::Gateway(it), now));
    }

    fn touch_served(&mut self, enforcer: &Enforcer, at: Instant) {
        for object in self.status_cache.served_by(enforcer) {
            self.pace.touch_at(&object, at);
        }
    }

    /// What has to be written of an object now; none when nothing has.
    fn plan(&mut self, object: &ObjectRef, now: Instant) -> Option<Write> {
        let CachedStatus { record, status } = self.status_cache.cached(object);
        let record = record?;
        if self.written_on.get(object) == Some(&record.version) {
            return None;
        }
        if matches!(status.as_deref(), Some(ObjectStatus::Held)) {
            return None;
        }
        let current = record.parsed();
        let held: Vec<Value> = status.iter().flat_map(|it| render::references(it.held())).collect();
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        // The kinds of the Gateway API are written by their controllers; a Service has conditions of others by the same names.
        let owns = if object.kind == Kind::Service { reason::is_own } else { reason::is_ours };
        let controller = self.controller.clone();
        let author = Author { controller: &controller, now: &time, owns, held: &held };
        let ours = status.map(|status| {
            let mut ours = render(&status);
            let programming = self.programming(object, &current, &ours, now);
            delivery::apply(&mut ours, object, &programming, &self.refusals);
            self.enforce(object, &status, &current, &mut ours, now);
            let left_out = match &*status {
                ObjectStatus::Policy(it) => it.left_out,
                _ => 0,
            };
            let lost = fit(&current, &mut ours, left_out, author);
            if lost > 0 {
                self.events.publish(&record.regarding(object), vec![Event::of_full_status(lost)]);
            }
            ours
        });
        let status = merge(&current, ours.as_ref(), author)?;
        if self.untaken.get(object).is_some_and(|(on, what)| *on == record.version && is_alike(what, &status))
        {
            return None;
        }
        Some(Write { object: object.clone(), record, status, current })
    }

    fn programming(
        &mut self,
        object: &ObjectRef,
        current: &Value,
        ours: &Value,
        now: Instant,
    ) -> Programming {
        let Some(gateway) = self.status_cache.gateway_of(object) else { return Programming::InForce };
        let was = delivery::says_programmed(current, ours);
        let required = self.status_cache.changed_in(&gateway);
        let evaluated = self.evaluate(object, &Enforcer::Gateway(gateway.clone()), required, was, now);
        match (evaluated, self.troubles.borrow().get(&gateway)) {
            (Programming::Pending(message), Some(trouble)) => Programming::Pending(format!(
                "{message}; the objects that it runs on cannot be made: {trouble}"
            )),
            (evaluated, _) => evaluated,
        }
    }

    /// Whether an enforcer's proxies have what concerns this object, which changed last in the commit `required`.
    fn evaluate(
        &mut self,
        object: &ObjectRef,
        enforcer: &Enforcer,
        required: Generation,
        was: bool,
        now: Instant,
    ) -> Programming {
        let until = *self.alone_since.get(enforcer).unwrap_or(&self.began) + RECONNECT;
        let delivery = self.deliveries.get(enforcer);
        if was && now < until && delivery.is_none_or(|it| it.ready == 0) {
            self.pace.touch_at(object, until);
        }
        Programming::evaluate(enforcer, delivery, required, was, now < until)
    }

    /// Says of a route or a policy that it is enforced only where all who enforce it have it.
    fn enforce(
        &mut self,
        object: &ObjectRef,
        status: &ObjectStatus,
        current: &Value,
        ours: &mut Value,
        now: Instant,
    ) {
        for (position, enforcement) in status.enforcements(object) {
            let was = enforcement::says_enforced(current, ours, position);
            let (mut obstacle, mut trouble) = (None, None);
            for enforcer in &enforcement.by {
                let required = self.status_cache.required_of(enforcer, object);
                let programming = self.evaluate(object, enforcer, required, was, now);
                if programming != Programming::InForce {
                    self.awaited.entry(enforcer.clone()).or_default().insert(object.clone());
                }
                let delivery = self.deliveries.get(enforcer);
                obstacle = obstacle.or_else(|| enforcement.obstacle(enforcer, delivery, &programming));
                let troubles = self.troubles.borrow();
                trouble = trouble.or_else(|| troubles.get(enforcer.gateway()?).cloned());
            }
            enforcement::correct(ours, position, obstacle.as_ref(), trouble.as_deref());
        }
    }

    fn landed(&mut self, write: Write, outcome: Outcome) {
        let Write { object, record, status, current } = write;
        let now = Instant::now();
        let wrote = match outcome {
            Outcome::Written(version) => {
                debug!(%object, "status written");
                self.status_cache.writes().count("written");
                // What did not change the object makes no echo to wait for.
                if version.as_deref() != Some(&*record.version) {
                    self.written_on.insert(object.clone(), record.version.clone());
                } else {
                    self.untaken.insert(object.clone(), (record.version.clone(), status.clone()));
                }
                self.events.publish(&record.regarding(&object), events_of_change(&current, &status));
                true
            }
            Outcome::Overtaken => {
                self.status_cache.writes().count("overtaken");
                self.written_on.insert(object.clone(), record.version.clone());
                false
            }
            Outcome::Failed(why) => {
                self.status_cache.writes().count("failed");
                warn!(%object, "its status cannot be written, it is tried again: {why}");
                self.pace.touch_at(&object, now + AGAIN);
                false
            }
        };
        self.pace.done(&object, wrote, now);
    }
}

/// Whether two statuses are the same but for times.
fn is_alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys()).filter(|it| *it != "lastTransitionTime");
            names.into_iter().all(|it| matches!((a.get(it), b.get(it)), (Some(a), Some(b)) if is_alike(a, b)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b))
        }
        (a, b) => a == b,
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn carry_out(client: Client, write: Write) -> (Write, Outcome) {
    let outcome = match timeout(ANSWER, patch(&client, &write)).await {
        Ok(Ok(version)) => Outcome::Written(version),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Outcome::Overtaken,
        Ok(Err(error)) => Outcome::Failed(describe(&error)),
        Err(_) => Outcome::Failed("the API server does not answer".to_owned()),
    };
    (write, outcome)
}

/// Writes with the version it was made from as precondition; gives back the version it made.
async fn patch(client: &Client, write: &Write) -> kube::Result<Option<String>> {
    let Write { object, record, status, .. } = write;
    let body = json!({ "metadata": { "resourceVersion": &*record.version }, "status": status });
    let path = format!("{}/status?fieldManager=fairway-controller", record.api_resource.object(object));
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    let answer: Value = client.request(request).await?;
    Ok(answer["metadata"]["resourceVersion"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests;
