//! Trailers of requests: what a client says behind its body takes the place of nothing that a stage has decided.

use crate::support;
use fairway_config::model::{
    AppProtocol, AuthProtocol, BackendTarget, ExternalAuth, Filter, HeaderModifier, Rule,
};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use support::backend::{Server, full};
use support::wire::{exchange, status};
use support::*;
use tokio::sync::mpsc::unbounded_channel;

/// Some servers put trailers among the headers.
#[tokio::test]
async fn trailers_say_nothing_in_the_place_of_what_stages_have_decided() {
    let (sender, mut seen) = unbounded_channel();
    let server = Server::http(1, move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let trailers =
                request.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
            let mut names: Vec<String> = trailers.keys().map(ToString::to_string).collect();
            names.sort();
            sender.send(names).unwrap();
            Response::new(full(""))
        }
    })
    .await;
    let service = Server::http(1, |_: Request<Incoming>| async {
        Response::builder().header("x-team", "shop").header("x-other", "1").body(full("")).unwrap()
    })
    .await;
    let name = HeaderName::from_static;
    let modifier = HeaderModifier {
        set: vec![(name("x-set"), HeaderValue::from_static("1"))],
        add: vec![(name("x-added"), HeaderValue::from_static("1"))],
        remove: vec![name("x-removed")],
    };
    let protocol = AuthProtocol::Http {
        path_prefix: None,
        request_headers: vec![],
        response_headers: vec![name("x-team"), name("x-role")],
    };
    let target = BackendTarget::Backend("shop/auth:80".into());
    let sent = ["x-set", "x_set", "x-removed", "X_Removed", "x-team", "x_team", "x-role", "x-added", "x-sum"];
    for (filters, expected) in [
        (
            vec![],
            vec![
                "x-added",
                "x-removed",
                "x-role",
                "x-set",
                "x-sum",
                "x-team",
                "x_removed",
                "x_set",
                "x_team",
            ],
        ),
        (
            vec![Filter::RequestHeaders(modifier.clone())],
            vec!["x-added", "x-role", "x-sum", "x-team", "x_team"],
        ),
        (
            vec![Filter::RequestHeaders(modifier), Filter::ExternalAuth(ExternalAuth { target, protocol })],
            vec!["x-added", "x-sum"],
        ),
    ] {
        let rule = Rule { filters, ..rule("/", "shop/web:80") };
        let mut resources = with_rule(rule, AppProtocol::Http1, &[server.address]);
        resources.extend(backend("shop/auth:80", AppProtocol::Http1, &[service.address]));
        let proxy = Proxy::start(resources);
        let trailers: String = sent.iter().map(|it| format!("{it}: root\r\n")).collect();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntrailer: {}\r\ntransfer-encoding: chunked\r\n\r\n\
             1\r\na\r\n0\r\n{trailers}\r\n",
            sent.join(", ")
        );
        assert_eq!(status(&exchange(proxy.address(), request).await), 200);
        assert_eq!(seen.recv().await.unwrap(), expected);
    }
}
