//! All registered pods: one task each, so that one pod's trouble is no other pod's.

use super::keeper::{Keeper, Order, Registration, Surroundings};
use super::{Candidate, Legacy, PodEvent};
use crate::view::PodTable;
use fairway_runtime::drain::{self, Phase};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Starts and ends the tasks of pods.
pub(crate) struct Registry {
    surroundings: Surroundings,
    pods: PodTable,
    running: HashMap<Arc<str>, mpsc::UnboundedSender<Order>>,
    tasks: JoinSet<()>,
}

impl Registry {
    pub(crate) fn new(surroundings: Surroundings, pods: PodTable) -> Self {
        Self { surroundings, pods, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Follows the events until the program ends; then until each pod's connections have.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<PodEvent>, drain: drain::Watch) {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => drain.reached(Phase::Closing).await,
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a pod is no longer kept");
                    }
                }
                // Not before: while it drains the mesh may be told to leave the node.
                () = drain.reached(Phase::Closing) => break,
            }
        }
        self.running.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    async fn handle(&mut self, event: PodEvent) {
        match event {
            PodEvent::Added { pod, done } => self.register(pod, Registration { sockets: None, done }),
            PodEvent::Inherited { pod, sockets, done } => {
                self.register(pod, Registration { sockets: Some(sockets), done });
            }
            PodEvent::Removed { uid } => {
                self.running.remove(&uid);
                self.pods.remove(&uid);
            }
            PodEvent::Show(answer) => {
                // Whoever asked is gone: then so is the next version.
                let _ = answer
                    .send(self.ask_all(Order::Show).await.into_iter().flatten().collect::<Vec<Legacy>>());
            }
            PodEvent::HandOver => {
                for (uid, keeper) in self.running.drain() {
                    let _ = keeper.send(Order::HandOver);
                    self.pods.remove(&uid);
                }
            }
            PodEvent::Release(answer) => {
                self.ask_all(Order::Release).await;
                let _ = answer.send(());
            }
        }
    }

    fn register(&mut self, pod: Candidate, registration: Registration) {
        let (uid, key) = (pod.uid.clone(), pod.key.clone());
        let mut order = Order::Register(pod, registration);
        // Registered again: its task knows whether it is the same pod in the same place.
        if let Some(running) = self.running.get(&uid) {
            match running.send(order) {
                Ok(()) => return,
                Err(mpsc::error::SendError(unsent)) => order = unsent,
            }
        }
        let (keeper, inbox) = mpsc::unbounded_channel();
        // It holds the other end.
        let _ = keeper.send(order);
        self.running.insert(uid.clone(), keeper);
        let status = self.pods.add(&uid, &key);
        self.tasks.spawn(Keeper::new(self.surroundings.clone(), uid, key, status).run(inbox));
    }

    /// What every pod's task answers.
    async fn ask_all<T>(&self, order: impl Fn(oneshot::Sender<T>) -> Order) -> Vec<T> {
        let asked = self.running.values().filter_map(|keeper| {
            let (answer, answered) = oneshot::channel();
            keeper.send(order(answer)).ok().map(|()| answered)
        });
        let mut answers = Vec::new();
        for answered in asked.collect::<Vec<_>>() {
            answers.extend(answered.await);
        }
        answers
    }
}
