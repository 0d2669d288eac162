//! The first bytes of a connection of the node to a probed port.
#![no_main]

use fairway_config::model::{HttpProbe, ProbeAction};
use fairway_ztunnel::decide::{ProbeRequest, classify, health_check};
use http::{HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;

fuzz_target!(|bytes: &[u8]| {
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
            ProbeRequest::Incomplete => assert!(!is_over && bytes.len() < fairway_ztunnel::decide::HEAD_LIMIT),
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
});
