//! `/config`: the whole table of a proxy.

use super::rules::{BackendShown, ClusterShown, RuleShown, StageShown, describe_stages, describe_target};
use crate::route::RouteTable;
use crate::table::{BoundListener, CompiledL4Route, SocketKind};
use crate::worker::Serving;
use fairway_balance::Moment;
use fairway_config::model::{Audience, ListenerProtocol};
use serde::Serialize;
use std::fmt::{self, Display};

/// The whole table of a proxy.
#[derive(Debug, Serialize)]
pub(super) struct Config {
    generation: u64,
    sockets: Vec<SocketShown>,
    services: Vec<ServiceShown>,
    backends: Vec<ClusterShown>,
}

#[derive(Debug, Serialize)]
struct SocketShown {
    /// `*` stands for every address.
    address: String,
    port: u16,
    protocol: &'static str,
    listeners: Vec<ListenerShown>,
}

#[derive(Debug, Serialize)]
struct ListenerShown {
    listener: String,
    hostname: String,
    protocol: &'static str,
    /// Why it serves nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<String>,
    /// What sees requests before their route is matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<StageShown>,
    hosts: Vec<HostShown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<StreamShown>,
}

/// The routes for one port of a Service.
#[derive(Debug, Serialize)]
struct ServiceShown {
    service: String,
    /// None stands for every port that no other entry names.
    port: Option<u16>,
    /// Whose requests: everybody's, or a namespace's.
    audience: String,
    hosts: Vec<HostShown>,
}

/// The rules under one hostname, in the order of precedence.
#[derive(Debug, Serialize)]
struct HostShown {
    hostname: String,
    rules: Vec<RuleShown>,
}

/// A route for bytes or datagrams.
#[derive(Debug, Serialize)]
struct StreamShown {
    route: String,
    backends: Vec<BackendShown>,
}

// === impl Config ===

impl Config {
    pub(super) fn read(serving: &Serving, now: Moment) -> Self {
        let tables = &serving.tables;
        let mut sockets: Vec<_> = tables.sockets().collect();
        sockets.sort_by_key(|set| set.socket());
        let sockets = sockets.into_iter().map(|set| {
            let socket = set.socket();
            SocketShown {
                address: socket.address.map_or_else(|| "*".to_owned(), |address| address.to_string()),
                port: socket.port,
                protocol: match socket.kind {
                    SocketKind::Stream => "TCP",
                    SocketKind::Datagram => "UDP",
                },
                listeners: set.listeners().iter().map(|bound| ListenerShown::new(bound)).collect(),
            }
        });
        let mut services: Vec<_> = tables
            .routed_services()
            .map(|(service, audience, port, table)| ServiceShown {
                service: service.to_string(),
                port,
                audience: match audience {
                    Audience::Producer => "everybody".to_owned(),
                    Audience::Consumer(namespace) => format!("namespace {namespace}"),
                },
                hosts: hosts(table),
            })
            .collect();
        services.sort_by(|a, b| {
            (&a.service, &a.audience, a.port.is_none(), a.port).cmp(&(
                &b.service,
                &b.audience,
                b.port.is_none(),
                b.port,
            ))
        });
        let mut backends: Vec<_> = tables.clusters().map(|cluster| ClusterShown::new(cluster, now)).collect();
        backends.sort_by(|a, b| a.backend.cmp(&b.backend));
        Self { generation: tables.generation().0, sockets: sockets.collect(), services, backends }
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "generation {}", self.generation)?;
        for socket in &self.sockets {
            writeln!(f, "socket {} port {}/{}", socket.address, socket.port, socket.protocol)?;
            for listener in &socket.listeners {
                writeln!(
                    f,
                    "  listener {} ({}, {})",
                    listener.listener, listener.protocol, listener.hostname
                )?;
                listener.closed.iter().try_for_each(|why| writeln!(f, "    closed: {why}"))?;
                listener.filters.iter().try_for_each(|filter| writeln!(f, "    filter {filter}"))?;
                listener.hosts.iter().try_for_each(|host| host.fmt(f))?;
                for stream in &listener.streams {
                    writeln!(f, "    {}", stream.route)?;
                    for backend in &stream.backends {
                        writeln!(f, "      backend {} weight {}", backend.backend, backend.weight)?;
                    }
                }
            }
        }
        for service in &self.services {
            let port = service.port.map_or_else(|| "other ports".to_owned(), |port| format!("port {port}"));
            writeln!(f, "service {} {port} for {}", service.service, service.audience)?;
            service.hosts.iter().try_for_each(|host| host.fmt(f))?;
        }
        writeln!(f, "backends")?;
        self.backends.iter().try_for_each(|backend| backend.fmt(f))
    }
}

impl Display for HostShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    host {}", self.hostname)?;
        self.rules.iter().try_for_each(|rule| rule.fmt(f))
    }
}

// === impl ListenerShown ===

impl ListenerShown {
    fn new(bound: &BoundListener) -> Self {
        let listener = &bound.listener;
        Self {
            listener: listener.key.to_string(),
            hostname: listener.hostname.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string),
            protocol: match &listener.protocol {
                ListenerProtocol::Http => "HTTP",
                ListenerProtocol::Https(_) => "HTTPS",
                ListenerProtocol::TlsTerminate(_) => "TLS, terminated",
                ListenerProtocol::TlsPassthrough => "TLS, passed through",
                ListenerProtocol::Tcp => "TCP",
                ListenerProtocol::Udp => "UDP",
                ListenerProtocol::Hbone => "HBONE",
                ListenerProtocol::Service { .. } => "a Service",
            },
            closed: listener.closed.as_ref().map(ToString::to_string),
            filters: bound.filters.iter().flat_map(|it| describe_stages(it.stages())).collect(),
            hosts: hosts(&bound.routes),
            streams: bound.streams.routes().iter().map(|route| StreamShown::new(route)).collect(),
        }
    }
}

impl StreamShown {
    fn new(route: &CompiledL4Route) -> Self {
        let backends = route.route().backends.iter().map(|backend| BackendShown {
            backend: describe_target(&backend.target),
            weight: backend.weight,
            stages: Vec::new(),
        });
        Self { route: route.route().key.to_string(), backends: backends.collect() }
    }
}

fn hosts(table: &RouteTable) -> Vec<HostShown> {
    let hosts = table.by_host().into_iter();
    let shown = hosts.map(|(hostname, entries)| HostShown {
        hostname,
        rules: entries.iter().map(RuleShown::new).collect(),
    });
    shown.collect()
}
