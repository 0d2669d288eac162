//! What the admin ports answer. Pure: a method, a path and a query in, an answer out.

use crate::logs;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a program shows of itself.
pub struct Pages {
    readiness: Readiness,
    metrics: Metrics,
    logs: Option<logs::Control>,
    pages: BTreeMap<&'static str, Page>,
}

struct Page {
    about: &'static str,
    content: Box<dyn Fn(&str) -> Content + Send + Sync>,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// For programs, as `application/json`.
    Json(serde_json::Value),
    /// For people, as `text/plain`.
    Text(String),
    /// The query is not understood: what to write instead.
    Invalid(String),
}

/// Which part of the pages a port shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// All pages, for the admin port on loopback.
    Full,
    /// `/metrics` alone, for scrapers.
    Metrics,
    /// `/healthz/…` alone, for kubelet.
    Readiness,
}

/// Status, content type and body of one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageResponse {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// What of a request is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) host: Option<&'a str>,
}

// === impl Pages ===

impl Pages {
    /// The pages that every program has.
    pub fn new(readiness: Readiness, metrics: Metrics) -> Self {
        Self { readiness, metrics, logs: None, pages: BTreeMap::new() }
    }

    /// Adds `/logging`, which shows the filter and with PUT replaces it.
    #[must_use]
    pub fn logging(mut self, logs: logs::Control) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Adds a read-only page, such as `/identities`; `content` is called for each request on the admin thread.
    #[must_use]
    pub fn page(
        self,
        path: &'static str,
        about: &'static str,
        content: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        self.query_page(path, about, move |_| Content::Json(content()))
    }

    /// Adds a read-only page whose content depends on the query (without `?`, as it came; empty if there is none).
    #[must_use]
    pub fn query_page(
        mut self,
        path: &'static str,
        about: &'static str,
        content: impl Fn(&str) -> Content + Send + Sync + 'static,
    ) -> Self {
        self.pages.insert(path, Page { about, content: Box::new(content) });
        self
    }

    pub(super) fn respond(&self, surface: Surface, request: PageRequest<'_>) -> PageResponse {
        // A page on the internet can make a browser ask loopback, but not with this host (DNS rebinding).
        if surface == Surface::Full && !request.host.is_some_and(is_loopback) {
            return PageResponse::text(StatusCode::FORBIDDEN, "ask for localhost, 127.0.0.1 or [::1]\n");
        }
        let read = matches!(*request.method, Method::GET | Method::HEAD);
        match (surface, request.path) {
            (Surface::Full, "/logging") if self.logs.is_some() => self.logging_response(request),
            _ if !read => PageResponse::text(StatusCode::METHOD_NOT_ALLOWED, "this page is read with GET\n"),
            (Surface::Full | Surface::Readiness, "/healthz/live") => {
                PageResponse::text(StatusCode::OK, "live\n")
            }
            (Surface::Full | Surface::Readiness, "/healthz/ready") => self.ready(),
            (Surface::Full | Surface::Metrics, "/metrics") => PageResponse {
                status: StatusCode::OK,
                content_type: OPEN_METRICS,
                body: self.metrics.encode(),
            },
            (Surface::Full, "/") => self.list(),
            (Surface::Full, path) => match self.pages.get(path) {
                Some(page) => match (page.content)(request.query.unwrap_or_default()) {
                    Content::Json(value) => PageResponse::json(&value),
                    Content::Text(text) => PageResponse::text(StatusCode::OK, &text),
                    Content::Invalid(why) => PageResponse::text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
                },
                None => PageResponse::text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
            },
            _ => PageResponse::text(StatusCode::NOT_FOUND, "no such page on this port\n"),
        }
    }

    fn ready(&self) -> PageResponse {
        let pending = self.readiness.pending();
        if pending.is_empty() {
            return PageResponse::text(StatusCode::OK, "ready\n");
        }
        PageResponse::text(StatusCode::SERVICE_UNAVAILABLE, &format!("waiting for {}\n", pending.join(", ")))
    }

    fn list(&self) -> PageResponse {
        let mut text = String::new();
        let fixed = [
            ("/healthz/live", "whether the program runs"),
            ("/healthz/ready", "whether it may be sent traffic, or what it waits for"),
            ("/metrics", "metrics in the OpenMetrics text format"),
        ];
        let logging =
            self.logs.iter().map(|_| ("/logging", "the log filter; PUT /logging?level=debug sets it"));
        let pages = self.pages.iter().map(|(path, page)| (*path, page.about));
        for (path, about) in fixed.into_iter().chain(logging).chain(pages) {
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "{path:<20} {about}");
        }
        PageResponse::text(StatusCode::OK, &text)
    }

    fn logging_response(&self, request: PageRequest<'_>) -> PageResponse {
        let Some(logs) = &self.logs else {
            return PageResponse::text(StatusCode::NOT_FOUND, "no such page; / lists them\n");
        };
        match *request.method {
            Method::GET | Method::HEAD => {
                let (filter, dropped) = (logs.filter(), logs.dropped());
                PageResponse::json(&serde_json::json!({ "level": filter, "linesLost": dropped }))
            }
            Method::PUT => {
                let level = request.query.and_then(|query| query.strip_prefix("level="));
                let Some(level) = level else {
                    return PageResponse::text(StatusCode::BAD_REQUEST, "write PUT /logging?level=debug\n");
                };
                // Clients that encode do so with the two characters that filters are made of.
                let level =
                    level.replace("%2C", ",").replace("%2c", ",").replace("%3D", "=").replace("%3d", "=");
                match logs.set_filter(&level) {
                    Ok(()) => {
                        tracing::info!("the log filter is now {level}");
                        PageResponse::text(StatusCode::OK, &format!("{level}\n"))
                    }
                    Err(error) => PageResponse::text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
                }
            }
            _ => PageResponse::text(StatusCode::METHOD_NOT_ALLOWED, "GET reads the level, PUT sets it\n"),
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("pages", &self.pages.keys()).finish_non_exhaustive()
    }
}

// === impl PageResponse ===

impl PageResponse {
    fn text(status: StatusCode, body: &str) -> Self {
        Self { status, content_type: TEXT, body: body.to_owned() }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, body: format!("{value:#}\n") }
    }
}

/// Whether a `host` header names this machine itself, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pages() -> (Pages, Readiness) {
        let readiness = Readiness::new();
        let pages = Pages::new(readiness.clone(), Metrics::new("test", "0")).page(
            "/config",
            "the configuration in force",
            || json!({ "generation": 7 }),
        );
        (pages, readiness)
    }

    fn ask(pages: &Pages, surface: Surface, method: &Method, uri: &str) -> PageResponse {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        pages.respond(surface, PageRequest { method, path, query, host: Some("127.0.0.1:15000") })
    }

    #[test]
    fn each_port_shows_its_part() {
        let (pages, _) = pages();
        for (path, full, metrics, readiness) in [
            ("/", 200, 404, 404),
            ("/healthz/live", 200, 404, 200),
            ("/healthz/ready", 200, 404, 200),
            ("/metrics", 200, 200, 404),
            ("/config", 200, 404, 404),
            ("/logging", 404, 404, 404), // these pages were made without logs
            ("/config/", 404, 404, 404),
        ] {
            for (surface, status) in
                [(Surface::Full, full), (Surface::Metrics, metrics), (Surface::Readiness, readiness)]
            {
                assert_eq!(ask(&pages, surface, &Method::GET, path).status, status, "{path} on {surface:?}");
            }
        }
    }

    #[test]
    fn a_page_may_depend_on_its_query() {
        let (pages, _) = pages();
        let pages = pages.query_page("/explain", "what becomes of a request", |query| match query {
            "" => Content::Invalid("write url=…".to_owned()),
            query => Content::Text(format!("{query}\n")),
        });
        let ask = |uri| ask(&pages, Surface::Full, &Method::GET, uri);
        let (none, some) = (ask("/explain"), ask("/explain?url=a"));
        assert_eq!((none.status.as_u16(), none.body.as_str()), (400, "write url=…\n"));
        assert_eq!((some.status.as_u16(), some.body.as_str()), (200, "url=a\n"));
        assert_eq!(pages_on_metrics_port(&pages), 404);
    }

    fn pages_on_metrics_port(pages: &Pages) -> u16 {
        ask(pages, Surface::Metrics, &Method::GET, "/explain?url=a").status.as_u16()
    }

    #[test]
    fn readiness_names_what_is_waited_for() {
        let (pages, readiness) = pages();
        let (configuration, identity) = (readiness.gate("first configuration"), readiness.gate("identity"));
        let answer = ask(&pages, Surface::Readiness, &Method::GET, "/healthz/ready");
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (503, "waiting for first configuration, identity\n")
        );
        configuration.open();
        identity.open();
        assert_eq!(ask(&pages, Surface::Readiness, &Method::GET, "/healthz/ready").body, "ready\n");
    }

    #[test]
    fn the_list_has_every_page() {
        let (pages, _) = pages();
        let list = ask(&pages, Surface::Full, &Method::GET, "/").body;
        for path in ["/healthz/live", "/healthz/ready", "/metrics", "/config"] {
            assert!(list.lines().any(|line| line.starts_with(path)), "{path} in\n{list}");
        }
    }

    #[test]
    fn the_log_level_can_be_changed() {
        let (control, _layer) = logs::Control::detached("info");
        let (pages, _) = pages();
        let pages = pages.logging(control);
        for (uri, status, level) in [
            ("/logging?level=debug", 200, "debug"),
            ("/logging?level=warn%2Ch2%3Dtrace", 200, "h2=trace,warn"),
            ("/logging?level=loud", 400, "h2=trace,warn"),
            ("/logging?level=", 400, "h2=trace,warn"),
            ("/logging", 400, "h2=trace,warn"),
        ] {
            assert_eq!(ask(&pages, Surface::Full, &Method::PUT, uri).status, status, "{uri}");
            let now: serde_json::Value =
                serde_json::from_str(&ask(&pages, Surface::Full, &Method::GET, "/logging").body).unwrap();
            assert_eq!(now, json!({ "level": level, "linesLost": 0 }), "{uri}");
        }
        assert_eq!(ask(&pages, Surface::Metrics, &Method::PUT, "/logging?level=debug").status, 405);
        assert_eq!(ask(&pages, Surface::Full, &Method::DELETE, "/logging").status, 405);
    }

    #[test]
    fn a_browser_that_was_led_here_by_a_foreign_name_sees_nothing() {
        let (pages, _) = pages();
        for (host, status) in [
            (Some("127.0.0.1:15000"), 200),
            (Some("localhost"), 200),
            (Some("LOCALHOST:15000"), 200),
            (Some("[::1]:15000"), 200),
            (Some("evil.example:15000"), 403),
            (Some("127.0.0.1.evil.example"), 403),
            (Some("10.0.0.1:15000"), 403),
            (Some(""), 403),
            (None, 403),
        ] {
            let request = PageRequest { method: &Method::GET, path: "/config", query: None, host };
            assert_eq!(pages.respond(Surface::Full, request).status, status, "{host:?}");
        }
        // A kubelet asks for the pod's address.
        let request =
            PageRequest { method: &Method::GET, path: "/healthz/ready", query: None, host: Some("10.0.0.1") };
        assert_eq!(pages.respond(Surface::Readiness, request).status, 200);
    }
}
