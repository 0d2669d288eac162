//! Stages for tests: a filter `Filter::Unresolved("test/<name>")` becomes one of them.

use super::{AsyncStage, Position, Stage, StageRequest, StageResponse, SyncStage, Verdict, Waiting};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Asynchronous stages that wait at this moment, and those that were dropped while they waited.
    pub(crate) static WAITS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// The stage of that name.
pub(super) fn stage_named(name: &str) -> Stage {
    if let Some(mark) = name.strip_prefix("test/mark/") {
        return Stage::Sync(Box::new(Mark { mark: mark.to_owned(), position: Position::Filter }));
    }
    if let Some(mark) = name.strip_prefix("test/early-mark/") {
        return Stage::Sync(Box::new(Mark { mark: mark.to_owned(), position: Position::Cors }));
    }
    match name {
        "test/change" => Stage::Sync(Box::new(Change)),
        "test/authorize" => Stage::Async(Box::new(Authorize)),
        _ => Stage::Sync(Box::new(CloseConnection)),
    }
}

/// Asks for as long as the request says in `x-wait` (milliseconds), then does what it says in `x-verdict`.
#[derive(Debug)]
struct Authorize;

#[derive(Debug)]
struct CloseConnection;

/// Notes in `x-order` that the request has come here.
#[derive(Debug)]
struct Mark {
    mark: String,
    position: Position,
}

/// Makes the target, the method and the Host of a request what it says in `x-target`, `x-method` and `x-host`, whatever that is.
#[derive(Debug)]
struct Change;

/// Counts a stage that waits; and if it is dropped before it is done, that.
struct Wait {
    is_done: bool,
}

const ALLOWED: HeaderName = HeaderName::from_static("x-allowed");

impl AsyncStage for Authorize {
    fn name(&self) -> &'static str {
        "test-authorize"
    }

    fn describe(&self) -> String {
        "for tests".to_owned()
    }

    fn position(&self) -> Position {
        Position::Authorization
    }

    fn on_request<'a, 't>(&'t self, request: &'a mut StageRequest<'_, 't>) -> Waiting<'a> {
        Box::pin(async move {
            let mut wait = Wait::begin();
            let text = |name| request.parts.headers.get(name).and_then(|value| value.to_str().ok());
            let milliseconds = text("x-wait").and_then(|text| text.parse().ok()).unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            wait.is_done = true;
            let verdict = request.parts.headers.remove("x-verdict");
            match verdict.as_ref().map(HeaderValue::as_bytes) {
                Some(b"deny") => Verdict::Respond(Box::new(StageResponse {
                    body: Bytes::from_static(b"ask somebody else\n"),
                    ..StageResponse::empty(StatusCode::FORBIDDEN)
                })),
                Some(b"close") => Verdict::Close,
                _ => {
                    let rule = request
                        .attributes
                        .rule
                        .map_or(HeaderValue::from_static("none"), |it| it.index.into());
                    request.parts.headers.insert(ALLOWED, rule);
                    Verdict::Continue
                }
            }
        })
    }
}

impl SyncStage for CloseConnection {
    fn name(&self) -> &'static str {
        "test-close"
    }

    fn describe(&self) -> String {
        "for tests".to_owned()
    }

    fn on_request<'t>(&'t self, _request: &mut StageRequest<'_, 't>) -> Verdict {
        Verdict::Close
    }
}

impl SyncStage for Mark {
    fn name(&self) -> &'static str {
        "test-mark"
    }

    fn describe(&self) -> String {
        format!("marks {}", self.mark)
    }

    fn position(&self) -> Position {
        self.position
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        let headers = &mut request.parts.headers;
        let before = headers.get("x-order").map_or("", |it| it.to_str().unwrap());
        let order = HeaderValue::try_from(format!("{before}{}", self.mark)).unwrap();
        headers.insert("x-order", order);
        Verdict::Continue
    }
}

impl SyncStage for Change {
    fn name(&self) -> &'static str {
        "test-change"
    }

    fn describe(&self) -> String {
        "for tests".to_owned()
    }

    fn on_request<'t>(&'t self, request: &mut StageRequest<'_, 't>) -> Verdict {
        let parts = &mut *request.parts;
        if let Some(target) = parts.headers.remove("x-target") {
            parts.uri = Uri::try_from(target.as_bytes()).unwrap();
        }
        if let Some(method) = parts.headers.remove("x-method") {
            parts.method = method.as_bytes().try_into().unwrap();
        }
        if let Some(host) = parts.headers.remove("x-host") {
            parts.headers.insert(HOST, host);
        }
        Verdict::Continue
    }
}

impl Wait {
    fn begin() -> Self {
        WAITS.with(|waits| waits.set((waits.get().0 + 1, waits.get().1)));
        Self { is_done: false }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let dropped = u32::from(!self.is_done);
        WAITS.with(|waits| waits.set((waits.get().0 - 1, waits.get().1 + dropped)));
    }
}
