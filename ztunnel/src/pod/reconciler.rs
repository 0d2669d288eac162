//! The reconciler of one pod: a task that captures the pod, repairs its rules, and releases it.
//!
//! It compares the desired state (configuration and claim) with the observed one and takes one step ([`step::next`]) whenever
//! the configuration changes, and at [`TunnelSettings::rule_check_interval`].

use super::managed::{ActiveCapture, ManagedPod, Release};
use super::step::{self, Desired, Observed, ReleasePhase, Rules, Step};
use super::{Candidate, PodError, PodHandoff};
use crate::TunnelSettings;
use crate::local_pod::LocalPod;
use crate::pod_status::{FenceStatus, PodState, PodStatus};
use crate::proxy::{Listeners, WorkerPool};
use crate::state::State;
use crate::view::SharedStatus;
use fairway_config::model::WorkloadKey;
use fairway_identity::Identities;
use fairway_netns::Namespace;
use fairway_netns::capture::{self, Capture, CaptureError, CaptureRules, Fence};
use fairway_runtime::drain::{self, Phase};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// A connection that was in the accept queue when the rules stopped capturing is counted after this time.
const ACCEPT_QUEUE_DELAY: Duration = Duration::from_secs(1);

/// Answers whoever registered the pod.
pub(super) type Responder = oneshot::Sender<Result<PodState, PodError>>;

/// What all reconcilers share.
#[derive(Clone)]
pub(crate) struct ReconcilerContext {
    pub(crate) settings: Arc<TunnelSettings>,
    pub(crate) state: State,
    pub(crate) identities: Identities,
    pub(crate) worker_pool: WorkerPool,
    pub(crate) drain: drain::Watch,
}

pub(super) struct Reconciler {
    context: ReconcilerContext,
    uid: Arc<str>,
    key: WorkloadKey,
    status: SharedStatus,
}

/// A message to a pod's reconciler. When the channel closes, the pod is gone.
pub(super) enum PodCommand {
    /// The pod exists, with this network namespace.
    Register(Candidate, Registration),
    /// Answer with what the next tunnel process needs. `None` if the pod is not captured or is being released. Changes nothing.
    PrepareHandoff(oneshot::Sender<Option<PodHandoff>>),
    /// The next tunnel process serves the pod.
    CompleteHandoff,
    /// Remove the rules: the mesh leaves the node. Answered when nothing new is captured.
    Release(oneshot::Sender<()>),
}

/// A registration's responder, and the sockets that the previous tunnel process has handed off for the pod.
pub(super) struct Registration {
    pub(super) sockets: Option<Listeners>,
    pub(super) done: Responder,
}

/// Whether a step inspects the rules in the kernel. It does at intervals, not at each commit of a configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleCheck {
    Inspect,
    Skip,
}

/// Why a reconciler ends.
enum Stop {
    /// The pod is gone; its connections are cut off.
    PodGone,
    /// The next tunnel process serves the pod.
    HandedOff,
    /// The next tunnel process owns the node, and the release that this one had begun goes on here.
    ReleaseGoesOn,
    /// Nothing new is captured; open connections go on.
    Released,
    /// The program ends, in the phases of its drain.
    Draining,
}

// === impl Reconciler ===

impl Reconciler {
    pub(super) fn new(
        context: ReconcilerContext,
        uid: Arc<str>,
        key: WorkloadKey,
        status: SharedStatus,
    ) -> Self {
        Self { context, uid, key, status }
    }

    /// Runs until the pod is gone, released or handed off, or the program ends; then until its connections have ended.
    pub(super) async fn run(self, mut inbox: mpsc::UnboundedReceiver<PodCommand>) {
        let mut managed = ManagedPod::default();
        let stop = self.reconcile(&mut inbox, &mut managed).await;
        let Some(mut active) = managed.active.take() else { return };
        let Some(trigger) = active.trigger.take() else { return };
        // The accepting worker has its own duplicates. These would keep the queue open, and nobody would accept from it.
        active.sockets = None;
        let drain = &self.context.drain;
        match stop {
            Stop::PodGone => {}
            Stop::HandedOff => trigger.close(drain).await,
            Stop::ReleaseGoesOn => {
                trigger.follow(drain).await;
                self.remove_own_rules(&active.pod.namespace).await;
            }
            Stop::Released => {
                trigger.follow(drain).await;
                self.remove_rules(&active.pod.namespace).await;
            }
            Stop::Draining => {
                let mut released = false;
                tokio::select! {
                    () = trigger.follow(drain) => {}
                    () = self.release_on_command(&mut inbox, &active.pod.namespace, &mut released) => {}
                }
                if released {
                    self.remove_rules(&active.pod.namespace).await;
                }
            }
        }
    }

    async fn reconcile(
        &self,
        inbox: &mut mpsc::UnboundedReceiver<PodCommand>,
        managed: &mut ManagedPod,
    ) -> Stop {
        let settings = &self.context.settings;
        let mut changes = self.context.state.watch();
        let mut ticks = interval(settings.rule_check_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut check = RuleCheck::Skip;
        // Whether the next tunnel process has been given the pod.
        let mut is_handed_off = false;
        loop {
            changes.borrow_and_update();
            if managed.netns.is_some()
                && let Err(error) = self.take_step(managed, check).await
            {
                self.fail(error, &mut managed.done);
            }
            check = RuleCheck::Skip;
            tokio::select! {
                biased;
                () = self.context.drain.reached(Phase::Draining) => return Stop::Draining,
                command = inbox.recv() => match command {
                    None => return Stop::PodGone,
                    Some(PodCommand::Register(pod, registration)) => {
                        managed.register(pod, registration, settings);
                    }
                    Some(PodCommand::PrepareHandoff(answer)) => {
                        let handoff = managed.prepare_handoff(&self.uid, &self.key);
                        is_handed_off = handoff.is_some();
                        let _ = answer.send(handoff);
                    }
                    Some(PodCommand::CompleteHandoff) => match &managed.active {
                        // From now on nothing of it is captured, and what is open goes on here.
                        Some(active) if active.release.is_some() && !is_handed_off => {
                            self.release(&active.pod.namespace).await;
                            return Stop::ReleaseGoesOn;
                        }
                        _ => return Stop::HandedOff,
                    },
                    Some(PodCommand::Release(answer)) => {
                        if let Some(active) = &managed.active {
                            self.release(&active.pod.namespace).await;
                        }
                        let _ = answer.send(());
                        return Stop::Released;
                    }
                },
                changed = changes.changed() => if changed.is_err() { return Stop::PodGone },
                _ = ticks.tick() => check = RuleCheck::Inspect,
                () = sleep_until_some(managed.registration_deadline), if managed.done.is_some() => {
                    let error = PodError::Unknown { key: self.key.clone(), uid: self.uid.clone() };
                    self.fail(error, &mut managed.done);
                }
                () = sleep_until_some(managed.claim_expires) => managed.drop_claim(),
            }
        }
    }

    async fn take_step(&self, managed: &mut ManagedPod, check: RuleCheck) -> Result<(), PodError> {
        let Some(namespace) = managed.namespace()? else { return Ok(()) };
        self.status().namespace = Some(namespace.id());
        if self.context.settings.is_node_namespace(&namespace) {
            return Err(PodError::NodeNamespace(namespace.id()));
        }
        let index = self.context.state.load();
        let workload =
            index.workload(&self.key).filter(|workload| workload.uid == self.uid).map(|workload| &**workload);
        let desired = Desired::from_configuration(workload, managed.claim());
        if workload.is_some()
            && Desired::from_configuration(workload, super::Claim::Unknown) == Desired::Captured
        {
            // The configuration has caught up with the claim: from now on it alone decides.
            managed.drop_claim();
        }
        let observed = self.observe(&namespace, managed.active.as_ref(), check).await?;
        match (step::next(desired, observed), managed.active.as_mut()) {
            (Step::Capture, _) => {
                managed.active = Some(self.capture(&namespace, managed).await?);
                tracing::info!(pod = %self.key, "pod captured");
            }
            (Step::Repair, Some(active)) => {
                let before = active.fence.clone();
                active.fence =
                    self.with_rules(&namespace, move |rules| capture::repair(rules, &before)).await?;
                self.status().repairs += 1;
                tracing::warn!(pod = %self.key, "another program has changed the capture rules; repaired");
            }
            (Step::StartRelease, Some(active)) => {
                active.release = Some(Release { since: Instant::now(), capture_stopped: None });
                tracing::info!(pod = %self.key, connections = active.pod.connections(), "pod leaves the mesh");
            }
            (Step::StopCapture, Some(active)) => {
                self.with_rules(&namespace, capture::let_go).await?;
                active.fence = Fence::Down;
                if let Some(release) = &mut active.release {
                    release.capture_stopped = Some(Instant::now());
                }
            }
            (Step::CancelRelease, Some(active)) => {
                active.fence = self.with_rules(&namespace, capture::apply).await?;
                active.release = None;
                self.raise_fence(&namespace, active).await;
            }
            (Step::RemoveRules, Some(_)) => {
                self.with_rules(&namespace, capture::remove).await?;
                managed.active = None;
                tracing::info!(pod = %self.key, "pod released");
            }
            (Step::Nothing, _) | (_, None) => {}
        }
        if check == RuleCheck::Inspect
            && let Some(active) = &mut managed.active
        {
            self.raise_fence(&namespace, active).await;
        }
        if let (Some(active), Some(workload)) = (&managed.active, workload) {
            active.pod.identify(|| self.context.identities.subscribe(&workload.identity));
        }
        self.publish_state(managed, desired);
        Ok(())
    }

    /// Updates the pod's status, and answers the registration once the state is known.
    fn publish_state(&self, managed: &mut ManagedPod, desired: Desired) {
        let active = managed.active.as_ref();
        let state = match (active, desired) {
            (Some(ActiveCapture { release: None, .. }), _) => PodState::Captured,
            (Some(_), _) => PodState::Releasing,
            (None, Desired::Unknown) => PodState::Waiting,
            (None, _) => PodState::Outside,
        };
        self.report(state, None, active);
        if state != PodState::Waiting
            && let Some(done) = managed.done.take()
        {
            let _ = done.send(Ok(state));
        }
    }

    async fn observe(
        &self,
        namespace: &Namespace,
        active: Option<&ActiveCapture>,
        check: RuleCheck,
    ) -> Result<Observed, PodError> {
        let Some(active) = active else { return Ok(Observed::NotCaptured) };
        if let Some(release) = active.release {
            return Ok(Observed::Releasing(self.release_phase(active, release)));
        }
        if check == RuleCheck::Skip {
            return Ok(Observed::Captured(Rules::Intact));
        }
        let fence = active.fence.clone();
        let found = self.with_rules(namespace, move |rules| capture::inspect(rules, &fence)).await?;
        if let Capture::Differs(difference) = &found {
            tracing::warn!(pod = %self.key, difference, "capture rules differ from what was written");
        }
        let is_intact = found == Capture::Installed;
        Ok(Observed::Captured(if is_intact { Rules::Intact } else { Rules::Modified }))
    }

    fn release_phase(&self, active: &ActiveCapture, release: Release) -> ReleasePhase {
        let settings = &self.context.settings;
        match release.capture_stopped {
            None if release.since.elapsed() < settings.release_linger => ReleasePhase::Lingering,
            None => ReleasePhase::Propagated,
            Some(since) if active.pod.connections() == 0 && since.elapsed() >= ACCEPT_QUEUE_DELAY => {
                ReleasePhase::Drained
            }
            Some(_) if release.since.elapsed() >= settings.release_timeout => ReleasePhase::Drained,
            Some(_) => ReleasePhase::Draining,
        }
    }

    /// Runs `act` on the rules of the pod, in the pod's network namespace.
    async fn with_rules<T: Send + 'static>(
        &self,
        namespace: &Namespace,
        act: impl FnOnce(&CaptureRules) -> Result<T, CaptureError> + Send + 'static,
    ) -> Result<T, PodError> {
        let rules = self.context.settings.capture_rules();
        Ok(namespace.run_long(move || act(&rules)).await??)
    }

    /// Opens the listeners before it writes the rules: what the rules redirect then finds a listener.
    async fn capture(
        &self,
        namespace: &Namespace,
        managed: &mut ManagedPod,
    ) -> Result<ActiveCapture, PodError> {
        let rules = self.context.settings.capture_rules();
        let sockets = match managed.inherited.take() {
            Some(inherited) => inherited,
            None => Listeners::open(namespace, &rules).await?,
        };
        let serving = sockets.duplicate().map_err(PodError::Sockets)?;
        let pod = Arc::new(LocalPod::new(
            self.uid.clone(),
            self.key.clone(),
            namespace.clone(),
            managed.addresses.clone(),
            managed.claim(),
        ));
        let (trigger, watch) = drain::channel();
        self.context.worker_pool.serve(pod.clone(), serving, watch);
        let mut active = ActiveCapture {
            pod,
            sockets: Some(sockets),
            trigger: Some(trigger),
            fence: Fence::Down,
            release: None,
        };
        active.fence = self.with_rules(namespace, capture::apply).await?;
        self.raise_fence(namespace, &mut active).await;
        Ok(active)
    }

    /// Raises the fence around the connections that are older than the capture, or narrows it when one of them has ended.
    /// A failure is logged; the pod stays captured.
    async fn raise_fence(&self, namespace: &Namespace, active: &mut ActiveCapture) {
        if active.fence == Fence::Up || active.release.is_some() {
            return;
        }
        let before = active.fence.clone();
        match self.with_rules(namespace, move |rules| capture::raise_fence(rules, &before)).await {
            Ok(fence) => active.fence = fence,
            Err(error) => {
                tracing::warn!(
                    pod = %self.key,
                    %error,
                    "the fence cannot be raised or narrowed; connections older than the capture bypass the tunnel"
                );
            }
        }
    }

    /// Stops capturing new connections; open ones go on.
    async fn release(&self, namespace: &Namespace) {
        match self.with_rules(namespace, capture::let_go).await {
            Ok(()) => tracing::info!(pod = %self.key, "pod released: the mesh leaves this node"),
            Err(error) => {
                tracing::error!(pod = %self.key, %error, "pod cannot be released; restart the pod");
            }
        }
    }

    /// Removes what the last connections needed.
    async fn remove_rules(&self, namespace: &Namespace) {
        if let Err(error) = self.with_rules(namespace, capture::remove).await {
            tracing::warn!(pod = %self.key, %error, "rules that capture nothing remain in the pod");
        }
    }

    /// Removes the rules that capture nothing any more. If the pod has joined the mesh again meanwhile, the next tunnel process has
    /// written others, which stay.
    async fn remove_own_rules(&self, namespace: &Namespace) {
        match self.with_rules(namespace, |rules| capture::inspect(rules, &Fence::Down)).await {
            Ok(Capture::Installed | Capture::Missing) => {}
            Ok(Capture::Differs(_)) => self.remove_rules(namespace).await,
            Err(error) => {
                tracing::warn!(pod = %self.key, %error, "whether the pod has joined the mesh again is not known, so its rules stay");
            }
        }
    }

    /// While the program drains, a release is the only command that is still carried out. Never returns.
    async fn release_on_command(
        &self,
        inbox: &mut mpsc::UnboundedReceiver<PodCommand>,
        namespace: &Namespace,
        released: &mut bool,
    ) {
        while let Some(command) = inbox.recv().await {
            if let PodCommand::Release(answer) = command {
                self.release(namespace).await;
                *released = true;
                let _ = answer.send(());
            }
        }
        std::future::pending().await
    }

    fn fail(&self, error: PodError, done: &mut Option<Responder>) {
        let reason = error.to_string();
        // Logged once, not at each attempt.
        if self.status().reason.as_deref() != Some(&*reason) {
            tracing::error!(pod = %self.key, error = reason, "pod is not captured; trying again");
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

    fn report(&self, state: PodState, reason: Option<String>, active: Option<&ActiveCapture>) {
        let mut status = self.status();
        status.state = state;
        status.reason = reason;
        status.connections = active.map_or(0, |active| active.pod.connections());
        let fenced = active.filter(|active| active.release.is_none());
        status.fence = fenced.map(|active| FenceStatus::from(&active.fence));
    }

    fn status(&self) -> MutexGuard<'_, PodStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sleeps until `time`; forever without one.
async fn sleep_until_some(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
