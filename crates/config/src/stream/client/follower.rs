//! The loop: connect, say what is held, take what comes, answer; and again.

use super::Progress;
use super::dial::{Conversation, Dial};
use crate::model::{Generation, Resource};
use crate::proto::{self, from_proxy::Message};
use crate::stream::backoff::Backoff;
use crate::stream::disk::{self, Saver};
use crate::stream::{Answer, BrokenProtocol, Replica, Subscription, held_messages};
use crate::{Apply, Changes};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;
use tracing::{debug, info, warn};

pub(super) struct Follower {
    subscription: Subscription,
    replica: Replica,
    apply: Box<dyn Apply>,
    progress: watch::Sender<Progress>,
    backoff: Backoff,
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("{}", .0.message())]
    Stream(#[from] Box<Status>),
    #[error(transparent)]
    Protocol(#[from] BrokenProtocol),
}

impl Follower {
    pub(super) fn start(
        dial: Dial,
        subscription: Subscription,
        state_file: Option<PathBuf>,
        apply: Box<dyn Apply>,
    ) -> (watch::Receiver<Progress>, impl Future<Output = Infallible> + Send) {
        let (progress, watched) = watch::channel(Progress::default());
        let mut follower =
            Self { subscription, replica: Replica::default(), apply, progress, backoff: Backoff::default() };
        let run = async move {
            let Some(path) = state_file else {
                return follower.run(dial, None).await;
            };
            follower.restore(&path).await;
            let (saver, saving) = disk::saver(path, follower.subscription.proxy.clone());
            tokio::select! {
                never = follower.run(dial, Some(saver)) => never,
                never = saving => never,
            }
        };
        (watched, run)
    }

    /// Puts in force what was so when the program last ran. Whatever is wrong with it, the controller mends.
    async fn restore(&mut self, path: &Path) {
        let saved = match disk::load(path.to_owned(), self.subscription.proxy.clone()).await {
            Ok(Some(saved)) => saved,
            Ok(None) => return debug!(path = %path.display(), "no configuration is kept from an earlier run"),
            Err(error) => return warn!(%error, "the configuration of the earlier run is not used"),
        };
        let changes: Changes = saved.snapshot.resources().map(|it: Resource| it.key()).collect();
        match self.apply.apply(&saved.snapshot, &changes) {
            Ok(()) => {
                info!(generation = %saved.snapshot.generation, resources = changes.len(), "the configuration of the earlier run is in force");
                self.in_force(saved.snapshot.generation);
                self.replica = Replica::holding(saved.snapshot, saved.hashes);
            }
            Err(reasons) => {
                for reason in reasons {
                    warn!(%reason, "the configuration of the earlier run is not used");
                }
            }
        }
    }

    async fn run(&mut self, mut dial: Dial, saver: Option<Saver>) -> Infallible {
        loop {
            let Err(error) = self.converse(&mut dial, saver.as_ref()).await;
            self.replica.disconnected();
            let wait = self.backoff.next();
            warn!(%error, retry_in_ms = wait.as_millis(), "no controller; what is in force stays");
            self.progress.send_modify(|progress| {
                progress.connected = false;
                progress.last_error = Some(error.to_string().into());
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn converse(&mut self, dial: &mut Dial, saver: Option<&Saver>) -> Result<Infallible, Interruption> {
        let mut conversation = dial.open().await.map_err(Box::new)?;
        introduce(&conversation, &self.subscription, &self.replica).await;
        loop {
            let message = conversation.hear().await.map_err(Box::new)?;
            // Not before the first message: a controller that accepts and then refuses is no connection.
            self.connected();
            match self.replica.receive(message, &mut *self.apply)? {
                None => {}
                Some(Answer::Ack(generation)) => {
                    self.backoff.reset();
                    info!(%generation, "configuration in force");
                    self.in_force(generation);
                    if let Some(saver) = saver {
                        saver.save(self.replica.snapshot());
                    }
                    conversation.say(Message::Ack(proto::Ack { generation: generation.0 })).await;
                }
                Some(Answer::Nack { generation, rejected }) => {
                    warn!(%generation, rejected = rejected.len(), "configuration refused; the one before stays");
                    for it in &rejected {
                        warn!(resource = ?it.key, reason = it.reason, "refused");
                    }
                    self.report_refused();
                    conversation.say(Message::Nack(proto::Nack { generation: generation.0, rejected })).await;
                }
            }
        }
    }

    fn connected(&self) {
        self.progress.send_if_modified(|progress| {
            let news = !progress.connected;
            progress.connected = true;
            progress.last_error = None;
            news
        });
    }

    fn in_force(&self, generation: Generation) {
        self.progress.send_modify(|progress| {
            progress.generation = generation;
            progress.rejected = self.replica.refused().collect();
        });
    }

    fn report_refused(&self) {
        let rejected: Arc<[_]> = self.replica.refused().collect();
        self.progress.send_modify(|progress| progress.rejected = rejected);
    }
}

async fn introduce(conversation: &Conversation, subscription: &Subscription, replica: &Replica) {
    conversation.say(Message::Hello(subscription.into())).await;
    for held in held_messages(replica.held()) {
        conversation.say(Message::Held(held)).await;
    }
    conversation.say(Message::Start(proto::Start {})).await;
}
