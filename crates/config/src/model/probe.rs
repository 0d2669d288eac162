//! What a node's kubelet asks of a pod, outside the mesh.

use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// One question of kubelet: a probe, or a lifecycle hook that is a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The port of the pod that kubelet connects to.
    pub port: u16,
    /// What is asked there.
    pub action: ProbeAction,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAction {
    /// It connects, and says nothing.
    Connect,
    /// It sends a GET request.
    Http(HttpProbe),
    /// It asks the gRPC health service.
    Grpc {
        /// The `service` of the request; may be empty.
        service: Arc<str>,
    },
}

/// The request of an HTTP probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The request target as kubelet writes it: begins with `/`, has no spaces and no control characters.
    pub target: Arc<str>,
    /// The Host header, if the spec has one; the pod's address and port otherwise.
    pub host: Option<HeaderValue>,
    /// The spec's other headers, without those that frame a message or manage a connection.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether it is asked over TLS.
    pub tls: bool,
}

impl HttpProbe {
    /// Whether this can be the target of a probe's request.
    pub fn is_target(target: &str) -> bool {
        target.starts_with('/') && !target.bytes().any(|it| it <= b' ' || it == 0x7f)
    }
}
