//! The open client connections of a worker, and the slow sweep that ends those nobody uses.
//!
//! One tick a second looks at all of them, instead of a timer that every request resets.

mod pace;

use self::pace::{Paces, Rate, Verdict};
use crate::settings::Timeouts;
use crate::shares::{ListenerConnections, ListenerPlace, Share, Shares};
use crate::wire::WireState;
use fairway_config::model::ClientTreatment;
use fairway_runtime::drain::Phase;
use fairway_telemetry::ConnectionId;
use http::HeaderValue;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The open client connections of a worker.
#[derive(Debug)]
pub struct Connections {
    open: RefCell<Vec<Weak<Connection>>>,
    count: Rc<Cell<usize>>,
    shares: Shares<IpAddr>,
    phase: Cell<Phase>,
}

/// The state of a client connection that timeouts and drain need.
#[derive(Debug)]
pub struct Connection {
    /// What the byte stream observes.
    pub wire_state: Rc<WireState>,
    /// The progress of its requests.
    pub paces: Paces,
    id: Cell<Option<ConnectionId>>,
    state: Cell<ConnectionState>,
    requests: Cell<u64>,
    in_flight: Cell<u32>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    quiet: Cell<Quiet>,
    spared: Cell<u32>,
    count: Rc<Cell<usize>>,
    treatment: RefCell<Option<Arc<ClientTreatment>>>,
    /// Of the listeners that it counts for. Mostly none is counted.
    places: RefCell<Vec<ListenerPlace>>,
    /// What endpoints are told of the certificate that the client has shown. Boxed: mostly they are told nothing.
    certificate: OnceCell<Box<HeaderValue>>,
    _share: Option<Share<IpAddr>>,
}

/// How often a draining worker leaves a connection open that has not sent a request yet.
const SPARED: u32 = 50;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// In its TLS handshake.
    Handshake,
    /// HTTP/1: it can be ended after the current response.
    Http1,
    /// HTTP/2: it can be ended with GOAWAY.
    Http2,
    /// Bytes: a TCP service, or after an upgrade.
    Raw,
}

/// An order to a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// No order: go on.
    #[default]
    None,
    /// Accept no new requests and close after those in flight.
    Finish,
    /// Close: the request's head has not arrived in time.
    TooSlow,
    /// Close the connection now, also in the middle of a response.
    Stop,
}

/// The state at the last tick, and for how many ticks it has not changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Quiet {
    requests: u64,
    waiting: Waiting,
    ticks: u32,
    /// Bytes that the client had read when this state began.
    taken: u64,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    /// A response of the endpoint. Only the route's timeout applies.
    #[default]
    Answer,
    /// The next request of the client.
    Request,
    /// The rest of a request's head, or of the TLS handshake.
    RestOfHead,
    /// The client, which does not read its response.
    Reader,
}

// === impl Connections ===

impl Connections {
    /// No connections, of a proxy that is not draining.
    pub fn new() -> Self {
        Self {
            open: RefCell::default(),
            count: Rc::default(),
            shares: Shares::default(),
            phase: Cell::new(Phase::Running),
        }
    }

    /// Whether a client may have one more connection, of so many that all may have.
    pub fn admit(&self, client: IpAddr, limit: usize) -> Option<Share<IpAddr>> {
        self.shares.admit(client, self.count.get(), limit)
    }

    /// A new one that counts as no client's.
    pub fn open(&self, state: ConnectionState) -> Rc<Connection> {
        self.open_as(None, state)
    }

    /// A new one of a client that was admitted.
    pub fn open_from(&self, share: Share<IpAddr>, state: ConnectionState) -> Rc<Connection> {
        self.open_as(Some(share), state)
    }

    fn open_as(&self, share: Option<Share<IpAddr>>, state: ConnectionState) -> Rc<Connection> {
        let connection = Rc::new(Connection {
            wire_state: Rc::new(WireState::default()),
            paces: Paces::default(),
            id: Cell::new(None),
            state: Cell::new(state),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            order: Cell::new(Order::None),
            waker: RefCell::new(None),
            quiet: Cell::new(Quiet::default()),
            spared: Cell::new(0),
            count: self.count.clone(),
            treatment: RefCell::new(None),
            places: RefCell::default(),
            certificate: OnceCell::new(),
            _share: share,
        });
        self.count.set(self.count.get() + 1);
        let mut open = self.open.borrow_mut();
        // Amortised: dead entries go when the list would have to grow.
        if open.len() == open.capacity() {
            open.retain(|it| it.strong_count() > 0);
        }
        open.push(Rc::downgrade(&connection));
        connection
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.count.get()
    }

    /// Whether fewer than these are open.
    pub fn is_below(&self, limit: usize) -> bool {
        self.count.get() < limit
    }

    /// The phase of the drain.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Takes note of a new phase and tells the connections.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.each(|connection| {
            let order = match (phase, connection.state.get()) {
                (Phase::Running, _) => Order::None,
                // An idle HTTP/1 connection may have a request on its way: its answer will say `connection: close`.
                (Phase::Draining, ConnectionState::Http2) => Order::Finish,
                (Phase::Draining, _) => Order::None,
                (Phase::Closing, ConnectionState::Raw) => Order::None,
                // Just accepted: its request is on the way, if need be after the end of its handshake.
                (Phase::Closing, ConnectionState::Handshake | ConnectionState::Http1)
                    if connection.is_spared() =>
                {
                    Order::None
                }
                (Phase::Closing, _) => Order::Finish,
                (Phase::Forced, _) => Order::Stop,
            };
            connection.tell(order);
        });
    }

    /// One tick a second: finds those that wait too long for their clients.
    pub fn tick(&self, timeouts: &Timeouts) {
        self.each(|connection| {
            let timeouts = &match &*connection.treatment.borrow() {
                None => *timeouts,
                Some(it) => timeouts.of_clients(&it.timeouts),
            };
            let (head, idle) = (timeouts.head.as_secs(), timeouts.idle.as_secs());
            let begun = match connection.state.get() {
                ConnectionState::Handshake => timeouts.handshake.as_secs(),
                _ => head,
            };
            let waiting = connection.waiting();
            let mut quiet = connection.quiet.get();
            if quiet.waiting == waiting && quiet.requests == connection.requests.get() {
                quiet.ticks = quiet.ticks.saturating_add(1);
            } else {
                let taken = connection.wire_state.taken();
                quiet = Quiet { requests: connection.requests.get(), waiting, ticks: 0, taken };
            }
            let ticks = u64::from(quiet.ticks);
            match waiting {
                Waiting::RestOfHead if ticks > begun => connection.tell(Order::TooSlow),
                // One that has not gone after a while does not go by itself.
                Waiting::Request if ticks > idle + head => connection.tell(Order::Stop),
                Waiting::Request if ticks > idle => connection.tell(Order::Finish),
                Waiting::Reader => {
                    let taken = connection.wire_state.taken();
                    match Rate::measure(ticks, taken - quiet.taken, timeouts.response, timeouts.body_rate) {
                        Rate::Unknown => {}
                        Rate::Enough => quiet = Quiet { ticks: 0, taken, ..quiet },
                        Rate::TooLow => connection.tell(Order::Stop),
                    }
                }
                Waiting::Answer if connection.state.get() != ConnectionState::Raw => {
                    let has_streams = connection.state.get() == ConnectionState::Http2;
                    if connection.paces.tick(timeouts, has_streams) == Verdict::Stalled {
                        connection.tell(Order::Stop);
                    }
                }
                _ => {}
            }
            connection.quiet.set(quiet);
        });
    }

    /// Ends those that have waited longest for a request, so many at the most.
    pub fn finish_idle(&self, most: usize) {
        let mut idle = Vec::new();
        self.open.borrow().iter().filter_map(Weak::upgrade).for_each(|connection| {
            let waits = connection.waiting() == Waiting::Request && connection.order.get() == Order::None;
            if waits && connection.state.get() != ConnectionState::Raw {
                idle.push((connection.quiet.get().ticks, connection));
            }
        });
        if idle.len() > most {
            idle.select_nth_unstable_by_key(most, |(ticks, _)| std::cmp::Reverse(*ticks));
        }
        idle.iter().take(most).for_each(|(_, connection)| connection.tell(Order::Finish));
    }

    fn each(&self, mut visit: impl FnMut(&Connection)) {
        self.open.borrow_mut().retain(|it| match it.upgrade() {
            Some(connection) => {
                visit(&connection);
                true
            }
            None => false,
        });
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Connection ===

impl Connection {
    /// Counts a request; its number in the connection, from 0.
    pub fn begin(&self) -> u64 {
        let number = self.requests.get();
        self.requests.set(number + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        number
    }

    /// Endpoints are told this of the certificate that the client has shown. It is said once.
    pub fn shows(&self, certificate: HeaderValue) {
        let _ = self.certificate.set(Box::new(certificate));
    }

    /// What endpoints are told of the certificate that the client has shown, where a listener says so.
    pub fn certificate(&self) -> Option<&HeaderValue> {
        self.certificate.get().map(|it| &**it)
    }

    /// The requests that it has brought so far.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Whether it takes no further requests.
    pub fn is_finishing(&self) -> bool {
        self.order.get() >= Order::Finish
    }

    /// A request and its response are over.
    pub fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// Its number, which is drawn when somebody asks for it first.
    pub fn id(&self, draw: impl FnOnce() -> ConnectionId) -> ConnectionId {
        let id = self.id.get().unwrap_or_else(draw);
        self.id.set(Some(id));
        id
    }

    /// Notes how far the connection is.
    pub fn set_state(&self, state: ConnectionState) {
        self.state.set(state);
    }

    /// How the listener treats it that it is for, as far as that is known; else the listeners of its port.
    pub fn treat_as(&self, treatment: Option<&Arc<ClientTreatment>>) {
        let mut held = self.treatment.borrow_mut();
        if held.as_ref().map(Arc::as_ptr) != treatment.map(Arc::as_ptr) {
            *held = treatment.cloned();
        }
    }

    /// Counts it for a listener that may have so many. False if that has them already; one that counts is not counted twice.
    pub fn counts_for(&self, listener: &Arc<ListenerConnections>, most: u64) -> bool {
        let mut places = self.places.borrow_mut();
        if places.iter().any(|it| it.is_of(listener)) {
            return true;
        }
        let place = listener.take(most);
        let is_taken = place.is_some();
        places.extend(place);
        is_taken
    }

    /// Whether a listener of its port treats clients in a way of its own.
    pub fn is_treated(&self) -> bool {
        self.treatment.borrow().is_some()
    }

    /// How it is treated; none where nobody says so.
    pub fn treatment(&self) -> Option<Arc<ClientTreatment>> {
        self.treatment.borrow().clone()
    }

    /// How far the connection is.
    pub fn state(&self) -> ConnectionState {
        self.state.get()
    }

    /// Tells the one who serves the connection; a stronger order replaces a weaker one.
    pub fn tell(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Waits for an order stronger than the last one obeyed.
    pub async fn ordered(&self, obeyed: Order) -> Order {
        poll_fn(|cx| {
            let order = self.order.get();
            if order > obeyed {
                return Poll::Ready(order);
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Whether it has had no request yet, and has not been spared too often.
    fn is_spared(&self) -> bool {
        let spared = self.spared.get();
        self.spared.set(spared + 1);
        self.requests.get() == 0 && spared < SPARED
    }

    fn waiting(&self) -> Waiting {
        match self.state.get() {
            ConnectionState::Handshake => Waiting::RestOfHead,
            ConnectionState::Raw => Waiting::Answer,
            _ if self.wire_state.is_blocked() => Waiting::Reader,
            _ if self.wire_state.in_head() && self.in_flight.get() == 0 => Waiting::RestOfHead,
            _ if self.in_flight.get() == 0 => Waiting::Request,
            _ => Waiting::Answer,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count.set(self.count.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_config::model::ClientTimeouts;
    use std::time::Duration;

    fn timeouts() -> Timeouts {
        Timeouts {
            handshake: Duration::from_secs(2),
            head: Duration::from_secs(2),
            idle: Duration::from_secs(5),
            ..Timeouts::default()
        }
    }

    fn after(connections: &Connections, connection: &Connection, ticks: u32) -> Order {
        for _ in 0..ticks {
            connections.tick(&timeouts());
        }
        connection.order.get()
    }

    #[test]
    fn an_unused_connection_is_finished_and_a_used_one_is_not() {
        let connections = Connections::new();
        let connection = connections.open(ConnectionState::Http1);
        assert_eq!(after(&connections, &connection, 5), Order::None);
        connection.begin();
        assert_eq!(after(&connections, &connection, 50), Order::None);
        connection.end();
        assert_eq!(after(&connections, &connection, 6), Order::None);
        assert_eq!(after(&connections, &connection, 1), Order::Finish);
    }

    #[test]
    fn a_head_that_does_not_end_is_too_slow_even_if_bytes_trickle() {
        let connections = Connections::new();
        let connection = connections.open(ConnectionState::Http1);
        connection.wire_state.set_in_head(true);
        assert_eq!(after(&connections, &connection, 3), Order::None);
        assert_eq!(after(&connections, &connection, 1), Order::TooSlow);
    }

    #[test]
    fn a_connection_that_does_not_finish_when_told_is_stopped() {
        let connections = Connections::new();
        let connection = connections.open(ConnectionState::Http1);
        assert_eq!(after(&connections, &connection, 7), Order::Finish);
        assert_eq!(after(&connections, &connection, 2), Order::Stop);
    }

    #[test]
    fn the_idlest_make_room_and_those_in_use_do_not() {
        let connections = Connections::new();
        let (oldest, busy) =
            (connections.open(ConnectionState::Http1), connections.open(ConnectionState::Http2));
        busy.begin();
        connections.tick(&timeouts());
        connections.tick(&timeouts());
        let (raw, newest) =
            (connections.open(ConnectionState::Raw), connections.open(ConnectionState::Http1));
        connections.tick(&timeouts());
        connections.finish_idle(1);
        let orders = [&oldest, &busy, &raw, &newest].map(|it| it.order.get());
        assert_eq!(orders, [Order::Finish, Order::None, Order::None, Order::None]);
        connections.finish_idle(8);
        let orders = [&busy, &raw, &newest].map(|it| it.order.get());
        assert_eq!(orders, [Order::None, Order::None, Order::Finish]);
    }

    #[test]
    fn a_handshake_has_the_time_limit_of_a_head() {
        let connections = Connections::new();
        let connection = connections.open(ConnectionState::Handshake);
        assert_eq!(after(&connections, &connection, 4), Order::TooSlow);
    }

    /// What is said for one connection holds for it and for no other, from the next tick on.
    #[test]
    fn a_connection_has_the_timeouts_of_its_listener() {
        let seconds = |it| Some(Duration::from_secs(it));
        let timeouts = ClientTimeouts {
            handshake: seconds(4),
            request_headers: seconds(6),
            idle: seconds(9),
            ..ClientTimeouts::default()
        };
        let treatment = Arc::new(ClientTreatment { timeouts, ..ClientTreatment::default() });
        let connections = Connections::new();
        for (state, in_head, own, expected) in [
            (ConnectionState::Handshake, false, false, (4, Order::TooSlow)),
            (ConnectionState::Handshake, false, true, (6, Order::TooSlow)),
            (ConnectionState::Http1, true, false, (4, Order::TooSlow)),
            (ConnectionState::Http1, true, true, (8, Order::TooSlow)),
            (ConnectionState::Http1, false, false, (7, Order::Finish)),
            (ConnectionState::Http2, false, true, (11, Order::Finish)),
        ] {
            let connection = connections.open(state);
            connection.wire_state.set_in_head(in_head);
            connection.treat_as(Some(&treatment).filter(|_| own));
            let ended = (1..30).find(|_| after(&connections, &connection, 1) != Order::None);
            assert_eq!((ended.unwrap_or(0), connection.order.get()), expected, "{state:?} {in_head} {own}");
        }
    }

    #[test]
    fn a_drain_spares_idle_http1_connections_until_the_listeners_close() {
        let connections = Connections::new();
        let (one, two, raw) = (
            connections.open(ConnectionState::Http1),
            connections.open(ConnectionState::Http2),
            connections.open(ConnectionState::Raw),
        );
        connections.enter(Phase::Draining);
        assert_eq!(
            (one.order.get(), two.order.get(), raw.order.get()),
            (Order::None, Order::Finish, Order::None)
        );
        let fresh = connections.open(ConnectionState::Http1);
        one.begin();
        one.end();
        connections.enter(Phase::Closing);
        assert_eq!((one.order.get(), raw.order.get()), (Order::Finish, Order::None));
        assert_eq!(fresh.order.get(), Order::None, "its request is on the way");
        (0..SPARED).for_each(|_| connections.enter(Phase::Closing));
        assert_eq!(fresh.order.get(), Order::Finish);
        connections.enter(Phase::Forced);
        assert_eq!(raw.order.get(), Order::Stop);
    }

    #[test]
    fn connections_that_are_gone_are_forgotten() {
        let connections = Connections::new();
        for _ in 0..1000 {
            connections.open(ConnectionState::Http1);
        }
        assert!(connections.open.borrow().len() < 10, "{}", connections.open.borrow().len());
    }
}
