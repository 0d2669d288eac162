//! What the API servers in memory have in common: how they answer.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

type Piece = Result<Frame<Bytes>, Infallible>;
/// An answer that may go on for as long as somebody watches.
pub(crate) type ApiResponse = Response<StreamBody<UnboundedReceiverStream<Piece>>>;

pub(crate) struct Watcher(mpsc::UnboundedSender<Piece>);

/// A client of a server that answers so: head, and body.
pub(crate) fn client<F>(
    answer: impl Fn(http::request::Parts, Bytes) -> F + Clone + Send + Sync + 'static,
) -> Client
where
    F: Future<Output = Result<ApiResponse, tower::BoxError>> + Send,
{
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            answer(parts, body).await
        }
    });
    Client::new(service, "default")
}

pub(crate) fn whole(status: StatusCode, body: &Value) -> ApiResponse {
    let (answer, watcher) = watch();
    watcher.send(body.to_string().into());
    let mut answer = answer;
    *answer.status_mut() = status;
    answer
}

pub(crate) fn failure(code: u16, message: &str) -> ApiResponse {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "message": message, "reason": reason,
    });
    whole(StatusCode::from_u16(code).unwrap(), &status)
}

/// An answer that goes on until the watcher is dropped.
pub(crate) fn watch() -> (ApiResponse, Watcher) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Response::new(StreamBody::new(UnboundedReceiverStream::new(receiver))), Watcher(sender))
}

impl Watcher {
    /// Tells of an object; whether anybody still listens.
    pub(crate) fn tell(&self, happened: &str, object: &Value) -> bool {
        self.send(format!("{}\n", json!({"type": happened, "object": object})).into())
    }

    /// Says that what is asked for is too old.
    pub(crate) fn expire(&self) {
        let status = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
        self.tell("ERROR", &status);
    }

    fn send(&self, bytes: Bytes) -> bool {
        self.0.send(Ok(Frame::data(bytes))).is_ok()
    }
}
