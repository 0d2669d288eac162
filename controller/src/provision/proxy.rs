//! The proxies that have to run, and how each is reached.

use super::Parameters;
use crate::resources::Routability;
use fairway_config::model::{ObjectName, SpiffeId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What has to be made in a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The proxies of Gateways.
    pub proxies: Vec<Proxy>,
    /// Gateways of waypoints that are needed and that nobody wrote.
    pub waypoints: BTreeSet<ObjectName>,
}

/// A proxy that has to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The Gateway it serves, or the name a Gateway would have.
    pub name: ObjectName,
    /// What it is for.
    pub class: ProxyClass,
    /// The name of its GatewayClass.
    pub gateway_class: Arc<str>,
    /// What becomes of it.
    pub want: Want,
    /// The Gateway object, which owns what is made for it; none when no object stands behind it.
    pub owner: Option<Owner>,
    /// Whether no Gateway object stands behind it: a waypoint that routes ask for.
    pub implied: bool,
    /// The service account it runs as: `<gateway>-<class>` (GEP-1762). Pods that say otherwise are not its.
    pub service_account: Arc<str>,
    /// The identity of that service account.
    pub identity: SpiffeId,
    /// Where it listens: listener name and port.
    pub listeners: Vec<(Arc<str>, u16)>,
    /// The ports of its listeners, in order, each once.
    pub ports: Vec<(u16, Transport)>,
    /// The Services through which it is reached; none where every address that is asked for is one that nobody can give.
    pub services: Vec<ProxyService>,
    /// How it is run.
    pub parameters: Arc<Parameters>,
    /// Labels to put on what is made for it (GEP-1867).
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Annotations to put on what is made for it (GEP-1867).
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
}

/// A Service through which a proxy is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyService {
    /// The Service is in the namespace of the Gateway.
    pub name: Arc<str>,
    /// How far its address may reach: nothing but a cluster IP where more is not asked for.
    pub routability: Routability,
    /// The address it is to have.
    pub address: Option<IpAddr>,
}

/// What becomes of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It runs, as is said here.
    Run,
    /// Something is wrong with the Gateway as a whole: what runs for it stays as it is, until that is mended.
    Leave,
    /// Nobody knows what the Gateway asks for: what runs for it stays as it is, and so does the configuration that it has.
    Hold,
}

/// The object that owns what is made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its uid; empty where nobody gave it one.
    pub uid: Arc<str>,
}

/// What carries the bytes of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Connections: every protocol but UDP.
    Tcp,
    /// Datagrams: the listener's protocol is UDP.
    Udp,
}

/// What a proxy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyClass {
    /// It takes the requests of clients outside the mesh, by the listeners that its Gateway has.
    Gateway,
    /// It takes the requests that clients of the mesh send to Services of its namespace.
    Waypoint,
}

// === impl ProxyService ===

impl ProxyService {
    /// The one that there is where no address is asked for.
    pub fn usual(service_account: &Arc<str>) -> Self {
        Self { name: service_account.clone(), routability: Routability::Default, address: None }
    }
}

// === impl ProxyClass ===

impl ProxyClass {
    /// How many replicas there are where nobody says.
    pub fn usual_replicas(self) -> i32 {
        match self {
            Self::Gateway => 1,
            // Without its waypoint a Service that needs it cannot be reached at all.
            Self::Waypoint => 2,
        }
    }
}
