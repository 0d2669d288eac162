//! The access log: one line for a request.

use crate::pipeline::Reason;
use fairway_config::model::{Generation, RouteKey, SpiffeId};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What is remembered of a request for its line. All of it is shared with the request; nothing is formatted before the end.
#[derive(Debug)]
pub struct Entry {
    pub(super) sampled: Sampled,
    method: Method,
    target: Uri,
    host: Option<HeaderValue>,
    /// The client's address, and who it proved to be.
    pub client: (Option<IpAddr>, Option<SpiffeId>),
    /// The route and the rule that served it.
    pub route: Option<(RouteKey, usize)>,
    /// The endpoint that answered, and who it proved to be.
    pub endpoint: Option<(SocketAddr, Option<SpiffeId>)>,
    /// Tries beyond the first.
    pub retries: u32,
    /// The configuration it was served from.
    pub generation: Generation,
}

/// Whether a request that is remembered is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampled {
    /// Yes.
    Always,
    /// If the proxy answered it with an error.
    IfError,
}

/// How a request ended.
pub(super) struct Outcome {
    pub status: StatusCode,
    pub reason: Option<Reason>,
    pub ended: &'static str,
    pub received: u64,
    pub sent: u64,
    pub until_head: Duration,
    pub total: Duration,
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(sampled: Sampled, parts: &Parts) -> Self {
        Self {
            sampled,
            method: parts.method.clone(),
            target: parts.uri.clone(),
            host: parts.headers.get(header::HOST).cloned(),
            client: (None, None),
            route: None,
            endpoint: None,
            retries: 0,
            generation: Generation::default(),
        }
    }

    pub(super) fn write(&self, own: Option<&SpiffeId>, outcome: &Outcome) {
        if self.sampled == Sampled::IfError && outcome.reason.is_none() {
            return;
        }
        let authority = self.target.authority().map(|it| it.as_str());
        let host = authority.or_else(|| self.host.as_ref()?.to_str().ok()).unwrap_or_default();
        let (route, rule) = self.route.as_ref().map_or(("", 0), |(route, rule)| (route.as_str(), *rule));
        let endpoint = self.endpoint.as_ref();
        tracing::info!(
            target: "access",
            method = self.method.as_str(),
            host,
            path = self.target.path(),
            status = outcome.status.as_u16(),
            reason = outcome.reason.map(Reason::label).unwrap_or_default(),
            ended = outcome.ended,
            route,
            rule,
            client = self.client.0.map(tracing::field::display),
            client_identity = self.client.1.as_ref().map(SpiffeId::as_str),
            own_identity = own.map(SpiffeId::as_str),
            endpoint = endpoint.map(|(address, _)| tracing::field::display(address)),
            endpoint_identity = endpoint.and_then(|(_, identity)| identity.as_ref()).map(SpiffeId::as_str),
            retries = self.retries,
            bytes_received = outcome.received,
            bytes_sent = outcome.sent,
            head_us = u64::try_from(outcome.until_head.as_micros()).unwrap_or(u64::MAX),
            total_us = u64::try_from(outcome.total.as_micros()).unwrap_or(u64::MAX),
            generation = self.generation.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_runtime::logs::{Format, logged};

    /// A request that went through, and one that the proxy answered itself.
    fn entries() -> [(Entry, Outcome); 2] {
        let parts = |path: &str| {
            let request = http::Request::builder().uri(path).header("host", "shop.example");
            request.body(()).unwrap().into_parts().0
        };
        let outcome = |status, reason, sent| Outcome {
            status,
            reason,
            ended: "whole",
            received: 0,
            sent,
            until_head: Duration::from_micros(900),
            total: Duration::from_micros(1200),
        };
        let id = |account: &str| format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap();
        let mut served = Entry::new(Sampled::Always, &parts("/cart"));
        served.client = (Some([10, 7, 0, 9].into()), Some(id("client")));
        served.route = Some(("HTTPRoute/shop/cart".into(), 1));
        served.endpoint = Some((([10, 7, 0, 10], 8080).into(), Some(id("cart"))));
        served.retries = 1;
        served.generation = Generation(42);
        let mut lost = Entry::new(Sampled::IfError, &parts("/nowhere"));
        lost.generation = Generation(42);
        [
            (served, outcome(StatusCode::OK, None, 512)),
            (lost, outcome(StatusCode::NOT_FOUND, Some(Reason::NoRoute), 10)),
        ]
    }

    fn lines(format: Format) -> Vec<String> {
        let own: SpiffeId = "spiffe://cluster.local/ns/shop/sa/waypoint".parse().unwrap();
        logged(format, || entries().iter().for_each(|(entry, outcome)| entry.write(Some(&own), outcome)))
    }

    #[test]
    fn a_line_for_people_says_who_what_where_and_why() {
        assert_eq!(
            lines(Format::Text),
            [
                "INFO access: method=\"GET\" host=\"shop.example\" path=\"/cart\" status=200 reason=\"\" ended=\"whole\" \
                 route=\"HTTPRoute/shop/cart\" rule=1 client=10.7.0.9 \
                 client_identity=\"spiffe://cluster.local/ns/shop/sa/client\" \
                 own_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" endpoint=10.7.0.10:8080 \
                 endpoint_identity=\"spiffe://cluster.local/ns/shop/sa/cart\" retries=1 bytes_received=0 bytes_sent=512 \
                 head_us=900 total_us=1200 generation=42",
                "INFO access: method=\"GET\" host=\"shop.example\" path=\"/nowhere\" status=404 reason=\"no_route\" \
                 ended=\"whole\" route=\"\" rule=0 own_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" retries=0 \
                 bytes_received=0 bytes_sent=10 head_us=900 total_us=1200 generation=42",
            ]
        );
    }

    #[test]
    fn a_line_for_machines_says_the_same() {
        assert_eq!(
            lines(Format::Json)[0],
            "\"level\":\"INFO\",\"method\":\"GET\",\"host\":\"shop.example\",\"path\":\"/cart\",\"status\":200,\
             \"reason\":\"\",\"ended\":\"whole\",\"route\":\"HTTPRoute/shop/cart\",\"rule\":1,\"client\":\"10.7.0.9\",\
             \"client_identity\":\"spiffe://cluster.local/ns/shop/sa/client\",\
             \"own_identity\":\"spiffe://cluster.local/ns/shop/sa/waypoint\",\"endpoint\":\"10.7.0.10:8080\",\
             \"endpoint_identity\":\"spiffe://cluster.local/ns/shop/sa/cart\",\"retries\":1,\"bytes_received\":0,\
             \"bytes_sent\":512,\"head_us\":900,\"total_us\":1200,\"generation\":42,\"target\":\"access\"}"
        );
    }

    #[test]
    fn of_errors_only_nothing_else_is_written() {
        let [(mut served, outcome), _] = entries();
        served.sampled = Sampled::IfError;
        assert_eq!(logged(Format::Text, || served.write(None, &outcome)), [""; 0]);
    }
}
