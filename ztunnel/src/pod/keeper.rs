//! One pod's task: captures it, keeps its rules in place, and lets it go.

use super::custody::{Custody, Place, Releasing};
use super::step::{self, Held, Rest, Rules, Step, Wanted};
use super::{Candidate, FenceStatus, Legacy, LocalPod, PodError, PodState, PodStatus};
use crate::Settings;
use crate::proxy::{Fleet, Listeners};
use crate::state::State;
use crate::view::Status;
use fairway_config::model::WorkloadKey;
use fairway_identity::Identities;
use fairway_netns::Namespace;
use fairway_netns::capture::{self, Capture, CaptureError, CaptureRules, Fence};
use fairway_runtime::drain::{self, Phase};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How long a connection may wait to be accepted.
const QUEUED: Duration = Duration::from_secs(1);

pub(super) type Answer = oneshot::Sender<Result<PodState, PodError>>;

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

/// What a keeper is told.
pub(super) enum Order {
    /// The pod is there, in this place.
    Register(Candidate, Registration),
    /// Say what the next version of the tunnel is to have; nothing, if the pod is not captured.
    Show(oneshot::Sender<Option<Legacy>>),
    /// The next version has it now.
    HandOver,
    /// Take the rules away for good.
    Release(oneshot::Sender<()>),
}

/// Who waits for a pod's capture, and the sockets that another tunnel has left for it.
pub(super) struct Registration {
    pub(super) sockets: Option<Listeners>,
    pub(super) done: Answer,
}

/// Whether the kernel is asked about the rules: now and then, not at every commit of a configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    AtRules,
    Away,
}

/// Why a keeper stops keeping.
enum End {
    /// The namespace is gone or about to be: there is nobody left to be polite to.
    Gone,
    /// The next version of the tunnel has the pod.
    HandedOver,
    /// The rules are gone; what is open goes on.
    Released,
    /// The program ends.
    Draining,
}

impl Keeper {
    pub(super) fn new(around: Surroundings, uid: Arc<str>, key: WorkloadKey, status: Status) -> Self {
        Self { around, uid, key, status }
    }

    /// Runs until nobody can register the pod again (it is gone), until somebody else has it, or until the program ends.
    pub(super) async fn run(self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut custody = Custody::default();
        let end = self.keep(&mut inbox, &mut custody).await;
        let Some(mut place) = custody.place.take() else { return };
        let Some(trigger) = place.trigger.take() else { return };
        // Whoever accepts has its own; these would hold connections that nobody takes.
        place.sockets = None;
        let drain = &self.around.drain;
        match end {
            End::Gone => {}
            End::HandedOver => trigger.close(drain).await,
            End::Released => {
                trigger.follow(drain).await;
                self.free(&place.pod.namespace).await;
            }
            End::Draining => {
                let mut released = false;
                tokio::select! {
                    () = trigger.follow(drain) => {}
                    () = self.release_when_told(&mut inbox, &place.pod.namespace, &mut released) => {}
                }
                if released {
                    self.free(&place.pod.namespace).await;
                }
            }
        }
    }

    async fn keep(&self, inbox: &mut mpsc::UnboundedReceiver<Order>, custody: &mut Custody) -> End {
        let settings = &self.around.settings;
        let mut changes = self.around.state.watch();
        let mut ticks = interval(settings.inspect_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = Look::Away;
        loop {
            changes.borrow_and_update();
            if custody.netns.is_some()
                && let Err(error) = self.take_step(custody, look).await
            {
                self.fail(error, &mut custody.done);
            }
            look = Look::Away;
            tokio::select! {
                biased;
                () = self.around.drain.reached(Phase::Draining) => return End::Draining,
                order = inbox.recv() => match order {
                    None => return End::Gone,
                    Some(Order::Register(pod, registration)) => custody.register(pod, registration, settings),
                    Some(Order::Show(answer)) => {
                        let _ = answer.send(custody.legacy(&self.uid, &self.key));
                    }
                    Some(Order::HandOver) => return End::HandedOver,
                    Some(Order::Release(answer)) => {
                        if let Some(place) = &custody.place {
                            self.release(&place.pod.namespace).await;
                        }
                        let _ = answer.send(());
                        return End::Released;
                    }
                },
                changed = changes.changed() => if changed.is_err() { return End::Gone },
                _ = ticks.tick() => look = Look::AtRules,
                () = at(custody.give_up), if custody.done.is_some() => {
                    let error = PodError::Unknown { key: self.key.clone(), uid: self.uid.clone() };
                    self.fail(error, &mut custody.done);
                }
                () = at(custody.claimed_until) => custody.drop_claim(),
            }
        }
    }

    async fn take_step(&self, custody: &mut Custody, look: Look) -> Result<(), PodError> {
        let Some(namespace) = custody.namespace()? else { return Ok(()) };
        self.status().namespace = Some(namespace.id());
        if self.around.settings.is_the_nodes(&namespace) {
            return Err(PodError::NodeNamespace(namespace.id()));
        }
        let index = self.around.state.load();
        let workload = index.workload(&self.key).filter(|it| it.uid == self.uid).map(|it| &**it);
        let wanted = Wanted::of(workload, custody.claim());
        if workload.is_some_and(|it| Wanted::of(Some(it), super::Claim::Unknown) == Wanted::Captured) {
            // The configuration has caught up: from now on it alone counts.
            custody.drop_claim();
        }
        let held = self.observe(&namespace, custody.place.as_ref(), look).await?;
        match (step::next(wanted, held), custody.place.as_mut()) {
            (Step::Capture, _) => {
                custody.place = Some(self.capture(&namespace, custody).await?);
                tracing::info!(pod = %self.key, "captured");
            }
            (Step::Repair, Some(place)) => {
                let before = place.fence.clone();
                place.fence =
                    self.with_rules(&namespace, move |rules| capture::repair(rules, &before)).await?;
                self.status().repairs += 1;
                tracing::warn!(pod = %self.key, "capture rules were changed by somebody else; put back");
            }
            (Step::StartRelease, Some(place)) => {
                place.releasing = Some(Releasing { since: Instant::now(), let_go: None });
                tracing::info!(pod = %self.key, connections = place.pod.connections(), "leaves the mesh");
            }
            (Step::LetGo, Some(place)) => {
                self.with_rules(&namespace, capture::let_go).await?;
                place.fence = Fence::Down;
                if let Some(releasing) = &mut place.releasing {
                    releasing.let_go = Some(Instant::now());
                }
            }
            (Step::StopRelease, Some(place)) => {
                place.fence = self.with_rules(&namespace, capture::apply).await?;
                place.releasing = None;
                self.fence_in(&namespace, place).await;
            }
            (Step::Free, Some(_)) => {
                self.with_rules(&namespace, capture::remove).await?;
                custody.place = None;
                tracing::info!(pod = %self.key, "released");
            }
            (Step::Nothing, _) | (_, None) => {}
        }
        if look == Look::AtRules
            && let Some(place) = &mut custody.place
        {
            self.fence_in(&namespace, place).await;
        }
        if let (Some(place), Some(workload)) = (&custody.place, workload) {
            place.pod.identify(|| self.around.identities.subscribe(&workload.identity));
        }
        self.conclude(custody, wanted);
        Ok(())
    }

    /// Says how far it is, and answers who waits for it.
    fn conclude(&self, custody: &mut Custody, wanted: Wanted) {
        let place = custody.place.as_ref();
        let state = match (place, wanted) {
            (Some(Place { releasing: None, .. }), _) => PodState::Captured,
            (Some(_), _) => PodState::Releasing,
            (None, Wanted::Unknown) => PodState::Waiting,
            (None, _) => PodState::Outside,
        };
        self.report(state, None, place);
        if state != PodState::Waiting
            && let Some(done) = custody.done.take()
        {
            let _ = done.send(Ok(state));
        }
    }

    async fn observe(
        &self,
        namespace: &Namespace,
        place: Option<&Place>,
        look: Look,
    ) -> Result<Held, PodError> {
        let Some(place) = place else { return Ok(Held::Free) };
        if let Some(releasing) = place.releasing {
            return Ok(Held::Releasing(self.rest(place, releasing)));
        }
        if look == Look::Away {
            return Ok(Held::Captured(Rules::Right));
        }
        let fence = place.fence.clone();
        let found = self.with_rules(namespace, move |rules| capture::inspect(rules, &fence)).await?;
        if let Capture::Differs(difference) = &found {
            tracing::warn!(pod = %self.key, difference, "capture rules are not as they should be");
        }
        Ok(Held::Captured(if found == Capture::Installed { Rules::Right } else { Rules::Wrong }))
    }

    fn rest(&self, place: &Place, Releasing { since, let_go }: Releasing) -> Rest {
        let settings = &self.around.settings;
        match let_go {
            None if since.elapsed() < settings.release_not_before => Rest::Lingering,
            None => Rest::Heard,
            // What waited to be accepted when nothing new came any more is counted by now.
            Some(since) if place.pod.connections() == 0 && since.elapsed() >= QUEUED => Rest::Over,
            Some(_) if since.elapsed() >= settings.release_after => Rest::Over,
            Some(_) => Rest::Connections,
        }
    }

    /// Has something done with the rules of the pod's namespace.
    async fn with_rules<T: Send + 'static>(
        &self,
        namespace: &Namespace,
        act: impl FnOnce(&CaptureRules) -> Result<T, CaptureError> + Send + 'static,
    ) -> Result<T, PodError> {
        let rules = self.around.settings.rules();
        Ok(namespace.run(move || act(&rules)).await??)
    }

    /// Listeners first, so that what the rules redirect finds somebody; the rules last.
    async fn capture(&self, namespace: &Namespace, custody: &mut Custody) -> Result<Place, PodError> {
        let rules = self.around.settings.rules();
        let sockets = match custody.inherited.take() {
            Some(inherited) => inherited,
            None => Listeners::open(namespace, &rules).await?,
        };
        let serving = sockets.another().map_err(PodError::Sockets)?;
        let pod = Arc::new(LocalPod::new(
            self.uid.clone(),
            self.key.clone(),
            namespace.clone(),
            custody.addresses.clone(),
            custody.claim(),
        ));
        let (trigger, watch) = drain::channel();
        self.around.fleet.serve(pod.clone(), serving, watch);
        let (sockets, trigger) = (Some(sockets), Some(trigger));
        let mut place = Place { pod, sockets, trigger, fence: Fence::Down, releasing: None };
        place.fence = self.with_rules(namespace, capture::apply).await?;
        self.fence_in(namespace, &mut place).await;
        Ok(place)
    }

    /// Puts the fence up around the connections from before the capture, and closer when one has ended. Without it the pod is
    /// captured all the same.
    async fn fence_in(&self, namespace: &Namespace, place: &mut Place) {
        if place.fence == Fence::Up || place.releasing.is_some() {
            return;
        }
        let before = place.fence.clone();
        match self.with_rules(namespace, move |rules| capture::raise_fence(rules, &before)).await {
            Ok(fence) => place.fence = fence,
            Err(error) => {
                tracing::warn!(pod = %self.key, %error, "the fence is not put up, or not closer");
            }
        }
    }

    /// Nothing new is captured from now on; what is open may still end.
    async fn release(&self, namespace: &Namespace) {
        match self.with_rules(namespace, capture::let_go).await {
            Ok(()) => tracing::info!(pod = %self.key, "released: the mesh leaves this node"),
            Err(error) => tracing::error!(pod = %self.key, %error, "cannot be released"),
        }
    }

    /// Takes away what the last connections needed.
    async fn free(&self, namespace: &Namespace) {
        if let Err(error) = self.with_rules(namespace, capture::remove).await {
            tracing::warn!(pod = %self.key, %error, "rules that capture nothing are left");
        }
    }

    /// Only that is still done while the program drains. Does not end.
    async fn release_when_told(
        &self,
        inbox: &mut mpsc::UnboundedReceiver<Order>,
        namespace: &Namespace,
        released: &mut bool,
    ) {
        while let Some(order) = inbox.recv().await {
            if let Order::Release(answer) = order {
                self.release(namespace).await;
                *released = true;
                let _ = answer.send(());
            }
        }
        std::future::pending().await
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
        status.fence = None;
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
        status.fence = place.filter(|it| it.releasing.is_none()).map(|it| FenceStatus::from(&it.fence));
    }

    fn status(&self) -> MutexGuard<'_, PodStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When there is such a time; else never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
