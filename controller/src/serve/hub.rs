//! Where compiled configuration comes in and goes out to all subscribers.

use super::grpc::StreamLifetime;
use super::hub_state::{Difference, Held, HubState, RefusedResource, SubscriberId, WrongAnswer};
use super::session;
use super::states::{ProxyState, States};
use fairway_config::model::{Generation, Resource, ResourceKey};
use fairway_config::stream::{Link, Subscription};
use fairway_config::wire;
use fairway_runtime::metrics::Outcomes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// The compiled configuration, and all who subscribe to it.
///
/// Until the first commit subscribers wait: a controller that has not compiled yet must not tell a proxy that there is
/// nothing, and so take away what it serves.
#[derive(Debug)]
pub struct Hub {
    /// Held for moments, never while anything waits.
    state: Mutex<HubState>,
    generation: watch::Sender<Generation>,
    ticks: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    /// Counts the times that everybody was sent away.
    dismissed: watch::Sender<u64>,
    answers: Outcomes,
}

/// The time between two dismissals, by the number of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HubTerm(u64);

/// How many messages wait for a proxy that does not read, each of about a MiB at most.
pub(super) const QUEUE: usize = 2;

impl Default for Hub {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            generation: watch::Sender::new(Generation::default()),
            ticks: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            dismissed: watch::Sender::new(0),
            answers: Outcomes::default(),
        }
    }
}

impl Hub {
    /// A hub without configuration: proxies that subscribe wait for the first commit.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes a change over and sends it to those it concerns; returns at once. Each resource is encoded here, once.
    /// Upserts that are equal to what is there cost their encoding and nothing else.
    pub fn commit(&self, upserts: Vec<Resource>, removals: Vec<ResourceKey>) -> Generation {
        let encoded = |resource: Resource| {
            let encoded = Arc::new(wire::encode(&resource));
            (resource, encoded)
        };
        let upserts = upserts.into_iter().map(encoded).collect();
        let generation = self.state().commit(upserts, removals);
        self.generation.send_replace(generation);
        self.tick();
        generation
    }

    /// The last commit's generation; 0 before the first.
    pub fn generation(&self) -> Generation {
        *self.generation.borrow()
    }

    /// Follows how far the connected proxies have come.
    pub fn states(self: &Arc<Self>) -> States {
        States::new(self.clone(), self.ticks.subscribe())
    }

    /// Opens a conversation with a proxy in this process. Must be called within a tokio runtime.
    pub fn subscribe_channel(self: &Arc<Self>) -> Link {
        let (to_controller, inbound) = mpsc::channel(QUEUE);
        let (outbound, from_controller) = mpsc::channel(QUEUE);
        let inbound = ReceiverStream::new(inbound).map(Ok);
        let term = self.term();
        tokio::spawn(session::run(
            self.clone(),
            term,
            |_| Ok(StreamLifetime::unlimited()),
            inbound,
            outbound,
        ));
        Link { to_controller, from_controller }
    }

    /// Ends all conversations, now and later ones; for the controller's own end.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Ends all conversations of services and channels that were opened before, also those that are yet to begin: a connection
    /// outlives the listener that accepted it, and who waits on one for a token's review subscribes later.
    pub fn dismiss(&self) {
        self.dismissed.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// The term that a service opened now belongs to: until everybody is sent away.
    pub(super) fn term(&self) -> HubTerm {
        HubTerm(*self.dismissed.borrow())
    }

    /// Waits for the end of a term; ready if it is over.
    pub(super) fn ended(&self, term: HubTerm) -> impl Future<Output = ()> + use<> {
        let (mut closed, mut dismissed) = (self.closed.subscribe(), self.dismissed.subscribe());
        async move {
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => {}
                _ = dismissed.wait_for(|times| *times != term.0) => {}
            }
        }
    }

    /// Waits for the first commit.
    pub async fn first_commit(&self) {
        let _ = self.generation.subscribe().wait_for(|generation| generation.0 > 0).await;
    }

    /// What proxies said to what was sent.
    pub(crate) fn answers(&self) -> &Outcomes {
        &self.answers
    }

    pub(crate) fn current_states(&self) -> Vec<ProxyState> {
        self.state().states()
    }

    pub(super) fn enroll(self: &Arc<Self>, subscription: Subscription, held: &Held) -> Enrolled {
        let wake = Arc::new(Notify::new());
        let id = self.state().subscribe(subscription, held, wake.clone());
        self.tick();
        Enrolled { hub: self.clone(), id, wake }
    }

    fn tick(&self) {
        self.ticks.send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }

    pub(super) fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscriber's place in the hub, until it is dropped.
#[derive(Debug)]
pub(super) struct Enrolled {
    hub: Arc<Hub>,
    id: SubscriberId,
    wake: Arc<Notify>,
}

impl Enrolled {
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn difference(&self) -> Option<Difference> {
        let difference = self.hub.state().difference(self.id);
        self.hub.tick();
        difference
    }

    pub(super) fn acked(&self, generation: Generation) -> Result<(), WrongAnswer> {
        self.hub.state().acked(self.id, generation)?;
        self.hub.answers.count("acknowledged");
        Ok(())
    }

    pub(super) fn nacked(
        &self,
        generation: Generation,
        refused: Vec<RefusedResource>,
    ) -> Result<Vec<ResourceKey>, WrongAnswer> {
        let left_out = self.hub.state().nacked(self.id, generation, refused)?;
        self.hub.answers.count("rejected");
        Ok(left_out)
    }

    pub(super) fn offer_again(&self) {
        self.hub.state().offer_again(self.id);
    }

    pub(super) fn has_refused(&self) -> bool {
        self.hub.state().has_refused(self.id)
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.hub.state().unsubscribe(self.id);
        self.hub.tick();
    }
}
