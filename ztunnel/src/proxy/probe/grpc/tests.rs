//! gRPC calls of kubelet and of others, over loopback.

use super::{Failure, check};
use bytes::Bytes;
use fairway_config::model::ProbeAction;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};

const CHECK: &str = "/grpc.health.v1.Health/Check";

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, connected) = tokio::join!(listener.accept(), connecting);
    (connected.unwrap(), accepted.unwrap().0)
}

/// A program that writes down what it is asked, and answers that it serves.
async fn serve(stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut server = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = server.accept().await {
        let line =
            format!("{} {} {}", request.method(), request.uri(), request.headers().contains_key("x-admin"));
        asked.lock().unwrap().push(line);
        let answer = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false).unwrap();
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        body.send_trailers(trailers).unwrap();
    }
}

/// Calls; the answer's message and status, or how it failed; and what the program was asked.
async fn call(
    method: Method,
    path: &str,
    messages: &[&'static [u8]],
) -> (Result<(Bytes, String), String>, Vec<String>) {
    let (kubelet, mut downstream) = pair().await;
    let (application, served) = pair().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(serve(served, asked.clone()));
    let destination: SocketAddr = "10.0.0.2:9090".parse().unwrap();
    let probes = [ProbeAction::Grpc { service: "".into() }];
    let checking =
        tokio::spawn(
            async move { check(&mut downstream, Vec::new(), application, &probes, destination).await },
        );
    let calling = async {
        let (mut client, connection) = h2::client::handshake(kubelet).await?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(format!("http://10.0.0.2:9090{path}"));
        let request = request.header("x-admin", "1").body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false)?;
        for message in messages {
            body.send_data(Bytes::from_static(message), false)?;
        }
        body.send_data(Bytes::new(), true)?;
        let mut body = answer.await?.into_body();
        let message = body.data().await.transpose()?.unwrap_or_default();
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = trailers.get("grpc-status").map(|it| it.to_str().unwrap().to_owned());
        Ok::<_, h2::Error>((message, status.unwrap_or_default()))
    };
    let called = calling.await.map_err(|error| error.to_string());
    let checked = checking.await.unwrap();
    let called = match checked {
        Ok(()) => called,
        Err(Failure::Refused(refusal)) => {
            assert!(called.is_err(), "{called:?}");
            Err(refusal.to_string())
        }
        Err(Failure::Application(error) | Failure::Client(error)) => Err(error.to_string()),
    };
    let asked = asked.lock().unwrap().clone();
    (called, asked)
}

#[tokio::test]
async fn the_health_check_is_asked_in_kubelets_place_and_nothing_else_is() {
    let empty = &[0, 0, 0, 0, 0][..];
    let (called, asked) = call(Method::POST, CHECK, &[empty]).await;
    assert_eq!(called, Ok((Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), "0".to_owned())));
    assert_eq!(
        asked,
        ["POST http://10.0.0.2:9090/grpc.health.v1.Health/Check false"],
        "without the client's metadata"
    );
    const LARGE: [u8; 5000] = [0; 5000];
    for (method, path, messages, reason) in [
        (Method::POST, "/shop.Admin/Delete", &[empty][..], "asks POST /shop.Admin/Delete"),
        (Method::GET, CHECK, &[empty], "asks GET"),
        (Method::POST, CHECK, &[empty, empty], "asks for the health of another service"),
        (Method::POST, CHECK, &[&LARGE], "asks with more than 4096 bytes"),
    ] {
        let (called, asked) = call(method, path, messages).await;
        assert!(called.as_ref().is_err_and(|it| it.contains(reason)), "{reason}: {called:?}");
        assert_eq!(asked, [""; 0], "{reason}");
    }
}
