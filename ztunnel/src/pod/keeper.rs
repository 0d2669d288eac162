//! One pod's task: captures it, keeps its rules in place, and lets it go.

use super::step::{self, Held, Rest, Rules, Step, Wanted};
use super::{LocalPod, PodError, PodState, PodStatus};
use crate::Settings;
use crate::proxy::{Fleet, Listeners};
use crate::state::State;
use crate::view::Status;
use fairway_config::model::{Workload, WorkloadKey};
use fairway_identity::Identities;
use fairway_netns::Namespace;
use fairway_netns::capture::{self, Capture};
use fairway_runtime::drain::{self, Phase};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

type Answer = oneshot::Sender<Result<PodState, PodError>>;

/// What all keepers work with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) settings: Arc<Settings>,
    pub(crate) state: State,
    pub(crate) identities: Identities,
    pub(crate) fleet: Fleet,
    pub(crate) drain: drain::Watch,
}

pub(super) struct Keeper {
    around: Surroundings,
    uid: Arc<str>,
    key: WorkloadKey,
    status: Status,
}

/// A pod's namespace, and who waits for its capture.
pub(super) struct Registration {
    pub(super) netns: PathBuf,
    pub(super) done: Answer,
}

/// What is in place for a captured pod. Dropped, it takes no more connections, and those that are open are cut off.
struct Place {
    pod: Arc<LocalPod>,
    /// Taken when the program drains.
    trigger: Option<drain::Trigger>,
    releasing: Option<Instant>,
}

/// Whether the kernel is asked about the rules: now and then, not at every commit of a configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    AtRules,
    Away,
}

impl Keeper {
    pub(super) fn new(around: Surroundings, uid: Arc<str>, key: WorkloadKey, status: Status) -> Self {
        Self { around, uid, key, status }
    }

    /// Runs until nobody can register the pod again (it is gone) or the program ends.
    pub(super) async fn run(self, first: Registration, inbox: mpsc::UnboundedReceiver<Registration>) {
        let mut place = None;
        tokio::select! {
            biased;
            () = self.around.drain.reached(Phase::Draining) => {
                if let Some(trigger) = place.as_mut().and_then(|place: &mut Place| place.trigger.take()) {
                    trigger.drain(self.around.settings.deadlines).await;
                }
            }
            // Its namespace is gone or about to be: there is nobody left to be polite to.
            () = self.keep(first, inbox, &mut place) => {}
        }
    }

    async fn keep(
        &self,
        first: Registration,
        mut inbox: mpsc::UnboundedReceiver<Registration>,
        place: &mut Option<Place>,
    ) {
        let wait = self.around.settings.registration_wait;
        let mut changes = self.around.state.watch();
        let mut ticks = interval(self.around.settings.inspect_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut netns, mut done, mut give_up) = (first.netns, Some(first.done), Instant::now() + wait);
        let (mut namespace, mut look) = (None, Look::Away);
        loop {
            changes.borrow_and_update();
            if let Err(error) = self.take_step(&netns, &mut namespace, place, look, &mut done).await {
                self.fail(error, &mut done);
            }
            look = Look::Away;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = ticks.tick() => look = Look::AtRules,
                () = sleep_until(give_up), if done.is_some() => {
                    self.fail(PodError::Unknown { key: self.key.clone(), uid: self.uid.clone() }, &mut done);
                }
                again = inbox.recv() => {
                    let Some(again) = again else { return };
                    (netns, done, give_up) = (again.netns, Some(again.done), Instant::now() + wait);
                    let same = Namespace::open(&netns).is_ok_and(|it| namespace.as_ref() == Some(&it));
                    if !same {
                        // The pod's sandbox was made anew: what was held is of the old one.
                        *place = None;
                        namespace = None;
                    }
                }
            }
        }
    }

    async fn take_step(
        &self,
        netns: &Path,
        namespace: &mut Option<Namespace>,
        place: &mut Option<Place>,
        look: Look,
        done: &mut Option<Answer>,
    ) -> Result<(), PodError> {
        let namespace = match namespace {
            Some(namespace) => namespace,
            None => namespace.insert(Namespace::open(netns)?),
        };
        let index = self.around.state.load();
        let workload = index.workload(&self.key).filter(|it| it.uid == self.uid);
        let wanted = Wanted::from(workload.map(|it| &**it));
        let held = self.observe(namespace, place.as_ref(), look).await?;
        let rules = self.around.settings.rules();
        match (step::next(wanted, held), place.as_mut()) {
            (Step::Capture, _) => {
                if let Some(workload) = workload {
                    *place = Some(self.capture(namespace, workload).await?);
                    tracing::info!(pod = %self.key, "captured");
                }
            }
            (Step::Repair, _) => {
                namespace.run(move || capture::apply(&rules)).await??;
                self.status().repairs += 1;
                tracing::warn!(pod = %self.key, "capture rules were changed by somebody else; put back");
            }
            (Step::StartRelease, Some(place)) => {
                place.releasing = Some(Instant::now());
                tracing::info!(pod = %self.key, connections = place.pod.connections(), "leaves the mesh");
            }
            (Step::StopRelease, Some(place)) => place.releasing = None,
            (Step::Free, Some(_)) => {
                namespace.run(move || capture::remove(&rules)).await??;
                *place = None;
                tracing::info!(pod = %self.key, "released");
            }
            (Step::Nothing | Step::StartRelease | Step::StopRelease | Step::Free, _) => {}
        }
        let state = match (place.as_ref(), wanted) {
            (Some(Place { releasing: None, .. }), _) => PodState::Captured,
            (Some(_), _) => PodState::Releasing,
            (None, Wanted::Unknown) => PodState::Waiting,
            (None, _) => PodState::Outside,
        };
        self.report(state, None, place.as_ref());
        if state != PodState::Waiting
            && let Some(done) = done.take()
        {
            let _ = done.send(Ok(state));
        }
        Ok(())
    }

    async fn observe(
        &self,
        namespace: &Namespace,
        place: Option<&Place>,
        look: Look,
    ) -> Result<Held, PodError> {
        let Some(place) = place else { return Ok(Held::Free) };
        if let Some(since) = place.releasing {
            let over = place.pod.connections() == 0 || since.elapsed() >= self.around.settings.release_after;
            return Ok(Held::Releasing(if over { Rest::Over } else { Rest::Connections }));
        }
        if look == Look::Away {
            return Ok(Held::Captured(Rules::Right));
        }
        let rules = self.around.settings.rules();
        let found = namespace.run(move || capture::inspect(&rules)).await??;
        if let Capture::Differs(difference) = &found {
            tracing::warn!(pod = %self.key, difference, "capture rules are not as they should be");
        }
        Ok(Held::Captured(if found == Capture::Installed { Rules::Right } else { Rules::Wrong }))
    }

    /// Listeners first, so that what the rules redirect finds somebody; the rules last.
    async fn capture(&self, namespace: &Namespace, workload: &Workload) -> Result<Place, PodError> {
        let listeners = Listeners::open(namespace, &self.around.settings.rules()).await?;
        let identity = self.around.identities.subscribe(&workload.identity);
        let pod = LocalPod::new(self.uid.clone(), self.key.clone(), namespace.clone(), identity);
        let (pod, (trigger, watch)) = (Arc::new(pod), drain::channel());
        self.around.fleet.serve(pod.clone(), listeners, watch);
        let rules = self.around.settings.rules();
        let place = Place { pod, trigger: Some(trigger), releasing: None };
        namespace.run(move || capture::apply(&rules)).await??;
        Ok(place)
    }

    fn fail(&self, error: PodError, done: &mut Option<Answer>) {
        let reason = error.to_string();
        // Said once, not at every try.
        if self.status().reason.as_deref() != Some(&*reason) {
            tracing::error!(pod = %self.key, error = reason, "is not captured");
        }
        let mut status = self.status();
        status.state = PodState::Failed;
        status.reason = Some(reason);
        drop(status);
        if let Some(done) = done.take() {
            let _ = done.send(Err(error));
        }
    }

    fn report(&self, state: PodState, reason: Option<String>, place: Option<&Place>) {
        let mut status = self.status();
        status.state = state;
        status.reason = reason;
        status.connections = place.map_or(0, |place| place.pod.connections());
    }

    fn status(&self) -> MutexGuard<'_, PodStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pod.stop();
    }
}
