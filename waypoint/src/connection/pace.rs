//! How the bodies of a request and of its response get on, and whom they wait for.
//!
//! An endpoint may take its time, and so may both sides of a gRPC stream. A client that promised a body and does not send it,
//! or asked for one and does not take it, holds a connection to an endpoint and the endpoint's own resources: it has a limit.
//! The sweep over connections looks once a second, so that no request has a timer.

use crate::body::Progress;
use crate::settings::Timeouts;
use fairway_config::model::ClientTreatment;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// The requests that are under way in one connection.
#[derive(Debug, Default)]
pub struct Paces {
    places: RefCell<Vec<Option<Pace>>>,
    begun: Cell<Option<usize>>,
}

/// How one request gets on.
#[derive(Debug, Default)]
struct Pace {
    upload: Option<Rc<Progress>>,
    /// How the listener treats its client that takes the request; none where nobody says so.
    treatment: Option<Arc<ClientTreatment>>,
    /// Whether either side may be silent for as long as it likes before the other has ended.
    patient: bool,
    answered: bool,
    /// The length of a piece of the response that the client has not taken yet.
    untaken: Option<usize>,
    sent: u64,
    quiet: Quiet,
    /// The number of the request's stream, and whoever runs it.
    task: Option<(u32, Waker)>,
    stopped: bool,
}

/// What the request has waited for during the last ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    waiting: Waiting,
    ticks: u32,
    moved: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    /// The endpoint, which has not responded yet.
    #[default]
    Endpoint,
    /// The client's body, before anything was answered.
    Body,
    /// Either side: the response has begun and the request's body has not ended.
    Either,
    /// The client, to take a piece of the response.
    Reader,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    GoOn,
    /// The client sends its body too slowly.
    SlowBody,
    /// The client does not take its response, or both sides are silent for too long.
    Stalled,
}

/// The pace of a piece of a response that is slow but gets on.
const TAKEN_A_SECOND: usize = 4096;

// === impl Paces ===

impl Paces {
    /// A request begins; its place.
    pub fn open(&self) -> usize {
        let mut places = self.places.borrow_mut();
        let free = places.iter().position(Option::is_none).unwrap_or_else(|| {
            places.push(None);
            places.len() - 1
        });
        if let Some(place) = places.get_mut(free) {
            *place = Some(Pace::default());
        }
        self.begun.set(Some(free));
        free
    }

    /// A request is over.
    pub fn close(&self, place: usize) {
        if let Some(place) = self.places.borrow_mut().get_mut(place) {
            *place = None;
        }
    }

    /// The place of the request that began since this was asked last.
    pub fn take_begun(&self) -> Option<usize> {
        self.begun.take()
    }

    /// The request has a body. A patient one is a stream of messages, on which silence means nothing.
    pub fn receives(&self, place: usize, upload: Rc<Progress>, patient: bool) {
        self.with(place, |pace| (pace.upload, pace.patient) = (Some(upload), patient));
    }

    /// The listener that takes the request treats its client so.
    pub fn treat_as(&self, place: usize, treatment: &Arc<ClientTreatment>) {
        self.with(place, |pace| pace.treatment = Some(treatment.clone()));
    }

    /// The head of the response is there.
    pub fn answered(&self, place: usize) {
        self.with(place, |pace| pace.answered = true);
    }

    /// The client can take more of the response.
    pub fn asked(&self, place: usize) {
        self.with(place, |pace| pace.untaken = None);
    }

    /// A piece of the response was handed on.
    pub fn sent(&self, place: usize, bytes: usize) {
        self.with(place, |pace| {
            pace.sent += bytes as u64;
            pace.untaken = Some(bytes);
            if pace.quiet.waiting == Waiting::Reader {
                pace.quiet.ticks = 0;
            }
        });
    }

    /// Whoever runs the request's stream is woken when it is to stop.
    pub fn run_by(&self, place: usize, stream: u32, task: &Waker) {
        self.with(place, |pace| pace.task = Some((stream, task.clone())));
    }

    /// Whether a request is to stop.
    pub fn is_stopped(&self, place: usize) -> bool {
        self.places.borrow().get(place).and_then(Option::as_ref).is_some_and(|it| it.stopped)
    }

    /// Wakes whoever runs one of these streams.
    pub fn wake(&self, streams: &[u32]) {
        for pace in self.places.borrow().iter().flatten() {
            if let Some((stream, task)) = &pace.task
                && streams.contains(stream)
            {
                task.wake_by_ref();
            }
        }
    }

    /// Once a second. What is too slow is told so; the answer says whether something stalled that has no stream of its own.
    pub fn tick(&self, timeouts: &Timeouts, has_streams: bool) -> Verdict {
        let mut worst = Verdict::GoOn;
        for pace in self.places.borrow_mut().iter_mut().flatten() {
            match pace.tick(timeouts, has_streams) {
                Verdict::GoOn => {}
                Verdict::SlowBody => {
                    if let Some(upload) = &pace.upload {
                        upload.give_up();
                    }
                }
                Verdict::Stalled if has_streams => {
                    pace.stopped = true;
                    if let Some((_, task)) = pace.task.take() {
                        task.wake();
                    }
                }
                Verdict::Stalled => worst = Verdict::Stalled,
            }
        }
        worst
    }

    fn with(&self, place: usize, change: impl FnOnce(&mut Pace)) {
        if let Some(Some(pace)) = self.places.borrow_mut().get_mut(place) {
            change(pace);
        }
    }
}

// === impl Pace ===

impl Pace {
    /// What HTTP/1 has not taken is seen on the wire itself.
    fn waiting(&self, has_streams: bool) -> Waiting {
        let awaits_body = !self.patient && self.upload.as_ref().is_some_and(|it| it.is_awaited());
        match (self.untaken, awaits_body, self.answered) {
            (Some(_), _, _) if has_streams => Waiting::Reader,
            (_, true, false) => Waiting::Body,
            (_, true, true) => Waiting::Either,
            _ => Waiting::Endpoint,
        }
    }

    fn tick(&mut self, timeouts: &Timeouts, has_streams: bool) -> Verdict {
        let timeouts = &match &self.treatment {
            None => *timeouts,
            Some(it) => timeouts.of_clients(&it.timeouts),
        };
        let waiting = self.waiting(has_streams);
        let received = self.upload.as_ref().map_or(0, |it| it.bytes());
        let moved = match waiting {
            Waiting::Body => received,
            _ => received + self.sent,
        };
        if waiting != self.quiet.waiting || waiting == Waiting::Endpoint {
            self.quiet = Quiet { waiting, ticks: 0, moved };
            return Verdict::GoOn;
        }
        self.quiet.ticks = self.quiet.ticks.saturating_add(1);
        let ticks = u64::from(self.quiet.ticks);
        match waiting {
            Waiting::Endpoint => Verdict::GoOn,
            Waiting::Reader => {
                let more = self.untaken.unwrap_or_default() / TAKEN_A_SECOND;
                if ticks > timeouts.response.as_secs() + more as u64 {
                    Verdict::Stalled
                } else {
                    Verdict::GoOn
                }
            }
            Waiting::Body => {
                match Rate::measure(ticks, moved - self.quiet.moved, timeouts.body, timeouts.body_rate) {
                    Rate::Unknown => Verdict::GoOn,
                    Rate::Enough => {
                        self.quiet = Quiet { waiting, ticks: 0, moved };
                        Verdict::GoOn
                    }
                    Rate::TooLow => Verdict::SlowBody,
                }
            }
            Waiting::Either if moved != self.quiet.moved => {
                self.quiet = Quiet { waiting, ticks: 0, moved };
                Verdict::GoOn
            }
            Waiting::Either if ticks > timeouts.stream_idle.as_secs() => Verdict::Stalled,
            Waiting::Either => Verdict::GoOn,
        }
    }
}

/// Whether a body arrives fast enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// The observation is too short to decide.
    Unknown,
    /// The rate is sufficient.
    Enough,
    /// The rate is below the minimum.
    TooLow,
}

// === impl Rate ===

impl Rate {
    /// Judges so many bytes in so many ticks of a second, of so many bytes a second that a part of this length must bring.
    pub fn measure(ticks: u64, bytes: u64, part: Duration, rate: u64) -> Self {
        let whole = part.as_secs();
        if ticks <= whole {
            Self::Unknown
        } else if bytes < whole.saturating_mul(rate) {
            Self::TooLow
        } else {
            Self::Enough
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::ClientTimeouts;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn timeouts() -> Timeouts {
        Timeouts {
            body: Duration::from_secs(4),
            body_rate: 10,
            response: Duration::from_secs(4),
            stream_idle: Duration::from_secs(9),
            ..Timeouts::default()
        }
    }

    /// The first verdict that is not to go on, and after how many ticks; `each` runs before each tick.
    fn until(
        paces: &Paces,
        has_streams: bool,
        ticks: u32,
        mut each: impl FnMut(u32),
    ) -> Option<(u32, Verdict)> {
        (1..=ticks).find_map(|tick| {
            each(tick);
            let mut places = paces.places.borrow_mut();
            let verdict = places[0].as_mut().unwrap().tick(&timeouts(), has_streams);
            (verdict != Verdict::GoOn).then_some((tick, verdict))
        })
    }

    fn with_body(patient: bool) -> (Paces, Rc<Progress>) {
        let (paces, progress) = (Paces::default(), Rc::new(Progress::default()));
        let place = paces.open();
        paces.receives(place, progress.clone(), patient);
        progress.awaits(true);
        (paces, progress)
    }

    #[test]
    fn a_body_that_does_not_come_or_only_trickles_is_given_up() {
        for (bytes_a_tick, given_up) in [(0, true), (1, true), (7, true), (15, false), (1000, false)] {
            let (paces, progress) = with_body(false);
            let ended = until(&paces, false, 100, |_| progress.counts(bytes_a_tick));
            assert_eq!(ended, given_up.then_some((6, Verdict::SlowBody)), "{bytes_a_tick} bytes a second");
        }
    }

    #[test]
    fn while_the_endpoint_does_not_take_the_body_the_client_is_not_the_slow_one() {
        let (paces, progress) = with_body(false);
        let ended = until(&paces, true, 1000, |tick| progress.awaits(tick % 3 == 0));
        assert_eq!(ended, None);
        progress.awaits(false);
        assert_eq!(until(&paces, true, 1000, |_| ()), None);
    }

    #[test]
    fn a_stream_of_messages_may_be_silent() {
        let (paces, _progress) = with_body(true);
        assert_eq!(until(&paces, true, 10_000, |_| ()), None);
        paces.answered(0);
        assert_eq!(until(&paces, true, 10_000, |_| ()), None);
    }

    #[test]
    fn once_answered_only_silence_of_both_ends_an_open_body() {
        let (paces, progress) = with_body(false);
        paces.answered(0);
        assert_eq!(until(&paces, false, 5, |_| ()), None);
        let ended = until(&paces, false, 1000, |tick| {
            if tick % 5 == 0 {
                paces.sent(0, 1)
            }
        });
        assert_eq!(ended, None, "the endpoint speaks");
        let ended = until(&paces, false, 1000, |tick| {
            if tick % 5 == 0 {
                progress.counts(1)
            }
        });
        assert_eq!(ended, None, "the client speaks");
        assert!(matches!(until(&paces, false, 12, |_| ()), Some((_, Verdict::Stalled))));
    }

    #[test]
    fn a_request_has_the_timeouts_of_its_listener() {
        let seconds = |it| Some(Duration::from_secs(it));
        let timeouts =
            ClientTimeouts { request_body: seconds(8), stream_idle: seconds(3), ..ClientTimeouts::default() };
        let treatment = Arc::new(ClientTreatment { timeouts, ..ClientTreatment::default() });
        for (own, of_body, of_silence) in [(false, 6, 11), (true, 10, 5)] {
            let ended = |answered: bool| {
                let (paces, _progress) = with_body(false);
                if own {
                    paces.treat_as(0, &treatment);
                }
                if answered {
                    paces.answered(0);
                }
                until(&paces, false, 100, |_| ()).map(|it| it.0)
            };
            assert_eq!((ended(false), ended(true)), (Some(of_body), Some(of_silence)), "{own}");
        }
    }

    #[test]
    fn a_response_that_is_not_taken_is_stopped_and_a_slow_one_is_not() {
        let paces = Paces::default();
        paces.open();
        paces.answered(0);
        assert_eq!(until(&paces, true, 1000, |_| ()), None, "the endpoint is silent");
        let ended = until(&paces, true, 1000, |tick| {
            if tick % 4 == 0 {
                paces.asked(0);
                paces.sent(0, 9)
            }
        });
        assert_eq!(ended, None, "the client takes a piece now and then");
        paces.sent(0, 8 * TAKEN_A_SECOND);
        assert_eq!(until(&paces, true, 12, |_| ()), None, "a large piece takes longer");
        assert_eq!(until(&paces, true, 2, |_| ()), Some((1, Verdict::Stalled)));
        paces.asked(0);
        assert_eq!(until(&paces, true, 1000, |_| ()), None);
    }

    #[test]
    fn a_stream_is_woken_and_no_other() {
        let paces = Paces::default();
        let wakers = [1, 3, 5].map(|stream| {
            let (waker, woken) = counting_waker();
            paces.run_by(paces.open(), stream, &waker);
            woken
        });
        let woken = || wakers.each_ref().map(|it| it.load(Ordering::Relaxed));
        paces.wake(&[3, 7]);
        assert_eq!(woken(), [0, 1, 0]);
        paces.close(1);
        paces.wake(&[1, 3]);
        assert_eq!(woken(), [1, 1, 0]);
    }

    /// A waker and how often it was woken.
    fn counting_waker() -> (Waker, Arc<AtomicUsize>) {
        struct Count(Arc<AtomicUsize>);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(AtomicUsize::new(0));
        (Waker::from(Arc::new(Count(count.clone()))), count)
    }

    #[test]
    fn places_are_used_again() {
        let paces = Paces::default();
        let (one, two) = (paces.open(), paces.open());
        paces.close(one);
        assert_eq!(paces.open(), one);
        paces.close(two);
        assert_eq!(paces.places.borrow().len(), 2);
    }
}
