//! A worker's share of a UDP listener: each datagram to its client's session, each answer back.
//!
//! Datagrams are passed on at once or not at all, as on any router: nothing is queued here, so nothing grows.

use super::admission::Admitted;
use super::session::Session;
use super::socket::{ClientKey, LONGEST, ListeningSocket};
use super::table::Sessions;
use crate::address::FarEnd;
use crate::connection::ConnectionState;
use crate::l4::{self, Carried, L4Refusal, Undecided, decide};
use crate::pipeline::access::{self, PolicySet, RequestSource};
use crate::ports::PortId;
use crate::table::{BoundListener, Tables};
use crate::telemetry::{BytesRefusal, Observed, StreamCounters, StreamKind, StreamRecord};
use crate::upstream::caller::Caller;
use crate::upstream::cluster::Cluster;
use crate::upstream::dialled::Looped;
use crate::worker::{Serving, Worker};
use fairway_balance::Readmission;
use fairway_config::model::{BackendTarget, Generation};
use fairway_runtime::drain::Phase;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Datagrams that are moved in one go: then the other tasks of the thread get their turn.
const TURN: usize = 32;
/// Seconds of silence after which a session is taken to have ended, when the proxy wants to end.
const SILENCE: u32 = 2;

/// A worker's share of a UDP listener.
struct Flow {
    worker: Rc<Worker>,
    port: PortId,
    socket: ListeningSocket,
    sessions: RefCell<Sessions>,
    /// What is being moved; nobody keeps it across an await.
    buffer: RefCell<Box<[u8]>>,
    /// Whether new clients are taken.
    is_open: Cell<bool>,
    /// The configuration the sessions were last compared with.
    seen: Cell<Generation>,
}

/// Serves until the socket is to be closed. Clients of a listener that goes away go elsewhere at once; the end of the whole
/// proxy leaves those who talk until they are silent.
pub async fn serve(
    worker: Rc<Worker>,
    port: PortId,
    socket: std::net::UdpSocket,
    mut closing: watch::Receiver<bool>,
) {
    let socket = match ListeningSocket::new(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "a listener cannot be watched"),
    };
    let sessions = Sessions::new(
        worker.sessions.clone(),
        worker.session_shares.clone(),
        worker.settings.limits.sessions,
    );
    let drain = worker.drain.clone();
    let flow = Rc::new(Flow {
        port,
        socket,
        sessions: RefCell::new(sessions),
        buffer: RefCell::new(vec![0; LONGEST].into()),
        is_open: Cell::new(true),
        seen: Cell::default(),
        worker,
    });
    let (mut draining, mut forced) =
        (pin!(drain.reached(Phase::Closing)), pin!(drain.reached(Phase::Forced)));
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // While the worker ends, it waits for this.
    let mut talking = None;
    let end = loop {
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break Carried::Whole,
            () = &mut forced => break Carried::CutOff,
            () = &mut draining, if flow.is_open.get() => {
                flow.is_open.set(false);
                talking = Some(flow.worker.connections.open(ConnectionState::Raw));
            }
            _ = ticks.tick() => flow.sweep(),
            readable = flow.socket.readable() => match readable {
                Ok(()) => flow.receive(),
                Err(error) => {
                    tracing::error!(%error, "a listener cannot be watched");
                    break Carried::Whole;
                }
            },
        }
        if !flow.is_open.get() && flow.sessions.borrow().is_empty() {
            break Carried::Whole;
        }
    };
    flow.sessions.borrow_mut().clear(end);
    drop(talking);
}

// === impl Flow ===

impl Flow {
    fn counters(&self) -> &StreamCounters {
        &self.worker.telemetry.counters.streams
    }

    fn receive(self: &Rc<Self>) {
        let mut buffer = self.buffer.borrow_mut();
        for _ in 0..TURN {
            match self.socket.try_receive(&mut buffer) {
                Ok((length, key)) => self.forward(&key, buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return tracing::debug!(%error, "cannot receive"),
            }
        }
    }

    fn forward(self: &Rc<Self>, key: &ClientKey, bytes: &[u8]) {
        self.counters().datagram_received(bytes.len());
        // Twice: an error that the endpoint has answered earlier datagrams with is only heard of now.
        for _ in 0..2 {
            let session = match self.session(key) {
                Ok(session) => session,
                Err(refusal) => {
                    tracing::debug!(client = %key.client, reason = refusal.label(), "datagram dropped");
                    return self.counters().refuse(refusal);
                }
            };
            match session.send(bytes) {
                Ok(None) => return,
                Ok(Some(talk)) => return self.sessions.borrow_mut().advance(&session.id(key), talk),
                Err(error) if is_unreachable(&error) => self.unreachable(key, &session, &error),
                Err(_) => break,
            }
        }
        self.counters().datagrams_lost.increment();
    }

    /// The client's session: the one it has if that still agrees with the configuration, or a new one.
    fn session(self: &Rc<Self>, key: &ClientKey) -> Result<Rc<Session>, L4Refusal> {
        let serving = self.worker.serving();
        let generation = serving.tables.generation();
        let mut sessions = self.sessions.borrow_mut();
        if let Some(session) = sessions.get(key) {
            if session.generation.get() == generation || self.agrees(&serving, session, key) {
                session.generation.set(generation);
                return Ok(session.clone());
            }
            let id = session.id(key);
            sessions.end(&id, Carried::Moved);
        }
        if !self.is_open.get() {
            return Err(L4Refusal::Draining);
        }
        let (session, admitted) = self.open(key, &serving, &mut sessions)?;
        let session = Rc::new(session);
        let answering = tokio::task::spawn_local(self.clone().answer(*key, session.clone()));
        sessions.insert(*key, session.clone(), answering.abort_handle(), admitted);
        Ok(session)
    }

    fn open(
        &self,
        key: &ClientKey,
        serving: &Serving,
        sessions: &mut Sessions,
    ) -> Result<(Session, Admitted), L4Refusal> {
        let worker = &self.worker;
        let listener = listener(serving, self.port).ok_or(L4Refusal::NoListener)?;
        locate(listener, key)?;
        let rng = &mut *worker.rng.borrow_mut();
        let decision = decide(&serving.tables, listener, None, rng)?;
        // The client may be a session of this proxy: what has passed the route would come back again and again.
        let passed = worker.dialled.datagrams.passed(key.client, None);
        let passed = passed.through(&decision.route).map_err(|Looped| L4Refusal::Loop)?;
        // Datagrams pass the mesh by: its tunnels carry TCP, and so does a waypoint.
        if decision.cluster.via().is_some_and(|(waypoint, _)| *waypoint != worker.waypoint_key) {
            return Err(L4Refusal::ThroughWaypoint);
        }
        let judged = judge(worker, serving, listener, &decision.cluster, key);
        let observed = judged.map_err(|_| L4Refusal::Denied)?;
        let now = worker.moment(Instant::now());
        // UDP has no connection that could be checked: the datagrams of the next client probe the endpoint.
        let caller = Caller { address: Some(key.client.ip().to_canonical()), ..Caller::default() };
        let picked = decision.cluster.pick(&caller, now, Readmission::ProbeAtOnce, &[], rng, |_| ());
        let endpoint = picked.ok_or(L4Refusal::NoEndpoint)?;
        let admitted = sessions.make_room(key.client.ip()).ok_or(L4Refusal::Full)?;
        let generation = serving.tables.generation();
        let mut record = StreamRecord::begin(&worker.telemetry, StreamKind::Udp, caller.address);
        record.asked(listener, generation, None);
        observed.iter().for_each(|it| record.observed(it));
        record.decided(&decision);
        let (number, dialled) = (sessions.next_number(), (&worker.dialled.datagrams, passed));
        let opened = Session::open(number, generation, &decision, endpoint.begin(), record, dialled);
        let session = opened.map_err(|error| {
            tracing::debug!(endpoint = %endpoint.address(), %error, "no socket");
            if is_unreachable(&error) { L4Refusal::Unreachable } else { L4Refusal::Full }
        })?;
        Ok((session, admitted))
    }

    /// Carries a session's answers.
    async fn answer(self: Rc<Self>, key: ClientKey, session: Rc<Session>) {
        while session.readable().await.is_ok() {
            let mut buffer = self.buffer.borrow_mut();
            for _ in 0..TURN {
                match session.try_receive(&mut buffer) {
                    Ok((length, talk)) => {
                        if let Some(talk) = talk {
                            self.sessions.borrow_mut().advance(&session.id(&key), talk);
                        }
                        if session.tell_once() {
                            session.endpoint().record_response(self.worker.moment(Instant::now()), None);
                        }
                        match self.socket.send(buffer.get(..length).unwrap_or_default(), &key) {
                            Ok(()) => self.counters().datagram_sent(length),
                            Err(_) => self.counters().datagrams_lost.increment(),
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return self.unreachable(&key, &session, &error),
                }
            }
        }
    }

    fn unreachable(&self, key: &ClientKey, session: &Session, error: &io::Error) {
        tracing::debug!(endpoint = %session.endpoint().address(), %error, "an endpoint takes no datagrams");
        session.endpoint().record_connect_failure(self.worker.moment(Instant::now()));
        self.sessions.borrow_mut().end(&session.id(key), Carried::EndpointBroke);
    }

    /// Once a second: ends what is silent, and what the configuration has no place for any more.
    fn sweep(&self) {
        let serving = self.worker.serving();
        let changed = self.seen.replace(serving.tables.generation()) != serving.tables.generation();
        let idle = match self.is_open.get() {
            true => u32::try_from(self.worker.settings.timeouts.session.as_secs()).unwrap_or(u32::MAX),
            false => SILENCE,
        };
        let now = self.worker.moment(Instant::now());
        self.sessions.borrow_mut().sweep(|key, session| {
            if changed && !self.agrees(&serving, session, key) {
                return Some(Carried::Moved);
            }
            // Many endpoints never answer (logs, metrics). Who does not refuse either is well.
            let quiet = session.tick();
            if quiet > 1 && session.tell_once() {
                session.endpoint().record_response(now, None);
            }
            (quiet > idle).then_some(Carried::Whole)
        });
    }

    /// Whether the listener's route would still send a client to this endpoint, and policies let it pass.
    fn agrees(&self, serving: &Serving, session: &Session, key: &ClientKey) -> bool {
        let Some(listener) = listener(serving, self.port) else { return false };
        locate(listener, key).is_ok()
            && leads_to(&serving.tables, listener, session)
            && serving.tables.cluster(session.backend()).is_some_and(|it| {
                let (entry, source) = entry(listener, key);
                access::still_admits(&self.worker, &serving.tables, entry, it, source)
            })
    }
}

/// Datagrams are from where they come: nothing is before them.
fn locate(listener: &BoundListener, key: &ClientKey) -> Result<IpAddr, Undecided> {
    l4::locate(&listener.listener.address_source, &FarEnd::of_peer(key.client.ip()))
}

/// Whether policies let a client's datagrams pass.
fn judge(
    worker: &Worker,
    serving: &Serving,
    listener: &BoundListener,
    cluster: &Cluster,
    key: &ClientKey,
) -> Result<Observed, BytesRefusal> {
    let (entry, source) = entry(listener, key);
    access::admit_connection(worker, &serving.tables, entry, cluster, source)
}

/// What judges a client's datagrams, and as whose.
fn entry<'a>(listener: &'a BoundListener, key: &ClientKey) -> (PolicySet<'a>, RequestSource<'a>) {
    let address = Some(key.client.ip().to_canonical());
    let source = RequestSource { peer: None, address, port: listener.listener.port, asked: None };
    (PolicySet::of_listener(Some(&listener.listener)), source)
}

fn listener(serving: &Serving, port: PortId) -> Option<&Arc<BoundListener>> {
    serving.ports.get(port)?.set.listeners().first()
}

fn leads_to(tables: &Tables, listener: &BoundListener, session: &Session) -> bool {
    let is_backend =
        |target: &BackendTarget| matches!(target, BackendTarget::Backend(it) if it == session.backend());
    let Some(route) = listener.streams.choose(None) else { return false };
    route.route().backends.iter().any(|it| it.weight > 0 && is_backend(&it.target))
        && tables.cluster(session.backend()).is_some_and(|it| it.holds(session.endpoint()))
}

/// What an endpoint, or a router before it, answers with where nobody takes datagrams.
fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
