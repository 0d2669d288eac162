//! The watch of one object: its changes as the API server tells them, a line of JSON each.

use super::{ApiError, ApiServer, METADATA, RESPONSE_LIMIT, TIMEOUT, message};
use http::Method;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Seconds after which the API server ends a watch. A connection that is broken without a sign is given up a little later.
const WATCH_SECONDS: u64 = 240;

/// A change of the watched object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// The object is now so.
    Present(T),
    /// The object was deleted.
    Deleted,
}

/// The changes of one object, from one request.
#[derive(Debug)]
pub struct Changes<T> {
    body: Limited<Incoming>,
    received: Vec<u8>,
    ends: Instant,
    object: PhantomData<T>,
}

// === impl ApiServer ===

impl ApiServer {
    /// Watches the object `name` of the collection at `path`, from `version` on.
    pub async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        version: &str,
    ) -> Result<Changes<T>, ApiError> {
        let path = format!(
            "{path}?watch=1&fieldSelector=metadata.name%3D{name}&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        );
        let asking = async {
            let stream = self.connect().await?;
            let response = self.request(stream, Method::GET, &path, METADATA, Vec::new()).await?;
            let status = response.status();
            let mut body = Limited::new(response.into_body(), RESPONSE_LIMIT);
            if status.is_success() {
                return Ok(body);
            }
            let answer = (&mut body).collect().await.map(|it| it.to_bytes()).unwrap_or_default();
            Err(ApiError::Refused { status, what: format!("GET {path}"), message: message(&answer) })
        };
        let late = || self.unreachable(format_args!("no answer within {} s", TIMEOUT.as_secs()));
        let body = timeout(TIMEOUT, asking).await.map_err(|_| late())??;
        let ends = Instant::now() + Duration::from_secs(WATCH_SECONDS) + TIMEOUT;
        Ok(Changes { body, received: Vec::new(), ends, object: PhantomData })
    }
}

// === impl Changes ===

impl<T: DeserializeOwned> Changes<T> {
    /// The next change. `None` at the end of the watch, whatever the reason: the caller asks again for the object.
    pub async fn next(&mut self) -> Option<Change<T>> {
        loop {
            while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let event: Event = serde_json::from_slice(&line).ok()?;
                match event.kind.as_str() {
                    "ADDED" | "MODIFIED" => {
                        return Some(Change::Present(serde_json::from_value(event.object).ok()?));
                    }
                    "DELETED" => return Some(Change::Deleted),
                    "BOOKMARK" => {}
                    _ => return None,
                }
            }
            let frame = timeout_at(self.ends, self.body.frame()).await.ok()??.ok()?;
            self.received.extend(frame.into_data().unwrap_or_default());
        }
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    object: serde_json::Value,
}
