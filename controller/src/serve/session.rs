//! The conversation with one proxy.

use super::grpc::StreamLifetime;
use super::hub::{Enrolled, Hub, HubTerm};
use super::hub_state::{Difference, Held, HeldListener, RefusedResource, WrongAnswer};
use fairway_config::Rejected;
use fairway_config::model::{Capabilities, Generation, Resource};
use fairway_config::proto::{self, FromController, FromProxy, from_controller, from_proxy::Message};
use fairway_config::stream::{Subscription, fragments, shorten_reason};
use fairway_config::wire::{self, ContentHash, decode_key};
use prost::bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tracing::{Instrument, Span, debug, field, info, info_span, warn};

/// How long a proxy may take to say who it is and what it holds.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that are kept of what a proxy says it holds, and those of each resource beside its name. A cluster of a hundred thousand pods
/// has a third of that.
const MOST_HELD: usize = 32 * 1024 * 1024;
const EACH_HELD: usize = 96;

/// How long a proxy may take to read a commit and answer it. While it does not, what waits for every proxy waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the reason for an end may wait to be read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// When something is refused it is offered again, first after the one, at last every other: what the refusal depended on
/// may have changed without us (a port that was taken, say).
const OFFER_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Talks with one proxy until one of the two ends it.
pub(super) async fn run(
    hub: Arc<Hub>,
    term: HubTerm,
    admit: impl FnOnce(&Subscription) -> Result<StreamLifetime, Status>,
    mut inbound: impl Stream<Item = Result<FromProxy, Status>> + Unpin,
    outbound: mpsc::Sender<Result<FromController, Status>>,
) {
    let span = info_span!("proxy_stream", proxy = field::Empty, version = field::Empty);
    let stream = async {
        let ended = hub.ended(term);
        let end = tokio::select! {
            biased;
            () = ended => Err(Status::unavailable("the controller is ending")),
            end = converse(&hub, admit, &mut inbound, &outbound) => end,
        };
        if let Err(status) = end {
            debug!(%status, "a proxy's subscription ends");
            let _ = outbound.send_timeout(Err(status), CLOSE_TIMEOUT).await;
        }
    };
    stream.instrument(span).await;
}

/// `Ok` when the proxy has gone.
async fn converse(
    hub: &Arc<Hub>,
    admit: impl FnOnce(&Subscription) -> Result<StreamLifetime, Status>,
    inbound: &mut (impl Stream<Item = Result<FromProxy, Status>> + Unpin),
    outbound: &mpsc::Sender<Result<FromController, Status>>,
) -> Result<(), Status> {
    let greeting = tokio::time::timeout(HELLO_TIMEOUT, greet(admit, inbound));
    let (subscription, held, mut lifetime) =
        greeting.await.map_err(|_| Status::deadline_exceeded("the proxy does not say who it is"))??;
    let proxy = subscription.proxy.clone();
    Span::current().record("proxy", field::display(&proxy)).record("version", &*subscription.version);
    info!(%proxy, version = %subscription.version, holds = held.len(), "a proxy subscribes");
    let missing = Capabilities::OF_THIS_VERSION.without(subscription.capabilities);
    if missing != Capabilities::NONE {
        warn!(
            %proxy, version = %subscription.version, %missing,
            "a proxy is older than the controller; what needs these capabilities is closed there until it is upgraded"
        );
    }
    tokio::select! {
        biased;
        () = hub.first_commit() => {}
        end = lifetime.end() => return Err(end),
        message = inbound.next() => return unexpected(message),
    }
    let enrolled = hub.enroll(subscription, &held);
    drop(held);
    tokio::select! {
        biased;
        end = lifetime.end() => Err(end),
        end = keep(&enrolled, inbound, outbound) => end,
    }
}

/// Sends what changes and hears the answers, for as long as the proxy is there and reads.
async fn keep(
    enrolled: &Enrolled,
    inbound: &mut (impl Stream<Item = Result<FromProxy, Status>> + Unpin),
    outbound: &mpsc::Sender<Result<FromController, Status>>,
) -> Result<(), Status> {
    let mut offers = Offers::default();
    let late = || Status::deadline_exceeded("the proxy does not answer a commit");
    let mut unanswered = None;
    loop {
        while let Some(difference) = enrolled.difference() {
            match tokio::time::timeout(ANSWER_TIMEOUT, send(difference, outbound)).await {
                Ok(Ok(())) => unanswered = Some(Instant::now() + ANSWER_TIMEOUT),
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(late()),
            }
        }
        tokio::select! {
            message = inbound.next() => match message {
                None => return Ok(()),
                Some(message) => {
                    hear(message?, enrolled, &mut offers)?;
                    unanswered = None;
                }
            },
            () = until(unanswered) => return Err(late()),
            () = enrolled.woken() => {}
            () = offers.due(), if enrolled.has_refused() => {
                offers.later();
                enrolled.offer_again();
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn greet(
    admit: impl FnOnce(&Subscription) -> Result<StreamLifetime, Status>,
    inbound: &mut (impl Stream<Item = Result<FromProxy, Status>> + Unpin),
) -> Result<(Subscription, Held, StreamLifetime), Status> {
    let mut next = async || match inbound.next().await.transpose()? {
        Some(FromProxy { message: Some(message) }) => Ok(message),
        Some(FromProxy { message: None }) => Err(Status::invalid_argument("a message that is not known")),
        None => Err(Status::cancelled("the proxy left before it said who it is")),
    };
    let Message::Hello(hello) = next().await? else {
        return Err(Status::failed_precondition("a proxy says first who it is"));
    };
    let subscription =
        Subscription::try_from(hello).map_err(|error| Status::invalid_argument(error.to_string()))?;
    // Before anything is kept for it.
    let lifetime = admit(&subscription)?;
    let (mut held, mut room) = (Held::default(), MOST_HELD);
    loop {
        match next().await? {
            Message::Held(part) => {
                for it in part.resources {
                    let name = it.key.as_ref().map_or(0, |key| key.name.len());
                    room = room
                        .checked_sub(name + EACH_HELD)
                        .ok_or_else(|| Status::resource_exhausted("the proxy holds too many resources"))?;
                    // A key of a kind that is not known here cannot be named in a removal either.
                    let key = it.key.and_then(|key| decode_key(&key).ok());
                    if let (Some(key), Ok(hash)) = (key, ContentHash::try_from(&*it.hash)) {
                        held.insert(key, hash);
                    }
                }
            }
            Message::Start(proto::Start {}) => return Ok((subscription, held, lifetime)),
            Message::Hello(_) | Message::Ack(_) | Message::Nack(_) => {
                return Err(Status::failed_precondition(
                    "a proxy says what it holds before it says anything else",
                ));
            }
        }
    }
}

fn unexpected(message: Option<Result<FromProxy, Status>>) -> Result<(), Status> {
    match message.transpose()? {
        None => Ok(()),
        Some(_) => Err(Status::failed_precondition("there is nothing to answer yet")),
    }
}

async fn send(
    difference: Difference,
    outbound: &mpsc::Sender<Result<FromController, Status>>,
) -> Result<(), mpsc::error::SendError<Result<FromController, Status>>> {
    let generation = difference.generation.0;
    debug!(generation, upserts = difference.upserts.len(), removals = difference.removals.len(), "sending");
    for fragment in fragments(difference.upserts, difference.removals) {
        outbound.send(Ok(fragment)).await?;
    }
    let commit = from_controller::Message::Commit(proto::Commit { generation });
    outbound.send(Ok(FromController { message: Some(commit) })).await
}

fn hear(message: FromProxy, enrolled: &Enrolled, offers: &mut Offers) -> Result<(), Status> {
    match message.message {
        Some(Message::Ack(ack)) => {
            enrolled.acked(Generation(ack.generation))?;
            if !enrolled.has_refused() {
                *offers = Offers::default();
            }
            Ok(())
        }
        Some(Message::Nack(nack)) => {
            let refused = refused(nack.rejected);
            for it in &refused {
                warn!(generation = nack.generation, rejected = %it.rejected, "a proxy refuses");
            }
            let left_out = enrolled.nacked(Generation(nack.generation), refused)?;
            if !left_out.is_empty() {
                let some: Vec<_> = left_out.iter().take(20).map(ToString::to_string).collect();
                warn!(
                    generation = nack.generation, left_out = left_out.len(), some = %some.join(", "),
                    "the proxy names nothing of what it was sent: this is left out, and its last good version stays"
                );
            }
            offers.begin();
            Ok(())
        }
        _ => Err(Status::failed_precondition("a proxy that has started only answers")),
    }
}

/// How many needs of one refused resource count. A proxy names what one object of the API server names, which is less.
const MOST_NEEDS: usize = 100_000;

pub(super) fn refused(messages: Vec<proto::RejectedResource>) -> Vec<RefusedResource> {
    let known = messages.into_iter().filter_map(|it| {
        let key = decode_key(&it.key?).ok()?;
        let needs = it.needs.iter().take(MOST_NEEDS).filter_map(|key| decode_key(key).ok()).collect();
        Some(RefusedResource {
            rejected: Rejected { key, reason: shorten_reason(&it.reason).to_owned() },
            needs,
            in_force: in_force(it.in_force),
        })
    });
    known.collect()
}

/// Where the listener is that stays in force. What cannot be read is as one that is not known.
fn in_force(resource: Bytes) -> Option<HeldListener> {
    if resource.is_empty() {
        return None;
    }
    let listener = match wire::decode(resource) {
        Ok(Resource::Listener(listener)) => HeldListener::of(&listener),
        _ => None,
    };
    Some(listener.unwrap_or(HeldListener::Unknown))
}

/// When what was refused is offered again.
#[derive(Debug)]
struct Offers {
    wait: Duration,
    next: Instant,
}

impl Default for Offers {
    fn default() -> Self {
        Self { wait: OFFER_AGAIN.0, next: Instant::now() }
    }
}

impl Offers {
    /// Something was refused: what is not waiting yet begins to.
    fn begin(&mut self) {
        if self.next <= Instant::now() {
            self.later();
        }
    }

    fn later(&mut self) {
        self.next = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(OFFER_AGAIN.1);
    }

    async fn due(&self) {
        tokio::time::sleep_until(self.next).await;
    }
}

impl From<WrongAnswer> for Status {
    fn from(error: WrongAnswer) -> Self {
        Self::failed_precondition(error.to_string())
    }
}
