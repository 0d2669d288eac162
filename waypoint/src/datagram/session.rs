//! A client's datagrams to one endpoint and back.

use super::admission::{SessionId, Talk};
use super::socket::ClientKey;
use crate::l4::{Carried, Decision};
use crate::telemetry::StreamRecord;
use crate::upstream::dialled::{DialledSocket, DialledSockets, Passed};
use fairway_balance::{EndpointRecord, InFlight};
use fairway_config::model::{BackendKey, Generation};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// A client's datagrams to one endpoint and back, on a socket of its own.
#[derive(Debug)]
pub(super) struct Session {
    /// Tells it apart from an earlier session of the same client.
    pub number: u64,
    /// The configuration it was last found to agree with.
    pub generation: Cell<Generation>,
    io: UdpSocket,
    backend: BackendKey,
    in_flight: InFlight,
    talk: Cell<Talk>,
    /// Whether the endpoint's health was told.
    told: Cell<bool>,
    quiet: Cell<u32>,
    record: RefCell<StreamRecord>,
    _dialled: DialledSocket,
}

// === impl Session ===

impl Session {
    pub fn open(
        number: u64,
        generation: Generation,
        decision: &Decision,
        in_flight: InFlight,
        mut record: StreamRecord,
        (dialled, passed): (&Arc<DialledSockets>, Passed),
    ) -> io::Result<Self> {
        let address = in_flight.endpoint().address();
        let io = connect(address)?;
        let dialled = dialled.note(io.local_addr()?, address, passed);
        record.reached(in_flight.endpoint());
        Ok(Self {
            number,
            generation: Cell::new(generation),
            io,
            backend: decision.cluster.key().clone(),
            in_flight,
            talk: Cell::new(Talk::Asked),
            told: Cell::new(false),
            quiet: Cell::new(0),
            record: RefCell::new(record),
            _dialled: dialled,
        })
    }

    /// Which one it is among those of the socket of its client.
    pub fn id(&self, key: &ClientKey) -> SessionId {
        SessionId { number: self.number, key: *key }
    }

    pub fn backend(&self) -> &BackendKey {
        &self.backend
    }

    pub fn endpoint(&self) -> &Arc<EndpointRecord> {
        self.in_flight.endpoint()
    }

    /// Sends the endpoint a datagram, and says how far the talk has come if that is further than before. The kernel is asked itself: the
    /// event loop knows nothing yet of a new socket.
    pub fn send(&self, bytes: &[u8]) -> io::Result<Option<Talk>> {
        SockRef::from(&self.io).send(bytes)?;
        self.quiet.set(0);
        let record = self.record.borrow();
        let received = &record.moved().received;
        received.set(received.get() + bytes.len() as u64);
        Ok(self.advance(Talk::Answered, Talk::Assured))
    }

    /// Waits until the endpoint's socket may be readable.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Receives one datagram of the endpoint into `buffer`. Returns its length, and how far the talk has come if that is further than
    /// before. `WouldBlock` if there is none.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Talk>)> {
        let length = self.io.try_recv(buffer)?;
        self.quiet.set(0);
        let record = self.record.borrow();
        let sent = &record.moved().sent;
        sent.set(sent.get() + length as u64);
        Ok((length, self.advance(Talk::Asked, Talk::Answered)))
    }

    fn advance(&self, from: Talk, to: Talk) -> Option<Talk> {
        let is_next = self.talk.get() == from;
        is_next.then(|| {
            self.talk.set(to);
            to
        })
    }

    /// `true` at the first call: the session's outcome counts once for the endpoint's health.
    pub fn tell_once(&self) -> bool {
        !self.told.replace(true)
    }

    /// Counts one second. Returns the seconds since the last datagram; the first one is not a full second.
    pub fn tick(&self) -> u32 {
        let quiet = self.quiet.get().saturating_add(1);
        self.quiet.set(quiet);
        quiet
    }

    /// Records how the session has ended.
    pub fn ended(&self, carried: Carried) {
        self.record.borrow_mut().ended(carried);
    }
}

/// A connected socket, so that ICMP errors are reported and datagrams of other senders are dropped by the kernel.
fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.connect(&address.into())?;
    UdpSocket::from_std(socket.into())
}
