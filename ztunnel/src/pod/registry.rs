//! All registered pods: one task each, so that one pod's trouble is no other pod's.

use super::PodEvent;
use super::keeper::{Keeper, Registration, Surroundings};
use crate::view::PodTable;
use fairway_runtime::drain::{self, Phase};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Starts and ends the tasks of pods.
pub(crate) struct Registry {
    surroundings: Surroundings,
    pods: PodTable,
    running: HashMap<Arc<str>, mpsc::UnboundedSender<Registration>>,
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
                    Some(event) => self.handle(event),
                    None => drain.reached(Phase::Draining).await,
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a pod is no longer kept");
                    }
                }
                () = drain.reached(Phase::Draining) => break,
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn handle(&mut self, event: PodEvent) {
        match event {
            PodEvent::Added { uid, key, netns, done } => {
                let mut registration = Registration { netns, done };
                // Registered again: its task knows whether it is the same pod in the same place.
                if let Some(running) = self.running.get(&uid) {
                    match running.send(registration) {
                        Ok(()) => return,
                        Err(mpsc::error::SendError(unsent)) => registration = unsent,
                    }
                }
                let (again, inbox) = mpsc::unbounded_channel();
                self.running.insert(uid.clone(), again);
                let status = self.pods.add(&uid, &key);
                let keeper = Keeper::new(self.surroundings.clone(), uid, key, status);
                self.tasks.spawn(keeper.run(registration, inbox));
            }
            PodEvent::Removed { uid } => {
                self.running.remove(&uid);
                self.pods.remove(&uid);
            }
        }
    }
}
