//! Limits of time, through a proxy in memory and under paused time.

use super::support::backend::{Body, echo, full, read_head, say};
use super::support::wire::{Http1, Http2, LONG, http2_over};
use super::support::{LISTENER, backend, route, rule};
use bytes::Bytes;
use fairway_config::model::{AppProtocol, Resource};
use fairway_waypoint::testing::{MemoryClient, MemoryProxy, endpoint, listener};
use fairway_waypoint::wire::Version;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

const HEAD: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(4);
const BODY: Duration = Duration::from_secs(2);

/// Runs a test with a proxy before one endpoint, each of whose connections `serve` gets.
async fn run(
    protocol: AppProtocol,
    serve: impl Fn(DuplexStream) + 'static,
    test: impl AsyncFnOnce(&MemoryProxy),
) {
    let testing = async {
        let routed = route("route", vec![rule("/", "shop/web:80")]);
        let mut resources =
            vec![Resource::Listener(Arc::new(listener(LISTENER))), Resource::Route(Arc::new(routed))];
        resources.extend(backend("shop/web:80", protocol, &[endpoint(1)]));
        let hurried = |settings: &mut fairway_waypoint::ProxySettings| {
            settings.timeouts.head = HEAD;
            settings.timeouts.idle = IDLE;
            settings.timeouts.stream_idle = IDLE;
            settings.timeouts.body = BODY;
            settings.timeouts.response = BODY;
            settings.timeouts.upstream_idle = HEAD;
        };
        let proxy = MemoryProxy::start_with(resources, hurried, move |_, stream| {
            serve(stream);
            Ok(())
        });
        let proxy = proxy.unwrap();
        tokio::select! {
            never = proxy.sweep() => match never {},
            () = test(&proxy) => {}
        }
    };
    LocalSet::new().run_until(testing).await;
}

/// An endpoint that speaks HTTP of this version, 1 or 2, for as long as its connection is open.
async fn serve_http<F>(
    version: u8,
    stream: DuplexStream,
    handler: impl Fn(Request<Incoming>) -> F + Send + 'static,
) where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = handler(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let io = TokioIo::new(stream);
    if version == 1 {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    } else {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(io, service).await;
    }
}

fn echoing(version: u8) -> impl Fn(DuplexStream) {
    move |stream| drop(spawn_local(serve_http(version, stream, echo)))
}

/// A client whose first bytes tell the version.
fn connect(proxy: &MemoryProxy) -> DuplexStream {
    proxy.connect(MemoryClient { version: None, ..MemoryClient::default() })
}

async fn connect_http2(proxy: &MemoryProxy) -> Http2 {
    http2_over(proxy.connect(MemoryClient { version: Some(Version::Http2), ..MemoryClient::default() })).await
}

/// What a client hears until its connection ends, which it must by then.
async fn until_end(stream: &mut DuplexStream, within: Duration) -> String {
    let mut heard = Vec::new();
    let ended = timeout(within, stream.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "open after {within:?}: {:?}", String::from_utf8_lossy(&heard));
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_begins_and_does_not_go_on_is_given_up() {
    let body = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nx";
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    let states: [(&str, &str, &[&str]); 11] = [
        ("nothing", "", &[""]),
        ("an empty line", "\r\n", &["HTTP/1.1 408"]),
        ("empty lines", "\r\n\r\n\r\n\r\n", &["HTTP/1.1 408"]),
        ("half an empty line", "\r", &["HTTP/1.1 408"]),
        ("a refused line and no more", "GET / HTTP/1.1\n", &["HTTP/1.1 408", "HTTP/1.1 400"]),
        ("half a head", "GET / HTTP/1.1\r\nhost: a\r\n", &["HTTP/1.1 408"]),
        ("half a preface", "PRI * HTT", &[""]),
        ("a preface and nothing", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[""]),
        ("a body that does not come", body, &["HTTP/1.1 408"]),
        ("chunks that do not come", chunked, &["HTTP/1.1 408"]),
        ("an empty line behind a request", "GET / HTTP/1.1\r\nhost: a\r\n\r\n\r\n", &["HTTP/1.1 200"]),
    ];
    run(AppProtocol::Http1, echoing(1), async |proxy| {
        for (state, said, expected) in states {
            let mut stream = connect(proxy);
            stream.write_all(said.as_bytes()).await.unwrap();
            let heard = until_end(&mut stream, LONG).await;
            assert!(expected.iter().any(|it| heard.contains(it)), "{state}: {heard:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_trickle_do_not_win_time() {
    run(AppProtocol::Http1, echoing(1), async |proxy| {
        for (begin, trickle) in [
            ("", "\r\n"),
            ("GET / HTTP/1.1\r\n", "a: b\r\n"),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n", "x"),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ] {
            let (mut read, mut write) = tokio::io::split(connect(proxy));
            write.write_all(begin.as_bytes()).await.unwrap();
            let began = Instant::now();
            let trickling = async {
                while began.elapsed() < LONG && write.write_all(trickle.as_bytes()).await.is_ok() {
                    sleep(Duration::from_millis(200)).await;
                }
            };
            let mut heard = Vec::new();
            tokio::select! {
                () = trickling => assert!(began.elapsed() < LONG, "{begin:?}: still open"),
                _ = read.read_to_end(&mut heard) => {}
            }
        }
    })
    .await;
}

/// A response that never ends.
async fn endless(_: Request<Incoming>) -> Response<Body> {
    let pieces = futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![0; 16 << 10]))));
    Response::new(BodyExt::boxed(StreamBody::new(pieces)))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_response_is_given_up_and_one_that_does_is_not() {
    let serve = |stream| drop(spawn_local(serve_http(1, stream, endless)));
    run(AppProtocol::Http1, serve, async |proxy| {
        let (mut stalled, mut slow) = (connect(proxy), connect(proxy));
        for stream in [&mut stalled, &mut slow] {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        }
        let began = Instant::now();
        let mut some = vec![0; 256 << 10];
        while began.elapsed() < Duration::from_secs(7) {
            slow.read_exact(&mut some).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        // It was cut off, and not ended as if that were all.
        let mut rest = Vec::new();
        timeout(LONG, stalled.read_to_end(&mut rest)).await.expect("it ends").unwrap();
        assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "the end of the body");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_taken_is_reset_and_the_others_of_its_connection_go_on() {
    let handler = |request: Request<Incoming>| async move {
        if request.uri().path() == "/endless" { endless(request).await } else { echo(request).await }
    };
    let serve = move |stream| drop(spawn_local(serve_http(2, stream, handler)));
    run(AppProtocol::Http2, serve, async |proxy| {
        let mut client = connect_http2(proxy).await;
        let ask = |path: &str| Request::get(format!("http://a{path}")).body(full("")).unwrap();
        let response = client.send_request(ask("/endless")).await.unwrap();
        sleep(Duration::from_secs(12)).await;
        let other = client.send_request(ask("/")).await.unwrap();
        assert_eq!(other.status(), 200);
        other.into_body().collect().await.unwrap();
        let mut body = response.into_body();
        let reading = async {
            loop {
                match body.frame().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.to_string(),
                    None => return "the end".to_owned(),
                }
            }
        };
        let ended = timeout(LONG, reading).await.expect("it was reset");
        assert!(ended != "the end", "{ended}");
    })
    .await;
}

/// A request's body whose pieces come when they are sent.
fn piecemeal() -> (tokio::sync::mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let pieces = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|it| it.map(|it| Ok(Frame::data(it))))
    });
    (sender, BodyExt::boxed(StreamBody::new(pieces)))
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_body_that_does_not_come_is_answered_408_and_a_grpc_stream_may_be_silent() {
    run(AppProtocol::Http2, echoing(2), async |proxy| {
        let mut client = connect_http2(proxy).await;
        let (held, body) = piecemeal();
        held.send(Bytes::from("x")).unwrap();
        let request = Request::post("http://a/").body(body).unwrap();
        let response = timeout(LONG, client.send_request(request)).await.expect("answered").unwrap();
        assert_eq!(response.status(), 408);

        let (held, body) = piecemeal();
        let request =
            Request::post("http://a/").header("content-type", "application/grpc").body(body).unwrap();
        let mut answering = std::pin::pin!(client.send_request(request));
        held.send(Bytes::from("x")).unwrap();
        assert!(timeout(Duration::from_secs(8), &mut answering).await.is_err(), "it waits");
        drop(held);
        assert_eq!(timeout(LONG, answering).await.unwrap().unwrap().status(), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_take_its_time() {
    let take_time = async |mut stream: DuplexStream| {
        let head = read_head(&mut stream).await;
        sleep(Duration::from_secs(6)).await;
        if head.starts_with("POST") {
            // It takes nothing of the body meanwhile.
            let mut body = vec![0; 4 << 20];
            stream.read_exact(&mut body).await.unwrap();
        }
        say(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
        sleep(Duration::from_secs(6)).await;
        say(&mut stream, "1\r\nb\r\n0\r\n\r\n").await;
    };
    let serve = move |stream| drop(spawn_local(take_time(stream)));
    run(AppProtocol::Http1, serve, async |proxy| {
        let (mut get, mut post) = (Http1::over(connect(proxy)), Http1::over(connect(proxy)));
        get.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let sending = async {
            post.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\n\r\n").await;
            post.0.write_all(&vec![0; 4 << 20]).await.unwrap();
            post.read_until(|read| read.ends_with(b"0\r\n\r\n").then_some(read.len())).await.unwrap()
        };
        let getting = get.read_until(|read| read.ends_with(b"0\r\n\r\n").then_some(read.len()));
        let (got, posted) = tokio::join!(getting, sending);
        assert!(got.unwrap().contains("200 OK"));
        assert!(posted.contains("200 OK"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_in_the_middle_of_a_response() {
    let large = |_| async { Response::new(full(vec![b'.'; 8 << 20])) };
    let serve = move |stream| drop(spawn_local(serve_http(1, stream, large)));
    run(AppProtocol::Http1, serve, async |proxy| {
        let mut client = connect(proxy);
        // The second head does not end, and nothing of the first response is read.
        client.write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\n").await.unwrap();
        sleep(Duration::from_secs(5)).await;
        let heard = until_end(&mut client, LONG).await;
        assert!(!heard.contains("408"), "{}", &heard[heard.len().saturating_sub(200)..]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_to_an_endpoint_is_closed() {
    for (version, protocol) in [(1, AppProtocol::Http1), (2, AppProtocol::Http2)] {
        let open = Rc::new(Cell::new(0));
        let counted = open.clone();
        let serve = move |stream| {
            let open = counted.clone();
            open.set(open.get() + 1);
            spawn_local(async move {
                serve_http(version, stream, echo).await;
                open.set(open.get() - 1);
            });
        };
        run(protocol, serve, async |proxy| {
            let mut client = Http1::over(connect(proxy));
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert!(client.receive().await.unwrap().0.starts_with("HTTP/1.1 200"));
            assert_eq!(open.get(), 1, "HTTP/{version}");
            sleep(3 * HEAD).await;
            assert_eq!(open.get(), 0, "HTTP/{version}: still open");
        })
        .await;
    }
}
