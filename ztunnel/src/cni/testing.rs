//! A test API server over real sockets and TLS.

use super::credentials::Credentials;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

/// A running test API server. Clones are the same one.
#[derive(Clone)]
pub(super) struct TestApiServer {
    pub(super) address: String,
    pub(super) roots: String,
    state: Arc<Mutex<State>>,
}

/// What the API server has, and whom it believes.
pub(super) struct State {
    /// Objects in JSON by the path of their URL.
    pub(super) objects: HashMap<String, String>,
    /// Tokens that are accepted.
    pub(super) tokens: HashSet<String>,
    /// Whether there are no roles any more.
    pub(super) forbidden: bool,
    /// Tokens that were made on request.
    pub(super) made: u32,
    /// The lifetime of those, in seconds.
    pub(super) granted: u32,
    /// The path of an object, and the line for those who watch it.
    changes: broadcast::Sender<(String, String)>,
}

impl TestApiServer {
    pub(super) async fn start(objects: &[(&str, &str)], tokens: &[&str]) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap().to_string(),
            roots: cert.pem(),
            state: Arc::new(Mutex::new(State {
                objects: objects.iter().map(|(path, it)| (path.to_string(), it.to_string())).collect(),
                tokens: tokens.iter().map(|it| it.to_string()).collect(),
                forbidden: false,
                made: 0,
                granted: 7 * 24 * 60 * 60,
                changes: broadcast::channel(16).0,
            })),
        };
        let (acceptor, answering) = (TlsAcceptor::from(Arc::new(config)), server.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), answering.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = hyper::service::service_fn(move |request| {
                        std::future::ready(Ok::<_, Infallible>(server.answer(&request)))
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        server
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn credentials(&self, token: &str) -> Credentials {
        Credentials { server: self.address.clone(), roots: self.roots.clone(), token: token.to_owned() }
    }

    /// Deletes the object at `path` and tells those who watch.
    pub(super) fn delete(&self, path: &str) {
        let mut state = self.state();
        let object = state.objects.remove(path).unwrap();
        let line = format!("{{\"type\":\"DELETED\",\"object\":{object}}}\n");
        let _ = state.changes.send((path.to_owned(), line));
    }

    /// How many requests watch an object.
    pub(super) fn watches(&self) -> usize {
        self.state().changes.receiver_count()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let respond = |status, text: &str| {
            let mut response = Response::new(Full::new(Bytes::from(text.to_owned())).boxed());
            *response.status_mut() = status;
            response
        };
        let mut state = self.state();
        let token = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        if token.and_then(|it| it.strip_prefix("Bearer ")).is_none_or(|it| !state.tokens.contains(it)) {
            return respond(StatusCode::UNAUTHORIZED, r#"{"kind":"Status","message":"Unauthorized"}"#);
        }
        if state.forbidden {
            return respond(StatusCode::FORBIDDEN, r#"{"kind":"Status","message":"forbidden"}"#);
        }
        if request.method() == Method::POST {
            state.made += 1;
            let token = format!("made {}", state.made);
            let granted = state.granted;
            let text =
                format!(r#"{{"spec":{{"expirationSeconds":{granted}}},"status":{{"token":"{token}"}}}}"#);
            state.tokens.insert(token);
            return respond(StatusCode::CREATED, &text);
        }
        if let Some(name) = watched(request) {
            let watched = format!("{}/{name}", request.uri().path());
            let changes =
                stream::unfold((state.changes.subscribe(), watched), async |(mut changes, watched)| {
                    loop {
                        let (path, change) = changes.recv().await.ok()?;
                        if path == watched {
                            return Some((Ok(Frame::data(Bytes::from(change))), (changes, watched)));
                        }
                    }
                });
            return Response::new(StreamBody::new(Box::pin(changes)).boxed());
        }
        match state.objects.get(request.uri().path()) {
            Some(object) => respond(StatusCode::OK, object),
            None => respond(StatusCode::NOT_FOUND, r#"{"kind":"Status","message":"not found"}"#),
        }
    }
}

/// The name of the object that is to be watched.
fn watched(request: &Request<Incoming>) -> Option<&str> {
    let mut query = request.uri().query()?.split('&');
    query.clone().find(|it| *it == "watch=1")?;
    query.find_map(|it| it.strip_prefix("fieldSelector=metadata.name%3D"))
}
