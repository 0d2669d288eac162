use super::*;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use tempfile::TempDir;

fn path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.sock");
    (directory, path)
}

#[tokio::test]
async fn only_the_owner_may_connect_and_the_file_goes_with_the_socket() {
    let (_directory, path) = path();
    let socket = UnixSocket::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    UnixStream::connect(&path).unwrap();
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_replaced() {
    let (_directory, path) = path();
    drop(UnixListener::bind(&path).unwrap()); // std leaves the file behind
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let _socket = UnixSocket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_socket_that_is_alive_is_left_alone() {
    let (_directory, path) = path();
    let ours = UnixSocket::bind(&path).unwrap();
    assert!(matches!(UnixSocket::bind(&path), Err(BindError::InUse(_))));
    drop(ours);
    let foreign = UnixListener::bind(&path).unwrap(); // of a program that knows nothing of our lock
    assert!(matches!(UnixSocket::bind(&path), Err(BindError::InUse(_))));
    UnixStream::connect(&path).unwrap();
    drop(foreign);
}

#[tokio::test]
async fn what_is_not_a_socket_is_never_removed() {
    let (_directory, path) = path();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(UnixSocket::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    // Nor what a link points to.
    let link = path.with_extension("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(UnixSocket::bind(&link), Err(BindError::NotASocket(_))));
}

#[tokio::test]
async fn addresses_have_one_of_two_forms() {
    for (uri, good) in [
        ("http://127.0.0.1:15010", true),
        ("http://controller.fairway-system:15010", true),
        ("unix:///run/fairway/identity.sock", true),
        ("unix://run/fairway.sock", false), // a relative path in disguise
        ("unix:/run/fairway.sock", false),
        ("https://controller:15010", false), // without roots nobody knows who answers
        ("127.0.0.1:15010", false),
        ("", false),
    ] {
        assert_eq!(connect(uri, None).is_ok(), good, "{uri}");
    }
}

/// A root, and a server certificate that it signed for `localhost`.
struct Authority {
    root: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { root: rcgen::CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn serving(&self, name: &str) -> Arc<dyn rustls::server::ResolvesServerCert> {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf =
            rcgen::CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.root).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let certified =
            rustls::sign::CertifiedKey::from_der(vec![leaf.der().clone()], key, &provider()).unwrap();
        Arc::new(rustls::sign::SingleCertAndKey::from(certified))
    }
}

/// Answers every call with its `authorization` header, or nothing.
#[derive(Clone)]
struct Mirror;

impl tonic::server::NamedService for Mirror {
    const NAME: &'static str = "mirror";
}

impl tower::Service<http::Request<tonic::body::Body>> for Mirror {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let status = match request.version() {
            http::Version::HTTP_2 => "0",
            _ => "13",
        };
        let response = http::Response::builder().header("grpc-status", status);
        std::future::ready(Ok(response.body(tonic::body::Body::empty()).unwrap()))
    }
}

async fn call(channel: &mut Channel) -> Result<String, String> {
    use tower::{Service, ServiceExt};
    let request = http::Request::post("/mirror/call").body(tonic::body::Body::empty()).unwrap();
    let ready = channel.ready().await.map_err(|error| chain(&error))?;
    let response = ready.call(request).await.map_err(|error| chain(&error))?;
    Ok(response.headers()["grpc-status"].to_str().unwrap().to_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |it| it.source());
    causes.fold(error.to_string(), |text, it| format!("{text}: {it}"))
}

struct Serving {
    uri: String,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn serving(authority: &Authority, name: &str) -> Serving {
    let listener = TlsListener::bind("127.0.0.1:0".parse().unwrap(), authority.serving(name)).await.unwrap();
    let uri = format!("https://localhost:{}", listener.local_address().unwrap().port());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let services = server().add_service(Mirror);
    let served = tokio::spawn(async move {
        serve_tls(services, listener, async { drop(stopped.await) }).await.unwrap();
    });
    Serving { uri, stop, served }
}

#[tokio::test]
async fn a_server_is_known_by_its_root_and_name_and_the_roots_are_read_anew() {
    let (ours, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.crt");
    let good = serving(&ours, "localhost").await;
    let mut channel = connect(&good.uri, Some(&roots)).unwrap();

    assert!(call(&mut channel).await.unwrap_err().contains("cannot read the roots"), "no roots yet");
    std::fs::write(&roots, other.root.pem()).unwrap();
    let error = call(&mut channel).await.unwrap_err();
    assert!(error.contains("invalid peer certificate"), "the roots of another mesh: {error}");
    std::fs::write(&roots, format!("{}{}", other.root.pem(), ours.root.pem())).unwrap();
    assert_eq!(call(&mut channel).await.unwrap(), "0");

    let misnamed = serving(&ours, "elsewhere").await;
    let mut channel = connect(&misnamed.uri, Some(&roots)).unwrap();
    assert!(call(&mut channel).await.unwrap_err().contains("not valid for name"));
    assert!(matches!(connect(&good.uri, None), Err(AddressError::NeedsRoots(_))));
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_holds_up_nobody() {
    let ours = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.crt");
    std::fs::write(&roots, ours.root.pem()).unwrap();
    let Serving { uri, stop, served } = serving(&ours, "localhost").await;
    let address = uri.trim_start_matches("https://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let mut channel = connect(&uri, Some(&roots)).unwrap();
    assert_eq!(call(&mut channel).await.unwrap(), "0");
    // Nor the end.
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn hundreds_of_silent_clients_of_one_address_give_way_to_one_that_speaks() {
    let ours = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.crt");
    std::fs::write(&roots, ours.root.pem()).unwrap();
    let Serving { uri, stop: _stop, served: _served } = serving(&ours, "localhost").await;
    let address = uri.trim_start_matches("https://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let mut channel = connect(&uri, Some(&roots)).unwrap();
    let called = tokio::time::timeout(Duration::from_secs(5), call(&mut channel)).await;
    assert_eq!(called.expect("at once, not when the others' time is over").unwrap(), "0");
}

/// Lets everybody in, or nobody.
#[derive(Clone)]
struct Doorkeeper(bool);

impl tonic::server::NamedService for Doorkeeper {
    const NAME: &'static str = "mirror";
}

impl tower::Service<http::Request<tonic::body::Body>> for Doorkeeper {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let peer = request.extensions().get::<TlsPeer>().unwrap();
        assert!(peer.address().is_loopback());
        if self.0 {
            peer.has_proven_itself();
        }
        let response = http::Response::builder().header("grpc-status", "0");
        std::future::ready(Ok(response.body(tonic::body::Body::empty()).unwrap()))
    }
}

#[tokio::test]
async fn a_client_that_never_shows_who_it_is_does_not_stay() {
    for (lets_in, stays) in [(true, true), (false, false)] {
        let ours = Authority::new();
        let listener =
            TlsListener::bind("127.0.0.1:0".parse().unwrap(), ours.serving("localhost")).await.unwrap();
        let address = listener.local_address().unwrap();
        tokio::spawn(serve_tls(server().add_service(Doorkeeper(lets_in)), listener, std::future::pending()));
        let directory = tempfile::tempdir().unwrap();
        let roots = directory.path().join("ca.crt");
        std::fs::write(&roots, ours.root.pem()).unwrap();
        let client = tls_client::Server::new("localhost", address.port(), roots).unwrap();
        let tls = Arc::new(client).connect().await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), TokioIo::new(tls))
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::post("http://localhost/mirror/call");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap();
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(31)).await;
        tokio::time::resume();
        let ended = tokio::time::timeout(Duration::from_secs(2), connection).await.is_ok();
        assert_eq!(!ended, stays, "let in: {lets_in}");
    }
}

/// Lets so much time pass without waiting for it. Sockets are real, so that what is under way comes first.
async fn pass(time: Duration) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_ended() {
    use tokio::io::AsyncReadExt;
    let Serving { uri, stop: _stop, .. } = serving(&Authority::new(), "localhost").await;
    let address = uri.trim_start_matches("https://localhost:").to_owned();
    let mut silent = tokio::net::TcpStream::connect(format!("127.0.0.1:{address}")).await.unwrap();
    pass(Duration::from_secs(11)).await;
    let mut heard = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(2), silent.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "still open");
}

#[tokio::test]
async fn a_client_that_is_gone_without_a_word_is_found_by_ping() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ours = Authority::new();
    let listener =
        TlsListener::bind("127.0.0.1:0".parse().unwrap(), ours.serving("localhost")).await.unwrap();
    let address = listener.local_address().unwrap();
    tokio::spawn(serve_tls(server().add_service(Doorkeeper(true)), listener, std::future::pending()));
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.crt");
    std::fs::write(&roots, ours.root.pem()).unwrap();
    let client = tls_client::Server::new("localhost", address.port(), roots).unwrap();
    let mut tls = Arc::new(client).connect().await.unwrap();
    // A call that is let in, by hand: nobody is there afterwards who would answer a PING.
    let head = [&[0x83, 0x86, 0x44, 12][..], b"/mirror/call", &[0x41, 9], b"localhost"].concat();
    let length = u8::try_from(head.len()).unwrap();
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    tls.write_all(&[0, 0, length, 1, 5, 0, 0, 0, 1]).await.unwrap();
    tls.write_all(&head).await.unwrap();
    tls.flush().await.unwrap();
    pass(Duration::from_secs(35)).await;
    let mut heard = Vec::new();
    let open = tokio::time::timeout(Duration::from_millis(200), tls.read_to_end(&mut heard)).await;
    assert!(open.is_err() && !heard.is_empty(), "it was let in, and has time to answer");
    pass(Duration::from_secs(30)).await;
    let ended = tokio::time::timeout(Duration::from_secs(2), tls.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "still open");
}
