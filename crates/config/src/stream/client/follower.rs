//! The loop: connect, say what is held, take what comes, answer; and again.

use super::dial::Dial;
use super::{Progress, StateFile};
use crate::model::Generation;
use crate::proto::{self, from_proxy::Message};
use crate::stream::backoff::Backoff;
use crate::stream::disk::{self, Saver};
use crate::stream::{BrokenProtocol, CommitResponse, Replica, Subscription, held_messages};
use crate::{Apply, Rejected};
use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};
use tracing::{debug, info, warn};

pub(super) struct Follower {
    subscription: Subscription,
    replica: Replica,
    apply: Box<dyn Apply>,
    progress: watch::Sender<Progress>,
    backoff: Backoff,
    /// When the configuration of an earlier run comes in force, unless a controller says first what is so now.
    initial_fetch_deadline: Option<Instant>,
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("{}", .0.message())]
    Stream(#[from] Box<Status>),
    #[error(transparent)]
    Protocol(#[from] BrokenProtocol),
    #[error(transparent)]
    EarlierRefused(#[from] EarlierRefused),
}

/// It is forgotten. A conversation that began with it has to begin anew: what comes is a difference to it.
#[derive(Debug, thiserror::Error)]
#[error("the configuration of the earlier run is refused; everything is asked for again")]
struct EarlierRefused;

impl Interruption {
    /// Whether the controller only asks for a new token, as it does at the end of each: the file has a newer one by then.
    fn is_renewal(&self) -> bool {
        matches!(self, Self::Stream(status) if status.code() == Code::Unauthenticated)
    }
}

impl Follower {
    pub(super) fn start(
        dial: Dial,
        subscription: Subscription,
        state_file: Option<StateFile>,
        apply: Box<dyn Apply>,
    ) -> (watch::Receiver<Progress>, impl Future<Output = Infallible> + Send) {
        let (progress, watched) = watch::channel(Progress::default());
        let mut follower = Self {
            subscription,
            replica: Replica::default(),
            apply,
            progress,
            backoff: Backoff::default(),
            initial_fetch_deadline: None,
        };
        let run = async move {
            let Some(StateFile { path, initial_fetch_timeout, owned }) = state_file else {
                return follower.run(dial, None).await;
            };
            if follower.take_up(&path).await {
                follower.initial_fetch_deadline = Some(Instant::now() + initial_fetch_timeout);
            }
            let (saver, saving) = disk::saver(path, follower.subscription.proxy.clone(), owned);
            tokio::select! {
                never = follower.run(dial, Some(saver)) => never,
                never = saving => never,
            }
        };
        (watched, run)
    }

    /// Holds what was in force when the program last ran, and says whether there was such a thing. Whatever is wrong with
    /// it, the controller mends.
    async fn take_up(&mut self, path: &Path) -> bool {
        match disk::load(path.to_owned(), self.subscription.proxy.clone()).await {
            Ok(Some(saved)) => {
                self.replica = Replica::holding(saved.snapshot, saved.hashes);
                return true;
            }
            Ok(None) => debug!(path = %path.display(), "no configuration is kept from an earlier run"),
            Err(error) => warn!(%error, "the configuration of the earlier run is not used"),
        }
        false
    }

    /// Does something that may take long; when the initial fetch timeout ends meanwhile, the earlier run's configuration comes in force.
    async fn patiently<T>(&mut self, work: impl Future<Output = T>) -> Result<T, EarlierRefused> {
        let mut work = pin!(work);
        if let Some(end) = self.initial_fetch_deadline {
            if let Ok(outcome) = timeout_at(end, &mut work).await {
                return Ok(outcome);
            }
            info!("no controller has said yet what is to be in force");
            self.do_with_the_earlier()?;
        }
        Ok(work.await)
    }

    fn do_with_the_earlier(&mut self) -> Result<(), EarlierRefused> {
        self.initial_fetch_deadline = None;
        match self.replica.put_in_force(&mut *self.apply) {
            Ok(generation) => {
                info!(%generation, "the configuration of the earlier run is in force");
                self.in_force(generation);
                Ok(())
            }
            Err(reasons) => Err(forgotten(reasons)),
        }
    }

    async fn run(&mut self, mut dial: Dial, saver: Option<Saver>) -> Infallible {
        loop {
            let Err(error) = self.converse(&mut dial, saver.as_ref()).await;
            self.replica.disconnected();
            let wait = self.backoff.next();
            match error.is_renewal() && self.progress.borrow().connected {
                true => info!(%error, "the stream is renewed; what is in force stays"),
                false => {
                    warn!(%error, retry_seconds = wait.as_secs_f64(), "not connected to a controller; what is in force stays");
                }
            }
            self.progress.send_modify(|progress| {
                progress.connected = false;
                progress.last_error = Some(error.to_string().into());
            });
            let _ = self.patiently(sleep(wait)).await;
        }
    }

    async fn converse(&mut self, dial: &mut Dial, saver: Option<&Saver>) -> Result<Infallible, Interruption> {
        let mut conversation = self.patiently(dial.open()).await?.map_err(Box::new)?;
        for message in introduction(&self.subscription, &self.replica) {
            self.patiently(conversation.say(message)).await?;
        }
        loop {
            let message = self.patiently(conversation.hear()).await?.map_err(Box::new)?;
            // Not before the first message: a controller that accepts and then refuses is no connection.
            self.connected();
            match self.replica.receive(message, &mut *self.apply)? {
                None => {}
                Some(CommitResponse::Ack(generation)) => {
                    self.backoff.reset();
                    self.initial_fetch_deadline = None;
                    info!(%generation, "configuration in force");
                    self.in_force(generation);
                    if let Some(saver) = saver {
                        saver.save(self.replica.snapshot());
                    }
                    conversation.say(Message::Ack(proto::Ack { generation: generation.0 })).await;
                }
                Some(CommitResponse::Forgotten(reasons)) => {
                    self.initial_fetch_deadline = None;
                    return Err(forgotten(reasons).into());
                }
                Some(CommitResponse::Nack { generation, rejected }) => {
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

fn introduction(subscription: &Subscription, replica: &Replica) -> Vec<Message> {
    let mut messages = vec![Message::Hello(subscription.into())];
    messages.extend(held_messages(replica.held()).map(Message::Held));
    messages.push(Message::Start(proto::Start {}));
    messages
}

fn forgotten(reasons: Vec<Rejected>) -> EarlierRefused {
    for reason in reasons {
        warn!(%reason, "the configuration of the earlier run is not used");
    }
    EarlierRefused
}
