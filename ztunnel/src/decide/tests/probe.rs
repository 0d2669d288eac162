use super::address;
use crate::decide::{HEAD_LIMIT, ProbeRequest, classify, health_check};
use fairway_config::model::{HttpProbe, ProbeAction};
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

fn get(target: &str, host: Option<&'static str>, headers: &[(&'static str, &'static str)]) -> ProbeAction {
    let header = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    ProbeAction::Http(HttpProbe {
        target: target.into(),
        host: host.map(HeaderValue::from_static),
        headers: headers.iter().map(header).collect(),
        tls: false,
    })
}

fn over_tls(probe: ProbeAction) -> ProbeAction {
    match probe {
        ProbeAction::Http(it) => ProbeAction::Http(HttpProbe { tls: true, ..it }),
        other => other,
    }
}

fn grpc(service: &str) -> ProbeAction {
    ProbeAction::Grpc { service: service.into() }
}

fn said(asked: ProbeRequest) -> String {
    match asked {
        ProbeRequest::Incomplete => "?".to_owned(),
        ProbeRequest::Connect => "connect".to_owned(),
        ProbeRequest::Http { head } => String::from_utf8(head).unwrap(),
        ProbeRequest::Grpc => "grpc".to_owned(),
        ProbeRequest::Tls => "tls".to_owned(),
        ProbeRequest::Refused(refusal) => refusal.to_string(),
    }
}

/// The head of a request of kubelet.
fn kubelet(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: 10.0.0.2:8080\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\n{more}Connection: close\r\n\r\n"
    )
}

#[test]
fn only_the_request_of_the_spec_is_a_probe() {
    let probes = [get("/healthz?full", None, &[])];
    let spec = "and the pod's spec has kubelet ask GET /healthz?full";
    let good = kubelet("/healthz?full", "");
    for (written, expected) in [
        (good.clone(), Ok(good.clone())),
        // What else an author may have written is not sent on.
        (kubelet("/healthz?full", "Authorization: Bearer x\r\nX-Admin: 1\r\n"), Ok(good.clone())),
        (good.replace("kube-probe/1.34", "() { :; }"), Ok(good.replace("kube-probe/1.34", "kube-probe/"))),
        (good.replace("kube-probe", "kube-lifecycle"), Ok(good.replace("kube-probe", "kube-lifecycle"))),
        (good.replace(":8080", ":08080"), Ok(good.clone())),
        (kubelet("/healthz", ""), Err("asks GET /healthz of host 10.0.0.2:8080")),
        (kubelet("/admin/delete?id=1", ""), Err("asks GET /admin/delete?id=1 of host 10.0.0.2:8080")),
        (kubelet("/healthz/../admin?full", ""), Err("asks GET /healthz/../admin?full of host 10.0.0.2:8080")),
        (kubelet("/healthz?full&x", ""), Err("asks GET /healthz?full&x of host 10.0.0.2:8080")),
        (kubelet("http://10.0.0.2:8080/healthz?full", ""), Err("asks GET http://10.0.0.2:8080/healthz?full")),
        (good.replace("GET", "POST"), Err("asks POST /healthz?full of host 10.0.0.2:8080")),
        (good.replace("GET", "HEAD"), Err("asks HEAD /healthz?full of host 10.0.0.2:8080")),
        (good.replace("HTTP/1.1", "HTTP/1.0"), Err("asks GET /healthz?full of host")),
        (good.replace("10.0.0.2:8080", "admin.example"), Err("asks GET /healthz?full of host admin.example")),
        (good.replace("10.0.0.2:8080", "10.0.0.2:80"), Err("asks GET /healthz?full of host 10.0.0.2:80")),
        (good.replace("Host:", "X-Host:"), Err("asks with 0 Host headers")),
        (kubelet("/healthz?full", "Host: 10.0.0.2:8080\r\n"), Err("asks with 2 Host headers")),
        (kubelet("/healthz?full", "Upgrade: websocket\r\n"), Err("with upgrade")),
        (kubelet("/healthz?full", "Content-Length: 0\r\n"), Err("with content-length")),
        (kubelet("/healthz?full", "Transfer-Encoding: chunked\r\n"), Err("with transfer-encoding")),
        (format!("{good}{good}"), Err("asks GET /healthz?full of host 10.0.0.2:8080 and goes on")),
        (format!("{good}x"), Err("and goes on")),
        ("\0\0\0".to_owned(), Err(r"says \x00\x00\x00, which is no request")),
        ("SSH-2.0-x\r\n".to_owned(), Err(r"says SSH-2.0-x\r\n, which is no request")),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Err("which is no request")),
        ("\x16\x03\x01".to_owned(), Err("speaks TLS")),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_LIMIT)), Err("asks with more than 16384 bytes")),
    ] {
        let decided = said(classify(&probes, address("10.0.0.2:8080"), written.as_bytes(), false));
        match expected {
            Ok(head) => assert_eq!(decided, head, "{written:?}"),
            Err(reason) => {
                assert!(decided.starts_with("its node ") && decided.ends_with(spec), "{decided}");
                assert!(decided.contains(reason), "{written:?}: {decided}");
            }
        }
    }
}

#[test]
fn a_probe_may_come_in_pieces_and_must_come_whole() {
    let (probes, good) = ([get("/", None, &[])], kubelet("/", ""));
    for length in 0..good.len() {
        let piece = &good.as_bytes()[..length];
        assert_eq!(
            classify(&probes, address("10.0.0.2:8080"), piece, false),
            ProbeRequest::Incomplete,
            "{length}"
        );
        assert!(
            matches!(classify(&probes, address("10.0.0.2:8080"), piece, true), ProbeRequest::Refused(_)),
            "{length}"
        );
    }
}

#[test]
fn the_specs_headers_reach_the_program_and_tell_two_probes_apart() {
    let probes = [
        get("/", None, &[("x-probe", "live")]),
        get("/", None, &[]),
        get("/", None, &[("x-probe", "ready"), ("accept", ""), ("user-agent", "us")]),
        get("/", Some("shop.example"), &[]),
    ];
    let (start, end) = ("GET / HTTP/1.1\r\nHost: 10.0.0.2:8080\r\n", "Connection: close\r\n\r\n");
    let usual = "User-Agent: kube-probe/1.34\r\nAccept: */*\r\n";
    for (more, expected) in [
        ("X-Probe: live\r\n", format!("{start}{usual}X-Probe: live\r\n{end}")),
        ("", format!("{start}{usual}{end}")),
        ("X-Probe: other\r\n", format!("{start}{usual}{end}")),
    ] {
        let decided = classify(&probes, address("10.0.0.2:8080"), kubelet("/", more).as_bytes(), false);
        assert_eq!(said(decided), expected, "{more}");
    }
    let ready =
        kubelet("/", "X-Probe: ready\r\n").replace("kube-probe/1.34", "us").replace("Accept: */*\r\n", "");
    let decided = said(classify(&probes, address("10.0.0.2:8080"), ready.as_bytes(), false));
    assert_eq!(decided, format!("{start}X-Probe: ready\r\nUser-Agent: us\r\n{end}"));
    let named = kubelet("/", "").replace("10.0.0.2:8080", "Shop.example");
    assert_eq!(
        said(classify(&probes, address("10.0.0.2:8080"), named.as_bytes(), false)),
        named.replace("Shop", "shop")
    );
}

#[test]
fn each_kind_of_probe_takes_its_own_kind_of_connection() {
    let (connect, http) = (ProbeAction::Connect, get("/", None, &[]));
    let https = over_tls(get("/", None, &[]));
    let (preface, request) = ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", kubelet("/", ""));
    let no = "its node";
    for (probes, written, is_over, expected) in [
        (std::slice::from_ref(&connect), "", false, "?"),
        (std::slice::from_ref(&connect), "", true, "connect"),
        (
            std::slice::from_ref(&connect),
            "G",
            false,
            "its node says G, and the pod's spec has kubelet ask for a connection only",
        ),
        (std::slice::from_ref(&connect), &request, false, no),
        (std::slice::from_ref(&connect), "\x16", false, no),
        (&[connect.clone(), http.clone()], &request, false, "GET /"),
        (
            std::slice::from_ref(&http),
            "",
            true,
            "its node has asked nothing, and the pod's spec has kubelet ask GET /",
        ),
        (std::slice::from_ref(&https), "\x16\x03", false, "tls"),
        (std::slice::from_ref(&https), &request, false, no),
        (&[https.clone(), http.clone()], &request, false, "GET /"),
        (&[grpc("")], "PRI", false, "?"),
        (&[grpc("")], "PRI", true, no),
        (&[grpc("")], preface, false, "grpc"),
        (&[grpc("")], &request, false, no),
        (&[grpc(""), http.clone()], &request, false, "GET /"),
        (&[grpc(""), http.clone()], "P", false, "?"),
        (std::slice::from_ref(&http), preface, false, no),
        (&[], "", true, no),
        (&[], &request, false, no),
    ] {
        let decided = said(classify(probes, address("10.0.0.2:8080"), written.as_bytes(), is_over));
        assert!(decided.starts_with(expected), "{probes:?} {written:?} {is_over}: {decided}");
    }
    let v6 = kubelet("/", "").replace("10.0.0.2:8080", "[fd00::2]:8080");
    assert_eq!(said(classify(&[http], address("[fd00::2]:8080"), v6.as_bytes(), false)), v6);
}

#[test]
fn of_grpc_only_the_health_of_the_specs_service_is_asked() {
    let check = "/grpc.health.v1.Health/Check";
    let (empty, shop) = (&[0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 6, 0x0a, 4, b's', b'h', b'o', b'p'][..]);
    for (service, method, path, message, expected) in [
        ("", Method::POST, check, empty, true),
        ("shop", Method::POST, check, shop, true),
        ("", Method::POST, check, shop, false),
        ("shop", Method::POST, check, empty, false),
        ("", Method::GET, check, empty, false),
        ("", Method::POST, "/grpc.health.v1.Health/Watch", empty, false),
        ("", Method::POST, "/shop.Admin/Delete", empty, false),
        ("", Method::POST, check, b"", false),
        ("", Method::POST, check, &[1, 0, 0, 0, 0], false),
        ("", Method::POST, check, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], false),
    ] {
        let decided = health_check(&[grpc(service)], &method, path, message);
        assert_eq!(decided.is_ok_and(|it| it == message), expected, "{service} {method} {path} {message:?}");
    }
    let long = "s".repeat(300);
    let mut message = vec![0, 0, 0, 1, 47, 0x0a, 0xac, 0x02];
    message.extend_from_slice(long.as_bytes());
    assert_eq!(health_check(&[grpc(&long)], &Method::POST, check, &message), Ok(message.clone()));
    let refusal = health_check(&[grpc("a")], &Method::POST, "/x/y", empty).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "its node asks POST /x/y, and the pod's spec has kubelet ask for the gRPC health of `a`"
    );
}

proptest! {
    /// Whatever is written, the program gets one of the heads that the spec can make.
    #[test]
    fn nothing_but_a_head_of_the_spec_is_sent(
        target in "/[a-z?%]{0,3}", host in "10.0.0.2:8080|x", name in "[A-Za-z-]{1,12}", value in "[ -~]{0,8}",
    ) {
        let probes = [get("/", None, &[]), get("/a", None, &[])];
        let written = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\n\r\n");
        if let ProbeRequest::Http { head } = classify(&probes, address("10.0.0.2:8080"), written.as_bytes(), false) {
            let allowed = ["/", "/a"].map(|it| kubelet(it, "").replace("1.34", ""));
            prop_assert!(allowed.iter().any(|it| it.as_bytes() == head), "{written:?}");
        }
    }
}
