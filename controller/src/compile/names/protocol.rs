//! What the endpoints of a Service's port speak, by what the port says.

use crate::resources::ServicePort;
use fairway_config::model::{AppProtocol, BackendSecurity};

/// What endpoints speak, as far as a proxy is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Protocol {
    /// A protocol in the clear.
    Known(AppProtocol),
    /// TLS of the application's own: bytes to us.
    Secure,
}

/// Names that say that something else than HTTP is spoken: IANA's service names and those in common use in meshes.
const OTHER_PROTOCOLS: [&str; 49] = [
    "amqp",
    "amqps",
    "bolt",
    "cassandra",
    "coap",
    "cql",
    "dns",
    "domain",
    "doris",
    "etcd-server",
    "ftp",
    "ftps",
    "imap",
    "imaps",
    "irc",
    "kafka",
    "ldap",
    "ldaps",
    "memcache",
    "memcached",
    "mongo",
    "mongodb",
    "mqtt",
    "mqtts",
    "ms-sql-s",
    "mssql",
    "mysql",
    "nats",
    "nfs",
    "ntp",
    "oracle",
    "pop3",
    "pop3s",
    "postgres",
    "postgresql",
    "pulsar",
    "rdp",
    "redis",
    "rtsp",
    "sip",
    "sips",
    "smtp",
    "smtps",
    "ssh",
    "tcp",
    "telnet",
    "thrift",
    "udp",
    "zookeeper",
];

// === impl Protocol ===

impl Protocol {
    /// What endpoints speak, from `appProtocol` (KEP-3726 and the names in common use).
    pub(in crate::compile) fn of_port(port: &ServicePort) -> Self {
        // However it is written: IANA's names have no case, and people write `HTTPS`.
        let written = port.app_protocol.as_deref().map(str::to_ascii_lowercase);
        match written.as_deref() {
            None | Some("") => Self::Known(AppProtocol::Unspecified),
            Some(
                "http" | "http/1.1" | "http-alt" | "ws" | "grpc-web" | "kubernetes.io/http"
                | "kubernetes.io/ws",
            ) => Self::Known(AppProtocol::Http1),
            Some("http2" | "h2c" | "grpc" | "kubernetes.io/h2c") => Self::Known(AppProtocol::Http2),
            Some("https" | "tls" | "ssl" | "wss" | "grpcs" | "kubernetes.io/wss") => Self::Secure,
            Some(name) if OTHER_PROTOCOLS.contains(&name) => Self::Known(AppProtocol::Tcp),
            // A name of somebody's own says nothing against HTTP (KEP-3726: such names are free for implementations).
            Some(_) => Self::Known(AppProtocol::Unspecified),
        }
    }

    /// What a proxy speaks that has a policy's word on TLS: then the TLS is its own, and what is inside is not said.
    pub(in crate::compile) fn within(self, security: &BackendSecurity) -> AppProtocol {
        match (self, security) {
            (Self::Secure, BackendSecurity::Tls(_) | BackendSecurity::Unusable(_)) => {
                AppProtocol::Unspecified
            }
            (it, _) => it.as_carried(),
        }
    }

    /// What a proxy speaks without a policy.
    pub(in crate::compile) fn as_carried(self) -> AppProtocol {
        match self {
            Self::Known(it) => it,
            Self::Secure => AppProtocol::Tcp,
        }
    }
}
