//! All registered pods. Each has a reconciler task of its own, so that a slow or failing pod does not hold up another.

use super::reconciler::{PodCommand, Reconciler, ReconcilerContext, Registration};
use super::{Candidate, PodEvent, PodHandoff};
use crate::view::PodTable;
use fairway_runtime::drain::{self, Phase};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Starts a reconciler for each registered pod, and passes events on to it.
pub(crate) struct Registry {
    context: ReconcilerContext,
    pods: PodTable,
    reconcilers: HashMap<Arc<str>, mpsc::UnboundedSender<PodCommand>>,
    tasks: JoinSet<()>,
}

// === impl Registry ===

impl Registry {
    pub(crate) fn new(context: ReconcilerContext, pods: PodTable) -> Self {
        Self { context, pods, reconcilers: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Follows the events until the listeners close, then waits until the connections of every pod have ended.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<PodEvent>, drain: drain::Watch) {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => drain.reached(Phase::Closing).await,
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a pod has panicked; the pod's rules are no longer repaired");
                    }
                }
                // Not at `Draining`: until the listeners close, the mesh may still be told to leave the node.
                () = drain.reached(Phase::Closing) => break,
            }
        }
        self.reconcilers.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    async fn handle(&mut self, event: PodEvent) {
        match event {
            PodEvent::Added { pod, done } => self.register(pod, Registration { sockets: None, done }),
            PodEvent::Inherited { pod, sockets, done } => {
                self.register(pod, Registration { sockets: Some(sockets), done });
            }
            PodEvent::Removed { uid } => {
                self.reconcilers.remove(&uid);
                self.pods.remove(&uid);
            }
            PodEvent::PrepareHandoff(answer) => {
                let pods: Vec<Option<PodHandoff>> = self.ask_all(PodCommand::PrepareHandoff).await;
                // The receiver is gone if the next tunnel process is.
                let _ = answer.send(pods.into_iter().flatten().collect());
            }
            PodEvent::CompleteHandoff => {
                for (uid, reconciler) in self.reconcilers.drain() {
                    let _ = reconciler.send(PodCommand::CompleteHandoff);
                    self.pods.remove(&uid);
                }
            }
            PodEvent::Release(answer) => {
                self.ask_all(PodCommand::Release).await;
                let _ = answer.send(());
            }
        }
    }

    fn register(&mut self, pod: Candidate, registration: Registration) {
        let (uid, key) = (pod.uid.clone(), pod.key.clone());
        let mut command = PodCommand::Register(pod, registration);
        // A pod can be registered again, in a new sandbox. Its reconciler can tell.
        if let Some(reconciler) = self.reconcilers.get(&uid) {
            match reconciler.send(command) {
                Ok(()) => return,
                Err(mpsc::error::SendError(unsent)) => command = unsent,
            }
        }
        let (reconciler, inbox) = mpsc::unbounded_channel();
        // Cannot fail: `inbox` exists.
        let _ = reconciler.send(command);
        self.reconcilers.insert(uid.clone(), reconciler);
        let status = self.pods.add(&uid, &key);
        self.tasks.spawn(Reconciler::new(self.context.clone(), uid, key, status).run(inbox));
    }

    /// Sends a command to every reconciler and collects the answers. Reconcilers that have ended are left out.
    async fn ask_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> PodCommand) -> Vec<T> {
        let pending = self.reconcilers.values().filter_map(|reconciler| {
            let (answer, answered) = oneshot::channel();
            reconciler.send(command(answer)).ok().map(|()| answered)
        });
        let mut answers = Vec::new();
        for answered in pending.collect::<Vec<_>>() {
            answers.extend(answered.await);
        }
        answers
    }
}
