//! The admission of requests by itself, as the pipeline asks for it before the filters of a listener: for benches.

use super::MemoryProxy;
use crate::connection::ConnectionState;
use crate::pipeline::access::{PolicyCheck, PolicySet, RequestSource};
use crate::pipeline::authentication::Authenticated;
use crate::pipeline::sender::Sender;
use crate::pipeline::{Client, Origin};
use crate::ports::PortId;
use crate::table::{BoundListener, Tables};
use crate::telemetry::Exchange;
use crate::upstream::caller::Caller;
use crate::wire::Version;
use crate::worker::Serving;
use fairway_config::model::Scheme;
use http::request::Parts;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What admits requests on one thread, by the policies and limits of a listener.
pub struct Admission {
    client: Rc<Client>,
    serving: Rc<Serving>,
    listener: Arc<BoundListener>,
    exchange: Exchange,
}

impl MemoryProxy {
    /// Its configuration. Another thread can serve by it, and then counts in the same buckets.
    pub fn tables(&self) -> Tables {
        self.serving.load().tables.clone()
    }

    /// What admits requests by the first listener of these tables; none if they have no listener.
    pub fn admission(&self, tables: Tables, parts: &Parts) -> Option<Admission> {
        let listener = tables.sockets().flat_map(|it| it.listeners()).next()?.clone();
        let worker = self.worker.clone();
        let connection = worker.connections.open(ConnectionState::Http1);
        let exchange = Exchange::begin(&worker.telemetry, &connection, parts);
        let serving = Rc::new(Serving { tables, ..Serving::default() });
        let client = Rc::new(Client {
            worker,
            connection,
            origin: Origin::Gateway { port: PortId(0), sni: None },
            scheme: Scheme::Http,
            version: Version::Http1,
            caller: Caller::default(),
            proxy: None,
            identity: None,
            forwarded_for: None,
            is_http10: Cell::new(false),
            switch: RefCell::new(None),
        });
        Some(Admission { client, serving, listener, exchange })
    }
}

// === impl Admission ===

impl Admission {
    /// Whether a request of a client is let in.
    pub fn admit(&mut self, client: IpAddr, parts: &mut Parts) -> bool {
        let Self { client: connected, serving, listener, exchange } = self;
        let sender = Sender::of_connection(connected);
        let listener = &listener.listener;
        let policies = PolicySet::of_listener(Some(listener));
        let source = RequestSource { peer: None, address: Some(client), port: listener.port, asked: None };
        if policies.is_open() {
            return true;
        }
        let mut check = PolicyCheck::new(&sender, &serving.tables, policies, source, exchange);
        let mut authenticated = Authenticated::default();
        let admitted = pin!(check.admit(parts, &mut authenticated));
        // Nothing here waits.
        matches!(admitted.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("client", &self.client).finish_non_exhaustive()
    }
}
