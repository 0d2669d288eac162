//! What comes to a node: registrations, what the container runtime says to the CNI plugin, and kubelet's probes.

use crate::text_of;
use fairway_config::model::{HttpProbe, ProbeAction};
use fairway_ztunnel::cni::Request;
use fairway_ztunnel::decide::{HEAD_LIMIT, ProbeRequest, classify, health_check};
use fairway_ztunnel::registration::{Request as Registration, parse};
use http::{HeaderName, HeaderValue, Method};
use std::net::SocketAddr;

/// A request at the registration socket: what parses can be written, and names no path outside.
pub fn register(bytes: &[u8]) {
    if let Ok(request) = parse(bytes) {
        if let Registration::Add { netns, namespace, name, .. } = &request {
            assert!(netns.is_absolute() && !namespace.contains('/') && !name.contains('/'));
        }
        let written = serde_json::to_vec(&request).expect("what was parsed can be written");
        assert_eq!(parse(&written), Ok(request));
    }
}

/// What a container runtime gives the CNI plugin. The input: CNI_ARGS in the first line, then the configuration.
pub fn cni(bytes: &[u8]) {
    let end = bytes.iter().position(|it| *it == b'\n').unwrap_or(bytes.len());
    let (arguments, input) = bytes.split_at(end);
    let arguments = text_of(arguments);
    let environment = |name: &str| match name {
        "CNI_ARGS" => Some(arguments.to_owned()),
        "CNI_NETNS" => Some("/run/netns/a".to_owned()),
        _ => None,
    };
    if let Ok(request) = Request::read(environment, input) {
        let _ = request.addresses();
        if let Some(pod) = &request.pod {
            assert!(!pod.namespace.is_empty() && !pod.name.is_empty());
            assert!(arguments.contains(&pod.namespace) && arguments.contains(&pod.name));
        }
    }
}

/// The first bytes of a connection of the node to a probed port: what is sent on is what the pod's spec says, and nothing else.
pub fn probe(bytes: &[u8]) {
    let destination = SocketAddr::from(([10, 0, 0, 2], 8080));
    let http = |target: &str, headers, tls| {
        ProbeAction::Http(HttpProbe { target: target.into(), host: None, headers, tls })
    };
    let header = (HeaderName::from_static("x-probe"), HeaderValue::from_static("live"));
    let probes = [
        ProbeAction::Connect,
        http("/", vec![], false),
        http("/healthz", vec![header], false),
        ProbeAction::Grpc { service: "shop".into() },
    ];
    for is_over in [false, true] {
        match classify(&probes, destination, bytes, is_over) {
            ProbeRequest::Incomplete => assert!(!is_over && bytes.len() < HEAD_LIMIT),
            ProbeRequest::Connect => assert!(is_over && bytes.is_empty()),
            ProbeRequest::Http { head } => {
                let head = String::from_utf8(head).expect("the spec's words");
                let target = head.starts_with("GET / HTTP/1.1\r\nHost: ")
                    || head.starts_with("GET /healthz HTTP/1.1\r\nHost: ");
                assert!(target && head.ends_with("\r\nConnection: close\r\n\r\n"));
                assert_eq!(head.matches("\r\n\r\n").count(), 1);
                assert!(head.lines().count() <= 7, "nothing is added: {head}");
                // What is sent is a probe itself.
                assert_eq!(
                    classify(&probes, destination, head.as_bytes(), false),
                    ProbeRequest::Http { head: head.into_bytes() }
                );
            }
            ProbeRequest::Grpc => assert!(bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
            ProbeRequest::Tls => panic!("the spec has no probe over TLS"),
            ProbeRequest::Refused(refusal) => assert!(refusal.to_string().len() < 4096),
        }
    }
    if let Ok(message) = health_check(&probes, &Method::POST, "/grpc.health.v1.Health/Check", bytes) {
        assert_eq!(message, bytes);
    }
}
