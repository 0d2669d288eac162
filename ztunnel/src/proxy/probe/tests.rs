//! Probes over TLS, over loopback.

use super::{Failure, Moved, Prober, answer_over_tls, tls};
use fairway_config::model::{HttpProbe, ProbeAction};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, connected) = tokio::join!(listener.accept(), connecting);
    (connected.unwrap(), accepted.unwrap().0)
}

/// What kubelet is answered, and how the tunnel says that it ended; the program answers with what it got.
async fn ask(written: String) -> (String, Result<(), String>) {
    let (kubelet, mut downstream) = pair().await;
    let (application, served) = pair().await;
    let tls = tls::configurations().unwrap();
    tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(tls.server.clone()).accept(served).await?;
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await?;
        stream.write_all(&head[..read]).await?;
        stream.shutdown().await
    });
    let http = HttpProbe { target: "/healthz".into(), host: None, headers: vec![], tls: true };
    let prober = Prober {
        probes: vec![ProbeAction::Connect, ProbeAction::Http(http)],
        client: "10.0.0.1:1".parse().unwrap(),
        destination: "10.0.0.2:8443".parse().unwrap(),
    };
    let answering = tokio::spawn(async move {
        answer_over_tls(&mut downstream, Vec::new(), application, &prober, &mut Moved::default()).await
    });
    let name = ServerName::try_from("10.0.0.2").unwrap();
    let mut stream = TlsConnector::from(tls.client.clone()).connect(name, kubelet).await.unwrap();
    let _ = stream.write_all(written.as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    let outcome = answering.await.unwrap().map_err(|failure| match failure {
        Failure::Refused(refusal) => refusal.to_string(),
        Failure::Application(error) | Failure::Client(error) => error.to_string(),
    });
    (String::from_utf8(said).unwrap(), outcome)
}

#[tokio::test]
async fn within_tls_only_the_request_of_the_spec_is_a_probe() {
    let request = |target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: 10.0.0.2:8443\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
    };
    assert_eq!(ask(request("/healthz")).await, (request("/healthz"), Ok(())));
    for (written, reason) in [
        (request("/admin"), "asks GET /admin of host 10.0.0.2:8443"),
        (format!("{}{}", request("/healthz"), request("/admin")), "and goes on"),
        ("\u{16}\u{3}\u{1}".to_owned(), "speaks TLS"),
    ] {
        let (said, outcome) = ask(written).await;
        assert_eq!(said, "");
        assert!(outcome.as_ref().is_err_and(|it| it.contains(reason)), "{reason}: {outcome:?}");
    }
}
